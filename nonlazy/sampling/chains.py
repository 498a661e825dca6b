"""Several chains advanced together inside one compiled loop.

The functions here are compiled once for each model, method, choice of what to keep, and set of shapes; data, seed,
temperature and lengths are arguments, so that another run of the same shape starts at once.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from nonlazy.compilation import COMPILER_OPTIONS, OPTIONS_FOR_ONE_CALL
from nonlazy.errors import InputError
from nonlazy.posterior import Network, Position
from nonlazy.sampling import adaptation
from nonlazy.sampling.devices import shard
from nonlazy.sampling.method import Info, Method, NetworkDensity
from nonlazy.sampling.recording import record

Buffers = dict[str, Array]


class Chains(NamedTuple):
    """All that the next transition needs: the state of each chain, the common step size, the transitions made so far."""

    chains: Any
    step_size: adaptation.StepSize
    iteration: Int[Array, ""]
    kernel_sum: Float[Array, "chains L P P"]


class Schedule(NamedTuple):
    """Lengths of a run: warm-up transitions, kept draws of each chain, and transitions per kept draw."""

    chains: int
    warmup: int
    draws: int
    thin: int

    @property
    def transitions(self) -> int:
        return self.warmup + self.draws * self.thin


class Sampler(NamedTuple):
    """A density, a method and a schedule.

    Random keys are derived from the seed and the transition's number, so a run gives the same draws however it is cut
    into pieces.
    """

    density: NetworkDensity
    method: Method
    schedule: Schedule
    keep: tuple[str, ...]
    key: Array
    mesh: Mesh

    def prior_positions(self) -> Position:
        """Independent draws from the prior, one for each chain."""
        return _standard_normal(
            jax.random.fold_in(self.key, 0), tuple((self.schedule.chains, *shape) for shape in self.density.shapes)
        )

    def start(self, positions: Position) -> Chains:
        """The chains at their first positions."""
        n, depth, inputs = self.schedule.chains, self.density.model.depth, self.density.task.n_inputs
        # Draws of the prior have 0, networks of the end 1, transitions the rest.
        keys = jax.random.split(jax.random.fold_in(self.key, 2**32 - 1), n)
        states = _start(self.density, keys, shard(positions, self.mesh, 0), method=self.method)
        if not jnp.isfinite(states.logdensity).all():
            raise InputError(
                f"temperature {self.density.temperature:.3g} is too low: at the start the log density is not finite in double "
                "precision, because the covariance of the outputs is singular. Raise the temperature."
            )
        return self.place(
            Chains(states, adaptation.initial(), jnp.zeros((), int), jnp.zeros((n, depth, inputs, inputs)))
        )

    def place(self, chains: Chains) -> Chains:
        """Each chain on its device, what is common on all."""
        common = {"step_size": chains.step_size, "iteration": chains.iteration}
        own = {"chains": chains.chains, "kernel_sum": chains.kernel_sum}
        return Chains(**shard(own, self.mesh, 0), **shard(common, self.mesh, None))

    def seconds_of_first_transition(self, chains: Chains) -> float:
        """Time of one gradient, times the steps of a transition at the first step size: for the progress display."""
        began = time.perf_counter()
        jax.block_until_ready(_log_densities(self.density, chains.chains.position))
        step_size = adaptation.current(chains.step_size, jnp.asarray(True))
        steps = max(int(self.method.n_steps(self.key, step_size)), 1)
        return (time.perf_counter() - began) * steps * self.method.replicas(self.density)

    def record_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of the values of one draw of all chains, by name."""
        positions = tuple(jax.ShapeDtypeStruct(shape, jnp.float64) for shape in self.density.shapes)
        kept, _ = jax.eval_shape(partial(record, keep=self.keep), self.density, self.key, positions)
        scalar = {"lp": float, "acceptance_rate": float, "diverging": bool, "n_gradients": int, "step_size": float}
        kept |= {name: jax.ShapeDtypeStruct((), jnp.dtype(kind)) for name, kind in scalar.items()}
        own = self.method.statistics(self.density)
        kept |= {name: jax.ShapeDtypeStruct(shape, jnp.dtype(float)) for name, shape in own.items()}
        return {name: jax.ShapeDtypeStruct((self.schedule.chains, *s.shape), s.dtype) for name, s in kept.items()}

    def buffers(self, capacity: int) -> Buffers:
        """Room for `capacity` draws of all chains."""
        empty = {name: jnp.zeros((capacity, *s.shape), s.dtype) for name, s in self.record_shapes().items()}
        return shard(empty, self.mesh, 1)

    def advance(self, chains: Chains, buffers: Buffers, stop: int, first_draw: int) -> tuple[Chains, Buffers]:
        """Transitions up to number `stop`, draws written to the buffers from draw number `first_draw` on."""
        chains, buffers = _advance(
            self.density, self.key, self.schedule, chains, buffers, stop, first_draw, method=self.method, keep=self.keep
        )
        return jax.block_until_ready((chains, buffers))

    def networks(self, chains: Chains) -> Network:
        """A network of each chain at its present position."""
        keys = jax.random.split(jax.random.fold_in(self.key, 1), self.schedule.chains)
        return draw_networks(self.density, keys, chains.chains.position)


@partial(jax.jit, static_argnames="shapes", compiler_options=OPTIONS_FOR_ONE_CALL)
def _standard_normal(key: Array, shapes: tuple[tuple[int, ...], ...]) -> Position:
    keys = jax.random.split(key, len(shapes))
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))


@partial(jax.jit, compiler_options=COMPILER_OPTIONS)
def _log_densities(density: NetworkDensity, positions: Position) -> tuple[Float[Array, " chains"], Position]:
    """Log density and its gradient at the position of each chain."""
    return jax.vmap(jax.value_and_grad(density.log_density))(positions)


@partial(jax.jit, static_argnames="method", compiler_options=COMPILER_OPTIONS)
def _start(density: NetworkDensity, keys: Array, positions: Position, *, method: Method) -> Any:
    return jax.vmap(lambda key, position: method.start(key, density, position))(keys, positions)


@partial(jax.jit, compiler_options=OPTIONS_FOR_ONE_CALL)
def draw_networks(density: NetworkDensity, keys: Array, positions: Position) -> Network:
    """A network of each chain at these positions."""
    return jax.vmap(density.network)(keys, positions)


# The buffers are large and overwritten: donating them saves a copy at each call.
@partial(jax.jit, static_argnames=("method", "keep"), donate_argnames="buffers", compiler_options=COMPILER_OPTIONS)
def _advance(
    density: NetworkDensity,
    key: Array,
    schedule: Schedule,
    chains: Chains,
    buffers: Buffers,
    stop: Int[Array, ""],
    first_draw: Int[Array, ""],
    *,
    method: Method,
    keep: tuple[str, ...],
) -> tuple[Chains, Buffers]:
    def body(_: Array, carry: tuple[Chains, Buffers]) -> tuple[Chains, Buffers]:
        chains, buffers = carry
        key_transition, key_record = jax.random.split(jax.random.fold_in(key, 2 + chains.iteration))
        chains, statistics = _transition(density, method, schedule.warmup, key_transition, chains)
        done = chains.iteration - schedule.warmup
        index = done // schedule.thin - 1 - first_draw
        return jax.lax.cond(
            (done > 0) & (done % schedule.thin == 0),
            lambda: _write(density, keep, key_record, chains, buffers, statistics, index),
            lambda: (chains, buffers),
        )

    return jax.lax.fori_loop(chains.iteration, stop, body, (chains, buffers))


def _transition(
    density: NetworkDensity, method: Method, warmup: Int[Array, ""] | int, key: Array, chains: Chains
) -> tuple[Chains, dict[str, Array]]:
    """One transition of every chain, the step size tuned if the warm-up lasts; and its statistics, by name."""
    warming_up = chains.iteration < warmup
    step_size = adaptation.current(chains.step_size, warming_up)
    key_steps, key_chains = jax.random.split(key)
    n_steps = method.n_steps(key_steps, step_size)

    def step(key: Array, state: Any) -> tuple[Any, Info]:
        state, info = method.step(key, state, density, step_size, n_steps)
        tuned = method.tune(state, chains.iteration, jnp.asarray(warmup))
        return jax.tree.map(lambda new, old: jnp.where(warming_up, new, old), tuned, state), info

    states, info = jax.vmap(step)(jax.random.split(key_chains, len(chains.kernel_sum)), chains.chains)
    acceptance = jnp.mean(jnp.nan_to_num(info.acceptance_rate))
    tuned = adaptation.update(chains.step_size, acceptance, chains.iteration, warmup, method.target_acceptance)
    tuned = jax.tree.map(lambda new, old: jnp.where(warming_up, new, old), tuned, chains.step_size)
    own = dict(zip(method.statistics(density), info.own, strict=True))
    statistics = {name: getattr(info, name) for name in ("acceptance_rate", "diverging", "n_gradients")} | own
    statistics |= {
        "lp": states.logdensity,
        "step_size": jnp.broadcast_to(step_size, states.logdensity.shape),
    }
    return Chains(states, tuned, chains.iteration + 1, chains.kernel_sum), statistics


def _write(
    density: NetworkDensity,
    keep: tuple[str, ...],
    key: Array,
    chains: Chains,
    buffers: Buffers,
    statistics: dict[str, Array],
    index: Int[Array, ""],
) -> tuple[Chains, Buffers]:
    """Write a draw of every chain to the buffers and add its kernels to their sum."""
    keys = jax.random.split(key, len(chains.kernel_sum))
    values, kernels = jax.vmap(partial(record, density, keep=keep))(keys, chains.chains.position)
    values |= statistics
    buffers = {name: buffer.at[index].set(values[name]) for name, buffer in buffers.items()}
    return chains._replace(kernel_sum=chains.kernel_sum + kernels), buffers
