"""Tuning of the step size during warm-up, by dual averaging of the acceptance rate pooled over chains.

The coordinates are standard normal under the prior and the stiff directions of the posterior are collective, so the
metric stays the identity; only the step size is adapted. Averaging starts afresh twice, because the first transitions
describe the way from the start to the posterior, not the posterior.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import DualAveragingAdaptationState as StepSize
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jaxtyping import Array, Float, Int

__all__ = ["StepSize", "current", "initial", "update"]

# Dual averaging searches upward from a step that is surely short enough at low temperature.
FIRST_STEP_SIZE = 0.01
RESTARTS = (0.2, 0.5)


def initial() -> StepSize:
    """State before the first transition."""
    state = dual_averaging_adaptation(0.8)[0](jnp.asarray(FIRST_STEP_SIZE))
    # Without warm-up the average is what is used. Arrays of definite types, or the loop would be compiled twice.
    state = state._replace(log_step_size_avg=state.log_step_size)
    return StepSize(*(jnp.array(x, dtype=int if isinstance(x, int) else float) for x in state))


def current(state: StepSize, warming_up: Array | bool) -> Float[Array, ""]:
    """Step size of the next transition: the trial value in warm-up, the average of the last window after it."""
    return jnp.exp(jnp.where(warming_up, state.log_step_size, state.log_step_size_avg))


def update(
    state: StepSize,
    acceptance_rate: Float[Array, ""],
    iteration: Int[Array, ""],
    warmup: Int[Array, ""] | int,
    target: float,
) -> StepSize:
    """State after a warm-up transition with this mean acceptance rate."""
    init, step, final = dual_averaging_adaptation(target)
    state = step(state, jnp.nan_to_num(acceptance_rate))
    restart = jnp.any(iteration == jnp.array([jnp.floor(fraction * warmup) for fraction in RESTARTS]))
    # `init` aims at ten times the value it is given, meant for a rough first guess; here the guess is a good one.
    fresh = init(final(state))._replace(mu=jnp.log(final(state)))
    return jax.tree.map(lambda new, old: jnp.where(restart, new, old), fresh, state)
