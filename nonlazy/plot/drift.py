"""Neurons at the start and at the end of a chain, and how long they remember what they responded to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes

from nonlazy.plot.activity import colour_scale
from nonlazy.plot.style import class_colour

BLOCKS = ("first", "last", "last,\nmatched")
LINES = ("-", "--", "-.", ":")


def drift(
    first: Float[ArrayLike, "neuron label"],
    last: Float[ArrayLike, "neuron label"],
    matched: Float[ArrayLike, "neuron label"],
    names: Sequence[str],
    ax: Axes,
) -> Axes:
    """Heat maps of class activities side by side: first, last, and last with the neurons in their best order.

    `nonlazy.analysis.matched_activities` makes all three, rows in the same order in the first two.
    """
    blocks = [np.asarray(block) for block in (first, last, matched)]
    n_labels = blocks[0].shape[1]
    gap = np.full((len(blocks[0]), 1), np.nan)
    image = ax.imshow(
        np.hstack([blocks[0], gap, blocks[1], gap, blocks[2]]),
        aspect="auto",
        interpolation="nearest",
        **colour_scale(np.concatenate(blocks)),
    )
    columns = [start + np.arange(n_labels) for start in (0, n_labels + 1, 2 * n_labels + 2)]
    for name, places in zip(BLOCKS, columns, strict=True):
        ax.annotate(
            name, (places.mean(), 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center", va="bottom",
            fontsize=8,
        )  # fmt: skip
    crowded = sum(max(len(name), 2) for name in names) > 9
    ax.set_xticks(np.concatenate(columns), [*names] * len(BLOCKS), rotation=90 if crowded else 0)
    ax.tick_params(bottom=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set(xlabel="class", ylabel="neuron, by code in the first draw")
    return ax


def activity_autocorrelation(
    time: Float[ArrayLike, "chain lag"], correlation: Float[ArrayLike, "chain layer lag"], unit: str, ax: Axes
) -> Axes:
    """Correlation of class activities against the time between draws: a thick line for each layer, thin ones for its chains."""
    time, correlation = np.asarray(time), np.asarray(correlation)
    for layer in range(correlation.shape[1]):
        look: dict[str, Any] = {"color": class_colour(layer), "ls": LINES[layer % len(LINES)]}
        for times, chain in zip(time, correlation[:, layer], strict=True):
            ax.plot(times, chain, lw=0.5, alpha=0.5, **look)
        ax.plot(time.mean(axis=0), correlation[:, layer].mean(axis=0), lw=1.8, label=f"layer {layer + 1}", **look)
    ax.axhline(0, color="0.7", lw=0.8, zorder=0)
    ax.set(xlabel=f"time between draws ({unit})", ylabel="correlation of class activities")
    ax.set_ylim(min(-0.2, np.nanmin(correlation, initial=0.0)), 1.05)
    ax.legend()
    return ax
