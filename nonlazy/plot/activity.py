"""Activities of neurons, and how common each code is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from matplotlib.axes import Axes

from nonlazy.plot.kernels import mark_classes
from nonlazy.plot.style import DIVERGING, SEQUENTIAL, THEORY_COLOUR


def activity(
    features: Float[ArrayLike, "neuron P"], labels: Int[ArrayLike, " P"], names: Sequence[str], ax: Axes
) -> Axes:
    """Heat map of neurons' activities on inputs that are sorted by class; rows as they come, so sort them by code."""
    features, labels = np.asarray(features), np.asarray(labels)
    image = ax.imshow(features, aspect="auto", interpolation="nearest", **activity_colours(features))
    mark_classes(labels, names, ax, both=False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set(xlabel="input, by class", ylabel="neuron, by code")
    return ax


def activity_colours(values: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """Colour map and scale of activities: around zero if they have both signs."""
    low, high = np.quantile(values, [0.002, 0.998])
    if low < -0.1 * high:
        bound = max(-low, high)
        return {"cmap": DIVERGING, "vmin": -bound, "vmax": bound}
    # A few outlier neurons may be far above the rest; their range is the one to show.
    return {"cmap": SEQUENTIAL, "vmin": min(low, 0), "vmax": values.max()}


def code_fractions(
    fractions: Float[ArrayLike, "chain code"],
    codes: ArrayLike,
    ax: Axes,
    theory: Float[ArrayLike, " code"] | None = None,
) -> Axes:
    """Fraction of neurons with each code: a bar for the mean over chains, a dot for each chain, a line for the theory."""
    fractions, names = np.asarray(fractions), ["-".join(str(code)) for code in np.asarray(codes)]
    places = np.arange(len(names))
    ax.bar(places, fractions.mean(axis=0), color="0.75", width=0.7)
    offsets = np.linspace(-0.2, 0.2, len(fractions)) if len(fractions) > 1 else [0.0]
    for offset, row in zip(offsets, fractions, strict=True):
        ax.plot(places + offset, row, "o", ms=3.5, color="black")
    if theory is not None:
        ax.hlines(np.asarray(theory), places - 0.42, places + 0.42, color=THEORY_COLOUR, lw=2, label="theory")
        ax.legend()
    ax.set_xticks(places, names, rotation=45 if len(names) > 6 else 0)
    ax.set(xlabel="code (classes that activate the neuron)", ylabel="fraction of neurons", ylim=(0, None))
    return ax
