"""Lazy against non-lazy networks: what learning does to activities and kernels."""

from __future__ import annotations

import numpy as np

from nonlazy import plot
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import above, below
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, block_contrast, draw, last_features, mean_and_error, toy_posterior

DEPTH, RATIOS = 2, (0.5, 0.5)
REGIMES = {"lazy": "lazy", "nonlazy": "non-lazy"}


def compute(job: Job) -> Outcome:
    s, outcome = job.settings, Outcome()
    figure, axes = plot.subplots(len(NAMES), 4, 2.9, 2.5)
    for row, (activation, name) in zip(axes, NAMES.items(), strict=True):
        for regime, columns in zip(REGIMES, (row[:2], row[2:]), strict=True):
            job.announce(f"sampling the {REGIMES[regime]} {name} network")
            posterior = toy_posterior(
                activation, DEPTH, s["width"], s["n_inputs"], s[f"{regime}_temperature"], RATIOS, regime=regime
            )
            tree = draw(posterior, s["sampling"], job.seed, keep=("kernel_blocks",))
            kernel = tree["posterior_mean"]["kernel"].values[:, -1].mean(axis=0)
            contrast = block_contrast(tree["posterior"]["kernel_blocks"].values[:, :, -1]) / np.diagonal(kernel).mean()
            value, error = mean_and_error(contrast)
            outcome.numbers[f"{activation}, {regime}"] = {"contrast": value, "error": error}
            words = f"{name}, {REGIMES[regime]}: "
            quantity = "(within-class minus between-class kernel over its diagonal, last layer)."
            if regime == "lazy":
                statement = f"{words}the kernel shows no classes {quantity}"
                note = "Lazy networks of N = P learn a little; the contrast falls with the width."
                outcome.claims.append(below(s["lazy_bound"], statement, value, error, note))
            else:
                outcome.claims.append(
                    above(s["nonlazy_bound"], f"{words}the kernel shows the classes {quantity}", value, error)
                )
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


ENTRY = Entry(
    "overview",
    "Lazy and non-lazy networks",
    "Non-lazy networks learn representations that show the classes; lazy ones keep the kernel that they had before "
    "training.",
    "Nature Communications 16, 3354 (2025), introductory figure; poster (Bernstein Conference 2025), lazy and "
    "non-lazy networks",
    compute,
)
