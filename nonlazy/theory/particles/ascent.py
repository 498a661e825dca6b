"""Steps up the dual at L = 1, compiled and batched over replicates: particles and t move together."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.activations import Activation
from nonlazy.compilation import COMPILER_OPTIONS
from nonlazy.theory.particles.dual import Dual, Sample
from nonlazy.theory.particles.population import Population, explore, resample_if_uneven, reweight

GAIN = 0.3  # of the step size of the moves, while t still moves fast
MIN_FRACTION = 0.9  # effective sample size that a step of t leaves


class State(NamedTuple):
    """Particles and the dual variables they follow."""

    population: Population
    t: Float[Array, "P m"]


@partial(jax.jit, static_argnames=("phi", "n_snapshots"), compiler_options=COMPILER_OPTIONS)
def observe(
    keys: Array,
    phi: Activation,
    dual: Dual,
    factor: Float[Array, "P R"],
    states: State,
    n_moves: int,
    n_snapshots: int,
    gain: float,
) -> tuple[State, Sample]:
    """Move the particles of every replicate at fixed t; their features after every n_moves moves, n_snapshots times."""

    def one(key: Array, state: State) -> tuple[State, Sample]:
        law = dual.law(factor, state.t)
        population, seen = explore(key, phi, law, state.population, n_moves, n_snapshots, gain)
        sample = Sample(phi(seen).reshape(-1, len(factor)), jnp.tile(population.weights, len(seen)) / len(seen))
        return State(population, state.t), sample

    return jax.vmap(one)(keys, states)


@partial(jax.jit, compiler_options=COMPILER_OPTIONS)
def directions(dual: Dual, states: State, samples: Sample) -> tuple[Float[Array, "B P m"], Float[Array, " B"]]:
    """Newton direction and decrement of every replicate."""
    return jax.vmap(lambda t, sample: dual.newton_direction(t, sample))(states.t, samples)


@partial(jax.jit, static_argnames="phi", compiler_options=COMPILER_OPTIONS)
def take_step(
    keys: Array,
    phi: Activation,
    dual: Dual,
    factor: Float[Array, "P R"],
    states: State,
    samples: Sample,
    direction: Float[Array, "B P m"],
    largest: float,
) -> tuple[State, Sample, Float[Array, " B"]]:
    """Move t of every replicate, as far as the weights stay even; particles and samples are weighted to follow."""

    def one(key: Array, state: State, sample: Sample, direction: Array) -> tuple[State, Sample, Array]:
        population, t = state
        step = dual.step_length(t, direction, sample, largest, MIN_FRACTION) * direction
        features = phi(population.coordinates @ factor.T)
        moved, _ = reweight(population, dual.tilt_change(features, t, step))
        after = dual.move_sample(t, step, sample)
        return State(resample_if_uneven(key, moved), t + step), after, jnp.max(jnp.abs(step))

    return jax.vmap(one)(keys, states, samples, direction)


@partial(jax.jit, static_argnames="phi", compiler_options=COMPILER_OPTIONS)
def follow(
    keys: Array,
    phi: Activation,
    dual: Dual,
    factor: Float[Array, "P R"],
    populations: Population,
    paths: Float[Array, "B n P m"],
) -> tuple[Population, Float[Array, " B"]]:
    """Take fresh particles along a given path of t, from t = 0 to its end; and an unbiased estimate of Z there, as its log."""

    def one(key: Array, population: Population, path: Array) -> tuple[Population, Array]:
        def body(carry: tuple[Population, Array, Array], item: tuple[Array, Array]) -> tuple[tuple, None]:
            population, t, log_z = carry
            target, key = item
            key_resample, key_move = jax.random.split(key)
            features = phi(population.coordinates @ factor.T)
            population, change = reweight(population, dual.tilt_change(features, t, target - t))
            population = resample_if_uneven(key_resample, population)
            law = dual.law(factor, target)
            population, _ = explore(key_move, phi, law, population, 1, 1, GAIN)
            return (population, target, log_z + change), None

        begin = (population, jnp.zeros_like(path[0]), jnp.zeros(()))
        (population, _, log_z), _ = jax.lax.scan(body, begin, (path, jax.random.split(key, len(path))))
        return population, log_z

    return jax.vmap(one)(keys, populations, paths)
