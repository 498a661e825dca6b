"""The theory of class-symmetric data: its parts against quadrature, finite differences and brute force, the whole against
leading orders, closed forms, symmetries, and weak duality."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SIGMAS, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import leading_order
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr, logsumexp
from scipy.stats import norm, ortho_group

import nonlazy as nl
from nonlazy.activations import resolve
from nonlazy.theory.symmetric import SymmetricData, solve_symmetric, symmetric_data
from nonlazy.theory.symmetric.data import SymmetricKernel, project
from nonlazy.theory.symmetric.dual import LastLayer, root, spread_of
from nonlazy.theory.symmetric.ensemble import propose, weigh
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.passes import Nodes, Passes, conjugate_of, kernel_of
from nonlazy.theory.symmetric.rays import asymptotic_slopes, find_rays
from nonlazy.theory.symmetric.saddle import _path
from nonlazy.theory.symmetric.tilted import GridTooShortError, draw_tilted, make_grid, tilted

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.DataWarning")

quick = settings(database=None, deadline=None, max_examples=12, derandomize=True)

WIDTH = 100
TOY = (0.5, 0.25, 0.25)


@pytest.fixture(autouse=True)
def precise():
    with jax.enable_x64(True):
        yield


def identity(z):
    return z


def hard(z):
    return jnp.clip(z, -1, 1)


def leaky(slope):
    return lambda z: jnp.where(z > 0, z, slope * z)


PLAIN = {
    "erf": leading_order.erf_activation,
    "tanh": np.tanh,
    "relu": lambda z: max(z, 0.0),
    "hard": lambda z: min(max(z, -1.0), 1.0),
    "softplus": lambda z: np.logaddexp(z, 0.0),
}
ACTIVATIONS = {"erf": "erf", "tanh": "tanh", "relu": "relu", "hard": hard, "softplus": jax.nn.softplus}


def posterior(activation="erf", n_inputs=100, ratios=TOY, width_temperature=1e-3, **model):
    task = nl.tasks.orthogonal(n_inputs, ratios)
    return nl.Posterior(nl.Model(activation=activation, width=WIDTH, **model), task, width_temperature / WIDTH)


def toy(activation="erf", counts=(3, 2, 1), m=2, common=0.3, width_temperature=0.1, variance=1.0, seed=0, depth=1):
    """Data of a few inputs with random targets, K_0 = I / 2 + common * 11^T."""
    rng, n = np.random.default_rng(seed), len(counts)
    kernel = SymmetricKernel(np.full((n, n), float(common)), np.full(n, 0.5))
    return SymmetricData(
        np.array(counts, dtype=float), np.repeat(np.arange(n), counts), kernel, rng.standard_normal((n, m)),
        variance, (1.0,) * depth, width_temperature, resolve(activation),
    )  # fmt: skip


def random_law(activation, seed=0, quadratic=0.1, n_tilt=2, spread=0.3, tilt=0.4, counts=(3.0, 2.0, 4.0)):
    rng, n = np.random.default_rng(seed), len(counts)
    return Law(
        tilt * rng.standard_normal((n, n_tilt)), spread * rng.standard_normal((n, 2)), rng.uniform(0.5, 1.2, n),
        quadratic * rng.standard_normal(n), np.array(counts), make_grid(resolve(activation), 30.0, 0.6),
    )  # fmt: skip


def derivative(function, x, step=1e-5):
    """Central differences along each entry of x, stacked on the last axis."""
    x = np.asarray(x, dtype=float)
    columns = []
    for i in range(x.size):
        change = np.zeros(x.size)
        change[i] = step
        change = change.reshape(x.shape)
        columns.append((function(x + change) - function(x - change)) / (2 * step))
    return np.stack(columns, axis=-1)


# --- one preactivation ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_tilted_moments_agree_with_adaptive_quadrature(name):
    phi = resolve(ACTIVATIONS[name])
    rng = np.random.default_rng(1)
    h, u = 3 * rng.standard_normal((4, 2)), 1.5 * rng.standard_normal((4, 2))
    d, k = np.array([0.3, 1.7]), np.array([0.25, -0.4])
    found = tilted(make_grid(phi, 40.0, d.min() ** 0.5), h, u, d, k)
    for n, c in np.ndindex(4, 2):

        def weight(z):
            f = PLAIN[name](z)
            return np.exp(h[n, c] * f + k[c] * f**2 / 2 - (z - u[n, c]) ** 2 / (2 * d[c])) / np.sqrt(2 * np.pi * d[c])  # noqa: B023

        def mean(g):
            return quad(lambda z: weight(z) * g(z), -25, 25, points=[-1, 0, 1, u[n, c]], epsabs=0, epsrel=1e-10)[0]  # noqa: B023

        f = PLAIN[name]
        e = lambda z: (z - u[n, c]) / np.sqrt(d[c])  # noqa: B023, E731
        total = mean(lambda z: 1.0)
        features = (f, lambda z: f(z) ** 2, e, lambda z: e(z) ** 2, lambda z: f(z) * e(z))  # noqa: B023
        expected = [np.log(total), *(mean(g) / total for g in features)]
        np.testing.assert_allclose([x[n, c] for x in found], expected, rtol=1e-8, atol=1e-9)


def test_tilted_moments_agree_with_closed_forms():
    h, u = np.random.default_rng(0).standard_normal((2, 50, 2)) * 3
    d, k = np.array([0.2, 2.0]), np.array([0.3, -1.0])
    found = tilted(make_grid(resolve(identity), 60.0, d.min() ** 0.5), h, u, d, k)
    stiffness = 1 - d * k
    exact = (2 * u * h + d * h**2 + k * u**2) / (2 * stiffness) - np.log(stiffness) / 2
    np.testing.assert_allclose(found.log_norm, exact, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.phi, (u + d * h) / stiffness, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.phi_variance, np.broadcast_to(d / stiffness, h.shape), rtol=1e-9)
    zero = np.zeros_like(h)
    found = tilted(make_grid(resolve("relu"), 60.0, d.min() ** 0.5), h, zero, d, 0 * d)
    exact = np.logaddexp(np.log(0.5), d * h**2 / 2 + log_ndtr(np.sqrt(d) * h))
    np.testing.assert_allclose(found.log_norm, exact, rtol=1e-9, atol=1e-9)


def test_a_grid_that_cuts_the_integrand_is_refused():
    grid, one = make_grid(resolve("relu"), 9.0, 1.0), np.ones((1, 1))
    tilted(grid, 0 * one, 0 * one, np.ones(1), np.zeros(1))
    with pytest.raises(GridTooShortError):
        tilted(grid, 8 * one, 0 * one, np.ones(1), np.zeros(1))


def test_draws_have_the_tilted_moments():
    phi = resolve("relu")
    grid, n = make_grid(phi, 30.0, 0.7), 50_000
    h, u, d, k = np.array([[1.5], [-2.0]]), np.array([[0.3], [1.0]]), np.array([0.5]), np.array([0.4])
    z = draw_tilted(np.random.default_rng(0), grid, (h[:, 0], u[:, 0]), d[0], k[0], n)
    exact, f = tilted(grid, h, u, d, k), np.asarray(phi(jnp.asarray(z)))
    noise = (z - u) / np.sqrt(d)
    scores = {}
    values = {"phi": f, "phi_square": f**2, "noise": noise, "noise_square": noise**2, "cross": f * noise}
    for name, x in values.items():
        for i in range(2):
            scores[f"{name} {i}"] = (x[i].mean() - getattr(exact, name)[i, 0]) / (x[i].std() / np.sqrt(n))
    assert_close(scores)


# --- a neuron's law -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["erf", "relu", "softplus"])
def test_derivatives_of_the_law_agree_with_finite_differences(name):
    law = random_law(ACTIVATIONS[name])
    x = np.random.default_rng(2).standard_normal((5, law.n_fields))
    gradient, precision = law.derivatives(x, law.moments(x))
    for i in range(len(x)):
        value = lambda y: law.log_density(y[None])[0]  # noqa: E731
        slope = lambda y: law.derivatives(y[None], law.moments(y[None]))[0][0]  # noqa: E731
        np.testing.assert_allclose(gradient[i], derivative(value, x[i]), atol=2e-8)
        np.testing.assert_allclose(-precision[i], derivative(slope, x[i]), atol=2e-8)


def test_the_law_has_no_branches_but_those_found_from_codes():
    data = symmetric_data(posterior())
    layer = LastLayer(data, data.kernel, 0)
    t = leading_order.redundant(leading_order.erf_activation, TOY, np.eye(3), 100, 1e-3).t
    law = layer.law(t)
    modes = find_modes(law, code_starts(law))
    others = find_modes(law, np.random.default_rng(0).uniform(-30, 30, (200, 3)))
    assert len(modes.x) == len(others.x) == 4
    in_order = lambda x: x[np.lexsort(np.round(x, 3).T)]  # noqa: E731
    np.testing.assert_allclose(in_order(others.x), in_order(modes.x), atol=1e-6)
    np.testing.assert_allclose(law.derivatives(modes.x, law.moments(modes.x))[0], 0, atol=1e-8)


def prior_draws(kernel, labels, n, rng):
    return rng.standard_normal((n, len(labels))) @ np.linalg.cholesky(kernel.matrix(labels)).T


def ratio(log_w, values):
    """Self-normalized importance sampling: means and their standard errors."""
    w = np.exp(log_w - logsumexp(log_w))
    mean = np.tensordot(w, values, 1)
    return mean, np.sqrt(np.tensordot(w**2, (values - mean) ** 2, 1))


def z_table(name, found, mean, error):
    return {f"{name} {i}": (found[i] - mean[i]) / error[i] for i in np.ndindex(mean.shape)}


@pytest.mark.parametrize("name", ["erf", "relu", "tanh"])
def test_averages_over_the_last_layer_agree_with_weighted_draws_from_the_prior(name):
    """P = 6, three classes, two outputs, over all P + m dimensions."""
    data = toy(name, variance=0.3)
    n, labels, phi = 400_000, data.labels, data.phi
    rng = np.random.default_rng(3)
    t = (0.12 if name == "relu" else 0.4) * rng.standard_normal((3, 2))
    layer = LastLayer(data, data.kernel, 0)
    point = layer.point(t, layer.rays(t), data.width_temperature, layer.propose(t, 2**15))
    z, a = prior_draws(data.kernel, labels, n, rng), np.sqrt(0.3) * rng.standard_normal((n, 2))
    f = np.asarray(phi(jnp.asarray(z)))
    log_w = np.sum(a * (f @ t[labels]), axis=1)
    w = np.exp(log_w)
    scores = {"log Z": (point.ensemble.log_norm - np.log(w.mean())) / (w.std() / w.mean() / np.sqrt(n))}
    fitted = data.targets[labels] - data.width_temperature * t[labels]
    fitted -= (point.gradient.reshape(3, 2) / data.counts[:, None])[labels]
    scores |= z_table("a phi", fitted, *ratio(log_w, f[:, :, None] * a[:, None, :]))
    kernel = kernel_of(point.ensemble).matrix(labels)
    scores |= z_table("kernel", kernel, *ratio(log_w, f[:, :, None] * f[:, None, :]))
    assert_close(scores)


@pytest.mark.parametrize("negative", [False, True])
def test_averages_over_a_lower_layer_agree_with_weighted_draws_from_the_prior(negative):
    """A layer's tilt, and that of the layer below by Stein's identity with derivatives of phi."""
    data = toy(counts=(3, 2, 2))
    n, labels, rng = 400_000, data.labels, np.random.default_rng(4)
    b = rng.standard_normal((3, 3))
    tilt = SymmetricKernel(0.2 * b @ b.T, np.full(3, -0.5 if negative else 0.4))
    reach = 40.0
    law = Law(root(tilt.blocks), spread_of(data, data.kernel), data.kernel.excess, tilt.excess, data.counts,
              make_grid(data.phi, reach, 0.7))  # fmt: skip
    ensemble = weigh(law, propose(law.n_fields, find_modes(law, code_starts(law)), 2**13, 0))
    z = prior_draws(data.kernel, labels, n, rng)
    f = np.asarray(data.phi(jnp.asarray(z)))
    matrix = tilt.matrix(labels)
    log_w = np.sum((f @ matrix) * f, axis=1) / 2
    w = np.exp(log_w)
    # What the Hubbard-Stratonovich fields add to log Z is their own normalization, which is that of the standard normal.
    scores = {"log Z": (ensemble.log_norm - np.log(w.mean())) / (w.std() / w.mean() / np.sqrt(n))}
    scores |= z_table("kernel", kernel_of(ensemble).matrix(labels), *ratio(log_w, f[:, :, None] * f[:, None, :]))
    first = np.exp(-np.pi * z**2 / 4) / 2
    second = -np.pi / 2 * z * first
    inner = f @ matrix
    psi = inner * first
    hessian = first[:, :, None] * matrix * first[:, None, :]
    hessian[:, range(7), range(7)] += inner * second
    found = conjugate_of(law, ensemble, 1.7).matrix(labels) / 1.7
    scores |= z_table("conjugate", found, *ratio(log_w, psi[:, :, None] * psi[:, None, :] + hessian))
    assert_close(scores)


# --- rays -----------------------------------------------------------------------------------------


def growth(law, slopes, e):
    """R(e) by numerical maximization over z."""
    r = law.n_tilt
    h, u = law.tilt @ e[:r], law.spread @ e[r:]
    total = 0.0
    for c in range(len(h)):

        def value(z):
            f = (slopes[0] if z > 0 else slopes[1]) * z
            return h[c] * f + law.quadratic[c] * f**2 / 2 - (z - u[c]) ** 2 / (2 * law.variance[c])  # noqa: B023

        best = [minimize_scalar(lambda z: -value(z), bounds=b, method="bounded", options={"xatol": 1e-12}).fun
                for b in ((0, 50), (-50, 0))]  # fmt: skip
        total += 2 * law.counts[c] * max(-min(best), value(0.0))
    return total


@pytest.mark.parametrize(("slope", "quadratic"), [(0.0, 0.1), (0.3, 0.1), (-1.0, 0.0)])
def test_rays_are_the_maxima_of_the_growth(slope, quadratic):
    activation = leaky(slope)
    law = random_law(activation, quadratic=quadratic, seed=5)
    slopes = asymptotic_slopes(resolve(activation))
    np.testing.assert_allclose(slopes, [1, slope], atol=1e-12)
    rng = np.random.default_rng(0)
    starts = np.concatenate([code_starts(law), rng.standard_normal((30, law.n_fields))])
    rays = find_rays(law, slopes, starts)
    for e, found in zip(rays.direction, rays.growth, strict=True):
        assert growth(law, slopes, e) == pytest.approx(found, rel=1e-9)
        for _ in range(20):
            other = e + 0.1 * rng.standard_normal(len(e))
            assert growth(law, slopes, other / np.linalg.norm(other)) <= found
    best = max(growth(law, slopes, e / np.linalg.norm(e)) for e in rng.standard_normal((500, law.n_fields)))
    assert 0.7 * rays.growth.max() < best <= rays.growth.max()
    # The law itself, far out along a ray.
    grid = make_grid(resolve(activation), 4000.0, 0.6)
    far = 400 * rays.direction
    np.testing.assert_allclose(
        2 * law._replace(grid=grid).log_density(far) / 400**2, rays.growth - 1, atol=2e-2 * rays.growth.max()
    )


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_derivatives_of_the_growth_agree_with_finite_differences(slope):
    activation = leaky(slope)
    law, slopes = random_law(activation, seed=5), asymptotic_slopes(resolve(activation))
    rays = find_rays(law, slopes, code_starts(law))
    for k, e in enumerate(rays.direction):

        def ray(tilt):
            return find_rays(law._replace(tilt=tilt), slopes, e[None])  # noqa: B023

        np.testing.assert_allclose(
            rays.slope[k].ravel(), derivative(lambda tilt: ray(tilt).growth[0], law.tilt), atol=1e-7
        )
        np.testing.assert_allclose(
            rays.curvature[k], derivative(lambda tilt: ray(tilt).slope[0].ravel(), law.tilt), atol=1e-5
        )


def test_saturating_activations_have_no_rays():
    for activation in ("erf", "tanh", hard):
        assert not asymptotic_slopes(resolve(activation)).any()
        law = random_law(activation)
        assert find_rays(law, np.zeros(2), code_starts(law)).growth.size == 0


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


@pytest.mark.parametrize("n_classes", [2, 3])
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


@pytest.mark.parametrize("name", ["erf", "relu"])
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


@pytest.mark.parametrize("activation", ["erf", "relu"])
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


# --- several layers -------------------------------------------------------------------------------


def test_the_free_energy_of_two_layers_has_the_passes_as_its_gradient():
    r"""dF / dx = tr (K~ - K~_new) dK / dx / 2: the forward pass, Stein's identity, and the dual as one function."""
    data = toy(counts=(4, 4), common=0.0, variance=0.3, width_temperature=0.5, depth=2)
    passes = Passes(data, 2**11, 0)
    x = passes.coordinates.pack((SymmetricKernel(np.array([[0.5, 0.1], [0.1, 0.4]]), np.array([0.2, -0.3])),))
    _, saddle = passes(x)
    nodes = Nodes(tuple(layer.ensemble.proposal for layer in saddle.layers), saddle.dual.point.ensemble.proposal)
    new, _ = passes(x, nodes)
    (excess,) = passes.coordinates.unpack(-new)
    labels = data.labels
    for i in range(len(x)):
        step = 1e-3 * (1 + abs(x[i])) * np.eye(len(x))[i]
        above, below = (passes(x + sign * step, nodes)[1] for sign in (1, -1))
        change = above.layers[0].kernel.matrix(labels) - below.layers[0].kernel.matrix(labels)
        expected = np.sum(excess.matrix(labels) * change) / 2
        assert above.free_energy - below.free_energy == pytest.approx(expected, rel=0.03, abs=1e-6)


@pytest.mark.slow
def test_two_layers_solve_their_equations():
    data = symmetric_data(posterior(n_inputs=16, ratios=(0.5, 0.5), depth=2))
    solution = solve_symmetric(data)
    np.testing.assert_allclose(solution.kernels[0][0, 8:], solution.kernels[0][8, :8], atol=1e-12)
    other = solve_symmetric(data, seed=1)
    assert other.free_energy == pytest.approx(solution.free_energy, rel=1e-3)
    np.testing.assert_allclose(other.kernels, solution.kernels, rtol=0.02, atol=2e-3)


@pytest.mark.slow
def test_two_layers_agree_with_an_earlier_solution():
    """Newton on the class-symmetric unknowns with other quadratures, P = 64: S / P, kernels, codes."""
    theory = nl.solve(posterior(n_inputs=64, depth=2))
    assert theory.free_energy / 64 == pytest.approx(4.504, abs=2e-3)
    index = ([0, 1, 0, 1], [0, 1, 1, 2])
    np.testing.assert_allclose(theory.kernel_blocks[0][index], [0.3265, 0.3375, 0.2102, 0.2003], rtol=0.015)
    np.testing.assert_allclose(theory.kernel_blocks[1][index], [0.6462, 0.6474, 0.3344, 0.3319], rtol=0.015)
    first = theory.kernels[0]
    excess = [
        np.mean(np.diag(first)[theory.posterior.task.labels == c]) - theory.kernel_blocks[0][c, c] for c in (0, 1)
    ]
    np.testing.assert_allclose(excess, [0.0712, 0.0364], rtol=0.03)
    codes = {"".join(map(str, b.code)): b for b in theory.codes if b.probability > 0.005}
    assert set(codes) == {"011", "101", "110"}
    for code, fraction in {"011": 0.3325, "101": 0.334, "110": 0.334}.items():
        assert codes[code].probability == pytest.approx(fraction, abs=0.003)
    np.testing.assert_allclose(codes["011"].readout, [-1.551, 1.527, 1.530], atol=0.02)
    expected = {"100": 0.242, "011": 0.176, "110": 0.153, "101": 0.153, "010": 0.138, "001": 0.138}
    for code, fraction in expected.items():
        assert theory.code_fractions[0][code] == pytest.approx(fraction, abs=0.015)


@pytest.mark.slow
def test_three_layers_agree_with_an_earlier_solution():
    """As above at L = 3; nodes of two seeds differ by 1 % in the kernels."""
    theory = nl.solve(posterior(n_inputs=64, depth=3))
    assert theory.free_energy / 64 == pytest.approx(4.350, abs=1e-3)
    index = ([0, 1, 0, 1], [0, 1, 1, 2])
    expected = [[0.2861, 0.2951, 0.2240, 0.2167], [0.3877, 0.3936, 0.2178, 0.2097], [0.6525, 0.6517, 0.3337, 0.3319]]
    for blocks, values in zip(theory.kernel_blocks, expected, strict=True):
        np.testing.assert_allclose(blocks[index], values, rtol=0.03)


@pytest.mark.slow
def test_three_layers_of_tanh_are_symmetric_under_a_change_of_sign():
    """phi and targets up to the last layer allow z -> -z class by class: lower kernels have no blocks between classes."""
    theory = nl.solve(posterior(n_inputs=32, depth=3, activation="tanh"))
    assert theory.residual < 1e-4
    for blocks in theory.kernel_blocks[:2]:
        assert np.abs(blocks - np.diag(np.diag(blocks))).max() < 0.01 * blocks.max()
    # The lower layers learn less than the upper.
    assert np.all(np.diff([np.diag(blocks) for blocks in theory.kernel_blocks], axis=0) > 0)


def test_solutions_are_carried_to_more_inputs_in_units_of_their_number():
    data = toy(counts=(4, 4), common=0.0, variance=0.3, width_temperature=0.5, depth=3)
    few, all_ = _path(data._replace(counts=4 * data.counts))[:2]
    assert few.counts.sum() * few.readout_variance == pytest.approx(all_.counts.sum() * all_.readout_variance)
    kernel = SymmetricKernel(np.array([[0.5, 0.1], [0.1, 0.4]]), np.array([0.2, -0.3]))
    x = Passes(few, 2**6, 0).coordinates.pack((kernel,))
    (carried,) = Passes(all_, 2**6, 0).coordinates.unpack(x)
    np.testing.assert_allclose(carried.blocks, kernel.blocks / 4)
    np.testing.assert_allclose(carried.excess, kernel.excess)


# --- what counts as class-symmetric ---------------------------------------------------------------


def test_projection_gives_back_what_has_the_form():
    labels = np.array([0, 0, 1, 1, 1, 2])
    b = np.random.default_rng(0).standard_normal((3, 3))
    kernel = SymmetricKernel(b @ b.T, np.array([0.3, 0.2, 0.4]))
    found = project(kernel.matrix(labels), labels, 3)
    np.testing.assert_allclose(found.matrix(labels), kernel.matrix(labels), atol=1e-14)
    np.testing.assert_allclose(found.blocks[:2, :2], kernel.blocks[:2, :2], atol=1e-14)
    assert found.excess.min() > 0


def test_data_of_another_form_are_left_to_particles():
    task = nl.tasks.orthogonal(8)
    assert symmetric_data(nl.Posterior(nl.Model(), task)) is not None
    noisy = nl.tasks.from_arrays(task.inputs + 1e-3 * np.eye(8)[::-1], task.labels)
    assert symmetric_data(nl.Posterior(nl.Model(), noisy)) is None
    uneven = nl.tasks.from_arrays(task.inputs, task.labels, targets=task.targets * np.linspace(1, 2, 8)[:, None])
    assert symmetric_data(nl.Posterior(nl.Model(), uneven)) is None
    many = nl.tasks.from_arrays(np.eye(12) * 12**0.5, np.arange(12) % 11)
    assert symmetric_data(nl.Posterior(nl.Model(), many)) is None


def test_the_projection_of_a_standard_normal_is_its_density():
    """Guards the normal nodes: quasi-random, in pairs, with unit covariance."""
    law = random_law("erf", tilt=0.0, spread=0.0, quadratic=0.0)
    ensemble = weigh(law, propose(law.n_fields, find_modes(law, code_starts(law)), 2**12, 0))
    assert ensemble.log_norm == pytest.approx(0, abs=2e-3)
    np.testing.assert_allclose(ensemble.mean(ensemble.x), 0, atol=1e-12)
    np.testing.assert_allclose(ensemble.x.T @ (ensemble.weights[:, None] * ensemble.x), np.eye(4), atol=0.01)
    assert norm.cdf(0) == 0.5
