"""Kernels: heat maps sorted by class, and their block means over the draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from matplotlib.axes import Axes

from nonlazy.plot.style import SEQUENTIAL, class_colour


def kernel(
    values: Float[ArrayLike, "P P"],
    labels: Int[ArrayLike, " P"],
    names: Sequence[str],
    ax: Axes,
    beside: Float[ArrayLike, "P P"] | None = None,
) -> Axes:
    """Heat map of a kernel whose inputs are sorted by class, with lines between the classes.

    The colour scale leaves the diagonal out, which would hide the class blocks; `beside` is another kernel that it covers too,
    so that pictures of the two can be compared.
    """
    values, labels = np.asarray(values), np.asarray(labels)
    ranges = [_range(np.asarray(shown)) for shown in (values, beside) if shown is not None]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    image = ax.imshow(values, cmap=SEQUENTIAL, vmin=low, vmax=high, interpolation="nearest")
    mark_classes(labels, names, ax, both=True)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, extend="max")
    ax.set(xlabel="input, by class", ylabel="input, by class")
    return ax


def _range(values: Float[np.ndarray, "P P"]) -> tuple[float, float]:
    """Of nearly all entries beside the diagonal."""
    off_diagonal = values[~np.eye(len(values), dtype=bool)] if len(values) > 1 else values.ravel()
    low, high = np.quantile(off_diagonal, [0.005, 0.995])
    return float(low), float(high)


def mark_classes(labels: Int[np.ndarray, " P"], names: Sequence[str], ax: Axes, both: bool) -> None:
    """White lines between classes, ticks at their middles; on the vertical axis too if `both`."""
    edges = np.flatnonzero(np.diff(labels)) + 0.5
    bounds = np.concatenate(([-0.5], edges, [len(labels) - 0.5]))
    middles = (bounds[:-1] + bounds[1:]) / 2
    ticks = [names[labels[int(middle)]] for middle in middles]
    for edge in edges:
        ax.axvline(edge, color="white", lw=0.8)
        if both:
            ax.axhline(edge, color="white", lw=0.8)
    name_ticks(middles, ticks, len(labels), ax)
    if both:
        ax.set_yticks(middles, ticks, rotation=90, va="center")
    ax.tick_params(length=0)


def name_ticks(places: Float[np.ndarray, " n"], names: Sequence[str], length: float, ax: Axes) -> None:
    """Names below an axis of this length in data units, upright where they would run into each other."""
    inches = ax.get_position().width * ax.figure.get_figwidth() * np.asarray(places) / length  # type: ignore[union-attr]
    needed = np.array([0.08 * len(str(name)) + 0.08 for name in names])
    crowded = (np.diff(inches) < (needed[:-1] + needed[1:]) / 2).any()
    ax.set_xticks(places, names, rotation=90 if crowded else 0)


def block_traces(blocks: Float[ArrayLike, "chain draw a b"], names: Sequence[str], ax: Axes) -> Axes:
    """Kernel block means along the draws, a line for each chain; within-class blocks in the class's colour."""
    blocks = np.asarray(blocks)
    n_labels = blocks.shape[-1]
    for a, b in combinations_with_replacement(range(n_labels), 2):
        for chain in blocks[..., a, b]:
            ax.plot(chain, color=class_colour(a) if a == b else "0.55", lw=0.7, alpha=0.8)
    for a in range(n_labels):
        ax.plot([], color=class_colour(a), label=f"within {names[a]}")
    ax.plot([], color="0.55", label="between classes")
    ax.set(xlabel="draw", ylabel="kernel block mean")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
