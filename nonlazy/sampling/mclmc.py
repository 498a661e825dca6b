r"""Microcanonical Langevin Monte Carlo with a Metropolis correction, so that its draws carry no step-size bias.

The momentum has unit norm instead of norm \(\sqrt{d}\); steps are scaled by \(\sqrt{d}\) to the units of the other methods.
"""

from __future__ import annotations

import blackjax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nonlazy.sampling.hmc import jittered_steps
from nonlazy.sampling.method import ChainState, Density, Info, Method

_kernel = blackjax.adjusted_mclmc.build_kernel()
# The McLachlan integrator evaluates the gradient twice a step.
_GRADIENTS_PER_STEP = 2


def _step(
    key: Array, state: ChainState, density: Density, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[ChainState, Info]:
    dimension = sum(x.size for x in state.position)
    state, info = _kernel(key, state, density.log_density, step_size * jnp.sqrt(dimension), (n_steps,))
    return state, Info(info.acceptance_rate, info.is_divergent, _GRADIENTS_PER_STEP * n_steps)


MCLMC = Method("mclmc", _step, jittered_steps, target_acceptance=0.9)
