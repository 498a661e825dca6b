r"""The coupling that a layer exerts on the one below, \(\tilde{K}_{l-1} = 2\, \partial \log Z_l / \partial K_{l-1}\).

By Stein's identity, without inverting a noisy kernel,

\[ \tilde{K}_{l-1} = \sigma_l^2 \langle \psi \psi^T + \nabla \nabla g \rangle, \qquad \psi = \nabla g = \phi' \odot \tilde{K} \phi, \quad
   \nabla \nabla g = \phi'_\mu \tilde{K}_{\mu\nu} \phi'_\nu + \mathrm{diag}(\phi'' \odot \tilde{K} \phi) . \]

Kinks, where \(\phi''\) is a delta function that automatic differentiation does not see, are smoothed over a small width.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.activations import Activation
from nonlazy.theory.particles.law import Law, slope

KINK_WIDTH = 0.1  # half of the window over which the slope is differenced


def curvature(phi: Activation, z: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""\(\phi''\) as a central difference of the slope: exact up to O(width^2), and it sees kinks."""
    return (slope(phi, z + KINK_WIDTH) - slope(phi, z - KINK_WIDTH)) / (2 * KINK_WIDTH)


def backward(
    phi: Activation, law: Law, z: Float[Array, "M P"], weights: Float[Array, " M"], layer_variance: float
) -> Float[Array, "P P"]:
    """The coupling of the layer below, averaged over particles."""
    slopes = slope(phi, z)
    field = law.field(phi(z))
    psi = slopes * field
    pairs = (weights[:, None] * slopes).T @ slopes * (law.left @ law.right.T + law.right @ law.left.T) / 2
    diagonal = weights @ (curvature(phi, z) * field)
    return layer_variance * ((weights[:, None] * psi).T @ psi + pairs + jnp.diag(diagonal))
