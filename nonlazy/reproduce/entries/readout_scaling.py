"""Kernel blocks against P, with and without the prior variance of the readout that shrinks with P."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nonlazy import plot
from nonlazy.errors import NonlazyError
from nonlazy.plot.style import class_colour
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import Claim, below, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, block_contrast, draw, mean_and_error, toy_posterior
from nonlazy.theory import solve

Points = list[tuple[int, float, float]]  # P, contrast, its error


def compute(job: Job) -> Outcome:
    outcome, found = Outcome(), {}
    for source in ("theory", "sampled"):
        for activation, depth in job.settings[source]:
            job.announce(f"{source}, {NAMES[activation]}, L = {depth}")
            curves = {scaled: curve(job, source, activation, depth, scaled) for scaled in (True, False)}
            found[(source, activation, depth)] = curves
            outcome.claims += claims(f"{source}, {NAMES[activation]}, L = {depth}", depth, activation, curves, job)
    outcome.pictures = [picture(found)]
    outcome.numbers = {
        f"{source}, {activation}, L = {depth}": {
            "scaled" if scaled else "not scaled": points for scaled, points in curves.items()
        }
        for (source, activation, depth), curves in found.items()
    }
    return outcome


def curve(job: Job, source: str, activation: str, depth: int, scaled: bool) -> Points:
    """Block contrast of the last layer against P; sizes at which the solver fails are left out."""
    s, points = job.settings, []
    for n in s["n_inputs" if source == "theory" else "sampled_n_inputs"]:
        options: dict[str, Any] = {} if scaled else {"readout_scaling": 0.0}
        posterior = toy_posterior(activation, depth, n, n, s["width_temperature"] / n, **options)
        try:
            points.append((n, *contrast(job, source, posterior)))
        except NonlazyError:
            continue
    return points


def contrast(job: Job, source: str, posterior: Posterior) -> tuple[float, float]:
    if source == "theory":
        return float(block_contrast(solve(posterior, seed=job.seed, progress=False).kernel_blocks[-1])), 0.0
    tree = draw(posterior, job.settings["sampling"], job.seed, keep=("kernel_blocks",))
    return mean_and_error(block_contrast(tree["posterior"]["kernel_blocks"].values[:, :, -1]))


def exponent(points: Points) -> tuple[float, float]:
    """Slope of log contrast in log P between the two largest sizes, and its error."""
    if len(points) < 2:
        return math.nan, math.nan
    (p, x, dx), (q, y, dy) = points[-2:]
    length = math.log(q / p)
    return math.log(y / x) / length, math.hypot(dx / x, dy / y) / length


def claims(name: str, depth: int, activation: str, curves: dict[bool, Points], job: Job) -> list[Claim]:
    tolerance = job.settings["tolerance"]
    statement = f"{name}: with the scaling, class blocks stay of order one (exponent in P between the largest sizes)."
    found = [close_to(0.0, tolerance, statement, *exponent(curves[True]))]
    # Linear: U^(L+1) = sigma_a^(2 L) G with G proportional to P, and blocks 1 / U.
    leading = (
        f"To leading order in P the exponent is -1/{depth + 1}; at finite P lower layers add terms that fall faster."
    )
    words = leading if activation == "linear" and depth > 1 else ""
    statement = f"{name}: without it they vanish (exponent in P)."
    return [*found, below(-0.1, statement, *exponent(curves[False]), words)]


def picture(found: dict[tuple[str, str, int], dict[bool, Points]]) -> Picture:
    activations = list(dict.fromkeys(activation for _, activation, _ in found))
    figure, axes = plot.subplots(1, len(activations), 3.8, 2.8)
    for ax, activation in zip(axes[0], activations, strict=True):
        shown = [(key, curves) for key, curves in found.items() if key[1] == activation]
        for (source, _, depth), curves in shown:
            for scaled, points in curves.items():
                if points:
                    n, values, errors = np.array(points).T
                    look: dict[str, Any] = {"color": class_colour(depth - 1), "marker": "os^"[depth - 1], "ms": 4}
                    label = f"L = {depth}, {source}" if scaled else None
                    ax.errorbar(n, values, 2 * errors, ls="-" if scaled else ":", capsize=2, label=label, **look)
        ax.plot([], ls=":", color="0.3", label="without the scaling")
        ax.set(xscale="log", yscale="log", title=NAMES[activation], xlabel="P = N", ylabel="block contrast, last layer")
        drawing.name_sizes(sorted({n for _, curves in shown for points in curves.values() for n, *_ in points}), ax)
        ax.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    caption = (
        "Mean kernel within classes minus between classes against the number of inputs, N = P. Solid: the readout's "
        "prior variance shrinks with P as in the theory; dotted: it does not, and class structure vanishes."
    )
    return Picture("readout-scaling", "Why the readout's prior shrinks with P", caption, figure)


ENTRY = Entry(
    "readout-scaling",
    "Why the readout's prior shrinks with P",
    "Learned kernel entries stay of order one only if the readout's prior variance falls with P, as 1/P for saturating "
    "activations and as the power -1/L for those of degree one.",
    "Nature Communications 16, 3354 (2025), on the scaling of the readout's prior",
    compute,
)
