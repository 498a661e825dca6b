"""Coding schemes of three-layer networks: activities and kernels of all layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nonlazy import plot
from nonlazy.report import Picture
from nonlazy.representation import coding_scheme
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import Claim, above, below, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, block_contrast, draw, last_features, mean_and_error, toy_posterior

SCHEMES = {"linear": "analog", "erf": "redundant", "relu": "sparse"}
DEPTH = 3
MOST_CODING_NEURONS = 6  # two for each class


def compute(job: Job) -> Outcome:
    outcome = Outcome()
    for activation, expected in SCHEMES.items():
        job.announce(f"sampling the {NAMES[activation]} network")
        s = job.settings
        posterior = toy_posterior(activation, DEPTH, s["width"], s["n_inputs"], s["temperature"])
        tree = draw(posterior, s["sampling"], job.seed, keep=("kernel_blocks",))
        job.announce(f"reading the {NAMES[activation]} network")
        features = last_features(tree, posterior)
        labels = posterior.task.labels
        read = [coding_scheme(chain[-1], labels, seed=job.seed) for chain in features]
        contrast = block_contrast(tree["posterior"]["kernel_blocks"].values)
        outcome.claims += scheme_claims(activation, expected, read)
        outcome.claims += layer_claims(activation, contrast, s["contrast_ratio"])
        kernels = tree["posterior_mean"]["kernel"].values[0]
        outcome.pictures.append(picture(activation, expected, posterior, features[0], kernels))
        outcome.numbers[activation] = {
            "schemes": [scheme.name for scheme in read],
            "coding_neurons": [len(scheme.coding_neurons) for scheme in read],
            "codes": [{code.name: code.fraction for code in scheme.codes} for scheme in read],
            "block_contrast": contrast.mean(axis=(0, 1)),
        }
    return outcome


def scheme_claims(activation: str, expected: str, read: list[Any]) -> list[Claim]:
    """What `nonlazy.coding_scheme` reads in the last layer of each chain's last network."""
    names = [scheme.name for scheme in read]
    share = np.mean([name == expected for name in names])
    statement = f"{NAMES[activation]}: the last layer's coding scheme is {expected} (fraction of chains)."
    others = ", ".join(sorted(set(names) - {expected}))
    found = [close_to(1.0, 0.0, statement, share, explanation=f"Also read: {others}." if others else "")]
    if activation == "relu":
        counts = [len(scheme.coding_neurons) for scheme in read]
        statement = "ReLU: a handful of neurons carries the codes of the last layer (largest number in a chain)."
        found.append(below(MOST_CODING_NEURONS, statement, max(counts)))
    if activation == "erf":
        fractions = [max((code.fraction for code in scheme.codes), default=np.nan) for scheme in read]
        statement = "sigmoidal: each frequent code is shared by many neurons (fraction of the most frequent one)."
        words = "Chains start at the prior. Codes freeze there, so that only their sharing is judged here, not their fractions."
        error = np.std(fractions, ddof=1) / np.sqrt(len(fractions)) if len(fractions) > 1 else 0.0
        found.append(above(0.1, statement, float(np.mean(fractions)), error, words))
    return found


def layer_claims(activation: str, contrast: np.ndarray, least: float) -> list[Claim]:
    """Class structure of neighbouring layers' kernels."""
    found = []
    for layer in range(contrast.shape[-1] - 1):
        ratio, error = mean_and_error(contrast[..., layer + 1] / contrast[..., layer])
        statement = (
            f"{NAMES[activation]}: class blocks are stronger in layer {layer + 2} than in layer {layer + 1} "
            "(ratio of the mean within-class minus between-class kernel)."
        )
        found.append(above(least, statement, ratio, error))
    return found


def picture(activation: str, scheme: str, posterior: Any, features: np.ndarray, kernels: np.ndarray) -> Picture:
    """Activities above, kernels below, a column for each layer."""
    figure, axes = plot.subplots(2, DEPTH, 3.3, 2.8)
    for layer in range(DEPTH):
        drawing.activities(features[layer], posterior, axes[0][layer], strongest=activation == "relu")
        axes[0][layer].set_title(f"{NAMES[activation]}, layer {layer + 1}")
        drawing.kernel(kernels[layer], posterior, axes[1][layer])
    shown = "the most active neurons" if activation == "relu" else "all neurons"
    caption = (
        f"{NAMES[activation]} network, {scheme} coding. Above: activity of {shown} of one network on all training "
        "inputs, sorted by class and code. Below: kernel of each layer, averaged over the draws of a chain; the "
        "diagonal is beyond the scale."
    )
    return Picture(f"schemes-{activation}", f"Layers of a {NAMES[activation]} network", caption, figure)


ENTRY = Entry(
    "schemes",
    "Coding schemes, layer by layer",
    "Linear networks code analog, sigmoidal ones redundantly, ReLU networks sparsely; kernels show the classes more "
    "strongly the higher the layer.",
    "Nature Communications 16, 3354 (2025), figures on three classes; poster (Bernstein Conference 2025), coding schemes",
    compute,
)
