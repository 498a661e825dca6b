"""House style: the same colours for the same classes everywhere, safe for colour-blind readers, and readable in grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, ordered by lightness so that neighbours differ in grey too.
CLASS_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "#000000",
    "#999999",
    "#7F3C8D",
)

SEQUENTIAL = "viridis"
# Theory beside samples, everywhere.
THEORY_COLOUR = "#D55E00"
# For values around a reference in the middle.
DIVERGING = "RdBu_r"

STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.fonttype": "path",
}


def class_colour(index: int) -> str:
    """Colour of a class; after ten classes the colours repeat."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


@contextmanager
def style() -> Iterator[None]:
    """Context in which figures are made in the house style; the user's settings are left alone."""
    with mpl.rc_context(STYLE):
        yield


def subplots(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels of the given size in inches, outside pyplot, which would keep it in memory."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()
