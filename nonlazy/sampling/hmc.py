"""Hamiltonian Monte Carlo with the unit metric: the coordinates are standard normal under the prior."""

from __future__ import annotations

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nonlazy.sampling.method import ChainState, Density, Info, Method

# A quarter of the period of the prior's directions, after which a draw of them is independent.
TRAJECTORY_LENGTH = np.pi / 2
MAX_STEPS = 128


def jittered_steps(key: Array, step_size: Float[Array, ""]) -> Int[Array, ""]:
    """Number of leapfrog steps for a trajectory length uniform within 20 % of a quarter period.

    The jitter keeps trajectories from resonating with a direction of the posterior.
    """
    length = TRAJECTORY_LENGTH * jax.random.uniform(key, minval=0.8, maxval=1.2)
    return jnp.clip(jnp.round(length / step_size), 1, MAX_STEPS).astype(int)


_kernel = blackjax.hmc.build_kernel()


def _step(
    key: Array, state: ChainState, density: Density, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[ChainState, Info]:
    metric = jnp.ones(sum(x.size for x in state.position))
    state, info = _kernel(key, state, density.log_density, step_size, metric, n_steps)
    return state, Info(info.acceptance_rate, info.is_divergent, n_steps)


HMC = Method("hmc", _step, jittered_steps, target_acceptance=0.7)
