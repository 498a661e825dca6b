"""Posteriors, draws and their class structure, as the entries need them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float

from nonlazy.analysis import last_activities
from nonlazy.codes import activity_threshold, code_names, neuron_codes
from nonlazy.errors import SamplingWarning
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.sampling import sample
from nonlazy.tasks import Task, orthogonal
from nonlazy.theory import Theory

RATIOS = (0.5, 0.25, 0.25)
NAMES = {"linear": "linear", "erf": "sigmoidal", "relu": "ReLU"}
# Above it chains disagree, and only the spread of their means is an honest error.
MAX_RHAT = 1.1


def toy_posterior(
    activation: str, depth: int, width: int, n_inputs: int, temperature: float, ratios: Sequence[float] = RATIOS, **model: Any
) -> Posterior:  # fmt: skip
    """The posterior on orthogonal inputs."""
    task = orthogonal(n_inputs, tuple(ratios))
    return Posterior(Model(depth=depth, width=width, activation=activation, **model), task, temperature)


def draw(posterior: Posterior, sampling: dict[str, Any], seed: int, **options: Any) -> xr.DataTree:
    """Draws whose warnings are not shown: entries judge by their own errors, and say what is frozen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return sample(posterior, seed=seed, progress=False, **(sampling | options))


def first_coordinates(theory: Theory, chains: int) -> tuple[np.ndarray, ...]:
    """A different network drawn from the theory for each chain, without solving it once more."""
    draws = [theory.draw(seed=seed).position for seed in range(chains)]
    return tuple(np.stack(parts) for parts in zip(*draws, strict=True))


def mean_and_error(values: Float[np.ndarray, "chain draw"]) -> tuple[float, float]:
    """Mean of draws and its standard error; from the spread of the chains' means where these disagree."""
    values = np.asarray(values)
    chains, draws = values.shape
    spread = float(values.mean(axis=1).std(ddof=1) / np.sqrt(chains)) if chains > 1 else np.nan
    if draws < 4 or np.ptp(values) == 0:
        return float(values.mean()), spread
    mcse = float(array_stats.mcse(values, chain_axis=0, draw_axis=1))
    agree = chains > 1 and array_stats.rhat(values, chain_axis=0, draw_axis=1) <= MAX_RHAT
    return float(values.mean()), mcse if agree or chains == 1 else spread


def last_features(tree: xr.DataTree, posterior: Posterior) -> Float[np.ndarray, "chain layer P N"]:
    """Activities of the last network of each chain."""
    return last_activities(tree["last_draw"]["preactivations"].values, posterior.model.phi)


def class_means(values: Float[np.ndarray, "P ..."], task: Task) -> Float[np.ndarray, "C ..."]:
    """Means over the inputs of each class."""
    return np.stack([values[task.labels == c].mean(axis=0) for c in range(len(task.class_names))])


def codes_of(features: Float[np.ndarray, "P N"], posterior: Posterior) -> np.ndarray:
    """The code of each neuron as a string."""
    activity = class_means(features, posterior.task).T
    return code_names(neuron_codes(activity, activity_threshold(activity, posterior.model.phi.name)))


def block_contrast(blocks: Float[np.ndarray, "... C C"]) -> Float[np.ndarray, "..."]:
    """Mean kernel within classes minus mean kernel between classes, each block with the same weight."""
    within = np.eye(blocks.shape[-1], dtype=bool)
    return blocks[..., within].mean(-1) - blocks[..., ~within].mean(-1)
