r"""The theory of wide linear networks against exact answers at finite width, for any K_0.

The theory leaves out terms of relative order 1/N. So at widths N and 2 N, with P / N and N T kept, its distance to the exact
answer must halve.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from linear_problems import orthogonal, posterior
from reference.linear import Linear, by_importance_sampling, by_quadrature
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import ortho_group

from nonlazy.theory.linear import solve_linear

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.DataWarning")


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
