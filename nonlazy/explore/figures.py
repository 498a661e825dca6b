"""The page's figures: the theory, and the sampled network over or beside it where there is one."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from nonlazy import plot
from nonlazy.codes import code_fractions
from nonlazy.explore.model import MOST_CODES, Prediction, Sampled

WIDTH, HEIGHT = 3.5, 2.9


def kernels(prediction: Prediction, sampled: Sampled | None) -> Figure:
    """The kernel in theory; beside it the mean over draws, and the block means of both."""
    task, values = prediction.theory.posterior.task, prediction.theory.kernels[0]
    with plot.style():
        figure, ((ax, *others),) = plot.subplots(1, 3 if sampled else 1, WIDTH, HEIGHT)
        mean = sampled.tree["posterior_mean"]["kernel"].mean("chain").values[0] if sampled else None
        plot.kernel(values, task.labels, task.class_names, ax, mean).set_title("kernel, theory")
        if sampled and mean is not None:
            plot.kernel(mean, task.labels, task.class_names, others[0], values).set_title("kernel, sampled")
            rows = sampled.comparison
            theory, means, errors = np.nan_to_num([(row.theory, row.mean, row.mcse) for row in rows]).T
            plot.compare(theory, means, errors, [row.name for row in rows], others[1]).set_title("blocks of the kernel")
        return figure


def readout(prediction: Prediction, sampled: Sampled | None) -> Figure:
    """Densities of the readout weights."""
    posterior, theory = prediction.theory.posterior, prediction.readout
    names = posterior.task.class_names
    with plot.style():
        figure, ((ax,),) = plot.subplots(1, 1, 4.6, HEIGHT)
        if sampled is None:
            plot.readout(theory, posterior.readout_variance, names, ax).set_title("readout weights, theory")
        else:
            weights = sampled.tree["posterior"]["readout"].values
            plot.readout(weights, posterior.readout_variance, names, ax, theory).set_title("readout weights")
        return figure


def activities(prediction: Prediction, sampled: Sampled | None) -> Figure:
    """Activities of a network drawn from the theory; beside them those of the sampled one."""
    task = prediction.theory.posterior.task
    shown = {"drawn from the theory": prediction.features} | ({"sampled": sampled.features} if sampled else {})
    with plot.style():
        figure, (axes,) = plot.subplots(1, len(shown), WIDTH, HEIGHT)
        for ax, (source, features) in zip(axes, shown.items(), strict=True):
            plot.activity(features, task.labels, task.class_names, ax).set_title(f"activities, {source}")
        return figure


def codes(prediction: Prediction, sampled: Sampled | None) -> Figure | None:
    """Fractions of neurons with each code, or None where neither the theory nor the sample has any."""
    known = prediction.theory.code_fractions[0]
    if sampled is None:
        values, names, expected = np.array([list(known.values())[:MOST_CODES]]), np.array(list(known)), None
    else:
        fractions = code_fractions(sampled.tree)
        common = fractions.isel(code=np.argsort(-fractions.mean("chain").values)[:MOST_CODES])
        values, names = common.values, common.code.values
        expected = np.array([known.get(str(name), 0.0) for name in names]) if known else None
    if values.size == 0:
        return None
    with plot.style():
        figure, ((ax,),) = plot.subplots(1, 1, WIDTH, HEIGHT)
        plot.code_fractions(values, names[: values.shape[1]], ax, expected)
        ax.set_title("codes, theory" if sampled is None else "codes, sampled (bars)")
        return figure
