r"""One preactivation of one class: a Gaussian law tilted by the activation, by one-dimensional quadrature.

\[ p(z) \propto N(z \mid u, d)\, \exp\!\big( h \phi(z) + \tfrac{1}{2} k \phi(z)^2 \big), \qquad
   H(h, u) = \log \int dz\, N(z \mid u, d)\, e^{h \phi(z) + k \phi(z)^2 / 2} \]

Inputs of one class are independent given the fields h and u: all integrals over P preactivations are powers of this one.
Derivatives of H are moments: \(\partial_h H = \langle \phi \rangle\), \(\partial_u H = \langle \epsilon \rangle / \sqrt d\)
with \(\epsilon = (z - u) / \sqrt d\); no derivative of the activation is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nonlazy.activations import Activation
from nonlazy.compilation import double_precision

# Panels have these edges, so that a kink of the activation at a multiple of it (relu, hard tanh, relu6) costs no accuracy.
PANEL = 0.5
NODES_PER_PANEL = 6
# Standard deviations of the narrowest Gaussian that a panel may cover.
WIDTHS_PER_PANEL = 1.5
# Values that the activation is compiled for.
BATCH = 1024
# Chunks of this many values stay in the cache.
CHUNK = 2**17
# Standard deviations beyond which a Gaussian is left out: its mass there is below 1e-17.
TAIL = 8.5


# Logarithm of the integrand at the ends of the grid, relative to its maximum, that may be left out.
NEGLIGIBLE = -32.0


class GridTooShortError(Exception):
    """The integrand is not negligible at the ends of the grid."""


class Grid(NamedTuple):
    """Quadrature nodes z, the logarithms of their weights, and phi(z)."""

    z: Float[np.ndarray, " q"]
    log_weights: Float[np.ndarray, " q"]
    phi: Float[np.ndarray, " q"]


class Tilted(NamedTuple):
    """H and the moments of phi(z) and of the noise (z - u) / sqrt(d), each of the shape of the fields."""

    log_norm: Float[np.ndarray, "n C"]
    phi: Float[np.ndarray, "n C"]
    phi_square: Float[np.ndarray, "n C"]
    noise: Float[np.ndarray, "n C"]
    noise_square: Float[np.ndarray, "n C"]
    cross: Float[np.ndarray, "n C"]

    @property
    def phi_variance(self) -> Float[np.ndarray, "n C"]:
        return self.phi_square - self.phi**2


@lru_cache(maxsize=16)
@double_precision
def make_grid(phi: Activation, reach: float, finest: float) -> Grid:
    """Gauss-Legendre nodes on panels that cover [-reach, reach], for Gaussians no narrower than `finest`."""
    width = PANEL / max(math.ceil(PANEL / (WIDTHS_PER_PANEL * finest)), 1)
    n_panels = math.ceil(reach / width)
    nodes, weights = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
    edges = np.arange(-n_panels, n_panels) * width
    z = (edges[:, None] + width * (nodes + 1) / 2).ravel()
    return Grid(z, np.log(np.tile(width / 2 * weights, 2 * n_panels)), _evaluate(phi, z))


def _evaluate(phi: Activation, z: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """phi(z), on as many values as a multiple of BATCH: JAX compiles anew for each length."""
    padded = np.zeros(math.ceil(len(z) / BATCH) * BATCH)
    padded[: len(z)] = z
    return np.asarray(phi(jnp.asarray(padded)))[: len(z)]


def tilted(
    grid: Grid,
    h: Float[np.ndarray, "n C"],
    u: Float[np.ndarray, "n C"],
    d: Float[np.ndarray, " C"],
    k: Float[np.ndarray, " C"],
) -> Tilted:
    """H and moments for n pairs of fields (h, u) of each class, with the classes' variances d and quadratic tilts k."""
    found = np.empty((6, *h.shape))
    chunk = max(CHUNK // len(grid.z), 1)
    features = np.stack([grid.phi, grid.phi**2, grid.z, grid.z**2, grid.phi * grid.z], axis=1)
    for c in range(h.shape[1]):
        base = (
            grid.log_weights
            + k[c] / 2 * features[:, 1]
            - features[:, 3] / (2 * d[c])
            - math.log(2 * math.pi * d[c]) / 2
        )
        slopes = np.stack([grid.phi, grid.z / d[c]])
        for start in range(0, len(h), chunk):
            rows = slice(start, start + chunk)
            exponent = np.stack([h[rows, c], u[rows, c]], axis=1) @ slopes
            exponent += base
            top = exponent.max(axis=1)
            exponent -= top[:, None]
            if exponent[:, [0, -1]].max() > NEGLIGIBLE:
                raise GridTooShortError
            np.exp(exponent, out=exponent)
            norm = exponent.sum(axis=1)
            found[0, rows, c] = np.log(norm) + top - u[rows, c] ** 2 / (2 * d[c])
            found[1:, rows, c] = (exponent @ features / norm[:, None]).T
    log_norm, f, ff, z, zz, fz = found
    root = np.sqrt(d)
    return Tilted(log_norm, f, ff, (z - u) / root, (zz - 2 * u * z + u**2) / d, (fz - u * f) / root)


def draw_tilted(
    rng: np.random.Generator,
    grid: Grid,
    fields: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    variance: float,
    quadratic: float,
    size: int,
) -> Float[np.ndarray, "n size"]:
    """Independent draws of z for n pairs of fields (h, u) of one class, by inverting the distribution function on the grid."""
    h, u = (field[:, None] for field in fields)
    exponent = grid.log_weights + h * grid.phi + quadratic / 2 * grid.phi**2 - (grid.z - u) ** 2 / (2 * variance)
    exponent -= exponent.max(axis=1, keepdims=True)
    cumulated = np.cumsum(np.exp(exponent), axis=1)
    cumulated /= cumulated[:, -1:]
    edges = np.concatenate([[grid.z[0]], (grid.z[1:] + grid.z[:-1]) / 2, [grid.z[-1]]])
    levels = np.concatenate([np.zeros((len(cumulated), 1)), cumulated], axis=1)
    uniform = rng.random((len(cumulated), size))
    return np.stack([np.interp(row, level, edges) for row, level in zip(uniform, levels, strict=True)])
