"""The theory of wide linear networks against a minimization that uses none of its formulas, its limits and symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_problems import orthogonal, posterior
from reference.linear import Linear, large_width
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, ortho_group

import nonlazy as nl
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.theory.linear import minimum, solve_linear
from nonlazy.theory.linear.data import data_of
from nonlazy.theory.linear.derivatives import gradient_of, hessian_of, stretch, symmetric_basis

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.DataWarning")

quick = settings(database=None, deadline=None, max_examples=10, derandomize=True)


# --- the free energy and its minimum --------------------------------------------------------------


def free_energy(problem, matrices):
    """All L matrices, the dense covariance of all targets, and no reduction."""
    model, task, n = problem.model, problem.task, problem.model.width
    scales = [
        *(s**2 * q for s, q in zip(model.weight_stds[1:], matrices[1:], strict=True)),
        problem.readout_variance * np.eye(task.n_outputs),
    ]
    total = 0.0
    for q, scale in zip(matrices, scales, strict=True):
        ratio = q @ np.linalg.inv(scale)
        total += (np.trace(ratio) - np.linalg.slogdet(ratio)[1] - len(q)) / 2
    kernel = model.weight_stds[0] ** 2 * task.inputs @ task.inputs.T / task.n_features
    covariance = np.kron(kernel, matrices[0]) / n + problem.temperature * np.eye(task.targets.size)
    return total - multivariate_normal(cov=covariance).logpdf(task.targets.ravel()) / n


def random_problem(seed, p, m, depth, temperature):
    rng = np.random.default_rng(seed)
    inputs, targets = rng.standard_normal((p, 2 * p)), rng.standard_normal((p, m)) * rng.uniform(0.5, 3, m)
    return posterior(inputs, targets, 2 * p, temperature, 0.7, tuple(rng.uniform(0.7, 1.4, depth)))


@pytest.mark.parametrize("temperature", [1e-3, 0.1])
@pytest.mark.parametrize("depth", [1, 3])
def test_solution_minimizes_the_free_energy_of_all_layers(depth, temperature):
    """A general minimizer over L symmetric matrices finds the same minimum, from elsewhere."""
    problem = random_problem(1, 5, 2, depth, temperature)
    solution = solve_linear(problem)
    rows, columns = np.tril_indices(2)

    def matrices(x):
        roots = np.zeros((depth, 2, 2))
        roots[:, rows, columns] = x.reshape(depth, -1)
        return roots @ roots.swapaxes(1, 2)

    start = np.tile(np.sqrt(problem.readout_variance) * np.array([1.5, 0.1, 2.0]), depth)
    found = minimize(lambda x: free_energy(problem, matrices(x)), start, method="BFGS", options={"gtol": 1e-7})
    assert solution.free_energy == pytest.approx(free_energy(problem, solution.effective_covariances), rel=1e-9)
    assert solution.free_energy == pytest.approx(found.fun, rel=1e-7)
    np.testing.assert_allclose(solution.effective_covariances, matrices(found.x), rtol=1e-3, atol=1e-3)


def test_derivatives_of_the_free_energy():
    """Gradient and Hessian by log Q_1 against finite differences, also for eigenvalues that nearly agree."""
    rng = np.random.default_rng(0)
    data = data_of(random_problem(0, 5, 3, 2, 0.09))
    directions = symmetric_basis(3)
    targets = rng.standard_normal((5, 3))
    for q in ([1.0, 2.5, 0.3], [1.0, 1.0, 0.001], [1.0, 1 + 1e-6, 1 + 2e-6], [1.0, 50, 50 + 1e-6]):

        def value(x, q=q):
            log_q, rotation = np.linalg.eigh(np.diag(np.log(q)) + np.tensordot(x, directions, 1))
            return 2 * np.sum(data.free_energies(np.exp(log_q), targets @ rotation))

        q, shift, h = np.array(q), 1e-4 * np.eye(6), 1e-4
        slope = [(value(a) - value(-a)) / (2 * h) for a in shift]
        expected = np.einsum("ij,pij->p", stretch(q) * gradient_of(data, q, targets), directions)
        np.testing.assert_allclose(slope, expected, atol=1e-6)
        bent = [
            [(value(a + b) - value(a - b) - value(b - a) + value(-a - b)) / (4 * h**2) for a in shift] for b in shift
        ]
        np.testing.assert_allclose(bent, hessian_of(data, q, targets, directions), atol=1e-5)


# --- limits and reference values ------------------------------------------------------------------


def toy(depth):
    return nl.Posterior(nl.Model(depth, 100, "linear"), nl.tasks.orthogonal(100), 1e-9)


def test_reference_values_of_one_layer():
    solution = solve_linear(toy(1))
    np.testing.assert_allclose(solution.readout_covariance, np.diag([0.5**0.5, 0.5, 0.5]), atol=1e-6)
    np.testing.assert_allclose(solution.kernels[0][[0, 50, 80], [1, 51, 81]], [2**0.5, 2, 2], atol=1e-5)


def test_reference_values_of_three_layers():
    problem = toy(3)
    solution = solve_linear(problem)
    ratio = np.diag(solution.readout_covariance) / problem.readout_variance
    np.testing.assert_allclose(ratio, [3.90, 3.28, 3.28], atol=0.005)
    np.testing.assert_allclose(solution.kernels[-1][[0, 50, 80], [1, 51, 81]], [1.57, 1.98, 1.98], atol=0.005)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_low_temperature_gives_the_closed_form(depth):
    """r - (1 - alpha) = g / (sigma_a^2 s r^L) for each eigenvalue g of Y^T K_0^-1 Y, with s the product of the other scales."""
    problem = random_problem(3, 12, 3, depth, 1e-13)
    solution, model, task = solve_linear(problem), problem.model, problem.task
    stds = np.array(model.weight_stds)
    kernel = stds[0] ** 2 * task.inputs @ task.inputs.T / task.n_features
    g, basis = np.linalg.eigh(task.targets.T @ np.linalg.solve(kernel, task.targets))
    scale, alpha = problem.readout_variance, task.n_inputs / model.width
    s = np.prod(stds[1:] ** 2)
    roots = [np.roots([1, alpha - 1, *[0] * (depth - 1), -x / (scale * s)]) for x in g]
    r = np.array([np.max(np.real(z[np.abs(z.imag) < 1e-9])) for z in roots])
    np.testing.assert_allclose(solution.readout_covariance, basis * (scale * r) @ basis.T, rtol=1e-7)
    for layer in range(1, depth + 1):
        q = scale * np.prod(stds[layer:] ** 2) * basis * r ** (depth - layer + 1) @ basis.T
        np.testing.assert_allclose(solution.effective_covariances[layer - 1], q, rtol=1e-6)
        kernel = (stds[layer - 1] ** 2 if layer > 1 else 1) * kernel + task.targets @ np.linalg.solve(q, task.targets.T)
        np.testing.assert_allclose(solution.kernels[layer - 1], kernel, rtol=1e-6, atol=1e-8)


def test_low_temperature_agrees_with_the_reference_theory():
    targets = np.eye(3)[np.repeat([0, 1, 2], [20, 10, 10])]
    net = Linear(targets, 60, 40 ** (-1 / 2), 1e-12, (1.0, 1.0))
    by_targets, u = large_width(net)
    solution = solve_linear(orthogonal(targets, 60, 1e-12, net.variance, net.stds))
    np.testing.assert_allclose(np.diag(solution.readout_covariance), u, rtol=1e-7)
    for found, expected in zip(solution.kernels, by_targets, strict=True):
        np.testing.assert_allclose(found, np.eye(40) + targets @ expected @ targets.T, atol=1e-6)


def test_low_temperature_predictor():
    """Mean as in the lazy regime, variance Q_1 v / N with the effective readout of the first layer, not the last one's."""
    problem = random_problem(5, 8, 2, 3, 1e-12)
    solution, task, n = solve_linear(problem), problem.task, problem.model.width
    test = np.random.default_rng(9).standard_normal((3, task.n_features))
    scale = problem.model.weight_stds[0] ** 2 / task.n_features
    kernel, cross = scale * task.inputs @ task.inputs.T, scale * test @ task.inputs.T
    mean, variance = solution.predict(test)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(kernel, task.targets), rtol=1e-7)
    v = scale * np.sum(test**2, axis=1) - np.sum(cross * np.linalg.solve(kernel, cross.T).T, axis=1)
    expected = np.outer(v, np.diag(solution.effective_covariances[0])) / n
    np.testing.assert_allclose(variance, expected, rtol=1e-6)
    assert np.max(np.abs(np.outer(v, np.diag(solution.readout_covariance)) / n / expected - 1)) > 0.3
    mean, variance = solution.predict(task.inputs)
    np.testing.assert_allclose(mean, task.targets, atol=1e-8)
    assert variance.max() < 1e-10


def test_high_temperature_gives_the_prior():
    problem = random_problem(4, 6, 2, 2, 1e9)
    solution, scale = solve_linear(problem), problem.readout_variance
    np.testing.assert_allclose(solution.readout_covariance, scale * np.eye(2), rtol=1e-6, atol=1e-8)
    mean, variance = solution.predict(problem.task.inputs)
    assert np.abs(mean).max() < 1e-7
    stds = problem.model.weight_stds
    kappa = stds[0] ** 2 * np.sum(problem.task.inputs**2, axis=1) / problem.task.n_features
    expected = kappa * scale * stds[1] ** 2 / problem.model.width
    np.testing.assert_allclose(variance, np.stack([expected] * 2, axis=1), rtol=1e-6)


# --- symmetries and hard cases --------------------------------------------------------------------


problems = {"seed": st.integers(0, 2**20), "p": st.integers(2, 14), "m": st.integers(1, 5), "depth": st.integers(1, 4)}


@quick
@given(**problems, log_t=st.floats(-9, 0))
def test_rotated_outputs_rotate_the_solution(seed, p, m, depth, log_t):
    one = random_problem(seed, p, m, depth, 10**log_t)
    rotation = ortho_group.rvs(m, random_state=seed) if m > 1 else -np.eye(1)
    two = nl.Posterior(
        one.model,
        nl.tasks.from_arrays(one.task.inputs, one.task.labels, targets=one.task.targets @ rotation),
        10**log_t,
    )
    a, b = solve_linear(one), solve_linear(two)
    assert a.free_energy == pytest.approx(b.free_energy, rel=1e-9)
    np.testing.assert_allclose(a.kernels, b.kernels, rtol=1e-6, atol=1e-7)
    rotated = rotation.T @ a.effective_covariances @ rotation
    np.testing.assert_allclose(rotated, b.effective_covariances, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(a.t @ rotation, b.t, rtol=1e-5, atol=1e-6 * np.abs(b.t).max())


@quick
@given(**problems, log_t=st.floats(-9, 0))
def test_dual_variables_and_outputs(seed, p, m, depth, log_t):
    """t = (Y - f) / N T; the mean of the predictor on training inputs is Y - N T t; both residuals are rounding errors."""
    problem = random_problem(seed, p, m, depth, 10**log_t)
    solution = solve_linear(problem)
    mean, _ = solution.predict(problem.task.inputs)
    nt = problem.model.width * problem.temperature
    np.testing.assert_allclose(mean, problem.task.targets - nt * solution.t, atol=1e-8)
    assert solution.residual < 1e-8
    assert solution.gradient < 1e-9
    assert solution.converged


@quick
@given(seed=st.integers(0, 2**20), depth=st.integers(1, 4), log_t=st.floats(-10, 0), ratio=st.sampled_from([0.5, 1, 3]))
def test_ill_conditioned_and_degenerate_problems(seed, depth, log_t, ratio):
    """K_0 singular and of many scales, targets centred, repeated, or of many scales, more inputs than neurons."""
    rng = np.random.default_rng(seed)
    p, m = int(rng.integers(4, 30)), int(rng.integers(2, 11))
    n_features = int(rng.integers(2, 40))
    inputs = rng.standard_normal((p, n_features)) * 10.0 ** rng.uniform(-4, 1, n_features)
    labels = np.arange(p) % m
    targets = [
        np.eye(m)[labels] - 1 / m,
        rng.standard_normal((p, 1)) @ rng.standard_normal((1, m)),
        rng.standard_normal((p, m)) * 10.0 ** rng.uniform(-6, 1, m) @ rng.standard_normal((m, m)),
        np.zeros((p, m)),
    ][seed % 4]
    problem = posterior(inputs, targets, max(1, int(p / ratio)), 10**log_t, 0.3, (1.0,) * depth)
    solution = solve_linear(problem)
    assert np.isfinite(solution.kernels).all()
    assert np.isfinite(solution.free_energy)
    assert np.linalg.eigvalsh(solution.readout_covariance).min() > 0


def test_centred_targets_leave_the_empty_direction_to_the_temperature():
    """With P >= N and no target along a direction only N T keeps Q_1 from vanishing: r = 1 - alpha q / (q + N T), K_0 = I."""
    targets = np.eye(3)[np.arange(30) % 3] - 1 / 3
    for temperature in (1e-3, 1e-8):
        solution = solve_linear(orthogonal(targets, 20, temperature))
        empty = np.ones(3) / 3**0.5
        q = empty @ solution.readout_covariance @ empty
        np.testing.assert_allclose(solution.readout_covariance @ empty, q * empty, atol=1e-12)
        nt = 20 * temperature
        assert q == pytest.approx(2 * nt / (nt + 0.5 + np.sqrt((nt + 0.5) ** 2 + 4 * nt)), rel=1e-7)


def test_of_two_minima_the_lower_is_returned():
    """Three layers, one output: near N T = the scale of the targets, prior-like and learned solutions coexist."""
    found = []
    for nt in (0.5, 1.3, 1.4, 1.6, 1.7):
        problem = orthogonal(np.full((40, 1), 0.8), 80, nt / 80, 0.01, (1.0,) * 3)
        solution, data = solve_linear(problem), data_of(problem)
        q = np.geomspace(1e-4, 1e3, 8001)
        values = np.array([data.free_energies(np.array([x]), data.targets)[0] for x in q])
        minima = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])) + 1
        best = q[np.argmin(values)]
        found.append((len(minima), best > 0.1))
        assert solution.effective_covariances[0][0, 0] == pytest.approx(best, rel=2e-3)
    assert {(2, True), (2, False)} <= set(found)


def test_neurons_have_the_moments_of_the_solution():
    problem = random_problem(7, 6, 2, 3, 0.02)
    solution, n = solve_linear(problem), 200_000
    layers, a = solution.draw_neurons(np.random.default_rng(0), n)
    assert [z.shape for z in layers] == [(6, n)] * 3
    assert a.shape == (n, 2)
    fitted = problem.task.targets - problem.model.width * problem.temperature * solution.t
    scores = {}

    def compare(name, left, right, expected):
        mean, square = left @ right.T / n, left**2 @ (right**2).T / n
        for index, z in np.ndenumerate((mean - expected) / np.sqrt((square - mean**2) / n)):
            scores[f"{name} {index}"] = z

    for layer, z in enumerate(layers):
        compare(f"kernel {layer + 1}", z, z, solution.kernels[layer])
    compare("readout", a.T, a.T, solution.readout_covariance)
    compare("outputs", layers[-1], a.T, fitted)
    compare("lower layer and readout", layers[0], a.T, 0)
    noise = layers[-1] - fitted @ np.linalg.solve(solution.readout_covariance, a.T)
    compare("given the readout", noise, noise, problem.model.weight_stds[-1] ** 2 * solution.kernels[-2])
    assert_close(scores)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="'linear'"):
        solve_linear(nl.Posterior(nl.Model(), nl.tasks.orthogonal(4)))
    with pytest.raises(InputError, match="'nonlazy'"):
        solve_linear(nl.Posterior(nl.Model(activation="linear", regime="lazy"), nl.tasks.orthogonal(4)))
    solution = solve_linear(orthogonal(np.ones((4, 1)), 10, 0.1))
    with pytest.raises(InputError, match="4 columns"):
        solution.predict(np.zeros((3, 5)))
    with pytest.raises(InputError, match="n must be"):
        solution.draw_neurons(np.random.default_rng(0), 0)


def test_failure_to_converge_is_an_error_with_advice(monkeypatch):
    monkeypatch.setattr(minimum, "MAX_STEPS", 1)
    with pytest.raises(ConvergenceError, match=r"relative gradient of .*raise the temperature"):
        solve_linear(random_problem(2, 10, 4, 3, 0.3))
