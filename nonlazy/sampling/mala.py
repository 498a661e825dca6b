r"""The Metropolis-adjusted Langevin algorithm: one Euler step of a diffusion a transition, as long as sampling allows.

\[ x' = x + \tfrac{\epsilon^2}{2} \nabla \log p(x) + \epsilon\, \xi \]

with the step size epsilon. For the diffusion itself, in units of its time, see langevin.py.
"""

from __future__ import annotations

import blackjax
import jax.numpy as jnp
from blackjax.mcmc.mala import MALAState
from jaxtyping import Array, Float, Int

from nonlazy.sampling.method import ChainState, Density, Info, Method

_kernel = blackjax.mala.build_kernel()


def _step(
    key: Array, state: ChainState, density: Density, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[ChainState, Info]:
    new, info = _kernel(key, MALAState(*state), density.log_density, step_size**2 / 2)
    return ChainState(*new), Info(info.acceptance_rate, jnp.zeros((), bool), n_steps)


def _one(key: Array, step_size: Float[Array, ""]) -> Int[Array, ""]:
    return jnp.ones((), int)


MALA = Method("mala", _step, _one, target_acceptance=0.574)
