r"""Replica exchange along the theory-anchored path: the method whose chains change codes.

Each chain is a ladder of replicas, one on each rung of the path (path.py). A transition moves every replica by Hamiltonian
Monte Carlo, proposes to replace neurons one after the other (replacement.py), and exchanges replicas between neighbouring
rungs, pairs of even and of odd rungs in turn. Codes change where it is hot and reach the posterior by exchanges. The first
replicas come from annealing on the hottest rung, where the start is forgotten, and then on one rung after the other.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nonlazy.compilation import double_precision
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.model import Model
from nonlazy.posterior import Network, Plain, Position, Posterior, Reduced
from nonlazy.sampling.adaptation import RESTARTS
from nonlazy.sampling.hmc import HMC
from nonlazy.sampling.method import ChainState, Info, Method
from nonlazy.sampling.path import Rung
from nonlazy.sampling.replacement import NeuronLaw, neuron_law, replace
from nonlazy.tasks import Task
from nonlazy.theory import solve
from nonlazy.theory.symmetric import symmetric_data
from nonlazy.theory.symmetric.dual import LastLayer

# Between neighbouring rungs, in units of 1 / sqrt(m P): about six of ten exchanges are then accepted.
RUNG_DISTANCE = 4.0
# Highest temperature, relative to the prior variance of an output: neurons are nearly independent there.
HOTTEST = 100.0
LEAPFROGS = (4, 9)
SHRINKAGE = 0.9
# Transitions of the annealing: on the hottest rung, and on each rung; the step size before any is tuned.
MELTING, ANNEALING = 50, 10
ANNEALING_STEP_SIZE = 0.05
# Replacements proposed to each replica in a transition, per neuron.
REPLACEMENTS = 0.5


class Path(NamedTuple):
    """The posterior with what is known of it from the theory.

    Attributes:
        reduced: the posterior.
        t: dual variables.
        law: of a neuron, for proposals.
        temperatures: of the rungs, ascending, before they are tuned.
        log_norm: log Z_1 of the neurons' law at t.
    """

    reduced: Reduced
    t: Float[Array, "P m"]
    law: NeuronLaw
    temperatures: Float[Array, " K"]
    log_norm: Float[Array, ""]

    @property
    def model(self) -> Model:
        return self.reduced.model

    @property
    def task(self) -> Task:
        return self.reduced.task

    @property
    def temperature(self) -> float:
        return self.reduced.temperature

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return self.reduced.shapes

    def log_density(self, position: Position) -> Float[Array, ""]:
        return self.reduced.log_density(position)

    def network(self, key: Array, position: Position) -> Network:
        return self.reduced.network(key, position)

    def rung(self, temperature: Float[Array, ""]) -> Rung:
        return Rung(self.reduced, self.t, temperature)


class Ladder(NamedTuple):
    """A chain: a replica on each rung, coldest first.

    Attributes:
        positions: coordinates of the replicas, (K, R, N).
        logdensity: of the coldest, which is a draw of the posterior.
        temperatures: of the rungs, (K,).
        rejections, transitions: summed since the ladder was last spaced, (K - 1,) and a count.
        was_hottest: whether the replica on each rung was on the hottest since it was on the coldest, (K,).
        round_trips: from the coldest rung to the hottest and back, of all replicas.
    """

    positions: Float[Array, "K R N"]
    logdensity: Float[Array, ""]
    temperatures: Float[Array, " K"]
    rejections: Float[Array, " K-1"]
    transitions: Int[Array, ""]
    was_hottest: Array
    round_trips: Int[Array, ""]

    @property
    def position(self) -> Position:
        """Coordinates of the coldest replica, of one chain or of a batch."""
        return (self.positions[..., 0, :, :],)


@double_precision
def make_path(posterior: Posterior, density: Reduced | Plain, seed: int = 0, progress: bool = False) -> Path:
    """The path of a posterior, from the solution of its theory.

    Raises:
        InputError: a network or data for which neurons cannot be drawn from the theory's law.
    """
    model = posterior.model
    if not isinstance(density, Reduced):
        raise InputError("method 'tempered' needs parametrization 'reduced', got 'plain'.")
    if model.depth > 1 or model.regime != "nonlazy":
        raise InputError(
            "method 'tempered' needs a nonlazy network with one hidden layer, got depth "
            f"{model.depth}, regime {model.regime!r}."
        )
    data = symmetric_data(posterior)
    if data is None or density.first_layer.factor.ndim > 1:
        raise InputError(
            "method 'tempered' needs orthogonal inputs, X X^T / N0 diagonal and constant in each class, as in "
            "nonlazy.tasks.orthogonal; got others."
        )
    t = solve(posterior, seed=seed, progress=progress).t
    assert t is not None
    while True:
        try:
            last = LastLayer(data, data.kernel, seed)
            t_of_class = t[np.unique(data.labels, return_index=True)[1]]
            law, log_norm = neuron_law(last, t_of_class), last.log_norm(t_of_class)
            return Path(density, jnp.asarray(t), law, jnp.asarray(_temperatures(posterior)), jnp.asarray(log_norm))
        except ConvergenceError:
            # A theory with corrections in P / N may have a t at which no law of independent neurons exists; any t is valid.
            t = SHRINKAGE * t


def _temperatures(posterior: Posterior) -> Float[np.ndarray, " K"]:
    """In geometric progression; distances in log T shrink as the number of outputs grows."""
    model = posterior.model
    variance = posterior.readout_variance * model.output_scale**2 * model.width * posterior.task.n_inputs
    hottest = max(HOTTEST * variance, 10 * posterior.temperature)
    distance = RUNG_DISTANCE / math.sqrt(posterior.task.targets.size)
    n_rungs = max(math.ceil(math.log(hottest / posterior.temperature) / distance), 2)
    return np.geomspace(posterior.temperature, hottest, n_rungs)


def _start(key: Array, path: Path, position: Position) -> Ladder:
    """Replicas from annealing.

    A start in other codes than the path's would survive in the cold half of the ladder: its replicas cannot climb.
    """
    temperatures, rungs = path.temperatures, len(path.temperatures)
    step_size, n_steps = jnp.asarray(ANNEALING_STEP_SIZE), jnp.asarray(LEAPFROGS[0])

    def rest(key: Array, x: Float[Array, "R N"], temperature: Float[Array, ""], n: int) -> Float[Array, "R N"]:
        def body(i: Int[Array, ""], x: Float[Array, "R N"]) -> Float[Array, "R N"]:
            return _move(path, step_size, n_steps, jax.random.fold_in(key, i), x, temperature)[0]

        return jax.lax.fori_loop(0, n, body, x)

    def cool(x: Float[Array, "R N"], rung: tuple[Array, Array]) -> tuple[Float[Array, "R N"], Float[Array, "R N"]]:
        x = rest(rung[0], x, rung[1], ANNEALING)
        return x, x

    key_melt, key_cool = jax.random.split(key)
    molten = rest(key_melt, position[0], temperatures[-1], MELTING)
    _, replicas = jax.lax.scan(cool, molten, (jax.random.split(key_cool, rungs), temperatures[::-1]))
    zero = jnp.zeros((), int)
    return Ladder(
        replicas[::-1],
        path.log_density((replicas[-1],)),
        temperatures,
        jnp.zeros(rungs - 1),
        zero,
        jnp.zeros(rungs, bool),
        zero,
    )


def _step(
    key: Array, ladder: Ladder, path: Path, step_size: Float[Array, ""], n_steps: Int[Array, ""]
) -> tuple[Ladder, Info]:
    rungs = len(ladder.temperatures)
    key_moves, key_exchange = jax.random.split(key)
    moves = jax.vmap(partial(_move, path, step_size, n_steps))
    positions, info, replaced = moves(jax.random.split(key_moves, rungs), ladder.positions, ladder.temperatures)
    likelihoods = neighbours(path, positions, ladder.temperatures)
    hottest = path.rung(ladder.temperatures[-1]).log_evidence(positions[-1], path.log_norm)
    source, probability = exchange(key_exchange, likelihoods, ladder.transitions % 2)
    positions, was_hottest = positions[source], ladder.was_hottest[source].at[-1].set(True)
    moved = Ladder(
        positions,
        path.log_density((positions[0],)),
        ladder.temperatures,
        ladder.rejections + 1 - probability,
        ladder.transitions + 1,
        was_hottest.at[0].set(False),
        ladder.round_trips + was_hottest[0],
    )
    return moved, Info(
        jnp.mean(info.acceptance_rate),
        info.diverging[0],
        n_steps * rungs,
        (
            jnp.mean(probability),
            jnp.mean(replaced),
            moved.round_trips.astype(float),
            likelihoods.work_up,
            likelihoods.work_down,
            hottest,
        ),
    )


class Likelihoods(NamedTuple):
    """Log likelihoods of replicas on their own rungs (K,), and on the next hotter and the next colder one (K - 1,)."""

    here: Float[Array, " K"]
    above: Float[Array, " K-1"]
    below: Float[Array, " K-1"]

    @property
    def work_up(self) -> Float[Array, " K-1"]:
        """What the replica of the colder rung would gain by going to the hotter one, for each pair."""
        return self.above - self.here[:-1]

    @property
    def work_down(self) -> Float[Array, " K-1"]:
        """What the replica of the hotter rung would gain by going to the colder one, for each pair."""
        return self.below - self.here[1:]


def neighbours(path: Path, positions: Float[Array, "K R N"], temperatures: Float[Array, " K"]) -> Likelihoods:
    """Likelihoods of replicas on their rungs and on the neighbouring ones."""
    likelihoods = jax.vmap(lambda x, temperature: path.rung(temperature).log_likelihood((x,)))
    return Likelihoods(
        likelihoods(positions, temperatures),
        likelihoods(positions[:-1], temperatures[1:]),
        likelihoods(positions[1:], temperatures[:-1]),
    )


def exchange(
    key: Array, likelihoods: Likelihoods, parity: Int[Array, ""] | int
) -> tuple[Int[Array, " K"], Float[Array, " K-1"]]:
    """Exchanges between neighbouring rungs, pairs of this parity: the rung each replica comes from, and all probabilities."""
    rungs = len(likelihoods.here)
    probability = jnp.minimum(jnp.exp(likelihoods.work_up + likelihoods.work_down), 1)
    accepted = jax.random.uniform(key, (rungs - 1,)) < probability
    exchanged = (accepted & (jnp.arange(rungs - 1) % 2 == parity)).astype(int)
    return jnp.arange(rungs).at[:-1].add(exchanged).at[1:].add(-exchanged), probability


def _move(
    path: Path,
    step_size: Float[Array, ""],
    n_steps: Int[Array, ""],
    key: Array,
    x: Float[Array, "R N"],
    temperature: Float[Array, ""],
) -> tuple[Float[Array, "R N"], Info, Float[Array, ""]]:
    """Hamiltonian Monte Carlo and replacements on one rung."""
    key_hmc, key_replace = jax.random.split(key)
    rung, factor = path.rung(temperature), path.reduced.first_layer.factor[:, None]
    state = ChainState((x,), *jax.value_and_grad(rung.log_density)((x,)))
    state, info = HMC.step(key_hmc, state, rung, step_size, n_steps)
    n = math.ceil(REPLACEMENTS * x.shape[1])
    z, replaced = replace(key_replace, path.law, rung, factor * state.position[0], n)
    return z / factor, info, replaced


def _tune(ladder: Ladder, iteration: Int[Array, ""], warmup: Int[Array, ""]) -> Ladder:
    """Space the rungs so that exchanges between all neighbours are rejected equally often, a few times in warm-up."""
    due = jnp.any(iteration == jnp.array([jnp.floor(fraction * warmup) for fraction in RESTARTS]))
    rate = jnp.maximum(ladder.rejections / jnp.maximum(ladder.transitions, 1), 1e-3)
    barrier = jnp.concatenate([jnp.zeros(1), jnp.cumsum(rate)])
    evenly = jnp.linspace(0, barrier[-1], len(barrier))
    # The ends stay exactly where they are.
    inner = jnp.exp(jnp.interp(evenly, barrier, jnp.log(ladder.temperatures)))[1:-1]
    spaced = ladder._replace(
        temperatures=ladder.temperatures.at[1:-1].set(inner),
        rejections=jnp.zeros_like(ladder.rejections),
        # Pairs of even and of odd rungs go on in turn.
        transitions=ladder.transitions % 2,
    )
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), spaced, ladder)


def _few(key: Array, step_size: Float[Array, ""]) -> Int[Array, ""]:
    return jax.random.randint(key, (), *LEAPFROGS)


def _n_rungs(path: Path) -> int:
    return len(path.temperatures)


def _statistics(path: Path) -> dict[str, tuple[int, ...]]:
    pairs = (_n_rungs(path) - 1,)
    scalars = dict.fromkeys(("exchange_rate", "replacement_rate", "round_trips"), ())
    return scalars | {"work_up": pairs, "work_down": pairs, "log_evidence_hottest": ()}


TEMPERED = Method(
    "tempered",
    _step,
    _few,
    target_acceptance=0.75,
    prepare=make_path,
    start=_start,
    tune=_tune,
    replicas=_n_rungs,
    statistics=_statistics,
)
