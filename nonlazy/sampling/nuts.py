"""The no-U-turn sampler: trajectories that choose their own length."""

from __future__ import annotations

import blackjax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nonlazy.sampling.method import ChainState, Density, Info, Method

_kernel = blackjax.nuts.build_kernel()


def _step(
    key: Array, state: ChainState, density: Density, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[ChainState, Info]:
    metric = jnp.ones(sum(x.size for x in state.position))
    state, info = _kernel(key, state, density.log_density, step_size, metric)
    return state, Info(info.acceptance_rate, info.is_divergent, info.num_integration_steps)


def _own_length(key: Array, step_size: Float[Array, ""]) -> Int[Array, ""]:
    return jnp.zeros((), int)


NUTS = Method("nuts", _step, _own_length, target_acceptance=0.8)
