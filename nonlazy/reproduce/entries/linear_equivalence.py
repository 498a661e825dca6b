"""Linear networks: equal mean predictors in both regimes, variances of different order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import linregress

from nonlazy import plot
from nonlazy.analysis import generalization, predictor
from nonlazy.model import Model
from nonlazy.plot.style import THEORY_COLOUR, class_colour
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import below, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import draw
from nonlazy.tasks import Task, mnist
from nonlazy.theory import solve

FINITE_WIDTH = "The limit needs N much larger than P. Tested: at P = 48 the lazy exponent from N = 25 to 100 was 0.37."


class Point(NamedTuple):
    """Mean predictors and mean variances at one width."""

    width: int
    nonlazy: np.ndarray
    lazy: np.ndarray
    nonlazy_variance: float
    lazy_variance: float
    errors: tuple[float, float]
    mean_error: float

    @property
    def distance(self) -> float:
        """rms difference of the mean predictors, free of the draws' noise."""
        return float(np.sqrt(max(np.mean((self.nonlazy - self.lazy) ** 2) - self.mean_error**2, 0)))

    def numbers(self) -> dict[str, float]:
        return {
            "width": self.width,
            "nonlazy_variance": self.nonlazy_variance,
            "lazy_variance": self.lazy_variance,
            "distance": self.distance,
        }


def compute(job: Job) -> Outcome:
    s = job.settings
    task = mnist((0, 1, 2), s["n_train"], s["n_test"], seed=job.seed)
    theory = [point(job, task, width, sampled=False) for width in s["widths"]]
    sampled = []
    for width in s["sampled_widths"]:
        job.announce(f"sampling N = {width}")
        sampled.append(point(job, task, width, sampled=True))
    outcome = Outcome(pictures=[picture(theory, sampled), predictor_picture(task, sampled[-1])])
    scale = float(np.sqrt(np.mean(theory[-1].lazy ** 2)))
    worst = max(p.distance for p in theory)
    statement = (
        "theory: mean predictors of non-lazy and lazy networks are equal (rms difference over rms output, all widths)."
    )
    outcome.claims.append(below(0.02, statement, worst / scale))
    for p in sampled:
        statement = f"sampled, N = {p.width}: mean predictors are equal (rms difference over rms output)."
        outcome.claims.append(below(0.05, statement, p.distance / scale, p.mean_error / scale / 2))
    for name, points in (("theory", theory), ("sampled", sampled)):
        widths = np.log([p.width for p in points])
        for regime, exponent, tolerance in (("non-lazy", -1.0, 0.15), ("lazy", 0.0, 0.15)):
            variances = [p.nonlazy_variance if regime == "non-lazy" else p.lazy_variance for p in points]
            slope = float(linregress(widths, np.log(variances)).slope)
            which = 0 if regime == "non-lazy" else 1
            spread = float(np.ptp(widths))
            relative = [p.errors[which] / v for p, v in zip(points, variances, strict=True)]
            error = float(np.sqrt(np.mean(np.square(relative)) * 2) / spread)
            statement = f"{name}, {regime}: exponent of the predictor's variance in N."
            words = FINITE_WIDTH if (name, regime) == ("sampled", "lazy") else ""
            outcome.claims.append(close_to(exponent, tolerance, statement, slope, error, words))
    outcome.numbers = {"theory": [p.numbers() for p in theory], "sampled": [p.numbers() for p in sampled]}
    return outcome


def point(job: Job, task: Task, width: int, sampled: bool) -> Point:
    s, means, variances, errors, noise = job.settings, [], [], [], 0.0
    for regime in ("nonlazy", "lazy"):
        temperature = s["width_temperature"] / width if regime == "nonlazy" else s["lazy_temperature"]
        posterior = Posterior(Model(width=width, activation="linear", regime=regime), task, temperature)
        source = draw(posterior, s["sampling"], job.seed, keep=("predictions",)) if sampled else solve(posterior)
        found = predictor(source)
        means.append(found.mean)
        variances.append(found.variance_part)
        summary = generalization(source)
        errors.append(float(summary["variance_mcse"]) if sampled else 0.0)
        raw = float(np.mean((np.asarray(task.test_targets) - found.mean) ** 2)) - found.bias
        noise += max(raw, 0.0)
    return Point(width, means[0], means[1], variances[0], variances[1], (errors[0], errors[1]), float(np.sqrt(noise)))


def picture(theory: list[Point], sampled: list[Point]) -> Picture:
    figure, axes = plot.subplots(1, 1, 4.6, 3.0)
    ax = axes[0][0]
    for number, (regime, marker) in enumerate((("nonlazy", "o"), ("lazy", "s"))):
        name, colour = f"{regime.replace('nonlazy', 'non-lazy')}", class_colour(3 * number)
        lines = [(p.width, getattr(p, f"{regime}_variance")) for p in theory]
        ax.plot(*zip(*lines, strict=True), "-" if number == 0 else "--", color=colour, label=f"{name}, theory")
        x, y = np.array([(p.width, getattr(p, f"{regime}_variance")) for p in sampled]).T
        bars = [2 * p.errors[number] for p in sampled]
        ax.errorbar(x, y, yerr=bars, fmt=marker, color="black", ms=5, capsize=2, label=f"{name}, sampled")
    ax.set(xscale="log", yscale="log", xlabel="width N", ylabel="variance of the predictor")
    drawing.name_sizes([p.width for p in theory], ax)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    caption = (
        "Variance of the outputs over the posterior, averaged over test inputs and outputs, with two standard errors."
    )
    return Picture("linear-variance", "Variance of the predictor", caption, figure)


def predictor_picture(task: Task, p: Point) -> Picture:
    figure, axes = plot.subplots(1, 1, 3.6, 3.2)
    ax = axes[0][0]
    assert task.test_labels is not None
    for c, name in enumerate(task.class_names):
        members = task.test_labels == c
        ax.plot(p.lazy[members, 0], p.nonlazy[members, 0], ".", color=class_colour(c), label=f"class {name}")
    ax.axline((0, 0), slope=1, color=THEORY_COLOUR, lw=0.8)
    ax.set(xlabel="lazy", ylabel="non-lazy", title=f"mean output for class {task.class_names[0]}, N = {p.width}")
    ax.legend()
    return Picture(
        "linear-predictors", "Mean predictors", "Sampled mean output of both regimes on test inputs.", figure
    )


ENTRY = Entry(
    "linear-equivalence",
    "Linear networks: equal means, different variances",
    "The mean predictors of non-lazy and lazy linear networks are equal; the variance falls as 1/N in non-lazy "
    "networks and stays of order 1 in lazy ones.",
    "Nature Communications 16, 3354 (2025), on linear networks",
    compute,
)
