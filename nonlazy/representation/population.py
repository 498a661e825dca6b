"""Class activities of a population with their sampling errors, and the signal in them: what tells classes apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nonlazy.errors import InputError

# Activations are read in slices of at most this many numbers, so that a memory-mapped file need not fit into memory.
SLICE = 2**23


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

    def with_errors(self, generator: np.random.Generator) -> Population:
        """Activities moved by a draw of their sampling errors."""
        return self.with_activity(self.activity + np.sqrt(self.noise) * generator.standard_normal(self.noise.shape))

    @property
    def contrast(self) -> Float[np.ndarray, "neuron label"]:
        """Class activity relative to the neuron's mean over classes."""
        # From the first class: equal activities then have contrasts of exactly zero.
        relative = self.activity - self.activity[:, :1]
        return relative - relative.mean(axis=1, keepdims=True)

    @property
    def noise_variance(self) -> Float[np.ndarray, " neuron"]:
        r"""Variance over classes that sampling errors alone make: \((1 - 1/C)\) times their mean variance."""
        return (1 - 1 / self.noise.shape[1]) * self.noise.mean(axis=1)

    @property
    def signal_variance(self) -> Float[np.ndarray, " neuron"]:
        """Variance of the activity over classes, less what sampling errors make; its mean is the task-related kernel."""
        return (self.contrast**2).mean(axis=1) - self.noise_variance

    @property
    def reliability(self) -> float:
        """Share of the variance over classes that is not sampling error, over all neurons."""
        total = (self.contrast**2).mean()
        return float(self.signal_variance.mean() / total) if total > 0 else 0.0

    @property
    def diversity(self) -> float:
        """Share of the variance of contrasts between neurons that is not sampling error."""
        total = ((self.contrast - self.contrast.mean(axis=0)) ** 2).mean()
        return float(1 - self.noise_variance.mean() / total) if total > 0 else 0.0


def measure(activations: np.ndarray, labels: Int[np.ndarray, " P"]) -> Population:
    """Class activities of all neurons, in two passes over slices of inputs.

    Raises:
        InputError: an activation that is not finite, or so large that its square is not.
    """
    counts = np.bincount(labels)
    indicator = (labels == np.arange(len(counts))[:, None]).astype(float)
    # Relative to the first input: a neuron that is constant then has mean and variance exactly zero.
    origin = np.asarray(activations[0], dtype=float)
    shape = (len(counts), activations.shape[1])
    means, squares = np.zeros(shape), np.zeros(shape)
    for inputs, values in _slices(activations):
        means += indicator[:, inputs] @ (values - origin) / counts[:, None]
    for inputs, values in _slices(activations):
        with np.errstate(over="ignore", invalid="ignore"):
            squares += indicator[:, inputs] @ (values - origin - means[labels[inputs]]) ** 2
    if not np.isfinite(squares).all():
        raise InputError("activations must have squares that double precision can hold, got larger ones.")
    return Population((origin + means).T, (squares / ((counts - 1) * counts)[:, None]).T)


def _slices(activations: np.ndarray) -> Iterator[tuple[slice, Float[np.ndarray, "p N"]]]:
    n_inputs, n_neurons = activations.shape
    size = max(1, SLICE // n_neurons)
    for first in range(0, n_inputs, size):
        values = np.asarray(activations[first : first + size], dtype=float)
        if not np.isfinite(values).all():
            row, neuron = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"activations must be finite, got {values[row, neuron]} for input {first + row}, neuron {neuron}."
            )
        yield slice(first, first + size), values
