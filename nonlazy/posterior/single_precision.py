r"""The reduced posterior with the network in single precision, and what decides about accuracy in double.

Preactivations, features and their derivatives have 24 bits; the covariance \(C = v \Phi \Phi^T + T I\), its Cholesky
factor, the log density and the coordinates have 53. Features that are rounded are those of a network nearby; a covariance
that is rounded would not be one at a low temperature.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.model import Model
from nonlazy.posterior.densities import Network, Position, Reduced, log_standard_normal
from nonlazy.posterior.likelihood import log_marginal_likelihood
from nonlazy.tasks import Task


class SinglePrecision(NamedTuple):
    """`Reduced`, its features computed in single precision; networks are drawn in double."""

    reduced: Reduced

    @property
    def model(self) -> Model:
        return self.reduced.model

    @property
    def task(self) -> Task:
        return self.reduced.task

    @property
    def temperature(self) -> float:
        return self.reduced.temperature

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return self.reduced.shapes

    def features(self, position: Position) -> Float[Array, "P N"]:
        """phi(z^L), every operation on the way in single precision."""
        first, *deeper = (x.astype(jnp.float32) for x in position)
        layer = self.reduced.first_layer
        rounded = layer._replace(factor=layer.factor.astype(jnp.float32))
        return self.model.phi(self.model.preactivations(rounded.preactivations(first), deeper)[-1])

    def log_density(self, position: Position) -> Float[Array, ""]:
        r"""\(\log N(Y \mid 0, C) + \log N(\epsilon, W^2, \ldots \mid 0, 1)\)."""
        features, scale = self.features(position).astype(jnp.float64), self.reduced.scale
        likelihood = log_marginal_likelihood(features, self.task.targets, scale, self.temperature)
        return likelihood + log_standard_normal(position)

    def network(self, key: Array, position: Position) -> Network:
        return self.reduced.network(key, position)
