"""The figures of a run's report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from nonlazy import plot
from nonlazy.activations import Activation
from nonlazy.analysis import (
    activity_autocorrelation,
    compare,
    matched_activities,
    order_by_class,
    order_by_code,
    predictor,
)
from nonlazy.codes import code_fractions
from nonlazy.compilation import double_precision
from nonlazy.kernels import class_averages
from nonlazy.theory import Theory

# Neurons drawn for the density of readout weights in theory.
DRAWN_NEURONS = 20_000


class Picture(NamedTuple):
    """A figure with its file name, title and caption."""

    name: str
    title: str
    caption: str
    figure: Figure


def save_figures(drawn: list[Picture], folder: Path) -> None:
    """Write each figure as SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in drawn:
        for suffix in ("svg", "png"):
            picture.figure.savefig(folder / f"{picture.name}.{suffix}")


def pictures(
    tree: xr.DataTree, phi: Activation, readout_variance: float, theory: Theory | None = None
) -> list[Picture]:
    """All figures that a run's draws allow, in the order of the report, with the theory where it is known."""
    view = View(tree, phi, readout_variance, theory)
    makers: list[Callable[[View], Picture | None]] = [
        activities, kernels, comparison, codes, drift, readouts, predictions, block_traces, training_error,
    ]  # fmt: skip
    with plot.style():
        return [picture for maker in makers if (picture := maker(view)) is not None]


class View:
    """A run's draws with inputs sorted by class; features are those of the last draw of the first chain."""

    def __init__(
        self, tree: xr.DataTree, phi: Activation, readout_variance: float, theory: Theory | None = None
    ) -> None:
        self.tree, self.phi, self.readout_variance, self.theory = tree, phi, readout_variance, theory
        self.configuration = json.loads(tree.attrs["configuration"])
        labels = tree["constant_data"]["labels"].values
        self.order = order_by_class(labels)
        self.labels = labels[self.order]
        self.names = self.configuration["task"]["class_names"]
        outputs = self.configuration["task"]["n_outputs"]
        self.output_names = self.names if outputs == len(self.names) else [f"output {i + 1}" for i in range(outputs)]
        self.depth = self.configuration["model"]["depth"]

    @double_precision
    def features(self, layer: int) -> np.ndarray:
        """Activities (neuron, input) of a layer in the last draw, neurons sorted by code."""
        preactivations = self.tree["last_draw"]["preactivations"].values[0, layer][:, self.order]
        features = np.asarray(self.phi(jnp.asarray(preactivations)))
        averages = class_averages(self.labels, len(self.names))
        return features[order_by_code(features @ averages.T, self.phi.name)]

    def has(self, name: str) -> bool:
        return name in self.tree["posterior"]


def activities(view: View) -> Picture:
    figure, axes = plot.subplots(1, view.depth, 3.4, 3.0)
    for layer, ax in enumerate(axes[0]):
        plot.activity(view.features(layer), view.labels, view.names, ax).set_title(f"layer {layer + 1}")
    caption = (
        "Activity of every neuron on every training input in the last draw of the first chain. Inputs are sorted by class, "
        "neurons by code: the classes that activate them."
    )
    return Picture("activities", "Activities", caption, figure)


def kernels(view: View) -> Picture:
    mean = view.tree["posterior_mean"]["kernel"].mean("chain").values[:, view.order][:, :, view.order]
    rows = [("", mean, mean)]
    if view.theory is not None:
        theory = view.theory.kernels[:, view.order][:, :, view.order]
        rows = [("sampled, ", mean, theory), ("theory, ", theory, mean)]
    figure, axes = plot.subplots(len(rows), view.depth, 3.4, 3.0)
    for (source, values, beside), row in zip(rows, axes, strict=True):
        for layer, ax in enumerate(row):
            title = f"{source}layer {layer + 1}"
            plot.kernel(values[layer], view.labels, view.names, ax, beside[layer]).set_title(title)
    caption = "Kernel of each layer, averaged over draws and chains; the diagonal lies outside the colour scale."
    if view.theory is not None:
        caption += " Below, the kernels that the theory of wide networks predicts."
    return Picture("kernels", "Kernels", caption, figure)


def comparison(view: View) -> Picture | None:
    rows = compare(view.tree, view.theory) if view.theory is not None else []
    if not rows:
        return None
    figure, axes = plot.subplots(1, view.depth, 3.4, 2.8)
    for layer, ax in enumerate(axes[0], start=1):
        shown = [row for row in rows if row.layer == layer]
        values, means, errors = np.nan_to_num([(row.theory, row.mean, row.mcse) for row in shown]).T
        plot.compare(values, means, errors, [row.name for row in shown], ax).set_title(f"layer {layer}")
    caption = (
        "Block means of the kernels: samples with two Monte Carlo standard errors, and the theory. The theory holds for wide "
        "networks; differences of order 1/N remain."
    )
    return Picture("comparison", "Theory against sampling", caption, figure)


def codes(view: View) -> Picture | None:
    if not view.has("class_activity"):
        return None
    figure, axes = plot.subplots(1, view.depth, 3.4, 2.6)
    for layer, ax in enumerate(axes[0], start=1):
        fractions = code_fractions(view.tree, layer)
        common = fractions.isel(code=np.argsort(-fractions.mean("chain").values)[:12])
        expected = None
        if view.theory is not None and (known := view.theory.code_fractions[layer - 1]):
            expected = np.array([known.get(str(code), 0.0) for code in common.code.values])
        plot.code_fractions(common, common.code.values, ax, expected).set_title(f"layer {layer}")
    caption = (
        "Fraction of neurons with each code, mean over chains (bars) and single chains (dots). Chains that start differently "
        "can freeze in different codes: dots that differ between chains, or codes that never change, are not equilibrium "
        "values."
    )
    return Picture("codes", "Codes", caption, figure)


def drift(view: View) -> Picture | None:
    if not view.has("class_activity") or view.tree["posterior"].sizes["draw"] < 2:
        return None
    figure, axes = plot.subplots(1, view.depth + 1, 3.4, 3.0)
    for layer, ax in enumerate(axes[0][:-1], start=1):
        plot.drift(*matched_activities(view.tree, layer=layer), view.names, ax)
        ax.set_title(f"layer {layer}", pad=24)
    course = activity_autocorrelation(view.tree)
    unit = course.attrs["unit_of_time"]
    plot.activity_autocorrelation(course["time"].values, course["correlation"].values, unit, axes[0][-1])
    caption = (
        "Class activity of every neuron in the first draw of the first chain, of the same neurons in the last, and of the last "
        "draw's neurons in the order that matches the first draw best: where that looks like the first draw, neurons only "
        "exchanged what they do. Right: how long neurons of all chains remember which classes they responded to."
    )
    return Picture("drift", "Drift of single neurons", caption, figure)


def readouts(view: View) -> Picture | None:
    if not view.has("readout"):
        return None
    figure, axes = plot.subplots(1, 1, 4.6, 2.8)
    weights = view.tree["posterior"]["readout"].values
    drawn = None
    caption = "Readout weights over neurons, draws and chains, beside their prior."
    if view.theory is not None:
        drawn = view.theory.draw(width=DRAWN_NEURONS).readout
        caption += " Dotted: weights drawn from the theory" + (
            "; its outliers, which grow with the width, are left out." if len(view.theory.outliers.readout) else "."
        )
        drawn = drawn[len(view.theory.outliers.readout) :]
    plot.readout(weights, view.readout_variance, view.output_names, axes[0][0], drawn)
    return Picture("readout", "Readout weights", caption, figure)


def predictions(view: View) -> Picture | None:
    if not view.has("predictions"):
        return None
    found = predictor(view.tree)
    labels = view.tree["constant_data"]["test_labels"].values
    outputs = range(min(found.mean.shape[1], 4))
    figure, axes = plot.subplots(1, len(outputs), 3.4, 2.6)
    for output, ax in zip(outputs, axes[0], strict=True):
        std = np.sqrt(found.variance[:, output])
        plot.predictor(found.mean[:, output], std, labels, view.names, ax).set_title(
            f"output for {view.output_names[output]}"
        )
    caption = (
        "Mean of the network's output on the test inputs, with one standard deviation over the draws. Mean squared error "
        f"per output {found.error:.4f} = bias² {found.bias:.4f} + variance {found.variance_part:.4f}."
    )
    if np.isfinite(found.misclassified):
        caption += f" The mean misclassifies {100 * found.misclassified:.1f} % of the test inputs."
    return Picture("predictions", "Predictions on test inputs", caption, figure)


def block_traces(view: View) -> Picture | None:
    if not view.has("kernel_blocks"):
        return None
    figure, axes = plot.subplots(view.depth, 1, 6.0, 2.2)
    blocks = view.tree["posterior"]["kernel_blocks"].values
    for layer, (ax,) in enumerate(axes):
        plot.block_traces(blocks[:, :, layer], view.names, ax).set_title(f"layer {layer + 1}")
    caption = (
        "Kernel block means along the draws, a line for each chain. Lines that stay apart are chains that disagree."
    )
    return Picture("block_traces", "Kernel blocks along the chains", caption, figure)


def training_error(view: View) -> Picture:
    figure, axes = plot.subplots(1, 1, 4.6, 2.4)
    errors = view.tree["sample_stats"]["training_error"].values
    plot.training_error(errors, view.configuration["temperature"], axes[0][0])
    caption = (
        "Mean squared training error per element along the draws. At equilibrium it is about T + (N T t)², with t of order 1 "
        "to 10."
    )
    return Picture("training_error", "Training error", caption, figure)


def theory_pictures(theory: Theory) -> list[Picture]:
    """The figures of a theory without samples."""
    task = theory.posterior.task
    order, names = order_by_class(task.labels), task.class_names
    output_names = names if task.n_outputs == len(names) else [f"output {i + 1}" for i in range(task.n_outputs)]
    depth = len(theory.kernels)
    with plot.style():
        figure, axes = plot.subplots(1, depth, 3.4, 3.0)
        for layer, ax in enumerate(axes[0]):
            values = theory.kernels[layer][np.ix_(order, order)]
            plot.kernel(values, task.labels[order], names, ax).set_title(f"layer {layer + 1}")
        found = [
            Picture("kernels", "Kernels", "Kernel of each layer; the diagonal lies outside the colour scale.", figure)
        ]
        figure, axes = plot.subplots(1, 1, 4.6, 2.8)
        drawn = theory.draw(width=DRAWN_NEURONS).readout[len(theory.outliers.readout) :]
        plot.readout(drawn, theory.posterior.readout_variance, output_names, axes[0][0])
        found.append(Picture("readout", "Readout weights", "Readout weights of neurons drawn from the theory.", figure))
        if any(theory.code_fractions):
            figure, axes = plot.subplots(1, depth, 3.4, 2.6)
            for layer, (ax, known) in enumerate(zip(axes[0], theory.code_fractions, strict=True), start=1):
                common = list(known.items())[:12]
                values = np.array([[value for _, value in common]])
                plot.code_fractions(values, np.array([code for code, _ in common]), ax).set_title(f"layer {layer}")
            found.append(Picture("codes", "Codes", "Fraction of neurons with each code.", figure))
    return found
