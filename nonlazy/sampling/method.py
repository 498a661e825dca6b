"""What a sampling method has to offer; one method a file beside this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from blackjax.mcmc.hmc import HMCState as ChainState
from jaxtyping import Array, Float, Int

from nonlazy.model import Model
from nonlazy.posterior import Network, Position, Posterior
from nonlazy.tasks import Task

__all__ = ["ChainState", "Density", "Info", "Method", "NetworkDensity"]


class Density(Protocol):
    """What a transition asks of a density."""

    def log_density(self, position: Position) -> Float[Array, ""]: ...


class NetworkDensity(Density, Protocol):
    """What a run asks of a density: `Reduced`, `Plain`, or one that a method made of them."""

    @property
    def model(self) -> Model: ...

    @property
    def task(self) -> Task: ...

    @property
    def temperature(self) -> float: ...

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]: ...

    def network(self, key: Array, position: Position) -> Network: ...


class Info(NamedTuple):
    """Diagnostics of one transition of one chain; the last are those that the method names."""

    acceptance_rate: Float[Array, ""]
    diverging: Array
    n_gradients: Int[Array, ""]
    own: tuple[Float[Array, "..."], ...] = ()


def _start(key: Array, density: Any, position: Position) -> ChainState:
    return ChainState(position, *jax.value_and_grad(density.log_density)(position))


def _as_it_is(posterior: Posterior, density: NetworkDensity, seed: int, progress: bool) -> NetworkDensity:
    return density


def _keep(state: Any, iteration: Int[Array, ""], warmup: Int[Array, ""]) -> Any:
    return state


def _one(density: NetworkDensity) -> int:
    return 1


def _no_statistics(density: NetworkDensity) -> dict[str, tuple[int, ...]]:
    return {}


class Method(NamedTuple):
    """A Markov transition that leaves the density invariant, for one chain.

    `step(key, state, density, step_size, n_steps) -> (state, info)` makes one transition; `n_steps(key, step_size)` is
    the number of integration steps of the next one, common to all chains so that a batch of them stays in step. The step
    size is in units of the prior's standard deviation for every method, and is tuned to the target acceptance rate.
    `prepare(posterior, density, seed, progress)` gives the density that all else gets. States have a position and a logdensity;
    `start(key, density, position)` makes the first, and `tune(state, iteration, warmup)` may change them in warm-up. A
    transition costs `replicas(density)` times the gradients of its steps, and has the `statistics(density)` that `Info.own`
    holds, shapes by name.
    `parametrization` names the coordinates that it moves in unless told otherwise.
    """

    name: str
    step: Callable[[jax.Array, Any, Any, Float[Array, ""], Int[Array, ""]], tuple[Any, Info]]
    n_steps: Callable[[jax.Array, Float[Array, ""]], Int[Array, ""]]
    target_acceptance: float
    prepare: Callable[[Posterior, Any, int, bool], NetworkDensity] = _as_it_is
    start: Callable[[Array, Any, Position], Any] = _start
    tune: Callable[[Any, Int[Array, ""], Int[Array, ""]], Any] = _keep
    replicas: Callable[[Any], int] = _one
    statistics: Callable[[Any], dict[str, tuple[int, ...]]] = _no_statistics
    parametrization: str = "reduced"
