r"""The theory-anchored path: from the posterior at its temperature to independent neurons at high temperature.

With the theory's dual variables t, targets shift with the temperature such that the mean outputs stay where they are,

\[ Y_T = Y + N (T - T_0)\, t, \qquad \log p_T(z) = \log N(\epsilon \mid 0, 1) + \log N(Y_T \mid 0, C_T) , \]

and for large T neurons become independent draws from the theory's single-neuron law.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.posterior import Position, Reduced
from nonlazy.posterior.densities import log_standard_normal
from nonlazy.posterior.likelihood import log_marginal_likelihood


class Rung(NamedTuple):
    """The posterior of a network with one hidden layer at one temperature of the path."""

    density: Reduced
    t: Float[Array, "P m"]
    temperature: Float[Array, ""]

    @property
    def targets(self) -> Float[Array, "P m"]:
        """Y_T."""
        rise = self.density.model.width * (self.temperature - self.density.temperature)
        return jnp.asarray(self.density.task.targets) + rise * self.t

    @property
    def scale(self) -> Float[Array, ""] | float:
        """Prefactor of Phi Phi^T in the covariance of the outputs."""
        return self.density.scale

    def features(self, z: Float[Array, "P ..."]) -> Float[Array, "P ..."]:
        return self.density.model.phi(z)

    def log_likelihood(self, position: Position) -> Float[Array, ""]:
        """log N(Y_T | 0, C_T)."""
        features = self.features(self.density.preactivations(position)[-1])
        return log_marginal_likelihood(features, self.targets, self.scale, self.temperature)

    def log_evidence(self, x: Float[Array, "R N"], log_norm: Float[Array, ""]) -> Float[Array, ""]:
        r"""The log of \(E = Z_1^N\, N(Y_T \mid 0, C_T) \prod_i e^{-\sigma_a^2 |t^T \phi(z_i)|^2 / 2}\), for which
        \(1 / p_T(Y_T) = \langle 1 / E \rangle\) over draws of this rung; where neurons are independent E does not fluctuate.
        """
        model = self.density.model
        phi = self.features(self.density.preactivations((x,))[-1])
        weight = self.density.readout_variance * jnp.sum((self.t.T @ phi) ** 2) / 2
        return self.log_likelihood((x,)) - weight + model.width * log_norm

    def log_density(self, position: Position) -> Float[Array, ""]:
        return self.log_likelihood(position) + log_standard_normal(position)
