"""Class activities of a population with their sampling errors, and how strongly each neuron tells classes apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nonlazy.errors import InputError

# Activations are read in slices of at most this many numbers, so that a memory-mapped file need not fit into memory.
SLICE = 2**24


class Population(NamedTuple):
    r"""Mean activity of each neuron in each class, and the variance of that mean over inputs.

    `noise` is the variance within the class over the number of inputs in it.
    """

    activity: Float[np.ndarray, "neuron label"]
    noise: Float[np.ndarray, "neuron label"]

    def with_activity(self, activity: Float[np.ndarray, "neuron label"]) -> Population:
        return Population(activity, self.noise)

    def choose(self, neurons: Int[np.ndarray, " chosen"]) -> Population:
        return Population(self.activity[neurons], self.noise[neurons])

    def measured_again(self, generator: np.random.Generator) -> Population:
        """The same population on other inputs: class means move by their sampling error."""
        return self.with_activity(self.activity + np.sqrt(self.noise) * generator.standard_normal(self.noise.shape))

    @property
    def contrast(self) -> Float[np.ndarray, "neuron label"]:
        """Class activity relative to the neuron's mean over classes."""
        return self.activity - self.activity.mean(axis=1, keepdims=True)

    @property
    def chance(self) -> Float[np.ndarray, " neuron"]:
        r"""Variance over classes that sampling errors alone make: \((1 - 1/C)\) times their mean variance."""
        return (1 - 1 / self.noise.shape[1]) * self.noise.mean(axis=1)

    @property
    def strength(self) -> Float[np.ndarray, " neuron"]:
        """Variance of the activity over classes, less what sampling errors make; its mean is the task-related kernel."""
        return (self.contrast**2).mean(axis=1) - self.chance

    @property
    def reliability(self) -> float:
        """Share of the variance over classes that is not sampling error, over all neurons."""
        total = (self.contrast**2).mean()
        return float(self.strength.mean() / total) if total > 0 else 0.0

    @property
    def diversity(self) -> float:
        """Share of the variance of contrasts between neurons that is not sampling error."""
        total = ((self.contrast - self.contrast.mean(axis=0)) ** 2).mean()
        return float(1 - self.chance.mean() / total) if total > 0 else 0.0


def measure(activations: np.ndarray, labels: Int[np.ndarray, " P"]) -> Population:
    """Class activities of all neurons, a slice of neurons at a time.

    Raises:
        InputError: an activation that is not finite.
    """
    counts = np.bincount(labels)
    order, edges = np.argsort(labels, kind="stable"), np.concatenate([[0], np.cumsum(counts)[:-1]])
    size = max(1, SLICE // len(labels))
    parts = [_slice(activations, first, size, order, edges, counts) for first in range(0, activations.shape[1], size)]
    return Population(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _slice(
    activations: np.ndarray,
    first: int,
    size: int,
    order: Int[np.ndarray, " P"],
    edges: Int[np.ndarray, " label"],
    counts: Int[np.ndarray, " label"],
) -> tuple[Float[np.ndarray, "neuron label"], Float[np.ndarray, "neuron label"]]:
    values = np.asarray(activations[:, first : first + size], dtype=float)[order]
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"activations must be finite, got {values[row, column]} for input {order[row]}, neuron {first + column}."
        )
    means = np.add.reduceat(values, edges) / counts[:, None]
    squares = np.add.reduceat((values - np.repeat(means, counts, axis=0)) ** 2, edges)
    return means.T, (squares / ((counts - 1) * counts)[:, None]).T
