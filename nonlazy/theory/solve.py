"""`solve`: the mean-field theory of a posterior, by the method that its data and activation allow."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nonlazy.codes import activity_threshold, code_names, neuron_codes
from nonlazy.compilation import double_precision, forget_programs_if_many
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.kernels import class_averages
from nonlazy.posterior import Posterior
from nonlazy.theory.lazy import solve_lazy
from nonlazy.theory.linear import solve_linear
from nonlazy.theory.neurons import Branch, OutlierNeurons
from nonlazy.theory.particles import solve_particles
from nonlazy.theory.result import Theory
from nonlazy.theory.symmetric import MIN_NODES, N_NODES, SymmetricData, solve_symmetric, symmetric_data
from nonlazy.validation import boolean, integer

# Fraction of the variance of class activities between codes above which codes are discrete. Cutting a Gaussian in two at
# its mean explains 2 / pi of its variance.
DISCRETE = 0.8
# N T above which the training error is visible, as in the diagnostics of samples.
MAX_WIDTH_TEMPERATURE = 0.01
MIN_EFFECTIVE_NODES = 0.1
MAX_GAP = 1e-6
MAX_RESIDUAL = 1e-6


@double_precision
def solve(
    posterior: Posterior,
    seed: int = 0,
    progress: bool = True,
    throw: bool = True,
    n_particles: int | None = None,
    n_nodes: int | None = None,
) -> Theory:
    r"""Solve the mean-field theory of a posterior: kernels, codes and predictors of a wide network, without sampling it.

    In the limit of many neurons these are independent given a few order parameters. With one hidden layer

    \[ P(a, z) \propto e^{-|a|^2 / 2 \sigma_a^2}\, N(z \mid 0, K_0)\, e^{a^T t^T \phi(z)}, \qquad
       \langle a \phi(z) \rangle = Y - N T t , \]

    a convex problem for t. The method follows from the posterior:

    - lazy: Gaussian process; linear: closed form, exact in P / N.
    - inputs and targets that depend on the class alone (such as `tasks.orthogonal`): quadrature, at finite P; at L = 1 with a
      certificate that the solution is the global optimum.
    - any other data: particles, with error bars.

    Args:
        posterior: model, task and temperature.
        seed: of quadrature nodes or particles.
        progress: show progress on standard error where the solution takes long.
        throw: raise if the solver does not converge; otherwise return what was reached, with `converged` false.
        n_particles: particles a layer; None picks a number. Other methods have none.
        n_nodes: quadrature nodes a layer; None picks a number. Other methods have none.

    Raises:
        InputError: a posterior that the theory does not cover: a deep network whose nonlinear activation grows without bound.
        ConvergenceError: no convergence, with the residual and advice.

    References:
        van Meegen and Sompolinsky (2025); docs, The theory.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(activation="erf"), nl.tasks.orthogonal(n_inputs=100), temperature=1e-5)
        >>> theory = nl.solve(posterior)
        >>> theory.scheme, [branch.code for branch in theory.codes][:3], round(theory.codes[0].probability, 3)
        ('redundant', [(1, 1, 0), (1, 0, 1), (0, 1, 1)], 0.331)
    """
    forget_programs_if_many()
    if not isinstance(posterior, Posterior):
        raise InputError(f"posterior must be a nonlazy.Posterior, got {type(posterior).__name__}.")
    integer("seed", seed, 0)
    raises = boolean("throw", throw)
    nodes = N_NODES if n_nodes is None else integer("n_nodes", n_nodes, MIN_NODES)
    model = posterior.model
    if model.regime == "lazy":
        theory = _lazy(posterior)
    elif model.phi.name == "linear":
        theory = _linear(posterior)
    else:
        if model.depth > 1 and model.phi.growth != 0:
            raise InputError(
                f"posterior: the theory of {model.depth} hidden layers needs an activation that saturates, got "
                f"{model.phi.name}, whose outlier neurons in lower layers it does not cover. Sample this posterior, or use "
                "depth=1."
            )
        data = symmetric_data(posterior)
        theory = (
            _particles(posterior, seed, progress, n_particles)
            if data is None
            else _symmetric(posterior, data, seed, nodes)
        )
    if raises and not theory.converged:
        raise ConvergenceError(" ".join(theory.notes))
    return theory


def _no_outliers(posterior: Posterior) -> OutlierNeurons:
    task = posterior.task
    return OutlierNeurons(np.zeros((0, task.n_outputs)), np.zeros((0, task.n_inputs)), np.zeros((0, task.n_inputs)))


def _temperature_note(posterior: Posterior) -> tuple[str, ...]:
    product = posterior.temperature * posterior.model.width
    if product <= MAX_WIDTH_TEMPERATURE:
        return ()
    return (f"N T = {product:.2g} is not small: the mean outputs miss the targets by N T t.",)


def _lazy(posterior: Posterior) -> Theory:
    solution = solve_lazy(posterior)
    notes = () if solution.jitter == 0 else (f"Jitter of {solution.jitter:.2g} was added to the singular covariance.",)
    covariance = posterior.readout_variance * solution.kernels[-1]
    noise = posterior.temperature + solution.jitter
    t = np.linalg.solve(covariance + noise * np.eye(len(covariance)), posterior.task.targets)
    residual = float(np.abs(posterior.task.targets - posterior.temperature * t - covariance @ t).max())
    return Theory(
        posterior, "Gaussian process", "none", solution.kernels, (), ({},) * posterior.model.depth, None,
        _no_outliers(posterior), t, -solution.log_evidence, None, residual, True, notes, _law=solution,
    )  # fmt: skip


def _linear(posterior: Posterior) -> Theory:
    solution = solve_linear(posterior)
    return Theory(
        posterior, "closed form", "analog", solution.kernels, (), ({},) * posterior.model.depth, solution.readout_covariance,
        _no_outliers(posterior), solution.t, solution.free_energy, None, solution.residual, solution.converged,
        _temperature_note(posterior), _law=solution,
    )  # fmt: skip


def _symmetric(posterior: Posterior, data: SymmetricData, seed: int, n_nodes: int) -> Theory:
    solution = solve_symmetric(data, n_nodes, seed)
    outliers = solution.outliers
    scheme = _scheme(len(outliers.readout), solution.between_branches)
    notes = list(_temperature_note(posterior))
    converged = solution.residual < MAX_RESIDUAL and (solution.gap is None or solution.gap < MAX_GAP)
    if not converged:
        notes.append(f"The constraint is missed by {solution.residual:.2g}. Raise the temperature.")
    if solution.effective_nodes < MIN_EFFECTIVE_NODES:
        notes.append(
            f"Only {100 * solution.effective_nodes:.0f} % of the quadrature nodes are effective: a branch is far from "
            "Gaussian. Compare solutions with other seeds."
        )
    _, last = solution.layers[-1]
    a = np.sqrt(data.readout_variance) * last.x[:, : data.targets.shape[1]]
    fractions = tuple(solution.code_fractions(layer) for layer in range(1, posterior.model.depth + 1))
    return Theory(
        posterior, "quadrature over class-symmetric data", scheme, solution.kernels,
        solution.branches if scheme != "analog" else (), fractions, last.mean(a[:, :, None] * a[:, None, :]), outliers,
        solution.t, solution.free_energy, solution.gap, solution.residual, converged, tuple(notes), solution.others,
        _law=solution,
    )  # fmt: skip


def _scheme(n_outliers: int, between: float) -> str:
    if n_outliers:
        return "sparse"
    return "redundant" if between > DISCRETE else "analog"


def _particles(posterior: Posterior, seed: int, progress: bool, n_particles: int | None) -> Theory:
    options = {} if n_particles is None else {"n_particles": integer("n_particles", n_particles, 16)}
    solution = solve_particles(posterior, seed=seed, progress=progress, **options)
    task, phi = posterior.task, posterior.model.phi
    averages = np.asarray(class_averages(task.labels, len(task.class_names)))
    outliers = OutlierNeurons(solution.outliers.readout, solution.outliers.preactivations, solution.outliers.activity)
    activities = [np.asarray(phi(jnp.asarray(z))) @ averages.T for z in solution.preactivations]
    branches, between = _codes_of_particles(
        activities[-1], solution.readout_mean, outliers.activity @ averages.T, phi.name
    )
    fractions = tuple(_fractions(activity, phi.name) for activity in activities)
    scheme = _scheme(len(outliers.readout), between)
    moments = solution.readout_mean.T @ solution.readout_mean / len(solution.readout_mean)
    covariance = moments + solution.readout_variance * np.eye(task.n_outputs)
    notes = _temperature_note(posterior) + (() if solution.converged else (solution.status,))
    return Theory(
        posterior, f"particles, {len(solution.readout_mean)} in each layer", scheme, solution.kernels,
        branches if scheme != "analog" else (), fractions, covariance, outliers, solution.t, solution.free_energy, None,
        float(np.abs(solution.residual).max()), solution.converged, notes, kernels_error=solution.kernels_error,
        _law=_ParticleLaw(solution.preactivations, solution.readout_mean, solution.readout_variance),
    )  # fmt: skip


def _codes_of_particles(
    activity: Float[np.ndarray, "n C"], readout: Float[np.ndarray, "n m"], outliers: Float[np.ndarray, "k C"], name: str
) -> tuple[tuple[Branch, ...], float]:
    """Particles grouped by code, heaviest first, and the fraction of the variance of class activities between groups."""
    codes = neuron_codes(activity, activity_threshold(np.concatenate([activity, 10 * outliers]), name))
    present, member = np.unique(codes, axis=0, return_inverse=True)
    groups = [np.flatnonzero(member.ravel() == i) for i in range(len(present))]
    found = [
        Branch(tuple(int(b) for b in code), len(g) / len(activity), readout[g].mean(axis=0), activity[g].mean(axis=0))
        for code, g in zip(present, groups, strict=True)
    ]
    total = float(np.sum(activity.var(axis=0)))
    between = sum(b.probability * float(np.sum((b.activity - activity.mean(axis=0)) ** 2)) for b in found)
    return tuple(sorted(found, key=lambda b: -b.probability)), between / total if total else 0.0


def _fractions(activity: Float[np.ndarray, "n C"], name: str) -> dict[str, float]:
    names, counts = np.unique(
        code_names(neuron_codes(activity, activity_threshold(activity, name))), return_counts=True
    )
    order = np.argsort(-counts)
    return {str(names[i]): float(counts[i] / len(activity)) for i in order}


class _ParticleLaw:
    """Draws of neurons from the particles, outliers left out."""

    def __init__(
        self, preactivations: list[Float[np.ndarray, "n P"]], mean: Float[np.ndarray, "n m"], variance: float
    ) -> None:
        self.preactivations, self.mean, self.variance = preactivations, mean, variance

    def draw_neurons(
        self, rng: np.random.Generator, n: int
    ) -> tuple[list[Float[np.ndarray, "P n"]], Float[np.ndarray, "n m"]]:
        layers = [z[rng.integers(len(z), size=n)].T.copy() for z in self.preactivations[:-1]]
        chosen = rng.integers(len(self.mean), size=n)
        noise = np.sqrt(self.variance) * rng.standard_normal((n, self.mean.shape[1]))
        return [*layers, self.preactivations[-1][chosen].T.copy()], self.mean[chosen] + noise
