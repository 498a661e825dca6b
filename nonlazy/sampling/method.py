"""What a sampling method has to offer; one method a file beside this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from blackjax.mcmc.hmc import HMCState as ChainState
from jaxtyping import Array, Float, Int

from nonlazy.posterior import Position

__all__ = ["ChainState", "Density", "Info", "Method"]


class Density(Protocol):
    """What a method asks of a density."""

    def log_density(self, position: Position) -> Float[Array, ""]: ...


class Info(NamedTuple):
    """Diagnostics of one transition of one chain; the last are those that the method names."""

    acceptance_rate: Float[Array, ""]
    diverging: Array
    n_gradients: Int[Array, ""]
    own: tuple[Float[Array, ""], ...] = ()


def _start(key: Array, density: Any, position: Position) -> ChainState:
    return ChainState(position, *jax.value_and_grad(density.log_density)(position))


def _keep(state: Any, iteration: Int[Array, ""], warmup: Int[Array, ""]) -> Any:
    return state


class Method(NamedTuple):
    """A Markov transition that leaves the density invariant, for one chain.

    `step(key, state, density, step_size, n_steps) -> (state, info)` makes one transition; `n_steps(key, step_size)` is
    the number of integration steps of the next one, common to all chains so that a batch of them stays in step. The step
    size is in units of the prior's standard deviation for every method, and is tuned to the target acceptance rate.
    States have a position and a logdensity; `start(key, density, position)` makes the first, and
    `tune(state, iteration, warmup)` may change them in warm-up. A transition costs `replicas` times the gradients of its steps.
    """

    name: str
    step: Callable[[jax.Array, Any, Any, Float[Array, ""], Int[Array, ""]], tuple[Any, Info]]
    n_steps: Callable[[jax.Array, Float[Array, ""]], Int[Array, ""]]
    target_acceptance: float
    start: Callable[[Array, Any, Position], Any] = _start
    tune: Callable[[Any, Int[Array, ""], Int[Array, ""]], Any] = _keep
    replicas: int = 1
    statistics: tuple[str, ...] = ()
