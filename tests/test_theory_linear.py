r"""The theory of wide linear networks against exact answers at finite width, against a minimization that uses none of its
formulas, and its limits and symmetries.

The theory leaves out terms of relative order 1/N. So at widths N and 2 N, with P / N and N T kept, its distance to the exact
answer must halve.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.linear import Linear, by_importance_sampling, by_quadrature, large_width
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import multivariate_normal, ortho_group

import nonlazy as nl
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.theory.linear import minimum, solve_linear

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.DataWarning")

quick = settings(database=None, deadline=None, max_examples=10, derandomize=True)


def posterior(inputs, targets, width, temperature, variance=1.0, stds=(1.0,)):
    task = nl.tasks.from_arrays(inputs, np.arange(len(inputs)) % 2, targets=targets)
    model = nl.Model(
        len(stds), width, "linear", weight_std=stds, readout_std=variance**0.5, readout_scaling=0.0
    )  # fmt: skip
    return nl.Posterior(model, task, temperature)


def orthogonal(targets, width, temperature, variance=1.0, stds=(1.0,)):
    return posterior(nl.tasks.orthogonal(len(targets), (0.5, 0.5)).inputs, targets, width, temperature, variance, stds)


# --- exact answers at finite width, for any K_0 ---------------------------------------------------


class Exact:
    """Posterior means for inputs sqrt(N0) * S * V^T: given A = u^T u / N all is Gaussian, with covariance K_0 A / N + T.

    A is a product of Wishart matrices (of positive numbers, for one output), and the integral over it is a sum over a grid.
    """

    def __init__(self, problem, test):
        task, model = problem.task, problem.model
        self.width, self.temperature = model.width, problem.temperature
        self.m, self.stds = task.n_outputs, model.weight_stds
        scale = self.stds[0] ** 2 / task.n_features
        kernel, self.cross = scale * task.inputs @ task.inputs.T, scale * test @ task.inputs.T
        self.prior = scale * np.sum(test**2, axis=1)
        self.kappa, vectors = np.linalg.eigh(kernel)
        self.kernel, self.vectors, self.targets = kernel, vectors, vectors.T @ task.targets
        self.variance = problem.readout_variance

    def chains(self, x):
        """Coordinates (d, G) to A_1 ... A_L, from the readout's covariance backwards; and their log prior density."""
        n, m, log_p = self.width, self.m, 0.0
        root, found = np.sqrt(self.variance) * np.eye(m)[None], []
        size = m * (m + 1) // 2
        for layer in range(len(self.stds)):
            entries = x[layer * size : (layer + 1) * size]
            bartlett = np.zeros((x.shape[1], m, m))
            for c, (i, j) in zip(entries, zip(*np.tril_indices(m), strict=True), strict=True):
                if i == j:  # chi with N - i degrees of freedom, in its logarithm
                    bartlett[:, i, i] = np.exp(c)
                    degrees = n - i
                    log_p = (
                        log_p + degrees * c - np.exp(2 * c) / 2 + (1 - degrees / 2) * np.log(2) - gammaln(degrees / 2)
                    )
                else:
                    bartlett[:, i, j] = c
                    log_p = log_p - c**2 / 2 - np.log(2 * np.pi) / 2
            std = self.stds[-layer] if layer else 1.0
            root = std * root @ bartlett / np.sqrt(n)
            found.append(root @ root.swapaxes(1, 2))
        return found[::-1], log_p

    def log_density(self, x):
        chain, log_p = self.chains(x)
        for kappa, y in zip(self.kappa, self.targets, strict=True):
            c = kappa * chain[0] / self.width + self.temperature * np.eye(self.m)
            log_p = (
                log_p - np.einsum("i,gij,j->g", y, np.linalg.inv(c), y) / 2 - np.linalg.slogdet(2 * np.pi * c)[1] / 2
            )
        return log_p

    def solve(self, points):
        """Sums over a grid that covers the support, found by maximization and a few widths of the peak."""
        depth, size = len(self.stds), self.m * (self.m + 1) // 2
        start = np.tile(
            [np.log(self.width) / 2 if i == j else 0.0 for i, j in zip(*np.tril_indices(self.m), strict=True)], depth
        )
        best = minimize(lambda x: -self.log_density(x[:, None])[0], start, method="BFGS", options={"gtol": 1e-7})
        # Directions and widths of the peak, from finite differences.
        d, h = depth * size, 1e-3
        shift = h * np.eye(d)
        f = lambda x: -self.log_density(x[:, None])[0]  # noqa: E731
        hessian = np.array(
            [
                [
                    (f(best.x + a + b) - f(best.x + a - b) - f(best.x + b - a) + f(best.x - a - b)) / (4 * h**2)
                    for a in shift
                ]
                for b in shift
            ]
        )
        root = np.linalg.inv(np.linalg.cholesky(hessian)).T
        grid = np.stack(np.meshgrid(*[np.linspace(-9, 9, points)] * d, indexing="ij")).reshape(d, -1)
        grid = grid[:, np.sum(grid**2, axis=0) < 81]
        x = best.x[:, None] + root @ grid
        log_p = self.log_density(x)
        p = np.exp(log_p - log_p.max())
        cell = (18 / (points - 1)) ** d * abs(np.linalg.det(root))
        evidence = log_p.max() + np.log(p.sum() * cell)
        return evidence, *self.moments(self.chains(x)[0], p / p.sum())

    def moments(self, chain, p):
        """Posterior means of the kernels, and mean and variance of the predictor."""
        n, m, eye = self.width, self.m, np.eye(self.m)
        gain = [k * chain[0] / n @ np.linalg.inv(k * chain[0] / n + self.temperature * eye) for k in self.kappa]
        outputs = np.stack([g @ y for g, y in zip(gain, self.targets, strict=True)])  # (P, G, m), along eigenvectors
        kernel, kernels = np.broadcast_to(self.kernel, (len(p), *self.kernel.shape)), []
        for layer, a in enumerate(chain):
            inverse = np.linalg.inv(a)
            spread = [
                np.trace(inverse @ (eye - g) @ (k * chain[0] / n), axis1=1, axis2=2)
                for g, k in zip(gain, self.kappa, strict=True)
            ]
            learned = np.einsum("kgi,gij,lgj->gkl", outputs, inverse, outputs)
            learned[:, range(len(self.kappa)), range(len(self.kappa))] += np.array(spread).T
            factor = (self.stds[layer] ** 2 if layer else 1.0) * (1 - m / n)
            kernel = factor * kernel + self.vectors @ learned @ self.vectors.T
            kernels.append(np.tensordot(p, kernel, 1))
        cross = self.cross @ self.vectors
        inverse = [np.linalg.inv(k * chain[0] / n + self.temperature * eye) for k in self.kappa]
        along = [chain[0] / n @ c for c in inverse]
        mean = np.einsum("xk,kgij,kj->gxi", cross, np.array(along), self.targets)
        reduction = np.einsum("xk,kgii->gxi", cross**2, np.array([b @ chain[0] / n for b in along]))
        variance = self.prior[:, None] * np.einsum("gii->gi", chain[0])[:, None] / n - reduction
        average = np.tensordot(p, mean, 1)
        return kernels, average, np.tensordot(p, variance + (mean - average) ** 2, 1), np.tensordot(p, chain[-1], 1)


def proportional(copies, m, temperature, stds=(1.0,), n_over=2.0, seed=0):
    """P = 5 copies: copies of one spectrum and one set of targets, so that P / N and all sums over modes per N are kept.

    Targets shrink like P^-1/2, so that outputs matter for the m x m matrices as much as the prior.
    """
    rng = np.random.default_rng(seed)
    kappa = np.tile([0.2, 0.5, 1.0, 2.0, 4.0], copies)
    p = len(kappa)
    targets = np.tile(rng.standard_normal((5, m)) * np.linspace(1.5, 4, m), (copies, 1)) / np.sqrt(copies)
    v = ortho_group.rvs(p, random_state=1)
    s = ortho_group.rvs(p + 1, random_state=2)[:p]  # one direction more than inputs
    width = int(n_over * p)
    inputs = np.sqrt(p + 1) * (v * np.sqrt(kappa)) @ s
    test = np.sqrt(p + 1) * np.stack([s[0] + 0.5 * s[1], s[2] - 0.3 * s[4]]) + 0.4 * rng.standard_normal((2, p + 1))
    return posterior(inputs, v @ targets, width, temperature / width, 1.0, stds), test


def distances(problem, test, points):
    """Relative distances of the theory to the exact answers."""
    exact, solution = Exact(problem, test), solve_linear(problem)
    evidence, kernels, mean, variance, readout = exact.solve(points)
    p, n = problem.task.n_inputs, problem.model.width
    found_mean, found_variance = solution.predict(test)
    # The learned part along the targets: single kernel entries are dominated by K_0.
    y = problem.task.targets / np.linalg.norm(problem.task.targets)
    along = [np.trace(y.T @ k @ y) for k in kernels]
    theory = [np.trace(y.T @ k @ y) for k in solution.kernels]
    assert p < n
    return {
        "evidence": abs(solution.free_energy + evidence / n),
        "mean": np.max(np.abs(found_mean - mean)) / np.max(np.abs(mean)),
        "variance": np.max(np.abs(found_variance / variance - 1)),
        "readout": np.max(np.abs(solution.readout_covariance - readout)) / np.max(readout),
        "kernels": np.max(np.abs(np.array(theory) / along - 1)),
    }


@pytest.mark.parametrize(("stds", "points"), [((1.2,), 61), ((1.2, 0.8), 41)])
@pytest.mark.parametrize("temperature", [0.5, 1e-4])
def test_one_output_approaches_the_exact_answer_like_one_over_width(stds, points, temperature):
    one, two = (distances(*proportional(copies, 1, temperature, stds), points) for copies in (4, 8))
    for name in one:
        assert two[name] < 0.6 * one[name] + 1e-9, (name, one[name], two[name])
        assert two[name] < 3 / 80, (name, two[name])


@pytest.mark.parametrize("temperature", [0.5, 1e-4])
def test_two_outputs_that_do_not_commute(temperature):
    """Y^T f(K_0) Y has other eigenvectors for each f; only at T -> 0 does a single one of them matter."""
    problem, _ = proportional(2, 2, temperature)
    y, kernel = problem.task.targets, problem.task.inputs @ problem.task.inputs.T / problem.task.n_features
    grams = y.T @ y, y.T @ np.linalg.solve(kernel, y)
    assert np.linalg.norm(grams[0] @ grams[1] - grams[1] @ grams[0]) > 0.1
    one, two = (distances(*proportional(copies, 2, temperature), 25) for copies in (3, 6))
    for name in one:
        assert two[name] < 0.6 * one[name] + 1e-6, (name, one[name], two[name])
        assert two[name] < 4 / 60, (name, two[name])


def test_exact_answers_agree_with_weighted_networks():
    """No formula: networks of two layers from the prior, weighted by their likelihood, predict a test input."""
    rng = np.random.default_rng(2)
    inputs, test = rng.standard_normal((2, 3)), rng.standard_normal((1, 3))
    problem = posterior(inputs, np.array([[0.6], [-0.4]]), 5, 0.1, 1.5, (1.2, 0.8))
    n = 400_000
    w1 = 1.2 * rng.standard_normal((n, 3, 5)) / 3**0.5
    w2 = 0.8 * rng.standard_normal((n, 5, 5)) / 5**0.5
    a = np.sqrt(1.5) * rng.standard_normal((n, 5, 1)) / 5
    everything = np.concatenate([inputs, test]) @ w1
    layers = [everything[:, :2], everything[:, :2] @ w2]
    outputs = everything @ (w2 @ a)
    p = np.exp(-np.sum((outputs[:, :2] - problem.task.targets) ** 2, axis=(1, 2)) / (2 * 0.1))
    evidence, kernels, mean, variance, readout = Exact(problem, test).solve(41)
    likelihood = p / (2 * np.pi * 0.1)
    scores = {"evidence": (likelihood.mean() - np.exp(evidence)) / (likelihood.std() / n**0.5)}
    p /= p.sum()

    def score(values, expected):
        average = p @ values
        return (average - expected) / np.sqrt(p**2 @ (values - average) ** 2)

    scores["mean"] = score(outputs[:, 2, 0], mean[0, 0])
    scores["variance"] = score((outputs[:, 2, 0] - mean[0, 0]) ** 2, variance[0, 0])
    scores["readout"] = score(5 * np.sum(a**2, axis=(1, 2)), readout[0, 0])
    for layer, z in enumerate(layers):
        for i, j in ((0, 0), (0, 1), (1, 1)):
            scores[f"kernel {layer + 1} {i},{j}"] = score(np.mean(z[:, i] * z[:, j], axis=1), kernels[layer][i, j])
    assert_close(scores)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_three_outputs_approach_the_exact_answer(depth):
    """Orthogonal inputs, T -> 0, three outputs: kernels by importance sampling at this width."""
    for n in (50, 100):
        targets = np.eye(3)[np.repeat([0, 1, 2], [n // 2, n // 4, n - n // 2 - n // 4])]
        net = Linear(targets, n, n ** (-1 / depth), 1e-9, (1.0,) * depth)
        exact, errors, _ = by_importance_sampling(net, 20_000)
        solution = solve_linear(orthogonal(targets, n, 1e-9, net.variance, net.stds))
        for layer in range(depth):
            found, expected = solution.kernels[layer], exact.kernel(layer, targets)
            room = 5 * np.abs(targets) @ errors.by_targets[layer] @ targets.T
            off = ~np.eye(n, dtype=bool)
            assert np.all(np.abs(found - expected)[off] < 1.5 / n * np.abs(expected)[off] + room[off] + 1e-12)
        np.testing.assert_allclose(np.diag(solution.readout_covariance), np.diag(exact.readout), rtol=1.5 / n)


@pytest.mark.parametrize("stds", [(1.2,), (1.2, 0.8)])
def test_one_output_at_any_temperature(stds):
    """Orthogonal inputs and layers of different scales: the independent quadrature of reference/linear.py."""
    targets = np.where(np.arange(80) < 40, 1.0, -0.5)[:, None]
    for nt in (1e-6, 1.0, 10.0):
        net = Linear(targets, 80, 0.1, nt / 80, stds)
        exact, solution = by_quadrature(net), solve_linear(orthogonal(targets, 80, nt / 80, 0.1, stds))
        np.testing.assert_allclose(solution.readout_covariance, exact.readout, rtol=2 / 80)
        for layer in range(len(stds)):
            # One entry of each block: targets 1, 1 and 1, -1/2; outputs are as good as fixed, the diagonal has 1/N more.
            expected = exact.kernel(layer, targets)
            np.testing.assert_allclose(solution.kernels[layer][0, [1, 50]], expected[0, [1, 50]], rtol=2 / 80)
            np.testing.assert_allclose(solution.kernels[layer][0, 0], expected[0, 0], rtol=3 / 80)


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
