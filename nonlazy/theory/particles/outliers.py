r"""Outlier neurons of activations that grow linearly: \(a = \sqrt{N} \tilde{a}\), \(z = \sqrt{N} \tilde{z}\).

Only the asymptote of the activation counts, \(\phi_\infty(z) = s_+ \max(z, 0) - s_- \max(-z, 0)\). Outliers add
\(O = \sum_k \phi_\infty(\tilde{z}_k) \tilde{a}_k^T\) to the outputs at the cost of their prior, as weight decay does. With the
bulk's dual expanded to second order around t, with gradient r and Hessian -H, they minimize

\[ J = \sum_k \tfrac12 \Big(\frac{|\tilde{a}_k|^2}{\sigma_a^2} + |\tilde{\epsilon}_k|^2\Big) - \mathrm{tr}\, t^T O
       + \tfrac12 (r - O) \cdot H^{-1} (r - O), \qquad \tilde{z}_k = F \tilde{\epsilon}_k, \]

and \(t + H^{-1}(r - O)\) is the new t. At the minimum no outlier can gain: \(R \le 1\) for

\[ R(\epsilon) = \sigma_a^2\, |t^T \phi_\infty(F \epsilon)|^2 / |\epsilon|^2 , \]

with R = 1 along the rays of outliers. A sum of any number of them along one ray is the same solution.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nonlazy.activations import Activation
from nonlazy.compilation import COMPILER_OPTIONS

WALL = 3.0  # largest |epsilon|^2 / R of a neuron in the bulk; near 1 under the prior
LARGE = 1e8  # where the asymptote is read off
SEED_SIZE = 1e-2  # of new outliers, which then grow or die
N_PER_OUTPUT = 6
MAX_STEPS = 500
SAME_RAY = 0.98  # cosine
N_STARTS, N_POWER_STEPS = 64, 100


class Outliers(NamedTuple):
    """Readout weights over sigma_a, (k, m), and whitened first-layer coordinates (k, R)."""

    readout: Float[Array, "k m"]
    coordinates: Float[Array, "k R"]


class Asymptote(NamedTuple):
    """Slopes of the activation at plus and minus infinity."""

    above: float
    below: float

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.above * jnp.maximum(z, 0) + self.below * jnp.minimum(z, 0)


def asymptote(phi: Activation) -> Asymptote:
    return Asymptote(float(phi(jnp.array(LARGE))) / LARGE, float(phi(jnp.array(-LARGE))) / -LARGE)


def contribution(
    slopes: Asymptote, factor: Float[Array, "P R"], sigma_a: float, outliers: Outliers
) -> Float[Array, "P m"]:
    r"""\(O = \sum_k \phi_\infty(\tilde{z}_k) \tilde{a}_k^T\)."""
    return sigma_a * slopes(factor @ outliers.coordinates.T) @ outliers.readout


@partial(jax.jit, compiler_options=COMPILER_OPTIONS)
def _objective(
    outliers: Outliers, slopes: Asymptote, factor: Array, sigma_a: float, t: Array, residual: Array, inverse: Array
) -> tuple[Float[Array, ""], Outliers]:
    def value(outliers: Outliers) -> Float[Array, ""]:
        added = contribution(slopes, factor, sigma_a, outliers)
        left = (residual - added).ravel()
        cost = jnp.sum(outliers.readout**2) / 2 + jnp.sum(outliers.coordinates**2) / 2
        return cost - jnp.sum(t * added) + left @ inverse @ left / 2

    return jax.value_and_grad(value)(outliers)


def optimize(
    slopes: Asymptote,
    factor: Float[Array, "P R"],
    sigma_a: float,
    t: Float[Array, "P m"],
    residual: Float[Array, "P m"],
    hessian: Float[Array, "Pm Pm"],
    outliers: Outliers,
) -> tuple[Outliers, Float[np.ndarray, "P m"]]:
    """Outliers that minimize J, and the step of t that goes with them."""
    chol = cho_factor(np.asarray(hessian), lower=True)
    inverse = jnp.asarray(cho_solve(chol, np.eye(len(hessian))))
    split = outliers.readout.size

    def unpack(x: np.ndarray) -> Outliers:
        return Outliers(
            jnp.asarray(x[:split]).reshape(outliers.readout.shape),
            jnp.asarray(x[split:]).reshape(outliers.coordinates.shape),
        )

    def flat(outliers: Outliers) -> np.ndarray:
        return np.concatenate([np.asarray(x).ravel() for x in outliers])

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _objective(unpack(x), slopes, factor, sigma_a, t, residual, inverse)
        return float(value), flat(gradient)

    found = unpack(minimize(function, flat(outliers), jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS}).x)
    left = np.asarray(residual - contribution(slopes, factor, sigma_a, found))
    return found, cho_solve(chol, left.ravel()).reshape(left.shape)


def none(n_outputs: int, rank: int) -> Outliers:
    """Room for outliers, all dead."""
    n = N_PER_OUTPUT * n_outputs
    return Outliers(jnp.zeros((n, n_outputs)), jnp.zeros((n, rank)))


def starts(
    key: Array,
    coordinates: Float[Array, "M R"],
    outliers: Outliers,
    t: Float[Array, "P m"],
    factor: Float[Array, "P R"],
) -> Float[Array, "n R"]:
    """Where to look for rays: some particles, the present outliers, and the inputs that each output of t favours."""
    chosen = jax.random.choice(key, coordinates, (N_STARTS,), replace=False)
    favoured = jnp.linalg.lstsq(factor, jnp.concatenate([t, -t], axis=1))[0].T
    alive = jnp.linalg.norm(outliers.coordinates, axis=1, keepdims=True) > 0
    return jnp.concatenate([chosen, favoured, jnp.where(alive, outliers.coordinates, favoured[:1])])


def revive(outliers: Outliers, rays: Outliers) -> Outliers:
    """Outliers that have died start again along the rays given."""
    size = jnp.linalg.norm(outliers.coordinates, axis=1)
    order = jnp.argsort(-size)
    old = Outliers(*(x[order] for x in outliers))
    dead = size[order][:, None] < SEED_SIZE
    return Outliers(*(jnp.where(dead, SEED_SIZE * new[: len(dead)], x) for new, x in zip(rays, old, strict=True)))


def merge(outliers: Outliers) -> Outliers:
    """One outlier for each ray, of the summed strength; the dead are left out."""
    readout, coordinates = (np.asarray(x) for x in outliers)
    strength = np.sum(readout**2, axis=1) / 2 + np.sum(coordinates**2, axis=1) / 2
    order = [k for k in np.argsort(-strength) if strength[k] > 1e-3 * max(strength.max(), 1e-12)]
    groups: list[list[int]] = []
    for k in order:
        x = np.concatenate([readout[k], coordinates[k]])
        for group in groups:
            y = np.concatenate([readout[group[0]], coordinates[group[0]]])
            if x @ y > SAME_RAY * np.linalg.norm(x) * np.linalg.norm(y):
                group.append(k)
                break
        else:
            groups.append([k])
    # Along one ray strengths, which are squares, add up.
    grown = [np.sqrt(strength[group].sum() / strength[group[0]]) for group in groups]
    first = [group[0] for group in groups]
    scale = np.array(grown).reshape(-1, 1)
    return Outliers(jnp.asarray(scale * readout[first]), jnp.asarray(scale * coordinates[first]))


@partial(jax.jit, compiler_options=COMPILER_OPTIONS)
def find_rays(
    starts: Float[Array, "n R"], slopes: Asymptote, factor: Float[Array, "P R"], sigma_a: float, t: Float[Array, "P m"]
) -> tuple[Outliers, Float[Array, " n"]]:
    """Rays of locally largest R by power iteration, largest first, as outliers with |epsilon| = 1; and their R."""

    def readout(x: Float[Array, " R"]) -> Float[Array, " m"]:
        return sigma_a * slopes(factor @ x) @ t

    def improve(_: Array, x: Float[Array, " R"]) -> Float[Array, " R"]:
        x = jax.grad(lambda x: jnp.sum(readout(x) ** 2))(x)
        return x / jnp.maximum(jnp.linalg.norm(x), 1e-300)

    # Starts along t are zero as long as t is.
    begin = starts / jnp.maximum(jnp.linalg.norm(starts, axis=1, keepdims=True), 1e-300)
    found = jax.vmap(lambda x: jax.lax.fori_loop(0, N_POWER_STEPS, improve, x))(begin)
    readouts = jax.vmap(readout)(found)
    ratios = jnp.sum(readouts**2, axis=1)
    order = jnp.argsort(-ratios)
    return Outliers(readouts[order], found[order]), ratios[order]
