r"""The law of one neuron of the layer, its readout integrated out, in coordinates that are standard normal under the prior.

\[ q(\epsilon) \propto N(\epsilon \mid 0, I)\, e^{g}, \qquad g = \tfrac{\sigma_a^2}{2} |t^T \phi(z)|^2, \quad z = F \epsilon,
   \quad F F^T = K_0 \]
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.activations import Activation


class Law(NamedTuple):
    r"""Factor F (P, R), scaled dual variables \(\sigma_a t\) (P, m), and the largest \(|\epsilon|^2\) of a neuron."""

    factor: Float[Array, "P R"]
    scaled: Float[Array, "P m"]
    wall: Float[Array, ""] | float

    def preactivations(self, coordinates: Float[Array, "M R"]) -> Float[Array, "M P"]:
        return coordinates @ self.factor.T

    def tilt(self, phi: Activation, coordinates: Float[Array, "M R"]) -> Float[Array, " M"]:
        """g of each particle."""
        return jnp.sum((phi(self.preactivations(coordinates)) @ self.scaled) ** 2, axis=-1) / 2

    def field(self, features: Float[Array, "M P"]) -> Float[Array, "M P"]:
        r"""\(\sigma_a^2 t t^T \phi\), the derivative of g by the features."""
        return features @ self.scaled @ self.scaled.T


def slope(phi: Activation, z: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""\(\phi'\)."""
    return jax.grad(lambda x: jnp.sum(phi(x)))(z)
