"""General-purpose samplers on the same densities, one chain after another: the programs of one chain, run in pieces.

All get what they are known to need: standard normal coordinates, double precision, warm-up of their own design, compiled
loops, and draws from the prior to start from. On one core a batch of chains would make every tree as long as the longest.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from blackjax.adaptation import window_adaptation
from numpyro.infer import NUTS

from benchmarks.performance.draws import KEEP, Drawn, scalars
from nonlazy.compilation import OPTIONS_FOR_ONE_CALL, compiled, double_precision
from nonlazy.posterior import Plain, Position, Posterior
from nonlazy.sampling.recording import record

# MCLMC: integration steps for each draw, and those that tune it.
STEPS_PER_DRAW = 20
TUNING_STEPS = 4000
GRADIENTS_PER_STEP = 2


class Rival(NamedTuple):
    """`start(key, position)` gives the first state; `step(key, state)` the next, its position, and the gradients it took.

    The first `warmup` steps tune; a piece has `piece` steps.
    """

    start: Callable[[jax.Array, Position], Any]
    step: Callable[[jax.Array, Any], tuple[Any, Position, jax.Array]]
    warmup: int
    piece: int
    settings: Callable[[Any], dict[str, Any]]


def network(density: Plain) -> None:
    """The posterior as a NumPyro model, its weights in units of their prior standard deviation."""
    model, task = density.model, density.task
    names = [f"w{i}" for i in range(len(density.shapes))]
    weights = [
        numpyro.sample(name, dist.Normal(0, 1).expand(shape).to_event(2))
        for name, shape in zip(names, density.shapes, strict=True)
    ]
    layers = model.hidden_layers(jnp.asarray(task.inputs), weights[:-1])
    outputs = model.outputs(model.phi(layers[-1]), np.sqrt(density.readout_variance) * weights[-1])
    numpyro.sample("y", dist.Normal(outputs, np.sqrt(density.temperature)).to_event(2), obs=jnp.asarray(task.targets))


def numpyro_nuts(density: Plain, warmup: int) -> Rival:
    """NumPyro: a diagonal metric and the step size tuned by Stan's windows, trees up to depth ten."""
    kernel = NUTS(network, target_accept_prob=0.8, dense_mass=False)

    def start(key: jax.Array, position: Position) -> Any:
        names = {f"w{i}": x for i, x in enumerate(position)}
        return kernel.init(key, warmup, init_params=names, model_args=(density,))

    def step(key: jax.Array, state: Any) -> tuple[Any, Position, jax.Array]:
        state = kernel.sample(state, (density,), {})
        return state, tuple(state.z[f"w{i}"] for i in range(len(density.shapes))), state.num_steps

    def settings(state: Any) -> dict[str, Any]:
        return {"step_size": float(state.adapt_state.step_size), "metric": "diagonal"}

    return Rival(start, step, warmup, 2, settings)


class Tuned(NamedTuple):
    """A chain of BlackJAX's NUTS and its adaptation."""

    chain: Any
    adaptation: Any
    iteration: jax.Array


def blackjax_nuts(density: Any, warmup: int) -> Rival:
    """BlackJAX: the same windows and a diagonal metric."""
    kernel = blackjax.nuts.build_kernel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        init, update, final = window_adaptation.base(is_mass_matrix_diagonal=True, target_acceptance_rate=0.8)
    schedule = jnp.asarray(window_adaptation.build_schedule(warmup))

    def start(key: jax.Array, position: Position) -> Tuned:
        return Tuned(blackjax.nuts.init(position, density.log_density), init(position, 0.01), jnp.zeros((), int))

    def step(key: jax.Array, state: Tuned) -> tuple[Tuned, Position, jax.Array]:
        chain, adapted, i = state
        chain, info = kernel(key, chain, density.log_density, adapted.step_size, adapted.inverse_mass_matrix)
        stage, last = schedule[jnp.minimum(i, warmup - 1)]
        tuned = update(adapted, (stage, last.astype(bool)), chain.position, info.acceptance_rate)
        step_size, metric = final(tuned)
        ended = tuned._replace(step_size=step_size, inverse_mass_matrix=metric)
        tuned = jax.tree.map(lambda a, b: jnp.where(i == warmup - 1, a, b), ended, tuned)
        adapted = jax.tree.map(lambda a, b: jnp.where(i < warmup, a, b), tuned, adapted)
        return Tuned(chain, adapted, i + 1), chain.position, info.num_integration_steps

    def settings(state: Tuned) -> dict[str, Any]:
        return {"step_size": float(state.adaptation.step_size), "metric": "diagonal"}

    return Rival(compiled(start), step, warmup, 2, settings)


def blackjax_mclmc(density: Any, warmup: int) -> Rival:
    """BlackJAX: microcanonical Langevin without Metropolis correction, step, length and diagonal metric by its own tuning."""
    kernel = blackjax.mclmc.build_kernel()

    def start(key: jax.Array, position: Position) -> Any:
        first, second = jax.random.split(key)
        state = blackjax.mcmc.mclmc.init(position, density.log_density, first)
        return blackjax.mclmc_find_L_and_step_size(
            kernel, TUNING_STEPS, state, second, logdensity_fn=density.log_density
        )[:2]

    def step(key: jax.Array, state: Any) -> tuple[Any, Position, jax.Array]:
        chain, tuned = state

        def body(i: jax.Array, chain: Any) -> Any:
            key_step = jax.random.fold_in(key, i)
            new, _ = kernel(key_step, chain, density.log_density, tuned.inverse_mass_matrix, tuned.L, tuned.step_size)
            return new

        chain = jax.lax.fori_loop(0, STEPS_PER_DRAW, body, chain)
        return (chain, tuned), chain.position, jnp.asarray(GRADIENTS_PER_STEP * STEPS_PER_DRAW)

    def settings(state: Any) -> dict[str, Any]:
        tuned = state[1]
        return {"step_size": float(tuned.step_size), "L": float(tuned.L), "metric": "diagonal", "tuning": TUNING_STEPS}

    return Rival(compiled(start), step, warmup, 20, settings)


Maker = Callable[[Any, int], Rival]
# By name: what makes it, the density it moves on, steps of warm-up.
RIVALS: dict[str, tuple[Maker, str, int]] = {
    "NumPyro NUTS, all weights": (numpyro_nuts, "plain", 150),
    "BlackJAX NUTS, all weights": (blackjax_nuts, "plain", 150),
    "BlackJAX MCLMC, all weights": (blackjax_mclmc, "plain", 20),
    "BlackJAX NUTS, reduced": (blackjax_nuts, "reduced", 150),
    "BlackJAX MCLMC, reduced": (blackjax_mclmc, "reduced", 20),
}


@double_precision
def draw(posterior: Posterior, name: str, budget: float, chains: int, seed: int) -> Drawn:
    """Draws of a rival until `budget` processor seconds have passed since the cold start, in warm-up or after it."""
    began = time.process_time()
    maker, parametrization, warmup = RIVALS[name]
    density: Any = posterior.density(parametrization)
    rival = maker(density, warmup)
    advance = piece_of(rival, density)
    key = jax.random.PRNGKey(seed)
    states = [first_state(rival, density, jax.random.fold_in(key, c)) for c in range(chains)]
    rounds: list[list[dict[str, np.ndarray]]] = []
    times: list[tuple[int, float]] = []
    made, gradients, warm, elapsed = 0, 0, 0.0, time.process_time() - began
    while elapsed < budget:
        found = []
        for c in range(chains):
            states[c], recorded, steps = advance(jax.random.fold_in(jax.random.fold_in(key, 1000 + made), c), states[c])
            found.append(jax.tree.map(np.asarray, recorded))
            gradients += int(steps) if made >= warmup else 0
        elapsed, made = time.process_time() - began, made + rival.piece
        if made <= warmup:
            warm = elapsed
            continue
        rounds.append(found)
        times.append((made - warmup, elapsed))
    settings = {"warmup": warmup, "warmup_made": min(made, warmup), "chains": "one after another"}
    warm = warm if times else elapsed
    return Drawn(joined(rounds), times, elapsed, elapsed - warm, gradients, warm, settings | rival.settings(states[0]))


def first_state(rival: Rival, density: Any, key: jax.Array) -> Any:
    """A chain at a draw of the prior."""
    first, second = jax.random.split(key)
    return jax.block_until_ready(rival.start(first, prior_draw(second, density.shapes)))


@partial(jax.jit, static_argnames="shapes", compiler_options=OPTIONS_FOR_ONE_CALL)
def prior_draw(key: jax.Array, shapes: tuple[tuple[int, ...], ...]) -> Position:
    """Standard normal coordinates, compiled as this library compiles what runs once."""
    keys = jax.random.split(key, len(shapes))
    return tuple(jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True))


def piece_of(rival: Rival, density: Any) -> Callable[[jax.Array, Any], tuple[Any, dict[str, jax.Array], jax.Array]]:
    """A compiled piece: `piece` steps, what is watched after each, and the gradients of all."""

    def step(state: Any, key: jax.Array) -> tuple[Any, tuple[dict[str, jax.Array], jax.Array]]:
        first, second = jax.random.split(key)
        state, position, gradients = rival.step(first, state)
        values = record(density, second, position, KEEP).values
        return state, ({k: values[k] for k in (*KEEP, "training_error") if k in values}, gradients)

    def advance(key: jax.Array, state: Any) -> tuple[Any, dict[str, jax.Array], jax.Array]:
        state, (values, gradients) = jax.lax.scan(step, state, jax.random.split(key, rival.piece))
        return state, values, jnp.sum(gradients)

    return compiled(advance)


def joined(rounds: list[list[dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Watched scalars (chain, draw) of rounds of pieces of each chain."""
    if not rounds:
        return {}
    names = rounds[0][0]
    chains = [{k: np.concatenate([r[c][k] for r in rounds]) for k in names} for c in range(len(rounds[0]))]
    return scalars({k: np.stack([chain[k] for chain in chains]) for k in names})
