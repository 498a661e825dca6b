"""The theory of class-symmetric data with one hidden layer: against brute force, closed forms, leading orders, symmetries, and
weak duality."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SIGMAS
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import leading_order
from scipy.stats import ortho_group
from symmetric_problems import TOY, WIDTH, derivative, hard, identity, leaky, posterior, toy

import nonlazy as nl
from nonlazy.theory.symmetric import solve_symmetric, symmetric_data
from nonlazy.theory.symmetric.dual import LastLayer

pytestmark = [pytest.mark.filterwarnings("ignore::nonlazy.DataWarning"), pytest.mark.usefixtures("in_double_precision")]


quick = settings(database=None, deadline=None, max_examples=12, derandomize=True)


# --- the dual -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_derivatives_of_the_dual_agree_with_finite_differences(name):
    data = toy(name)
    layer, t = LastLayer(data, data.kernel, 0), 0.3 * np.random.default_rng(1).standard_normal((3, 2))
    nodes, rays = layer.propose(t, 2**10), layer.rays(t)

    def at(t):
        return layer.point(t, rays, data.width_temperature, nodes)

    np.testing.assert_allclose(at(t).gradient, derivative(lambda t: at(t).value, t), atol=1e-7)
    np.testing.assert_allclose(-at(t).curvature, derivative(lambda t: at(t).gradient, t), atol=1e-6)


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_weak_duality(name):
    """The dual at any t stays below the free energy of the law at any other."""
    data = toy(name, width_temperature=0.3)
    layer, rng = LastLayer(data, data.kernel, 0), np.random.default_rng(0)
    solution = solve_symmetric(data, n_nodes=2**11)
    points = []
    for scale in (0.05, 0.1, 0.2, 0.3):
        t = scale * rng.standard_normal((3, 2)) + (1 - scale) * solution.saddle.dual.point.t
        rays = layer.rays(t)
        if rays.growth.max(initial=0) < 0.98:
            points.append(layer.point(t, rays, data.width_temperature, layer.propose(t, 2**12)))
    assert len(points) > 1
    # |dD/dt_mu|^2 summed over inputs.
    missed = [np.sum(p.gradient.reshape(3, 2) ** 2 / data.counts[:, None]) for p in points]
    primal = [p.value + x / (2 * data.width_temperature) for p, x in zip(points, missed, strict=True)]
    for p, upper in itertools.product(points, primal):
        assert p.value <= solution.free_energy + 1e-3 <= upper + 2e-3
    assert min(primal) > max(p.value for p in points) + 1e-3
    assert 0 <= solution.gap < 1e-8


def test_small_problem_against_weighted_draws_from_the_prior():
    """No branches, no fields: neurons drawn from the prior, weighted by the tilt at the solution, obey the constraint."""
    p = posterior("erf", n_inputs=6, ratios=(0.5, 0.5), width_temperature=0.5)
    theory, n = nl.solve(p), 2_000_000
    rng = np.random.default_rng(3)
    z, a = rng.standard_normal((n, 6)), np.sqrt(p.readout_variance) * rng.standard_normal((n, 2))
    phi = leading_order.erf_activation(z)
    log_weights = np.sum(a * (phi @ theory.t), axis=1)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    effective = 1 / np.sum(weights**2)
    assert effective > 1000
    expected = p.task.targets - 0.5 * theory.t
    for mu in (0, 5):
        for r in range(2):
            values = a[:, r] * phi[:, mu]
            mean = weights @ values
            error = np.sqrt(weights**2 @ (values - mean) ** 2)
            assert abs(mean - expected[mu, r]) < SIGMAS * error
    kernel = np.einsum("n,n,n->", weights, phi[:, 0], phi[:, 1])
    error = np.sqrt(weights**2 @ (phi[:, 0] * phi[:, 1] - kernel) ** 2)
    assert abs(kernel - theory.kernels[0, 0, 1]) < SIGMAS * error
    log_norm = np.log(np.mean(np.exp(log_weights)))
    value = np.sum(theory.t * p.task.targets) - 0.25 * np.sum(theory.t**2) - log_norm
    assert theory.free_energy == pytest.approx(value, abs=SIGMAS / effective**0.5)


@pytest.mark.parametrize("n_classes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_linear_activation_agrees_with_its_closed_form(n_classes):
    r"""A user's z -> z, inputs with a common component: U = (1 / sigma_a^2 - t^T K_0 t)^-1 and K_0 t U = Y - N T t."""
    labels = np.repeat(np.arange(n_classes), (8, 4, 4)[:n_classes])
    p = len(labels)
    inputs = np.sqrt(p + 1) * np.concatenate([np.sqrt(0.8) * np.eye(p), np.full((p, 1), np.sqrt(0.3))], axis=1)
    problem = nl.Posterior(
        nl.Model(activation=identity, width=WIDTH), nl.tasks.from_arrays(inputs, labels), 0.02 / WIDTH
    )
    kernel = inputs @ inputs.T / (p + 1)
    theory = nl.solve(problem)
    t, y = theory.t, problem.task.targets
    u = np.linalg.inv(np.eye(n_classes) / problem.readout_variance - t.T @ kernel @ t)
    np.testing.assert_allclose(kernel @ t @ u, y - 0.02 * t, atol=2e-3)
    np.testing.assert_allclose(theory.readout_covariance, u, rtol=5e-3, atol=2e-3)
    np.testing.assert_allclose(theory.kernels[0], kernel + kernel @ t @ u @ t.T @ kernel, rtol=5e-3, atol=5e-3)
    log_z = -np.linalg.slogdet(np.eye(n_classes) - problem.readout_variance * t.T @ kernel @ t)[1] / 2
    assert theory.free_energy == pytest.approx(np.sum(t * y) - 0.01 * np.sum(t**2) - log_z, abs=5e-3)
    assert theory.scheme == "analog"
    # The closed form for any P / N has this limit.
    wide = nl.Posterior(nl.Model(activation="linear", width=10**6), problem.task, 0.02e-6)
    np.testing.assert_allclose(theory.kernels, nl.solve(wide).kernels, rtol=5e-3, atol=5e-3)


# --- against leading orders -----------------------------------------------------------------------


def test_leading_order_of_linear_networks():
    r, added, u = leading_order.linear((50, 25, 25), WIDTH, 0.01)
    np.testing.assert_allclose(u, [0.707, 0.5, 0.5], atol=5e-4)
    np.testing.assert_allclose(added[-1], [1.414, 2, 2], atol=5e-4)
    r, added, _ = leading_order.linear((50, 25, 25), WIDTH, 100 ** (-1 / 3), 3)
    np.testing.assert_allclose(r, [3.90, 3.28, 3.28], atol=5e-3)
    np.testing.assert_allclose(added[-1], [1.57, 1.98, 1.98], atol=5e-3)
    # For P -> infinity, and the library's closed form.
    np.testing.assert_allclose(
        leading_order.linear((5e7, 2.5e7, 2.5e7), 1e10, 1e-8)[2],
        leading_order.linear_large_p((2, 1, 1), 1, 1),
        rtol=1e-3,
    )
    theory = nl.solve(posterior("linear", depth=3, width_temperature=1e-7))
    np.testing.assert_allclose(np.diag(theory.kernel_blocks[-1]), added[-1], rtol=1e-5)


def test_leading_order_of_sigmoidal_networks():
    found = leading_order.redundant(leading_order.erf_activation, TOY, np.eye(3), 100, 1e-3)
    np.testing.assert_allclose(found.weights[:4], [0.331, 0.331, 0.325, 0.013], atol=5.5e-4)
    np.testing.assert_allclose(np.sort(found.readout[:2], axis=0)[:, 0], [1.623, 1.623], atol=6e-4)
    np.testing.assert_allclose(np.sort(found.readout[0])[[0, 1, 2]], [-1.620, 1.580, 1.623], atol=6e-4)
    np.testing.assert_allclose(found.readout[2], [-1.678, 1.612, 1.612], atol=6e-4)
    np.testing.assert_allclose(found.readout[3], [2.567, -0.823, -0.823], atol=6e-4)
    np.testing.assert_allclose(np.sort(found.activity[0]), [0.024, 0.920, 0.955], atol=6e-4)
    np.testing.assert_allclose(found.activity[2], [0.046, 0.960, 0.960], atol=6e-4)
    np.testing.assert_allclose(found.activity[3], [0.960, 0.046, 0.046], atol=6e-4)
    np.testing.assert_allclose(found.blocks[[0, 1, 0], [0, 1, 1]], [0.573, 0.602, 0.313], atol=6e-4)


def test_leading_order_of_relu_networks():
    found = leading_order.sparse(TOY, np.eye(3))
    np.testing.assert_allclose(found.readout, [0.312, 0.169, 0.169], atol=5e-4)
    np.testing.assert_allclose(np.diag(found.blocks), [1.493, 2.096, 2.096], atol=6e-4)
    np.testing.assert_allclose(found.blocks[[0, 0, 1], [1, 2, 2]], [0.264, 0.264, 0.227], atol=6e-4)


def distance_to_leading_order(name, n_inputs):
    """Of heaviest branches and kernel blocks."""
    theory = nl.solve(posterior(name, n_inputs, width_temperature=1e-3 if name == "erf" else 1e-5))
    if name == "relu":
        expected = leading_order.sparse(TOY, np.eye(3))
        assert len(theory.codes) == 1
        found = theory.bulk.readout
        return np.concatenate(
            [found - expected.readout, (theory.kernel_blocks[0] - expected.blocks)[np.triu_indices(3)]]
        )
    expected = leading_order.redundant(leading_order.erf_activation, TOY, np.eye(3), n_inputs, 1e-3)
    found = {branch.code: branch for branch in theory.codes}
    differences = [(theory.kernel_blocks[0] - expected.blocks)[np.triu_indices(3)]]
    for weight, readout, activity in list(zip(expected.weights, expected.readout, expected.activity, strict=True))[:4]:
        branch = found[tuple(int(x > 0.5) for x in activity)]
        differences += [[branch.probability - weight], branch.readout - readout, branch.activity - activity]
    return np.concatenate(differences)


@pytest.mark.parametrize("name", ["erf", pytest.param("relu", marks=pytest.mark.slow)])
def test_distance_to_the_leading_order_falls_like_one_over_p(name):
    one, four = (np.abs(distance_to_leading_order(name, n)).max() for n in (100, 400))
    print(one, four)
    assert 2.5 < one / four < 6
    assert one < (0.003 if name == "erf" else 0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["erf", "relu"])
def test_distance_to_the_leading_order_falls_at_each_doubling(name):
    sizes = np.array([100, 200, 400, 800])
    distances = np.array([np.linalg.norm(distance_to_leading_order(name, n)) for n in sizes])
    print(distances * sizes)
    assert np.all(distances[:-1] > 1.5 * distances[1:])
    assert np.ptp(distances * sizes) < 0.4 * np.mean(distances * sizes)


# --- the whole ------------------------------------------------------------------------------------

PROBLEMS = st.tuples(
    st.sampled_from(["erf", "tanh", "relu"]),
    st.lists(st.integers(2, 9), min_size=2, max_size=3).map(tuple),
    st.floats(0.5, 2.0),
    st.floats(0.5, 1.5),
    st.floats(-4.0, -1.0).map(lambda x: 10**x),
)


def problem_of(counts, activation, s_a, weight_std, width_temperature, targets=None, order=None):
    """Orthogonal inputs with classes of these sizes, in another order of the classes if asked."""
    order = list(range(len(counts))) if order is None else list(order)
    labels = np.repeat(np.arange(len(counts)), [counts[c] for c in order])
    inputs = np.sqrt(len(labels)) * np.eye(len(labels))
    if targets is not None:
        targets = np.asarray(targets)[order][labels]
    task = nl.tasks.from_arrays(inputs, labels, targets=targets)
    model = nl.Model(activation=activation, width=WIDTH, readout_std=s_a, weight_std=weight_std)
    return nl.Posterior(model, task, width_temperature / WIDTH)


@quick
@given(PROBLEMS)
def test_any_problem_is_solved(problem):
    activation, counts, *rest = problem
    solution = solve_symmetric(symmetric_data(problem_of(counts, activation, *rest)), n_nodes=2**11)
    assert 0 <= solution.gap < 1e-8
    assert solution.residual < 1e-8
    assert solution.saddle.dual.point.ensemble.probabilities.sum() == pytest.approx(1, abs=1e-9)
    for fractions in (solution.code_fractions(1), {b.code: b.probability for b in solution.branches}):
        assert sum(fractions.values()) == pytest.approx(1, abs=1e-4)
    assert np.linalg.eigvalsh(solution.kernels[0]).min() > 0
    assert (len(solution.outliers.readout) == 0) or activation == "relu"
    rays = solution.saddle.dual.point.rays
    assert np.all(rays.growth < 1)
    assert np.all(solution.saddle.dual.strengths * (1 - rays.growth) < 1e-8)


@pytest.mark.slow
@settings(quick, max_examples=3)
@given(PROBLEMS, st.integers(0, 10))
def test_exchanging_classes_exchanges_everything(problem, seed):
    activation, counts, *rest = problem
    targets = np.random.default_rng(seed).standard_normal((len(counts), 2))
    one = nl.solve(problem_of(counts, activation, *rest, targets))
    order = np.roll(np.arange(len(counts)), 1)
    other = nl.solve(problem_of(counts, activation, *rest, targets, order))
    assert other.free_energy == pytest.approx(one.free_energy, rel=1e-3)
    np.testing.assert_allclose(
        other.kernel_blocks, one.kernel_blocks[:, order][:, :, order], atol=0.01 * one.kernel_blocks.max()
    )
    fractions = {b.code: b.probability for b in one.codes}
    for branch in other.codes:
        code = tuple(branch.code[list(order).index(c)] for c in range(len(counts)))
        if branch.probability > 0.02:
            assert fractions[code] == pytest.approx(branch.probability, abs=0.01)


@pytest.mark.parametrize("activation", ["erf", pytest.param("relu", marks=pytest.mark.slow)])
def test_rotating_the_outputs_leaves_kernels_and_free_energy(activation):
    rotation = ortho_group(3, seed=1).rvs()
    one, other = (nl.solve(problem_of((20, 10, 10), activation, 1.0, 1.0, 1e-3, y)) for y in (np.eye(3), rotation))
    assert other.free_energy == pytest.approx(one.free_energy, rel=1e-4)
    np.testing.assert_allclose(other.kernels, one.kernels, atol=3e-3)
    np.testing.assert_allclose(other.t, one.t @ rotation, atol=0.01 * np.abs(one.t).max())
    np.testing.assert_allclose(np.sort([b.probability for b in other.codes])[-3:],
                               np.sort([b.probability for b in one.codes])[-3:], atol=2e-3)  # fmt: skip


SCHEMES = {
    "identity": (identity, "analog", 0),
    "erf": ("erf", "redundant", 4),
    "tanh": ("tanh", "redundant", 8),
    "hard tanh": (hard, "redundant", 8),
    "relu": ("relu", "sparse", 3),
    "softplus": (jax.nn.softplus, "sparse", 3),
    "gelu": (jax.nn.gelu, "sparse", 3),
    "leaky, slope 0.1": (leaky(0.1), "sparse", 3),
    "absolute value": (jnp.abs, "sparse", 3),
}


LONGER = {"gelu", "softplus", "absolute value"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONGER else ()) for name in SCHEMES]
)
def test_schemes(name):
    """The scheme, with the number of branches of more than one neuron in two hundred, or of outliers."""
    activation, scheme, count = SCHEMES[name]
    theory = nl.solve(posterior(activation))
    assert theory.scheme == scheme
    assert len(theory.outliers.readout) == (count if scheme == "sparse" else 0)
    if scheme == "redundant":
        assert sum(b.probability > 0.005 for b in theory.codes) == count
    if scheme == "sparse":
        assert np.argmax(theory.outliers.activity, axis=1).size == 3
        classes = [np.argmax(np.bincount(theory.posterior.task.labels, a)) for a in theory.outliers.activity]
        assert sorted(classes) == [0, 1, 2]


@pytest.mark.slow
def test_a_bulk_far_from_gaussian():
    """Nearly linear: new nodes shift the maximum along the boundary of the dual's domain, where steps are short."""
    theory = nl.solve(posterior(leaky(0.9)))
    assert theory.scheme == "sparse"
    assert theory.gap < 1e-8
    assert any("far from Gaussian" in note for note in theory.notes)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "n_codes"), [("erf", 252), ("tanh", 1024)])
def test_ten_classes(activation, n_codes):
    """Half the classes active (erf), or any of them (tanh), with equal weights."""
    theory = nl.solve(posterior(activation, 200, (0.1,) * 10))
    assert theory.converged
    assert theory.scheme == "redundant"
    assert len(theory.codes) == n_codes
    assert {sum(branch.code) for branch in theory.codes} == ({5} if activation == "erf" else set(range(11)))
    probabilities = np.array([branch.probability for branch in theory.codes])
    assert probabilities.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(probabilities, 1 / n_codes, rtol=0.5)
    np.testing.assert_allclose(np.diag(theory.kernel_blocks[0]), theory.kernel_blocks[0][0, 0], rtol=0.01)


@pytest.mark.slow
def test_ten_classes_of_unequal_size():
    theory = nl.solve(posterior("relu", 200, tuple(np.linspace(1, 2, 10) / 15)))
    assert theory.converged
    assert theory.scheme == "sparse"
    assert theory.gap < 1e-8
    # One strong neuron for each class.
    strongest = theory.posterior.task.labels[theory.outliers.activity.argmax(axis=1)]
    assert set(strongest) == set(range(10))


def test_nodes_of_other_seeds_agree():
    solutions = [solve_symmetric(symmetric_data(posterior(n_inputs=40)), seed=seed) for seed in (0, 1)]
    one, other = solutions
    assert one.free_energy != other.free_energy
    assert one.free_energy == pytest.approx(other.free_energy, rel=1e-4)
    np.testing.assert_allclose(one.kernels, other.kernels, atol=2e-3)
    # The solution of one set of nodes, judged by others.
    layer, t = LastLayer(one.data, one.data.kernel, 2), one.saddle.dual.point.t
    point = layer.point(t, layer.rays(t), one.data.width_temperature, layer.propose(t, 2**14))
    assert np.abs(point.gradient.reshape(t.shape) / one.data.counts[:, None]).max() < 5e-3
