"""Theory against sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes

from nonlazy.plot.style import THEORY_COLOUR


def compare(
    theory: Float[ArrayLike, " n"],
    mean: Float[ArrayLike, " n"],
    error: Float[ArrayLike, " n"],
    names: Sequence[str],
    ax: Axes,
) -> Axes:
    """Sampled means with bars of two Monte Carlo errors, and the theory's values as lines, one column for each name."""
    places = np.arange(len(names))
    ax.hlines(np.asarray(theory), places - 0.35, places + 0.35, color=THEORY_COLOUR, lw=2, label="theory")
    ax.errorbar(
        places, np.asarray(mean), yerr=2 * np.asarray(error), fmt="o", ms=4, color="black", capsize=2, label="sampled"
    )
    ax.set_xticks(places, names, rotation=45 if len(names) > 6 else 0)
    ax.set(ylabel="kernel block mean", ylim=(min(0, *np.asarray(mean), *np.asarray(theory)), None))
    ax.margins(y=0.15)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
