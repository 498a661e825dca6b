"""Errors on test inputs: against the number of training inputs, class by class, and whether the variance is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from nonlazy.plot.style import class_colour

MARKERS = "osD^vP"


def learning_curve(
    n_inputs: Float[ArrayLike, " n"],
    error: Float[ArrayLike, " n"],
    bias_squared: Float[ArrayLike, " n"],
    name: str,
    ax: Axes,
    std: Float[ArrayLike, " n"] | None = None,
) -> Axes:
    """Test error against the number of training inputs; dotted, its squared bias: the shaded rest is variance.

    Drawn into the same axes, the next curve takes the next colour and marker. `std`: length of the error bars.
    """
    n_inputs, error, bias_squared = np.asarray(n_inputs), np.asarray(error), np.asarray(bias_squared)
    number = len(ax.containers)
    colour, marker = class_colour(number), MARKERS[number % len(MARKERS)]
    ax.fill_between(n_inputs, bias_squared, error, color=colour, alpha=0.15, lw=0)
    ax.errorbar(n_inputs, error, yerr=std, color=colour, marker=marker, ms=4, lw=1.2, capsize=2, label=name)
    ax.plot(n_inputs, bias_squared, color=colour, ls=":", lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="training inputs P", ylabel="squared error per output")
    ax.set_xticks(n_inputs, [f"{p:g}" for p in n_inputs])
    ax.xaxis.minorticks_off()
    ax.legend()
    return ax


def bias_variance(
    bias_squared: Mapping[str, Float[ArrayLike, " C"]],
    variance: Mapping[str, Float[ArrayLike, " C"]],
    names: Sequence[str],
    ax: Axes,
    error: Mapping[str, Float[ArrayLike, " C"]] | None = None,
) -> Axes:
    """Stacked bars of squared bias and, hatched, variance: for each network a group of one bar for each class.

    `error`: two Monte Carlo errors of the sum are drawn as bars.
    """
    width = 0.8 / len(names)
    for group, network in enumerate(bias_squared):
        bias, spread = np.asarray(bias_squared[network]), np.asarray(variance[network])
        for c in range(len(names)):
            place, colour = group + (c - (len(names) - 1) / 2) * width, class_colour(c)
            ax.bar(place, bias[c], 0.9 * width, color=colour)
            ax.bar(place, spread[c], 0.9 * width, bottom=bias[c], fc="white", ec=colour, hatch="/////", lw=0.8)
            if error is not None:
                length = 2 * np.asarray(error[network])[c]
                ax.errorbar(place, bias[c] + spread[c], yerr=length, color="black", capsize=2, lw=1)
    ax.set_xticks(range(len(bias_squared)), list(bias_squared))
    ax.set(ylabel="squared error per output", ylim=(0, None))
    handles = [Patch(fc=class_colour(c), label=name) for c, name in enumerate(names)]
    handles += [Patch(fc="0.6", label="bias²"), Patch(fc="white", ec="0.4", hatch="/////", label="variance")]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def calibration(levels: Float[ArrayLike, " n"], coverage: Mapping[str, Float[ArrayLike, " n"]], ax: Axes) -> Axes:
    """Fraction of targets in central predictive intervals against what it should be; below the diagonal, overconfident."""
    ax.plot([0, 1], [0, 1], color="0.6", ls="--", lw=1)
    for number, (name, values) in enumerate(coverage.items()):
        marker = MARKERS[number % len(MARKERS)]
        ax.plot(levels, values, color=class_colour(number), marker=marker, ms=4, lw=1.2, label=name)
    ax.set(xlabel="nominal coverage", ylabel="fraction of test targets inside", xlim=(0, 1), ylim=(0, 1))
    ax.legend()
    return ax
