r"""Two forms of the posterior over the same networks: with and without the exact reductions.

Both have standard normal coordinates, so that the prior needs no metric of its own:

- `Reduced`: \((\epsilon, W^2, \ldots, W^L)\), the first layer whitened and the readout integrated out.
- `Plain`: \((W^1, \ldots, W^L, a / \sigma_a)\), all weights.

A density is written for one network; callers batch it over chains.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.model import Model
from nonlazy.posterior.first_layer import FirstLayer
from nonlazy.posterior.likelihood import draw_readout, log_marginal_likelihood
from nonlazy.tasks import Task

Position = tuple[Float[Array, "..."], ...]


class Network(NamedTuple):
    """One draw: preactivations of each layer on training and test inputs, the readout weights, and W^1 ... W^L."""

    preactivations: list[Float[Array, "P N"]]
    test_preactivations: list[Float[Array, "T N"]]
    readout: Float[Array, "N m"]
    weights: Position


def log_standard_normal(position: Position) -> Float[Array, ""]:
    """Log density of independent standard normal coordinates."""
    return sum(-jnp.sum(x**2) / 2 - x.size / 2 * math.log(2 * math.pi) for x in position)  # type: ignore[return-value]


def test_inputs(task: Task) -> Float[Array, "T N0"]:
    """The test inputs, none if there are none."""
    return jnp.zeros((0, task.n_features)) if task.test_inputs is None else jnp.asarray(task.test_inputs)


class Reduced(NamedTuple):
    """Hidden coordinates only: the readout is integrated out, the first layer whitened."""

    model: Model
    task: Task
    temperature: float
    readout_variance: float
    first_layer: FirstLayer

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of each coordinate: (R, N), then (N, N) for each deeper layer."""
        width = self.model.width
        return ((self.first_layer.rank, width), *((width, width),) * (self.model.depth - 1))

    @property
    def scale(self) -> float:
        """Prefactor of Phi Phi^T in the covariance of the outputs."""
        return self.readout_variance * self.model.output_scale**2

    def preactivations(self, position: Position) -> list[Float[Array, "P N"]]:
        return self.model.preactivations(self.first_layer.preactivations(position[0]), position[1:])

    def log_density(self, position: Position) -> Float[Array, ""]:
        r"""\(\log N(Y \mid 0, C) + \log N(\epsilon, W^2, \ldots \mid 0, 1)\)."""
        features = self.model.phi(self.preactivations(position)[-1])
        likelihood = log_marginal_likelihood(features, self.task.targets, self.scale, self.temperature)
        return likelihood + log_standard_normal(position)

    def network(self, key: Array, position: Position) -> Network:
        """A network of the posterior: the readout, and the weights that only test inputs see, drawn exactly."""
        key_readout, key_first = jax.random.split(key)
        layers = self.preactivations(position)
        readout = draw_readout(
            key_readout,
            self.model.phi(layers[-1]),
            jnp.asarray(self.task.targets),
            self.readout_variance,
            self.model.output_scale,
            self.temperature,
        )
        weights = (self.first_layer.weights(key_first, position[0]), *position[1:])
        return Network(layers, self.model.hidden_layers(test_inputs(self.task), weights), readout, weights)


class Plain(NamedTuple):
    """All weights, for reference and for comparison with general-purpose samplers."""

    model: Model
    task: Task
    temperature: float
    readout_variance: float

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of each coordinate: (N0, N), then (N, N) for each deeper layer, then (N, m)."""
        width = self.model.width
        hidden = ((width, width),) * (self.model.depth - 1)
        return ((self.task.n_features, width), *hidden, (width, self.task.n_outputs))

    def network(self, key: Array, position: Position) -> Network:
        """The network with these weights; nothing is left to draw, `key` is not used."""
        *weights, readout = position
        layers = self.model.hidden_layers(jnp.asarray(self.task.inputs), weights)
        test_layers = self.model.hidden_layers(test_inputs(self.task), weights)
        return Network(layers, test_layers, jnp.sqrt(self.readout_variance) * readout, tuple(weights))

    def log_density(self, position: Position) -> Float[Array, ""]:
        r"""\(\log N(Y \mid f, T I) + \log N(W^1, \ldots, W^L, a / \sigma_a \mid 0, 1)\)."""
        layers, _, readout, _ = self.network(jax.random.key(0), position)
        error = self.task.targets - self.model.outputs(self.model.phi(layers[-1]), readout)
        normalization = error.size / 2 * jnp.log(2 * math.pi * self.temperature)
        return -jnp.sum(error**2) / (2 * self.temperature) - normalization + log_standard_normal(position)
