"""Lazy against non-lazy networks: what learning does to activities and kernels."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy import plot
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import Claim, above, below
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, block_contrast, draw, last_features, mean_and_error, toy_posterior

DEPTH, RATIOS = 2, (0.5, 0.5)
CONTRAST = "within-class minus between-class kernel over its diagonal, last layer"
REGIMES = {"lazy": "lazy", "nonlazy": "non-lazy"}


def compute(job: Job) -> Outcome:
    s, outcome = job.settings, Outcome()
    figure, axes = plot.subplots(len(NAMES), 4, 2.9, 2.5)
    for row, (activation, name) in zip(axes, NAMES.items(), strict=True):
        for regime, columns in zip(REGIMES, (row[:2], row[2:]), strict=True):
            job.announce(f"sampling the {REGIMES[regime]} {name} network")
            tree, posterior = network(job, activation, regime, s["width"])
            kernel, (value, error) = last_kernel(tree), contrast(tree)
            outcome.numbers[f"{activation}, {regime}"] = {"contrast": value, "error": error}
            if regime == "lazy":
                statement = f"{name}, lazy: the kernel shows no classes ({CONTRAST})."
                outcome.claims.append(below(s["lazy_bound"], statement, value, error))
                outcome.claims.append(fall(job, activation, value, error))
            else:
                statement = f"{name}, non-lazy: the kernel shows the classes ({CONTRAST})."
                outcome.claims.append(above(s["nonlazy_bound"], statement, value, error))
            features = last_features(tree, posterior)[0, -1]
            drawing.activities(features, posterior, columns[0], strongest=activation == "relu")
            columns[0].set_title(f"{name}, {REGIMES[regime]}")
            drawing.kernel(kernel, posterior, columns[1]).set_title("kernel")
    caption = (
        "Last of two hidden layers after learning two classes: activities of one network, neurons sorted by code (of "
        "ReLU networks the most active ones), and the mean kernel. Left lazy, right non-lazy networks."
    )
    outcome.pictures = [Picture("overview", "Lazy and non-lazy networks", caption, figure)]
    return outcome


def network(job: Job, activation: str, regime: str, width: int) -> tuple[xr.DataTree, Posterior]:
    s = job.settings
    posterior = toy_posterior(
        activation, DEPTH, width, s["n_inputs"], s[f"{regime}_temperature"], RATIOS, regime=regime
    )
    return draw(posterior, s["sampling"], job.seed, keep=("kernel_blocks",)), posterior


def last_kernel(tree: xr.DataTree) -> Float[np.ndarray, "P P"]:
    return tree["posterior_mean"]["kernel"].values[:, -1].mean(axis=0)


def contrast(tree: xr.DataTree) -> tuple[float, float]:
    """Of the last layer's kernel, with its error."""
    blocks = tree["posterior"]["kernel_blocks"].values[:, :, -1]
    return mean_and_error(block_contrast(blocks) / np.diagonal(last_kernel(tree)).mean())


def fall(job: Job, activation: str, narrow: float, error: float) -> Claim:
    """What is left of a lazy network's contrast at a larger width and the same number of inputs."""
    factor = job.settings["wider"]
    job.announce(f"sampling the lazy {NAMES[activation]} network of {factor} times the width")
    wide, wide_error = contrast(network(job, activation, "lazy", factor * job.settings["width"])[0])
    ratio = wide / narrow
    statement = f"{NAMES[activation]}, lazy: the contrast falls with the width ({factor} N over N)."
    return below(1.0, statement, ratio, abs(ratio) * np.hypot(wide_error / wide, error / narrow))


ENTRY = Entry(
    "overview",
    "Lazy and non-lazy networks",
    "Non-lazy networks learn representations that show the classes; lazy ones keep the kernel that they had before "
    "training.",
    "Nature Communications 16, 3354 (2025), introductory figure; poster (Bernstein Conference 2025), lazy and "
    "non-lazy networks",
    compute,
)
