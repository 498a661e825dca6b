"""`solve_particles`: the mean-field theory for any data and any activation."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.posterior import Posterior
from nonlazy.theory.particles import outliers as rays
from nonlazy.theory.particles.ascent import GAIN, State, directions, follow, observe, take_step
from nonlazy.theory.particles.dual import Dual, Sample
from nonlazy.theory.particles.population import Population, draw_prior
from nonlazy.theory.particles.solution import OutlierNeurons, ParticleSolution
from nonlazy.validation import integer, positive

LARGEST_STEP = 0.5  # of a Newton step while t is searched for
N_SNAPSHOTS = 8  # features kept for a step, once near the solution
NEAR = 30  # times the decrement's noise
REFINEMENT = (1, 1, 1, 2, 2, 4)  # moves per snapshot before each of the last steps
N_DRIFT = 24  # further steps for activations that grow
QUIET_STEPS = 3
SAMPLE_FOR_HESSIAN = 4000


class Settled(NamedTuple):
    """Where the replicates are in the end, with samples that follow the law at their t, and the path that led there."""

    states: State
    samples: Sample
    outliers: list[rays.Outliers] | None
    path: list[Float[Array, "B P m"]]
    history: dict[str, list[np.ndarray]]
    reached: bool


@double_precision
def solve_particles(
    posterior: Posterior,
    n_particles: int = 4000,
    replicates: int = 4,
    tolerance: float = 0.02,
    max_steps: int = 400,
    seed: int = 0,
    progress: bool = True,
) -> ParticleSolution:
    r"""Mean-field theory by particles that follow the law of a single neuron while t climbs its dual.

    \[ q(z) \propto N(z \mid 0, K_0)\, e^{\sigma_a^2 |t^T \phi(z)|^2 / 2}, \qquad (\sigma_a^2 K_1 + N T)\, t = Y, \quad
       K_1 = \langle \phi(z) \phi(z)^T \rangle_q \]

    Args:
        posterior: a non-lazy model with an activation that saturates or grows linearly.
        n_particles: particles of all replicates together.
        replicates: independent solutions, whose scatter gives the errors; at least 2.
        tolerance: relative error of the kernel that counts as converged.
        max_steps: steps of t before giving up.
        seed: of all random numbers.
        progress: show progress on standard error.

    Raises:
        InputError: the lazy regime, an activation of faster growth, or arguments out of range.

    Source: docs, Particles.
    """
    if not isinstance(posterior, Posterior):
        raise InputError(f"posterior must be a nonlazy.Posterior, got {type(posterior).__name__}.")
    model = posterior.model
    if model.regime != "nonlazy":
        raise InputError(f"the particle theory holds for the non-lazy regime, got regime={model.regime!r}.")
    if model.phi.growth is None:
        raise InputError(
            f"activation {model.phi.name} neither saturates nor grows linearly at large arguments: the law of a single neuron "
            "cannot be normalized."
        )
    if model.depth != 1:
        raise InputError(f"the particle theory here treats one hidden layer, got depth={model.depth}.")
    integer("replicates", replicates, 2)
    integer("n_particles", n_particles, 100 * replicates)
    integer("max_steps", max_steps, 1)
    positive("tolerance", tolerance)
    solver = Solver(
        posterior, n_particles // replicates, replicates, jax.random.key(integer("seed", seed, 0)), progress
    )
    return solver.solve(tolerance, max_steps)


class Solver:
    """One problem with its random keys and progress bar."""

    def __init__(self, posterior: Posterior, n_particles: int, replicates: int, key: Array, progress: bool) -> None:
        self.phi = posterior.model.phi
        self.factor = orthogonal_columns(np.asarray(posterior.reduced.first_layer.factor))
        self.dual = Dual(
            jnp.asarray(posterior.task.targets),
            posterior.readout_variance,
            posterior.temperature * posterior.model.width,
            rays.WALL * self.factor.shape[1] if self.phi.growth == 1 else math.inf,
        )
        self.sigma_a = float(np.sqrt(posterior.readout_variance))
        self.slopes = rays.asymptote(self.phi) if self.phi.growth == 1 else None
        self.n_particles, self.replicates = n_particles, replicates
        self.key, self.n_keys = key, 0
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            disable=not progress,
        )
        self.bar_task = self.bar.add_task("compiling", total=None, detail="")

    def keys(self) -> Array:
        """New keys, one for each replicate."""
        self.n_keys += 1
        return jax.random.split(jax.random.fold_in(self.key, self.n_keys), self.replicates)

    def fresh(self) -> Population:
        return jax.vmap(lambda key: draw_prior(key, self.n_particles, self.factor.shape[1]))(self.keys())

    def solve(self, tolerance: float, max_steps: int) -> ParticleSolution:
        with self.bar:
            settled = self.refine(self.search(max_steps))
            self.bar.update(self.bar_task, description="free energy", detail="")
            path = jnp.stack(settled.path, axis=1)
            _, log_z = follow(self.keys(), self.phi, self.dual, self.factor, self.fresh(), path)
        return self.result(settled, np.asarray(jax.vmap(self.dual.value)(settled.states.t, log_z)), tolerance)

    def search(self, max_steps: int) -> Settled:
        """From t = 0 up the dual in steps that leave the weights even, until the decrement is down to its noise."""
        targets = self.dual.targets
        states = State(self.fresh(), jnp.zeros((self.replicates, *targets.shape)))
        outliers = None
        if self.slopes is not None:
            outliers = [rays.none(targets.shape[1], self.factor.shape[1])] * self.replicates
        now = Settled(states, Sample(jnp.zeros(()), jnp.zeros(())), outliers, [], {}, False)
        noise = 0.1 + 3 * targets.size / self.n_particles
        quiet = 0
        for _ in range(max_steps):
            near = bool(now.path) and now.history["decrement"][-1].max() < NEAR * noise
            # Steps made from one snapshot of the particles lower the weight of those that it happens to hold.
            now = self.step(now, 1, N_SNAPSHOTS if near else 1, GAIN, LARGEST_STEP, "searching")
            quiet = quiet + 1 if now.history["decrement"][-1].max() < noise else 0
            if quiet == QUIET_STEPS:
                return now._replace(reached=True)
        return now

    def refine(self, now: Settled) -> Settled:
        """Newton steps on averages over more and more moves."""
        largest = 1.0 if now.outliers is None else LARGEST_STEP / 2
        for n_moves in self.refinement():
            now = self.step(now, n_moves, N_SNAPSHOTS, 0.0, largest, "refining")
        return now

    def refinement(self) -> tuple[int, ...]:
        """Moves per snapshot before each of the last steps; neurons drift to large activity slowly."""
        return REFINEMENT if self.slopes is None else (1,) * N_DRIFT + REFINEMENT

    def step(self, now: Settled, n_moves: int, n_snapshots: int, gain: float, largest: float, phase: str) -> Settled:
        """Move the particles at fixed t, then t."""
        states, samples = observe(self.keys(), self.phi, self.dual, self.factor, now.states, n_moves, n_snapshots, gain)
        residual = jax.vmap(lambda t, s: self.dual.residual(t, s.kernel))(states.t, samples)
        outliers = now.outliers
        if outliers is None:
            direction, decrement = directions(self.dual, states, samples)
        else:
            outliers, direction, decrement, residual = self.with_outliers(outliers, states, samples, residual)
        states, samples, change = take_step(
            self.keys(), self.phi, self.dual, self.factor, states, samples, direction, largest
        )
        row = {
            "decrement": np.asarray(decrement),
            "residual": np.sqrt(np.mean(np.asarray(residual) ** 2, axis=(1, 2))),
            "change": np.asarray(change),
            "moves": np.full(self.replicates, n_moves * n_snapshots),
        }
        history = {name: [*now.history.get(name, []), value] for name, value in row.items()}
        self.bar.update(
            self.bar_task,
            description=phase,
            detail=f"step {len(now.path) + 1}, Newton decrement {row['decrement'].max():.2g}, "
            f"residual {row['residual'].max():.2g}",
        )
        return Settled(states, samples, outliers, [*now.path, states.t], history, now.reached)

    def with_outliers(
        self, outliers: list[rays.Outliers], states: State, samples: Sample, residual: Float[Array, "B P m"]
    ) -> tuple[list[rays.Outliers], Float[Array, "B P m"], np.ndarray, Float[Array, "B P m"]]:
        """Outliers and Newton directions found together; the residual then counts them."""
        assert self.slopes is not None
        found, steps, decrements, left = [], [], [], []
        for b, (t, features, weights, r) in enumerate(
            zip(states.t, samples.features, samples.weights, residual, strict=True)
        ):
            old = rays.revive(outliers[b], self.find_rays(states, outliers[b], b)[0])
            part = slice(None, None, -(-len(weights) // SAMPLE_FOR_HESSIAN))
            sample = Sample(features[part], weights[part] / jnp.sum(weights[part]))
            hessian = self.dual.hessian(t, sample)
            new, step = rays.optimize(self.slopes, self.factor, self.sigma_a, t, r, hessian, old)
            found.append(new)
            steps.append(jnp.asarray(step))
            decrements.append(float(step.ravel() @ np.asarray(hessian) @ step.ravel()))
            left.append(r - rays.contribution(self.slopes, self.factor, self.sigma_a, new))
        return found, jnp.stack(steps), np.array(decrements), jnp.stack(left)

    def find_rays(self, states: State, outliers: rays.Outliers, b: int) -> tuple[rays.Outliers, Float[Array, " n"]]:
        """Rays of replicate b, and their R."""
        assert self.slopes is not None
        t = states.t[b]
        starts = rays.starts(self.keys()[0], states.population.coordinates[b], outliers, t, self.factor)
        return rays.find_rays(starts, self.slopes, self.factor, self.sigma_a, t)

    def result(self, settled: Settled, free_energies: np.ndarray, tolerance: float) -> ParticleSolution:
        """Means and errors over replicates, and whether they can be trusted."""
        states, samples = settled.states, settled.samples
        kernels = np.asarray(jax.vmap(lambda s: s.kernel)(samples))
        residuals = np.asarray(jax.vmap(lambda t, k: self.dual.residual(t, k))(states.t, jnp.asarray(kernels)))
        found = OutlierNeurons(np.zeros((0, states.t.shape[2])), *(np.zeros((0, len(self.factor))) for _ in range(2)))
        ratio = 0.0
        if settled.outliers is not None:
            assert self.slopes is not None
            merged = [self.neurons(rays.merge(o)) for o in settled.outliers]
            found = merged[0]
            kernels = kernels + np.stack([o.activity.T @ o.activity for o in merged])
            residuals = residuals - np.stack([o.activity.T @ o.readout for o in merged])
            ratio = max(float(self.find_rays(states, o, b)[1][0]) for b, o in enumerate(settled.outliers))
        history = {name: np.stack(values) for name, values in settled.history.items()}
        kernel, error = mean_and_error(kernels)
        status = self.judge(settled, history, float(np.linalg.norm(error) / np.linalg.norm(kernel)), ratio, tolerance)
        t, t_error = mean_and_error(np.asarray(states.t))
        residual, residual_error = mean_and_error(residuals)
        free_energy, free_energy_error = pooled(free_energies)
        preactivations, readout_mean = self.equal_weights(states)
        return ParticleSolution(
            kernels=kernel[None],
            kernels_error=error[None],
            t=t,
            t_error=t_error,
            residual=residual,
            residual_error=residual_error,
            free_energy=free_energy,
            free_energy_error=free_energy_error,
            outliers=found,
            converged=not status,
            status="; ".join(status) or "converged",
            n_steps=len(settled.path),
            history=history,
            preactivations=[preactivations],
            readout_mean=readout_mean,
            readout_variance=self.dual.readout_variance,
            kernels_by_replicate=kernels[:, None],
        )

    def judge(
        self, settled: Settled, history: dict[str, np.ndarray], error: float, ratio: float, tolerance: float
    ) -> list[str]:
        """What speaks against the result; nothing if it has converged."""
        against = []
        decrement = history["decrement"][-1].max()
        if not settled.reached:
            reached = history["decrement"][-len(self.refinement()) - 1].max()
            against.append(f"max_steps was reached with a Newton decrement of {reached:.2g}")
        if decrement > 0.2:
            against.append(f"the Newton decrement of the last step, {decrement:.2g}, is above 0.2")
        if not error < tolerance:
            against.append(
                f"replicates disagree: the kernel's relative error is {error:.2g}, tolerance {tolerance:.2g}"
            )
        if ratio > 1 + tolerance:
            against.append(f"another outlier would gain: R = {ratio:.3f}")
        return against

    def neurons(self, outliers: rays.Outliers) -> OutlierNeurons:
        assert self.slopes is not None
        z = np.asarray(outliers.coordinates @ self.factor.T)
        return OutlierNeurons(self.sigma_a * np.asarray(outliers.readout), z, np.asarray(self.slopes(jnp.asarray(z))))

    def equal_weights(self, states: State) -> tuple[np.ndarray, np.ndarray]:
        """Particles of all replicates, resampled to equal weights, and the means of their readout weights."""
        layers, readouts = [], []
        for coordinates, log_weights, t in zip(
            states.population.coordinates, states.population.log_weights, states.t, strict=True
        ):
            n = len(log_weights)
            positions = (np.arange(n) + 0.5) / n
            chosen = np.searchsorted(np.cumsum(np.exp(np.asarray(log_weights))), positions).clip(0, n - 1)
            z = np.asarray(coordinates)[chosen] @ np.asarray(self.factor).T
            layers.append(z)
            readouts.append(self.dual.readout_variance * np.asarray(self.phi(jnp.asarray(z))) @ np.asarray(t))
        return np.concatenate(layers), np.concatenate(readouts)


def orthogonal_columns(factor: Float[np.ndarray, "P R"] | Float[np.ndarray, " P"]) -> Float[Array, "P R"]:
    """Another factor of the same kernel, with orthogonal columns."""
    if factor.ndim == 1:
        return jnp.diag(jnp.asarray(factor))
    u, s, _ = np.linalg.svd(factor, full_matrices=False)
    return jnp.asarray(u * s)


def pooled(free_energies: Float[np.ndarray, " B"]) -> tuple[float, float]:
    """Free energy from the mean of Z, which is what the particles estimate without bias; error by the jackknife."""

    def combine(values: np.ndarray) -> float:
        return float(np.log(len(values)) - np.logaddexp.reduce(-values))

    n = len(free_energies)
    left_out = np.array([combine(np.delete(free_energies, b)) for b in range(n)])
    return combine(free_energies), float(np.sqrt((n - 1) * np.mean((left_out - left_out.mean()) ** 2)))


def mean_and_error(values: Float[np.ndarray, "B ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over replicates and its standard error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
