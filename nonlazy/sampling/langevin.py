r"""Overdamped Langevin dynamics: a diffusion whose draws have a time, for drift.

With the potential \(U = -\log p\) of coordinates that are standard normal under the prior,

\[ d\theta = -\nabla U(\theta)\, dt + \sqrt{2}\, dB , \]

so that a direction which the data leave free relaxes like \(e^{-t}\). A transition is one Euler step of the time
\(h = \epsilon^2 / 2\), epsilon being the step size; the Metropolis correction makes the posterior exactly stationary.
Steps are short enough for nearly all to be accepted. A rejected one takes no time: without this the dynamics would be
slower by the rejected fraction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc.mala import MALAState
from jaxtyping import Array, Float, Int

from nonlazy.posterior import Position
from nonlazy.sampling.method import Density, Info, Method

_kernel = blackjax.mala.build_kernel()


class LangevinState(NamedTuple):
    """A position with its log density, the gradient, and the time since the start of the chain."""

    position: Position
    logdensity: Float[Array, ""]
    logdensity_grad: Position
    time: Float[Array, ""]


def _start(key: Array, density: Any, position: Position) -> LangevinState:
    return LangevinState(position, *jax.value_and_grad(density.log_density)(position), jnp.zeros(()))


def _step(
    key: Array, state: LangevinState, density: Density, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[LangevinState, Info]:
    duration = step_size**2 / 2
    before = MALAState(state.position, state.logdensity, state.logdensity_grad)
    after, info = _kernel(key, before, density.log_density, duration)
    time = state.time + jnp.where(info.is_accepted, duration, 0.0)
    new = LangevinState(after.position, after.logdensity, after.logdensity_grad, time)
    return new, Info(info.acceptance_rate, jnp.zeros((), bool), n_steps, (time,))


def _one(key: Array, step_size: Float[Array, ""]) -> Int[Array, ""]:
    return jnp.ones((), int)


LANGEVIN = Method(
    "langevin",
    _step,
    _one,
    target_acceptance=0.97,
    start=_start,
    statistics=lambda _: {"time": ()},
    parametrization="plain",
)
