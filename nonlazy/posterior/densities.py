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
import numpy as np
from jaxtyping import Array, Float

from nonlazy.model import Model
from nonlazy.posterior.first_layer import FirstLayer
from nonlazy.posterior.likelihood import draw_readout, log_marginal_likelihood
from nonlazy.prior import layer_scale
from nonlazy.tasks import Task

Position = tuple[Float[Array, "..."], ...]


class Network(NamedTuple):
    """One draw: preactivations of each layer on training and test inputs, and the readout weights."""

    preactivations: list[Float[Array, "P N"]]
    test_preactivations: list[Float[Array, "T N"]]
    readout: Float[Array, "N m"]


def log_standard_normal(position: Position) -> Float[Array, ""]:
    """Log density of independent standard normal coordinates."""
    return sum(-jnp.sum(x**2) / 2 - x.size / 2 * math.log(2 * math.pi) for x in position)  # type: ignore[return-value]


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

    def preactivations(self, position: Position) -> list[Float[Array, "P N"]]:
        return self.model.preactivations(self.first_layer.preactivations(position[0]), position[1:])

    def log_density(self, position: Position) -> Float[Array, ""]:
        r"""\(\log N(Y \mid 0, C) + \log N(\epsilon, W^2, \ldots \mid 0, 1)\)."""
        features = self.model.phi(self.preactivations(position)[-1])
        scale = self.readout_variance * self.model.output_scale**2
        return log_marginal_likelihood(features, self.task.targets, scale, self.temperature) + log_standard_normal(
            position
        )

    def network(self, key: Array, position: Position) -> Network:
        """A network of the posterior: the readout, and the weights that only test inputs see, drawn exactly."""
        key_readout, key_test = jax.random.split(key)
        layers = self.preactivations(position)
        readout = draw_readout(
            key_readout,
            self.model.phi(layers[-1]),
            jnp.asarray(self.task.targets),
            self.readout_variance,
            self.model.output_scale,
            self.temperature,
        )
        test = self.first_layer.test_preactivations(key_test, position[0])
        return Network(layers, self.model.preactivations(test, position[1:]), readout)


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
        first, *deeper, readout = position
        scale = layer_scale(self.model.weight_stds[0], self.task.n_features)
        test = np.zeros((0, self.task.n_features)) if self.task.test_inputs is None else self.task.test_inputs
        layers = self.model.preactivations(jnp.asarray(scale * self.task.inputs) @ first, deeper)
        test_layers = self.model.preactivations(jnp.asarray(scale * test) @ first, deeper)
        return Network(layers, test_layers, jnp.sqrt(self.readout_variance) * readout)

    def log_density(self, position: Position) -> Float[Array, ""]:
        r"""\(\log N(Y \mid f, T I) + \log N(W^1, \ldots, W^L, a / \sigma_a \mid 0, 1)\)."""
        layers, _, readout = self.network(jax.random.key(0), position)
        error = self.task.targets - self.model.outputs(self.model.phi(layers[-1]), readout)
        normalization = error.size / 2 * jnp.log(2 * math.pi * self.temperature)
        return -jnp.sum(error**2) / (2 * self.temperature) - normalization + log_standard_normal(position)
