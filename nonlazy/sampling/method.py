"""What a sampling method has to offer; one method a file beside this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
from blackjax.mcmc.hmc import HMCState as ChainState
from jaxtyping import Array, Float, Int

LogDensity = Callable[[tuple[Array, ...]], Float[Array, ""]]

__all__ = ["ChainState", "Info", "LogDensity", "Method"]


class Info(NamedTuple):
    """Diagnostics of one transition of one chain."""

    acceptance_rate: Float[Array, ""]
    diverging: Array
    n_gradients: Int[Array, ""]


class Method(NamedTuple):
    """A Markov transition that leaves the density invariant, for one chain.

    `step(key, state, log_density, step_size, n_steps) -> (state, info)` makes one transition; `n_steps(key, step_size)` is
    the number of integration steps of the next one, common to all chains so that a batch of them stays in step. The step
    size is in units of the prior's standard deviation for every method, and is tuned to the target acceptance rate.
    """

    name: str
    step: Callable[[jax.Array, ChainState, LogDensity, Float[Array, ""], Int[Array, ""]], tuple[ChainState, Info]]
    n_steps: Callable[[jax.Array, Float[Array, ""]], Int[Array, ""]]
    target_acceptance: float
