"""Pictures of a coding scheme: class activities, selectivity, and how neurons share the task-related kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Bool, Float
from matplotlib.axes import Axes

from nonlazy.plot.activity import colour_scale
from nonlazy.plot.kernels import name_ticks
from nonlazy.plot.style import THEORY_COLOUR, class_colour


def class_activity(activity: Float[ArrayLike, "neuron label"], names: Sequence[str], ax: Axes) -> Axes:
    """Heat map of neurons' mean activities in each class; rows as they come, so sort them by code."""
    activity = np.asarray(activity)
    image = ax.imshow(activity, aspect="auto", interpolation="nearest", **colour_scale(activity))
    name_ticks(np.arange(len(names)), names, len(names), ax)
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set(xlabel="class", ylabel="neuron")
    return ax


def selectivity(values: Float[ArrayLike, " neuron"], coding: Bool[ArrayLike, " neuron"], ax: Axes) -> Axes:
    """Histogram of neurons' selectivities, those that code apart from the others; the horizontal axis is linear up to 0.1.

    Infinite selectivities, of neurons whose activity is the same for all inputs of a class, are counted in the legend.
    """
    values, coding = np.asarray(values), np.asarray(coding)
    finite = np.isfinite(values)
    ax.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    scale = ax.xaxis.get_transform()
    low, high = (scale.transform(limit) for limit in (values[finite].min(initial=0), values[finite].max(initial=1)))
    edges = scale.inverted().transform(np.linspace(low, high, 31))
    for chosen, name, colour, filled in (
        (~coding, "other neurons", "0.75", True),
        (coding, "coding neurons", class_colour(0), False),
    ):
        if chosen.any():
            counts, _ = np.histogram(values[chosen & finite], bins=edges)
            beyond = int((chosen & ~finite).sum())
            label = f"{name} ({beyond} at infinity)" if beyond else name
            ax.stairs(counts, edges, label=label, color=colour, fill=filled, lw=0 if filled else 1.6)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.set(
        xlabel="selectivity (squared signal-to-noise ratio)",
        ylabel="number of neurons",
        ylim=(0.6, max(12, ax.get_ylim()[1])),
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def participation(
    shares: Float[ArrayLike, " neuron"],
    exponential: Float[ArrayLike, " neuron"],
    ratio: float,
    error: float,
    ax: Axes,
) -> Axes:
    """Share of the task-related kernel in the k strongest neurons against k, beside that of exponential coding.

    A line marks the participation ratio, with a band of one standard error.
    """
    shares = np.asarray(shares)
    number = np.arange(1, len(shares) + 1)
    ax.axvspan(max(ratio - error, 0.5), ratio + error, color="0.9", lw=0)
    ax.axvline(ratio, color="0.5", lw=1, label=f"participation ratio\n{ratio:.1f} ± {error:.1f}")
    ax.plot(number, np.asarray(exponential), color=THEORY_COLOUR, ls=":", lw=1.6, label="exponential coding")
    ax.plot(number, shares, color="black", marker="o" if len(number) <= 100 else None, ms=2.5, label="this population")
    ax.set_xscale("log")
    ax.set(
        xlabel=f"strongest neurons, of {len(shares)}",
        ylabel="share of the task-related kernel",
        xlim=(0.8, 1.2 * len(shares)),
        ylim=(0, 1.08 * max(1.0, shares.max())),
    )
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
