r"""The law of one neuron in one layer, in coordinates that are standard normal under its prior.

\[ q(\epsilon) \propto N(\epsilon \mid 0, I)\, e^{g}, \qquad g = \tfrac12 \phi(z)^T \tilde{K} \phi(z), \quad z = F \epsilon,
   \quad F F^T = \sigma_l^2 K_{l-1}, \quad \tilde{K} = \tfrac12 (A B^T + B A^T) \]

In the last layer \(\tilde{K} = \sigma_a^2\, t t^T\) once the readout is integrated out: \(A = B = \sigma_a t\).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.activations import Activation

Features = Float[Array, "M P"]


class Law(NamedTuple):
    """Factor F (P, R), the coupling as A and B, both (P, k), and the largest |epsilon|^2 of a neuron in the bulk."""

    factor: Float[Array, "P R"]
    left: Float[Array, "P k"]
    right: Float[Array, "P k"]
    wall: Float[Array, ""] | float

    def preactivations(self, coordinates: Float[Array, "M R"]) -> Float[Array, "M P"]:
        return coordinates @ self.factor.T

    def tilt(self, phi: Activation, coordinates: Float[Array, "M R"]) -> Float[Array, " M"]:
        r"""\(g\) of each particle."""
        features = phi(self.preactivations(coordinates))
        return jnp.sum((features @ self.left) * (features @ self.right), axis=-1) / 2

    def field(self, features: Features) -> Float[Array, "M P"]:
        r"""\(\tilde{K} \phi\), the derivative of g by the features."""
        return (features @ self.left @ self.right.T + features @ self.right @ self.left.T) / 2


def readout_law(
    factor: Float[Array, "P R"], t: Float[Array, "P m"], readout_variance: float, wall: float = math.inf
) -> Law:
    """The last layer's law, its readout integrated out."""
    scaled = jnp.sqrt(readout_variance) * t
    return Law(factor, scaled, scaled, wall)


def coupled_law(factor: Float[Array, "P R"], coupling: Float[Array, "P P"]) -> Law:
    """A lower layer's law."""
    return Law(factor, coupling, jnp.eye(len(coupling)), math.inf)


def slope(phi: Activation, z: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""\(\phi'\)."""
    return jax.grad(lambda x: jnp.sum(phi(x)))(z)


def symmetric_root(kernel: Float[Array, "P P"]) -> Float[Array, "P P"]:
    """The symmetric square root: it follows a slowly changing kernel without jumps."""
    values, vectors = jnp.linalg.eigh(kernel)
    return vectors * jnp.sqrt(jnp.maximum(values, 0)) @ vectors.T
