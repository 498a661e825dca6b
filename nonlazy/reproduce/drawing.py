"""Pictures that several entries share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from nonlazy import plot
from nonlazy.analysis import order_by_class, order_by_code
from nonlazy.codes import activity_threshold, code_names, neuron_codes
from nonlazy.posterior import Posterior
from nonlazy.reproduce.networks import class_means

# Of sparse networks the strongest neurons are shown; the others would hide them.
STRONGEST = 20
# Codes with fewer rows have no room for their name.
SMALLEST_NAMED = 0.045


def activities(features: Float[np.ndarray, "P N"], posterior: Posterior, ax: Axes, strongest: bool = False) -> Axes:
    """Activities of neurons sorted by code, with the codes named; only the most active neurons if `strongest`."""
    task, name = posterior.task, posterior.model.phi.name
    order = order_by_class(task.labels)
    rows = features.T[:, order]
    labels = task.labels[order]
    by_class = class_means(features, task).T
    codes = neuron_codes(by_class, activity_threshold(by_class, name))
    chosen = np.arange(len(rows))
    if strongest:
        chosen = np.sort(np.argsort(-np.abs(by_class).max(axis=1))[:STRONGEST])
    by_code = chosen[order_by_code(by_class[chosen], name)]
    plot.activity(rows[by_code], labels, task.class_names, ax)
    if name == "linear":
        return ax.set_ylabel("neuron, by preferred class").axes  # type: ignore[return-value]
    if strongest:
        ax.set_ylabel(f"{len(chosen)} strongest neurons")
    mark_codes(code_names(codes)[by_code], ax)
    return ax


def mark_codes(codes: Sequence[str], ax: Axes) -> None:
    """Names of the codes at the vertical axis, and lines between them."""
    names = np.asarray(codes)
    edges = np.flatnonzero(names[1:] != names[:-1]) + 1
    bounds = [0, *edges.tolist(), len(names)]
    for edge in edges:
        ax.axhline(edge - 0.5, color="white", lw=0.6)
    named = [(a, b) for a, b in pairwise(bounds) if b - a >= SMALLEST_NAMED * len(names)]
    ax.set_yticks([(a + b - 1) / 2 for a, b in named], ["-".join(codes[a]) for a, _ in named])
    ax.tick_params(axis="y", length=0)


def kernel(
    values: Float[np.ndarray, "P P"], posterior: Posterior, ax: Axes, beside: Float[np.ndarray, "P P"] | None = None
) -> Axes:
    """A kernel sorted by class, on a colour scale that covers the one beside it too."""
    order = order_by_class(posterior.task.labels)
    grid, labels = np.ix_(order, order), posterior.task.labels[order]
    other = None if beside is None else beside[grid]
    return plot.kernel(values[grid], labels, posterior.task.class_names, ax, other)


def name_sizes(sizes: Sequence[int], ax: Axes) -> None:
    """Ticks at these sizes on a logarithmic axis, and nowhere else."""
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.xaxis.minorticks_off()
