"""Sequential Monte Carlo: weighted particles that follow a changing law.

When the law changes, particles are weighted by the ratio of the new density to the old one, resampled when the weights
have become uneven, and moved by Hamiltonian Monte Carlo. Single particles never cross from one code to another, but
the weights carry the free energies of the codes, so that the fractions of the population follow them.

Del Moral, Doucet and Jasra (2006).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from nonlazy.activations import Activation
from nonlazy.theory.particles.law import Law, slope

TRAJECTORY_LENGTH = math.pi / 2  # a quarter of the period of a confined coordinate
MAX_LEAPFROGS = 32
TARGET_ACCEPTANCE = 0.8
FIRST_STEP = 0.3
RESAMPLING_THRESHOLD = 0.7  # effective sample size over number of particles
MAX_STIFFNESS = 1e3


class Population(NamedTuple):
    """Particles in whitened coordinates, normalized log weights, and the step size of their moves."""

    coordinates: Float[Array, "M R"]
    log_weights: Float[Array, " M"]
    step_size: Float[Array, ""]

    @property
    def weights(self) -> Float[Array, " M"]:
        return jnp.exp(self.log_weights)


def draw_prior(key: Array, n_particles: int, rank: int) -> Population:
    """Independent particles from the prior, with equal weights."""
    coordinates = jax.random.normal(key, (n_particles, rank))
    return Population(coordinates, jnp.full(n_particles, -math.log(n_particles)), jnp.full((), FIRST_STEP))


def reweight(population: Population, increments: Float[Array, " M"]) -> tuple[Population, Float[Array, ""]]:
    """Multiply the weights by exp(increments); the log of their sum estimates the change of log Z."""
    log_weights = population.log_weights + increments
    log_ratio = logsumexp(log_weights)
    return population._replace(log_weights=log_weights - log_ratio), log_ratio


def effective_fraction(weights: Float[Array, " M"], increments: Float[Array, " M"]) -> Float[Array, ""]:
    """Conditional effective sample size, as a fraction, of multiplying the weights by exp(increments)."""
    ratio = jnp.exp(increments - jnp.max(increments))
    return jnp.sum(weights * ratio) ** 2 / jnp.sum(weights * ratio**2)


def resample_if_uneven(key: Array, population: Population) -> Population:
    """Systematic resampling, if the effective sample size has fallen below its threshold."""
    coordinates, log_weights, _ = population
    n = len(log_weights)
    uneven = 1 / jnp.sum(population.weights**2) < RESAMPLING_THRESHOLD * n
    positions = (jnp.arange(n) + jax.random.uniform(key)) / n
    parents = jnp.clip(jnp.searchsorted(jnp.cumsum(population.weights), positions), 0, n - 1)
    return population._replace(
        coordinates=jnp.where(uneven, coordinates[parents], coordinates),
        log_weights=jnp.where(uneven, -math.log(n), log_weights),
    )


def stiffness(phi: Activation, law: Law, population: Population) -> Float[Array, ""]:
    r"""Mean of \(-(\sigma_a^2 t t^T \phi)_\mu\, \phi''(z_\mu)\), by which the tilt confines preactivations; 0 if negative."""
    z = law.preactivations(population.coordinates)
    _, curvature = jax.jvp(lambda x: slope(phi, x), (z,), (jnp.ones_like(z),))
    confinement = -population.weights @ jnp.mean(law.field(phi(z)) * curvature, axis=1)
    return jnp.clip(jnp.nan_to_num(confinement), 0, MAX_STIFFNESS)


def move(
    key: Array,
    phi: Activation,
    law: Law,
    population: Population,
    width: Float[Array, " R"],
    gain: Float[Array, ""] | float,
) -> Population:
    """One transition of Hamiltonian Monte Carlo for every particle, given the law's width along each coordinate.

    The step size follows the acceptance rate of the whole population, unless the gain is zero.
    """

    def log_density(x: Float[Array, "M R"]) -> Float[Array, " M"]:
        return law.tilt(phi, x) - jnp.sum(x**2, axis=-1) / 2

    def kinetic(velocity: Float[Array, "M R"]) -> Float[Array, " M"]:
        return jnp.sum((velocity / width) ** 2, axis=-1) / 2

    def kick(x: Float[Array, "M R"]) -> Float[Array, "M R"]:
        return width**2 * jax.grad(lambda x: jnp.sum(log_density(x)))(x)

    key_velocity, key_jitter, key_accept = jax.random.split(key, 3)
    length = TRAJECTORY_LENGTH * jax.random.uniform(key_jitter, minval=0.8, maxval=1.2)
    n_leapfrogs = jnp.clip(jnp.ceil(length / population.step_size), 1, MAX_LEAPFROGS)
    step = jnp.minimum(length / n_leapfrogs, population.step_size)

    def leapfrog(_: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, velocity = state
        x = x + step * velocity
        return x, velocity + step * kick(x)

    start = population.coordinates
    velocity = width * jax.random.normal(key_velocity, start.shape)
    end, last = jax.lax.fori_loop(0, n_leapfrogs.astype(int), leapfrog, (start, velocity + step / 2 * kick(start)))
    last = last - step / 2 * kick(end)
    log_ratio = log_density(end) - kinetic(last) - log_density(start) + kinetic(velocity)
    log_ratio = jnp.where(jnp.sum(end**2, axis=-1) < law.wall, jnp.nan_to_num(log_ratio, nan=-jnp.inf), -jnp.inf)
    acceptance = jnp.exp(jnp.minimum(log_ratio, 0))
    accepted = jax.random.uniform(key_accept, acceptance.shape) < acceptance
    return population._replace(
        coordinates=jnp.where(accepted[:, None], end, start),
        step_size=population.step_size * jnp.exp(gain * (jnp.mean(acceptance) - TARGET_ACCEPTANCE)),
    )


def explore(
    key: Array,
    phi: Activation,
    law: Law,
    population: Population,
    n_moves: Int[Array, ""] | int,
    n_snapshots: int,
    gain: Float[Array, ""] | float,
) -> tuple[Population, Float[Array, "n M P"]]:
    r"""Several transitions at a fixed law, and the preactivations of all particles after every n_moves of them.

    The columns of F must be orthogonal: the width along coordinate j is \((1 + c |F_j|^2)^{-1/2}\) with the stiffness c.
    """
    width = 1 / jnp.sqrt(1 + stiffness(phi, law, population) * jnp.sum(law.factor**2, axis=0))

    def snapshot(population: Population, key: Array) -> tuple[Population, Array]:
        def one(i: Int[Array, ""], population: Population) -> Population:
            return move(jax.random.fold_in(key, i), phi, law, population, width, gain)

        population = jax.lax.fori_loop(0, n_moves, one, population)
        return population, law.preactivations(population.coordinates)

    return jax.lax.scan(snapshot, population, jax.random.split(key, n_snapshots))
