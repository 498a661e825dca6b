"""A neuron on class-symmetric data: tilted preactivations, their law, averages over it, and its rays.

Against adaptive quadrature, finite differences, weighted draws from the prior, and numerical maximization.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from reference import leading_order
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr, logsumexp
from symmetric_problems import ACTIVATIONS, PLAIN, TOY, derivative, hard, identity, leaky, posterior, random_law, toy

from nonlazy.activations import resolve
from nonlazy.theory.symmetric import symmetric_data
from nonlazy.theory.symmetric.data import SymmetricKernel
from nonlazy.theory.symmetric.dual import LastLayer, root, spread_of
from nonlazy.theory.symmetric.ensemble import propose, weigh
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.passes import conjugate_of, kernel_of
from nonlazy.theory.symmetric.rays import asymptotic_slopes, find_rays
from nonlazy.theory.symmetric.tilted import GridTooShortError, draw_tilted, make_grid, tilted

pytestmark = [pytest.mark.filterwarnings("ignore::nonlazy.DataWarning"), pytest.mark.usefixtures("in_double_precision")]


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


def test_growth_changes_with_both_kernels_by_the_outliers_own_forces_and_activities():
    r"""Where R = 1, dR = tr (psi psi^T dK) + tr (phi phi^T dK~): what outliers add to conjugates and kernels."""
    phi, counts = resolve("relu"), np.array([3.0, 2.0, 4.0])
    below = SymmetricKernel(np.array([[0.4, 0.2, 0.1], [0.2, 0.5, 0.1], [0.1, 0.1, 0.3]]), np.array([0.5, 0.4, 0.6]))
    above = SymmetricKernel(np.array([[0.4, 0.3, 0.2], [0.3, 0.5, 0.2], [0.2, 0.2, 0.4]]), np.array([0.05, -0.05, 0.1]))
    grid = make_grid(phi, 30.0, 0.6)

    def top(below, above):
        law = Law(root(above.blocks), root(below.blocks), below.excess, above.excess, counts, grid)
        rays = find_rays(law, asymptotic_slopes(phi), code_starts(law))
        return law, rays, int(np.argmax(rays.growth))

    def growth(below, above):
        _, rays, k = top(below, above)
        return float(rays.growth[k])

    above = above.scaled(brentq(lambda s: growth(below, above.scaled(s)) - 1, 0.01, 1.0, xtol=1e-14))
    law, rays, k = top(below, above)
    psi = (rays.preactivation[k] - law.spread @ rays.direction[k, law.n_tilt :]) / law.variance
    rng = np.random.default_rng(0)
    for vector, varied in ((psi, 0), (rays.activity[k], 1)):
        blocks, excess = rng.standard_normal((3, 3)), rng.standard_normal(3)
        change = SymmetricKernel(blocks + blocks.T, excess)
        weighted = counts * vector
        expected = weighted @ change.blocks @ weighted + counts @ (vector**2 * excess)

        def along(step, varied=varied, change=change):
            pair = [below, above]
            pair[varied] = SymmetricKernel(*(x + step * dx for x, dx in zip(pair[varied], change, strict=True)))
            return growth(*pair)

        assert (along(1e-5) - along(-1e-5)) / 2e-5 == pytest.approx(expected, rel=1e-5)


def test_saturating_activations_have_no_rays():
    for activation in ("erf", "tanh", hard):
        assert not asymptotic_slopes(resolve(activation)).any()
        law = random_law(activation)
        assert find_rays(law, np.zeros(2), code_starts(law)).growth.size == 0
