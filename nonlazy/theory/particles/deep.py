r"""One step of all layers for L > 1, compiled and batched over replicates.

Forward, layer by layer: the factor follows the kernel below, particles are weighted and moved, their kernel is averaged in.
In the last layer t takes a step up its dual. Backward, the couplings are averaged in:

\[ K_l \leftarrow K_l + \eta (\langle \phi \phi^T \rangle - K_l), \qquad \tilde{K}_l \leftarrow \tilde{K}_l + \eta (\tilde{K}_l^\text{new} - \tilde{K}_l) . \]

With eta = 1 the iteration diverges: the kernels sit at a maximum of the action, t and the couplings at a minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.activations import Activation
from nonlazy.compilation import COMPILER_OPTIONS
from nonlazy.theory.particles.ascent import GAIN, MIN_FRACTION
from nonlazy.theory.particles.dual import Dual, Sample
from nonlazy.theory.particles.law import Law, coupled_law, readout_law, symmetric_root
from nonlazy.theory.particles.population import Population, effective_fraction, explore, resample_if_uneven, reweight
from nonlazy.theory.particles.stein import backward

N_RATES = 16
MAX_DECREMENT = 1.0  # Newton decrement below which kernels and couplings are updated


class Layers(NamedTuple):
    """Particles of each layer, smoothed kernels K_1 ... K_L and couplings of the layers below the last, and t."""

    populations: tuple[Population, ...]
    kernels: Float[Array, "L P P"]
    couplings: Float[Array, "l P P"]
    t: Float[Array, "P m"]


class Seen(NamedTuple):
    """Kernels averaged over the particles alone, Newton decrement, and how far the couplings are from their new values."""

    kernels: Float[Array, "L P P"]
    decrement: Float[Array, ""]
    mismatch: Float[Array, ""]
    rate: Float[Array, ""]
    targets: Float[Array, "l P P"]


def laws(dual: Dual, factor: Float[Array, "P P"], variances: tuple[float, ...], layers: Layers) -> list[Law]:
    """The law of a neuron in each layer, given kernels, couplings and t."""
    factors = [factor] + [
        jnp.sqrt(v) * symmetric_root(k) for v, k in zip(variances[1:], layers.kernels[:-1], strict=True)
    ]
    lower = [coupled_law(f, c) for f, c in zip(factors, layers.couplings, strict=False)]
    return [*lower, readout_law(factors[-1], layers.t, dual.readout_variance, dual.wall)]


def explore_rotated(
    key: Array, phi: Activation, law: Law, population: Population, n_moves: int, gain: float
) -> tuple[Population, Float[Array, "M P"]]:
    """Moves in the eigenbasis of F^T F, which orthogonal columns need; the prior does not notice the rotation."""
    _, basis = jnp.linalg.eigh(law.factor.T @ law.factor)
    rotated = population._replace(coordinates=population.coordinates @ basis)
    moved, seen = explore(key, phi, law._replace(factor=law.factor @ basis), rotated, n_moves, 1, gain)
    return moved._replace(coordinates=moved.coordinates @ basis.T), seen[-1]


@partial(jax.jit, static_argnames=("phi", "variances"), compiler_options=COMPILER_OPTIONS)
def step_layers(
    keys: Array,
    phi: Activation,
    variances: tuple[float, ...],
    dual: Dual,
    factor: Float[Array, "P R"],
    layers: Layers,
    n_moves: int,
    damping: float,
    largest: float,
    gain: float = GAIN,
) -> tuple[Layers, Seen]:
    """One step of every replicate."""

    def one(key: Array, layers: Layers) -> tuple[Layers, Seen]:
        old = laws(dual, factor, variances, layers)
        populations, zs = [], []
        for i, (law, population) in enumerate(zip(old, layers.populations, strict=True)):
            population, z = explore_rotated(jax.random.fold_in(key, i), phi, law, population, n_moves, gain)
            populations.append(population)
            zs.append(z)
        samples = [Sample(phi(z), p.weights) for z, p in zip(zs, populations, strict=True)]
        kernels = jnp.stack([s.kernel for s in samples])
        direction, decrement = dual.newton_direction(layers.t, samples[-1])
        length = dual.step_length(layers.t, direction, samples[-1], largest, MIN_FRACTION)
        targets = jnp.stack(
            [
                backward(phi, law, z, p.weights, v)
                for law, z, p, v in zip(old[1:], zs[1:], populations[1:], variances[1:], strict=True)
            ]
        )

        def moved_by(kernel_rate: Array | float, coupling_rate: Array | float, length: Array | float) -> Layers:
            return Layers(
                layers.populations,
                layers.kernels + kernel_rate * (kernels - layers.kernels),
                layers.couplings + coupling_rate * (targets - layers.couplings),
                layers.t + length * direction,
            )

        def changes(new: Layers) -> list[Float[Array, " M"]]:
            pairs = zip(old, laws(dual, factor, variances, new), populations, strict=True)
            return [b.tilt(phi, p.coordinates) - a.tilt(phi, p.coordinates) for a, b, p in pairs]

        def even(new: Layers) -> Float[Array, ""]:
            pairs = zip(populations, changes(new), strict=True)
            return jnp.min(jnp.stack([effective_fraction(p.weights, c) for p, c in pairs])) > MIN_FRACTION

        # Couplings make sense at the t that solves the dual for the present kernels; before, they run away.
        solved = decrement < MAX_DECREMENT

        def largest_rate(allowed: Callable[[Array], Array], start: float) -> Float[Array, ""]:
            rates = start * 2.0 ** -jnp.arange(N_RATES)
            ok = jax.lax.map(allowed, rates)
            return jnp.where(solved & jnp.any(ok), rates[jnp.argmax(ok)], 0.0)

        kernel_rate = largest_rate(lambda rate: even(moved_by(rate, 0.0, 0.0)), 5 * damping)
        rate = largest_rate(lambda rate: even(moved_by(0.0, rate, 0.0)), damping)
        new = moved_by(kernel_rate, rate, length)
        moved = []
        for i, (population, change) in enumerate(zip(populations, changes(new), strict=True)):
            population, _ = reweight(population, change)
            moved.append(resample_if_uneven(jax.random.fold_in(key, 100 + i), population))
        mismatch = jnp.linalg.norm(targets - layers.couplings) / jnp.linalg.norm(layers.couplings)
        return new._replace(populations=tuple(moved)), Seen(
            kernels, decrement, mismatch, jnp.stack([kernel_rate, rate]), targets
        )

    return jax.vmap(one)(keys, layers)
