r"""Neuron replacement: a neuron's preactivations are exchanged for a draw from the theory's single-neuron law.

\[ q(z) \propto N(z \mid 0, K_0)\, e^{\sigma_a^2 |t^T \phi(z)|^2 / 2} = \int d\alpha\, N(z \mid 0, K_0)\,
   e^{-|\alpha|^2 / 2 + \alpha^T \sigma_a t^T \phi(z)} \]

is proposed by way of its readout field: alpha from Gaussians around the branches of the law, then z given alpha, one
preactivation after the other. Neither is exact, and both are corrected: with the field of the present neuron drawn from
its law given z, the Metropolis ratio has the densities that were really drawn from.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from nonlazy.posterior.likelihood import cholesky_of_covariance
from nonlazy.sampling.path import Rung
from nonlazy.theory.symmetric.dual import LastLayer
from nonlazy.theory.symmetric.ensemble import INFLATION

N_CELLS = 256
# Share of fields proposed all over the place: a neuron far from all branches, in a code that the theory lacks, must have a
# density among the proposals, or it would hardly ever be given up.
ANYWHERE = 0.02


class NeuronLaw(NamedTuple):
    """The theory's law of a neuron, for a proposal.

    Loadings sigma_a t of the fields (C, m), class of each input (P,), prior variance of a preactivation (C,), cells of equal
    width with their centres (q,) and phi there; for each branch its place (b, m), log weight (b,), root of the covariance and
    the inverse of this root (b, m, m).
    """

    tilt: Float[Array, "C m"]
    labels: Int[Array, " P"]
    variance: Float[Array, " C"]
    centres: Float[Array, " q"]
    phi: Float[Array, " q"]
    places: Float[Array, "b m"]
    log_weights: Float[Array, " b"]
    roots: Float[Array, "b m m"]
    whitening: Float[Array, "b m m"]

    @property
    def width(self) -> Float[Array, ""]:
        """Width of a cell."""
        return self.centres[1] - self.centres[0]

    def features(self, phi: Float[Array, " P"]) -> Float[Array, " m"]:
        """sigma_a t^T phi."""
        return phi @ self.tilt[self.labels]

    def log_cells(self, alpha: Float[Array, " m"]) -> Float[Array, "C q"]:
        """Log probability of each cell for a preactivation of each class, given the field."""
        exponent = (self.tilt @ alpha)[:, None] * self.phi - self.centres**2 / (2 * self.variance[:, None])
        return exponent - logsumexp(exponent, axis=1, keepdims=True)


def neuron_law(layer: LastLayer, t: Float[np.ndarray, "C m"]) -> NeuronLaw:
    """The law at the dual variables of each class."""
    data = layer.data
    modes, law = layer.branches(t, None), layer.law(t)
    reach = float(np.abs(law.grid.z).max())
    width = 2 * reach / N_CELLS
    centres = jnp.asarray(-reach + width * (np.arange(N_CELLS) + 0.5))
    wide = (1 + np.abs(modes.x).max()) * np.eye(modes.x.shape[1])
    roots = np.concatenate([INFLATION * np.linalg.cholesky(np.linalg.inv(modes.precision)), wide[None]])
    places = np.concatenate([modes.x, np.zeros_like(modes.x[:1])])
    log_weights = np.log(np.append((1 - ANYWHERE) * modes.weights, ANYWHERE))
    inverse = np.linalg.inv(roots)
    arrays = (law.tilt, data.labels, law.variance, centres, data.phi(centres), places, log_weights, roots, inverse)
    return NeuronLaw(*map(jnp.asarray, arrays))


class Neuron(NamedTuple):
    """Preactivations, their phi, the field, and the log probabilities of the cells given the field."""

    z: Float[Array, " P"]
    phi: Float[Array, " P"]
    alpha: Float[Array, " m"]
    log_cells: Float[Array, "C q"]


def draw_field(key: Array, law: NeuronLaw) -> Float[Array, " m"]:
    """A field from the Gaussians around the branches."""
    key_branch, key_field = jax.random.split(key)
    branch = jax.random.categorical(key_branch, law.log_weights)
    return law.places[branch] + law.roots[branch] @ jax.random.normal(key_field, law.places[0].shape)


def draw_preactivations(key: Array, law: NeuronLaw, log_cells: Float[Array, "C q"]) -> Float[Array, " P"]:
    """Preactivations given the probabilities of the cells, uniform within each."""
    mass = jnp.exp(log_cells)
    cumulated = jnp.cumsum(mass, axis=1)
    uniform = jax.random.uniform(key, law.labels.shape) * cumulated[law.labels, -1]
    # All classes in one ascending table.
    n_classes, n_cells = cumulated.shape
    table = (cumulated + 2 * jnp.arange(n_classes)[:, None]).ravel()
    cell = jnp.clip(jnp.searchsorted(table, 2 * law.labels + uniform) - law.labels * n_cells, 0, n_cells - 1)
    within = (cumulated[law.labels, cell] - uniform) / mass[law.labels, cell]
    return law.centres[cell] + law.width * (0.5 - jnp.clip(within, 0, 1))


def log_weight(law: NeuronLaw, neuron: Neuron) -> Float[Array, ""]:
    r"""\(\log N(z \mid 0, K_0) N(\alpha \mid \sigma_a t^T \phi, 1)\) relative to the density of the proposal."""
    z, phi, alpha, log_cells = neuron
    target = -jnp.sum(z**2 / (2 * law.variance[law.labels])) - jnp.sum((alpha - law.features(phi)) ** 2) / 2
    place = jnp.floor((z - law.centres[0]) / law.width + 0.5).astype(int)
    cell = jnp.clip(place, 0, len(law.centres) - 1)
    white = jnp.einsum("bij,bj->bi", law.whitening, alpha - law.places)
    log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(law.whitening, axis1=1, axis2=2))), axis=1)
    log_field = logsumexp(law.log_weights + log_det - jnp.sum(white**2, axis=1) / 2)
    weight = target - jnp.sum(log_cells[law.labels, cell]) - log_field
    # A neuron beyond the cells, an outlier, could not have been proposed and hence is not replaced.
    return jnp.where(jnp.all(place == cell), weight, jnp.inf)


class _Inverse(NamedTuple):
    """C^-1, and C^-1 Y."""

    inverse: Float[Array, "P P"]
    solved: Float[Array, "P m"]


def replace(
    key: Array, law: NeuronLaw, rung: Rung, z: Float[Array, "P N"], n: int
) -> tuple[Float[Array, "P N"], Float[Array, ""]]:
    """Propose to replace `n` neurons one after the other; returns the preactivations and the fraction accepted."""
    scale, targets = rung.scale, rung.targets
    chol = cholesky_of_covariance(rung.features(z), scale, rung.temperature)
    inverse = cho_solve((chol, True), jnp.eye(len(z)))

    def body(carry: tuple[Array, _Inverse], key: Array) -> tuple[tuple[Array, _Inverse], Array]:
        z, now = carry
        key_neuron, key_field, key_draw, key_present, key_accept = jax.random.split(key, 5)
        i = jax.random.randint(key_neuron, (), 0, z.shape[1])
        phi = rung.features(z[:, i])
        field = law.features(phi) + jax.random.normal(key_present, law.places[0].shape)
        old = Neuron(z[:, i], phi, field, law.log_cells(field))
        field = draw_field(key_field, law)
        log_cells = law.log_cells(field)
        drawn = draw_preactivations(key_draw, law, log_cells)
        new = Neuron(drawn, rung.features(drawn), field, log_cells)
        gain, after = _exchange(now, old.phi, new.phi, scale)
        accepted = jnp.log(jax.random.uniform(key_accept)) < gain + log_weight(law, new) - log_weight(law, old)
        now = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), after, now)
        return (z.at[:, i].set(jnp.where(accepted, new.z, old.z)), now), accepted.astype(float)

    (z, _), accepted = jax.lax.scan(body, (z, _Inverse(inverse, inverse @ targets)), jax.random.split(key, n))
    return z, jnp.mean(accepted)


def _exchange(
    now: _Inverse, old: Float[Array, " P"], new: Float[Array, " P"], scale: Float[Array, ""] | float
) -> tuple[Float[Array, ""], _Inverse]:
    """The gain in log likelihood if one neuron's phi is exchanged for another, and C^-1 then, by Woodbury's formula."""
    u, d = jnp.stack([new, old], axis=1), scale * jnp.array([1.0, -1.0])
    solved = now.inverse @ u
    middle = jnp.diag(1 / d) + u.T @ solved
    (a, b), (c, e) = middle
    det = a * e - b * c
    middle_inverse = jnp.array([[e, -b], [-c, a]]) / det
    projected = u.T @ now.solved
    correction = middle_inverse @ projected
    gain = (jnp.sum(projected * correction) - now.solved.shape[1] * jnp.log(jnp.abs(det * jnp.prod(d)))) / 2
    return gain, _Inverse(now.inverse - solved @ middle_inverse @ solved.T, now.solved - solved @ correction)
