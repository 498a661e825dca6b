"""Distribution of the readout weights over neurons and draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes

from nonlazy.plot.style import class_colour


def readout(
    weights: Float[ArrayLike, "... output"],
    prior_variance: float,
    names: Sequence[str],
    ax: Axes,
    theory: Float[ArrayLike, "neuron output"] | None = None,
) -> Axes:
    """Density of the readout weights of each output, with the prior's as a dashed line; logarithmic, to show outliers.

    `theory`: weights drawn from the theory, whose densities are shown as dotted lines in the same colours.
    """
    weights = np.asarray(weights)
    weights = weights.reshape(-1, weights.shape[-1])
    edges = np.linspace(weights.min(), weights.max(), 81)
    if theory is not None:
        drawn = np.asarray(theory)
        edges = np.linspace(min(weights.min(), drawn.min()), max(weights.max(), drawn.max()), 81)
        for output, values in enumerate(drawn.T):
            density, _ = np.histogram(values, bins=edges, density=True)
            ax.stairs(density, edges, color=class_colour(output), ls=":", lw=1.6)
        ax.plot([], color="0.3", ls=":", lw=1.6, label="theory")
    for output, values in enumerate(weights.T):
        density, _ = np.histogram(values, bins=edges, density=True)
        ax.stairs(density, edges, color=class_colour(output), label=names[output])
    shown = ax.get_ylim()
    grid = np.linspace(edges[0], edges[-1], 400)
    prior = np.exp(-(grid**2) / (2 * prior_variance)) / math.sqrt(2 * math.pi * prior_variance)
    ax.plot(grid, prior, "k--", lw=0.9, label="prior")
    ax.set_yscale("log")
    ax.set(
        xlabel="readout weight", ylabel="density", ylim=(1 / (len(weights) * (edges[1] - edges[0]) * 2), 3 * shown[1])
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
