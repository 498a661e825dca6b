"""Several chains advanced together inside one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nonlazy.compilation import COMPILER_OPTIONS
from nonlazy.posterior import Network, Plain, Position, Reduced
from nonlazy.sampling import adaptation
from nonlazy.sampling.method import ChainState, Method
from nonlazy.sampling.recording import Record, record

Buffers = dict[str, Array]


class Chains(NamedTuple):
    """All that the next transition needs: the state of each chain, the common step size, the transitions made so far."""

    chains: ChainState
    step_size: adaptation.StepSize
    iteration: Int[Array, ""]
    kernel_sum: Float[Array, "chains L P P"]


class Schedule(NamedTuple):
    """Lengths of a run: warm-up transitions, kept draws, and transitions per kept draw."""

    chains: int
    warmup: int
    draws: int
    thin: int

    @property
    def transitions(self) -> int:
        return self.warmup + self.draws * self.thin


class Sampler:
    """A method, a density and a schedule, compiled once.

    Random keys are derived from the seed and the transition's number, so a run gives the same draws however it is cut
    into pieces.
    """

    def __init__(
        self, density: Reduced | Plain, method: Method, schedule: Schedule, keep: tuple[str, ...], seed: int
    ) -> None:
        self.density, self.method, self.schedule, self.keep = density, method, schedule, keep
        self._key = jax.random.key(seed)
        # The buffers are large and overwritten: donating them saves a copy at each call.
        self._advance = jax.jit(self._loop, donate_argnums=1, compiler_options=COMPILER_OPTIONS)

    def prior_positions(self) -> Position:
        """Independent draws from the prior, one for each chain."""
        keys = jax.random.split(jax.random.fold_in(self._key, 0), len(self.density.shapes))
        chains = self.schedule.chains
        return tuple(jax.random.normal(key, (chains, *shape)) for key, shape in zip(keys, self.density.shapes, strict=True))

    def start(self, positions: Position) -> Chains:
        """The chains at their first positions."""
        init = jax.vmap(partial(blackjax.hmc.init, logdensity_fn=self.density.log_density))
        n, depth, inputs = self.schedule.chains, self.density.model.depth, self.density.task.n_inputs
        states = jax.jit(init, compiler_options=COMPILER_OPTIONS)(positions)
        return Chains(states, adaptation.initial(), jnp.zeros((), int), jnp.zeros((n, depth, inputs, inputs)))

    def record_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of the values of one draw of all chains, by name."""
        positions = tuple(jax.ShapeDtypeStruct(shape, jnp.float64) for shape in self.density.shapes)
        shapes = jax.eval_shape(partial(record, self.density, self.keep), self._key, positions).values
        scalar = {"lp": float, "acceptance_rate": float, "diverging": bool, "n_gradients": int, "step_size": float}
        shapes |= {name: jax.ShapeDtypeStruct((), jnp.dtype(kind)) for name, kind in scalar.items()}
        n = self.schedule.chains
        return {name: jax.ShapeDtypeStruct((n, *s.shape), s.dtype) for name, s in sorted(shapes.items())}

    def buffers(self, capacity: int) -> Buffers:
        """Room for `capacity` draws of all chains."""
        return {name: jnp.zeros((capacity, *s.shape), s.dtype) for name, s in self.record_shapes().items()}

    def advance(self, chains: Chains, buffers: Buffers, stop: int, first_draw: int) -> tuple[Chains, Buffers]:
        """Transitions up to number `stop`, draws written to the buffers from draw number `first_draw` on."""
        return self._advance(chains, buffers, stop, first_draw)

    def network(self, chains: Chains) -> Network:
        """A network of each chain at its present position."""
        keys = jax.random.split(jax.random.fold_in(self._key, 1), self.schedule.chains)
        draw = jax.jit(jax.vmap(self.density.network), compiler_options=COMPILER_OPTIONS)
        return draw(keys, chains.chains.position)

    def _loop(self, chains: Chains, buffers: Buffers, stop: Array, first_draw: Array) -> tuple[Chains, Buffers]:
        def body(_: Array, carry: tuple[Chains, Buffers]) -> tuple[Chains, Buffers]:
            chains, buffers = carry
            key = jax.random.fold_in(self._key, 2 + chains.iteration)
            key_transition, key_record = jax.random.split(key)
            chains, statistics = self._transition(key_transition, chains)
            done = chains.iteration - self.schedule.warmup
            return jax.lax.cond(
                (done > 0) & (done % self.schedule.thin == 0),
                lambda: self._write(key_record, chains, buffers, statistics, done // self.schedule.thin - 1 - first_draw),
                lambda: (chains, buffers),
            )

        return jax.lax.fori_loop(chains.iteration, stop, body, (chains, buffers))

    def _transition(self, key: Array, chains: Chains) -> tuple[Chains, dict[str, Array]]:
        states, step_state, iteration, _ = chains
        warming_up = iteration < self.schedule.warmup
        step_size = adaptation.current(step_state, warming_up)
        key_steps, key_chains = jax.random.split(key)
        n_steps = self.method.n_steps(key_steps, step_size)
        step: Callable[..., Any] = lambda k, s: self.method.step(k, s, self.density.log_density, step_size, n_steps)  # noqa: E731
        states, info = jax.vmap(step)(jax.random.split(key_chains, self.schedule.chains), states)
        acceptance = jnp.mean(jnp.nan_to_num(info.acceptance_rate))
        step_state = jax.lax.cond(
            warming_up,
            lambda: adaptation.update(
                step_state, acceptance, iteration, self.schedule.warmup, self.method.target_acceptance
            ),
            lambda: step_state,
        )
        statistics = {
            "lp": states.logdensity,
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.diverging,
            "n_gradients": info.n_gradients,
            "step_size": jnp.broadcast_to(step_size, (self.schedule.chains,)),
        }
        return chains._replace(chains=states, step_size=step_state, iteration=iteration + 1), statistics

    def _write(
        self, key: Array, chains: Chains, buffers: Buffers, statistics: dict[str, Array], index: Array
    ) -> tuple[Chains, Buffers]:
        keys = jax.random.split(key, self.schedule.chains)
        records: Record = jax.vmap(partial(record, self.density, self.keep))(keys, chains.chains.position)
        values = records.values | statistics
        # Broadcast: statistics that do not depend on the chain come out of vmap without the chain axis.
        buffers = {
            name: buffer.at[index].set(jnp.broadcast_to(values[name], buffer.shape[1:])) for name, buffer in buffers.items()
        }
        return chains._replace(kernel_sum=chains.kernel_sum + records.kernels), buffers
