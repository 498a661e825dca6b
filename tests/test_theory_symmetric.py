"""The theory for class-symmetric data: integrals, derivatives, certificate, values derived by other means."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SIGMAS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special
from scipy.stats import norm

import nonlazy as nl
from nonlazy.activations import resolve
from nonlazy.theory.symmetric import symmetric_data
from nonlazy.theory.symmetric.dual import LastLayer
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.newton import solve_dual
from nonlazy.theory.symmetric.rays import asymptotic_slopes, find_rays
from nonlazy.theory.symmetric.tilted import draw_tilted, make_grid, tilted

RATIOS = (0.5, 0.25, 0.25)


def posterior(activation="erf", n_inputs=100, ratios=RATIOS, width_temperature=1e-3, width=100, **model):
    task = nl.tasks.orthogonal(n_inputs=n_inputs, class_ratios=ratios)
    return nl.Posterior(nl.Model(activation=activation, width=width, **model), task, width_temperature / width)


# --- one preactivation --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["erf", "relu", "tanh"])
def test_tilted_moments_against_adaptive_quadrature(name):
    phi = resolve(name)
    h, u, d, k = 1.7, -0.4, 0.6, 0.3
    value = lambda z: float(phi(jnp.asarray(z)))  # noqa: E731
    with jax.enable_x64(True):

        def moment(f):
            weight = lambda z: norm.pdf(z, u, d**0.5) * np.exp(h * value(z) + k / 2 * value(z) ** 2)  # noqa: E731
            return sum(integrate.quad(lambda z: f(z) * weight(z), *ends, epsabs=1e-12)[0] for ends in ((-9, 0), (0, 9)))

        norm_ = moment(lambda z: 1)
        eps = lambda z: (z - u) / d**0.5  # noqa: E731
        expected = [np.log(norm_)] + [
            moment(f) / norm_
            for f in (value, lambda z: value(z) ** 2, eps, lambda z: eps(z) ** 2, lambda z: value(z) * eps(z))
        ]
    found = tilted(make_grid(phi, 9.0, d**0.5), *(np.array([[x]]) for x in (h, u)), np.array([d]), np.array([k]))
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-9)


def test_draws_follow_the_tilted_law():
    phi = resolve("erf")
    grid, rng = make_grid(phi, 9.0, 0.7), np.random.default_rng(0)
    z = draw_tilted(rng, grid, (np.array([2.0]), np.array([0.3])), 0.5, 0.0, 100_000)[0]
    expected = tilted(grid, np.array([[2.0]]), np.array([[0.3]]), np.array([0.5]), np.zeros(1))
    for values, mean, square in (((z - 0.3) / 0.5**0.5, expected.noise, expected.noise_square),):
        assert abs(values.mean() - mean.item()) < SIGMAS * values.std() / len(z) ** 0.5
        assert abs(np.mean(values**2) - square.item()) < SIGMAS * (values**2).std() / len(z) ** 0.5


def test_derivatives_of_the_law_are_those_of_its_density():
    rng = np.random.default_rng(1)
    law = Law(
        rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), np.array([0.5, 1.0, 0.7]), np.array([0.2, -0.1, 0.0]),
        np.array([4.0, 3.0, 5.0]), make_grid(resolve("relu"), 40.0, 0.7),
    )  # fmt: skip
    x = 0.3 * rng.normal(size=4)
    gradient, curvature = (part[0] for part in law.derivatives(x[None], law.moments(x[None])))
    density = lambda x: law.log_density(x[None])[0]  # noqa: E731
    slope = lambda x: law.derivatives(x[None], law.moments(x[None]))[0][0]  # noqa: E731
    step = 1e-5 * np.eye(4)
    np.testing.assert_allclose(gradient, [(density(x + e) - density(x - e)) / 2e-5 for e in step], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(curvature, [-(slope(x + e) - slope(x - e)) / 2e-5 for e in step], rtol=1e-6, atol=1e-6)


# --- the dual -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_gradient_and_curvature_of_the_dual(name):
    data = symmetric_data(posterior(name, n_inputs=20))
    layer = LastLayer(data, data.kernel, 0)
    t = 0.3 * np.random.default_rng(2).normal(size=(3, 3))
    nodes = layer.propose(t, 2**10)
    at = lambda t: layer.point(t, layer.rays(t), 0.1, nodes)  # noqa: E731
    point, steps = at(t), 1e-5 * np.eye(9).reshape(9, 3, 3)
    value = [(at(t + e).value - at(t - e).value) / 2e-5 for e in steps]
    slope = [-(at(t + e).gradient - at(t - e).gradient) / 2e-5 for e in steps]
    np.testing.assert_allclose(point.gradient, value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(point.curvature, slope, rtol=1e-5, atol=1e-5)
    assert np.linalg.eigvalsh(point.curvature)[0] > 0


def test_derivatives_of_rays():
    data = symmetric_data(posterior("relu"))
    layer = LastLayer(data, data.kernel, 0)
    t = np.array([[1.3, -0.2, -0.2], [-0.3, 1.9, -0.2], [-0.3, -0.25, 1.8]])
    rays = layer.rays(t)
    assert len(rays.growth) == 3
    assert np.all(rays.growth < 1)

    def growth(change):
        moved = layer.rays(t + change)
        nearest = (moved.direction @ rays.direction[0]).argmax()
        return moved.growth[nearest], layer.std * moved.slope[nearest].ravel()

    steps = 1e-5 * np.eye(9).reshape(9, 3, 3)
    slope = [(growth(e)[0] - growth(-e)[0]) / 2e-5 for e in steps]
    bend = [(growth(e)[1] - growth(-e)[1]) / 2e-5 for e in steps]
    np.testing.assert_allclose(layer.std * rays.slope[0].ravel(), slope, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(layer.std**2 * rays.curvature[0], bend, rtol=1e-4, atol=1e-7)
    # The growth along a direction is the far limit of the log density.
    law, far = layer.law(t), 1e3 * rays.direction[:1]
    law = law._replace(grid=make_grid(data.phi, 400.0, 1.0))
    assert law.log_density(far).item() * 2 / 1e6 == pytest.approx(rays.growth[0] - 1, abs=1e-3)
    assert not find_rays(law, asymptotic_slopes(resolve("erf")), far).growth.size


def test_small_problem_against_weighted_draws_from_the_prior():
    """No branches, no fields: neurons drawn from the prior, weighted by the tilt at the solution, obey the constraint."""
    p = posterior("erf", n_inputs=6, ratios=(0.5, 0.5), width_temperature=0.5)
    theory, n = nl.solve(p), 2_000_000
    rng = np.random.default_rng(3)
    z, a = rng.standard_normal((n, 6)), np.sqrt(p.readout_variance) * rng.standard_normal((n, 2))
    phi = (1 + special.erf(np.sqrt(np.pi) * z / 2)) / 2
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


def test_linear_function_gives_the_gaussian_of_the_mean_field():
    """U^-1 = 1 / sigma_a^2 - t^T K_0 t and K_0 t U = Y - N T t, at finite P, for each output by itself."""
    theory = nl.solve(posterior(lambda z: 1.0 * z))
    assert theory.scheme == "analog"
    for c, count in enumerate((50, 25, 25)):
        t = optimize.brentq(lambda t, n=count: t / (100 - n * t**2) - (1 - 1e-3 * t), 0, 0.999999 * 10 / count**0.5)
        assert theory.readout_covariance[c, c] == pytest.approx(1 / (100 - count * t**2), rel=2e-3)
        assert theory.kernel_blocks[0, c, c] == pytest.approx(t**2 / (100 - count * t**2), rel=2e-3)


def test_reference_values_of_the_sigmoidal_network():
    """Leading order in 1/P: Laplace's method on each branch."""
    theory = nl.solve(posterior("erf"))
    assert [b.code for b in theory.codes[2:4]] == [(0, 1, 1), (1, 0, 0)]
    assert {b.code for b in theory.codes[:2]} == {(1, 1, 0), (1, 0, 1)}
    np.testing.assert_allclose([b.probability for b in theory.codes[:4]], [0.331, 0.331, 0.325, 0.013], atol=6e-4)
    first = next(b for b in theory.codes if b.code == (1, 1, 0))
    np.testing.assert_allclose(first.readout, [1.623, 1.580, -1.620], atol=1.5e-3)
    np.testing.assert_allclose(first.activity, [0.920, 0.955, 0.024], atol=1e-3)
    np.testing.assert_allclose(theory.codes[2].readout, [-1.678, 1.612, 1.612], atol=1.5e-3)
    np.testing.assert_allclose(theory.codes[3].readout, [2.567, -0.823, -0.823], atol=1.5e-3)
    blocks = theory.kernel_blocks[0]
    np.testing.assert_allclose([blocks[0, 0], blocks[1, 1], blocks[0, 1]], [0.573, 0.602, 0.313], atol=1e-3)
    assert theory.gap < 1e-9
    assert theory.residual < 1e-9


def leading_order_relu(ratios):
    """Bulk readout and kernel blocks of a ReLU network for orthogonal inputs as P grows, s_a = 1."""
    p = np.array(ratios)
    slope = lambda h: (  # noqa: E731
        (h * np.exp(h**2 / 2) * norm.cdf(h) + 1 / np.sqrt(2 * np.pi)) / (0.5 + np.exp(h**2 / 2) * norm.cdf(h))
    )

    def mismatch(x):
        a, b = x[: len(p)], x[len(p) :].reshape(len(p), len(p))
        rest = np.eye(len(p)) - b
        t = rest / (np.linalg.norm(rest, axis=1) * np.sqrt(p))[:, None]
        h = slope(t @ a)
        return np.concatenate([(p * h) @ t - a, (np.outer(h, a) - b).ravel()])

    x = optimize.fsolve(mismatch, np.concatenate([0.2 * np.ones(len(p)), 0.1 * np.ones(len(p) ** 2)]), xtol=1e-12)
    a, b = x[: len(p)], x[len(p) :].reshape(len(p), len(p))
    rest = np.eye(len(p)) - b
    activity = slope(rest / (np.linalg.norm(rest, axis=1) * np.sqrt(p))[:, None] @ a)
    strength = np.linalg.norm(rest, axis=1) / np.sqrt(
        p
    )  # summed squared outlier activity per neuron and input of a class
    return a, np.outer(activity, activity) + np.diag(strength)


def test_rectified_network_approaches_the_leading_order_like_one_over_p():
    a, blocks = leading_order_relu(RATIOS)
    np.testing.assert_allclose(a, [0.312, 0.169, 0.169], atol=6e-4)
    np.testing.assert_allclose(np.diag(blocks), [1.493, 2.096, 2.096], atol=1e-3)
    np.testing.assert_allclose([blocks[0, 1], blocks[1, 2]], [0.264, 0.227], atol=6e-4)
    distances = []
    for n_inputs in (100, 400):
        theory = nl.solve(posterior("relu", n_inputs, width_temperature=1e-5))
        assert theory.scheme == "sparse"
        assert len(theory.outliers.readout) == 3
        distances.append(np.abs(theory.kernel_blocks[0] - blocks).max())
    assert distances[0] < 0.02
    assert distances[1] < distances[0] / 2.5


@pytest.mark.parametrize(
    ("activation", "scheme"),
    [
        ("tanh", "redundant"),
        (jax.nn.softplus, "sparse"),
        (lambda z: jnp.where(z > 0, z, 0.1 * z), "sparse"),
        (lambda z: jnp.clip(z, -1, 1), "redundant"),
    ],
)
def test_scheme_follows_from_the_activation(activation, scheme):
    assert nl.solve(posterior(activation)).scheme == scheme


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(["erf", "tanh", "relu"]),
    counts=st.lists(st.integers(4, 30), min_size=2, max_size=3),
    readout_std=st.floats(0.5, 2.0),
    weight_std=st.floats(0.6, 1.6),
    temperature=st.sampled_from([1e-4, 1e-3, 1e-2, 1e-1]),
)
def test_certificate_and_permutation_of_classes(name, counts, readout_std, weight_std, temperature):
    def solved(counts):
        n = sum(counts)
        options = {"readout_std": readout_std, "weight_std": weight_std}
        return nl.solve(posterior(name, n, [c / n for c in counts], temperature, **options))

    theory, reversed_ = solved(counts), solved(counts[::-1])
    assert 0 <= theory.gap < 1e-7
    assert theory.residual < 1e-7
    assert sum(b.probability for b in theory.codes) == pytest.approx(1, abs=1e-4) or theory.scheme == "analog"
    assert sum(theory.code_fractions[0].values()) == pytest.approx(1)
    assert theory.free_energy == pytest.approx(reversed_.free_energy, rel=1e-3)
    assert theory.scheme == reversed_.scheme
    np.testing.assert_allclose(theory.kernel_blocks[0][::-1, ::-1], reversed_.kernel_blocks[0], rtol=0.03, atol=0.01)


def test_no_point_of_the_dual_lies_above_the_primal_value():
    data = symmetric_data(posterior("erf", n_inputs=30))
    layer = LastLayer(data, data.kernel, 0)
    best = solve_dual(layer).point
    rng = np.random.default_rng(5)
    for scale in (0.01, 0.1, 1.0):
        t = best.t + scale * rng.normal(size=best.t.shape)
        nodes = layer.propose(t, 2**12)
        assert layer.point(t, layer.rays(t), data.width_temperature, nodes).value < best.value


def test_outputs_may_be_rotated():
    """The readout prior is isotropic: targets in another basis give the same kernels."""
    task = nl.tasks.orthogonal(n_inputs=40, class_ratios=RATIOS)
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]
    turned = nl.tasks.Task(task.inputs, task.targets @ rotation, task.labels)
    one, two = (nl.solve(nl.Posterior(nl.Model(), t, 1e-5)) for t in (task, turned))
    assert one.free_energy == pytest.approx(two.free_energy, rel=1e-4)
    np.testing.assert_allclose(one.kernel_blocks, two.kernel_blocks, atol=2e-3)
    np.testing.assert_allclose(two.t, one.t @ rotation, atol=0.05)


@pytest.mark.slow
def test_ten_classes():
    theory = nl.solve(posterior("erf", 200, (0.1,) * 10))
    assert theory.converged
    assert theory.scheme == "redundant"


@pytest.mark.slow
def test_two_layers_reference():
    theory = nl.solve(posterior("erf", 64, depth=2))
    assert theory.free_energy / 64 == pytest.approx(4.504, abs=2e-3)
    first, second = theory.kernel_blocks
    found = [first[0, 0], first[1, 1], first[0, 1], first[1, 2]]
    np.testing.assert_allclose(found, [0.3265, 0.3375, 0.2102, 0.2003], rtol=0.015)
    found = [second[0, 0], second[1, 1], second[0, 1], second[1, 2]]
    np.testing.assert_allclose(found, [0.6462, 0.6474, 0.3344, 0.3319], rtol=0.01)
    assert {b.code for b in theory.codes if b.probability > 0.01} == {(1, 1, 0), (1, 0, 1), (0, 1, 1)}
