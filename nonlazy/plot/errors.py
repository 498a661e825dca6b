"""Training error along the draws, and the predictor on test inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from matplotlib.axes import Axes

from nonlazy.plot.style import class_colour


def training_error(errors: Float[ArrayLike, "chain draw"], temperature: float, ax: Axes) -> Axes:
    """Mean squared training error per element along the draws, a line for each chain, beside the temperature."""
    for number, chain in enumerate(np.asarray(errors)):
        ax.plot(chain, lw=0.7, color=f"{0.1 + 0.5 * number / max(len(np.asarray(errors)) - 1, 1):.2f}")
    ax.axhline(temperature, color=class_colour(3), ls="--", lw=1, label="temperature")
    ax.set_yscale("log")
    ax.set(xlabel="draw", ylabel="training error per element")
    ax.legend()
    return ax


def predictor(
    mean: Float[ArrayLike, " T"],
    std: Float[ArrayLike, " T"],
    labels: Int[ArrayLike, " T"],
    names: Sequence[str],
    ax: Axes,
) -> Axes:
    """Mean of one output on test inputs sorted by class, with a band of one standard deviation over the draws."""
    mean, std, labels = np.asarray(mean), np.asarray(std), np.asarray(labels)
    order = np.lexsort((mean, labels))
    place = np.arange(len(mean))
    for label in np.unique(labels):
        chosen = labels[order] == label
        values, spread = mean[order][chosen], std[order][chosen]
        ax.fill_between(place[chosen], values - spread, values + spread, color=class_colour(label), alpha=0.35, lw=0)
        ax.plot(place[chosen], values, color=class_colour(label), lw=1.2, label=names[label])
    for level in (0, 1):
        ax.axhline(level, color="0.7", lw=0.6, zorder=0)
    ax.set(xlabel="test input, sorted by class and output", ylabel="output")
    ax.legend()
    return ax
