"""The particle theory against exact averages, closed forms, quadrature, and itself."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

import nonlazy as nl
from nonlazy.theory.particles import solve_particles
from nonlazy.theory.particles.outliers import Asymptote, find_rays

SMALL_RUN = {"n_particles": 4000, "progress": False}
# Four replicates give errors with three degrees of freedom; a value is rejected as rarely as four sigmas of a normal.
BOUND = stats.t.isf(stats.norm.sf(4.0), 3)


def bump(z):
    """A user's activation: saturating, not monotone."""
    return jnp.tanh(z) + jnp.exp(-((z - 1) ** 2))


def correlated(n_inputs):
    return nl.tasks.gaussian(n_inputs=n_inputs, class_ratios=(0.5, 0.5), n_features=9, separation=0.7)


def brute_force(posterior, n=400_000, steps=25):
    """The dual solved by Newton's method on prior draws with importance weights: P is small enough for them to cover."""
    with jax.enable_x64(True):
        factor = np.asarray(posterior.reduced.first_layer.factor)
        z = np.random.default_rng(1).standard_normal((n, factor.shape[1])) @ factor.T
        f = np.asarray(posterior.model.phi(jnp.asarray(z)))
    y, s, nt = posterior.task.targets, posterior.readout_variance, posterior.temperature * posterior.model.width
    t = np.zeros_like(y)

    def state(t):
        u = f @ t
        g = s * np.sum(u**2, axis=1) / 2
        w = np.exp(g - g.max())
        log_z = g.max() + np.log(w.mean())
        w = w / w.sum()
        kernel = (w[:, None] * f).T @ f
        return w, u, kernel, np.sum(t * y) - nt / 2 * np.sum(t**2) - log_z

    for _ in range(steps):
        w, u, kernel, value = state(t)
        residual = y - nt * t - s * kernel @ t
        products = s * (f[:, :, None] * u[:, None, :]).reshape(n, -1)
        products -= w @ products
        hessian = nt * np.eye(t.size) + s * np.kron(kernel, np.eye(y.shape[1])) + (w[:, None] * products).T @ products
        step = np.linalg.solve(hessian, residual.ravel()).reshape(t.shape)
        length = 1.0
        while state(t + length * step)[3] < value:
            length /= 2
            if length < 1e-6:
                break
        t = t + length * step
    w, _, kernel, value = state(t)
    assert 1 / np.sum(w**2) > 2000
    return kernel, t, value


def assert_agrees(solution, kernel, extra=0.0):
    """All kernel entries within the errors, their number taken into account."""
    deviation = np.abs(solution.kernels[0] - kernel) - extra
    entries = np.triu_indices(len(kernel))
    z = deviation[entries] / solution.kernels_error[0][entries]
    assert z.max() < stats.t.isf(stats.norm.sf(4.0), 3), z.max()


@pytest.mark.parametrize(
    "activation",
    [
        pytest.param("erf", id="erf"),
        pytest.param("tanh", id="tanh", marks=pytest.mark.slow),
        pytest.param(bump, id="user", marks=pytest.mark.slow),
    ],
)
def test_against_importance_sampling(activation):
    posterior = nl.Posterior(nl.Model(width=20, activation=activation), correlated(4), temperature=5e-3)
    kernel, t, value = brute_force(posterior)
    solution = solve_particles(posterior, **SMALL_RUN)
    assert solution.converged, solution.status
    # The importance sample has errors of its own, of the order of 1 %.
    assert_agrees(solution, kernel, extra=0.01 * np.abs(kernel).max())
    assert np.linalg.norm(solution.t - t) < 0.05 * np.linalg.norm(t)
    assert abs(solution.free_energy - value) < BOUND * solution.free_energy_error + 0.02


def exact_toy(n_inputs, damping, grid=61):
    """Class blocks of K and the dual's maximum by a grid over the readout, for orthogonal inputs and erf units."""
    counts = np.array([0.5, 0.25, 0.25]) * n_inputs
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    f = (1 + special.erf(np.sqrt(np.pi) * x / 2)) / 2
    h = np.linspace(-45, 45, 3001)
    e = np.exp(h[:, None] * f)
    z = e @ w
    log_z, activity = CubicSpline(h, np.log(z)), CubicSpline(h, e @ (w * f) / z)
    axis = np.linspace(-3.5, 3.5, grid)
    a = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    cell = 3 * np.log(axis[1] - axis[0]) - 1.5 * np.log(2 * np.pi / n_inputs)

    def law(t):
        exponent = log_z(a @ t.T) @ counts - n_inputs * np.sum(a**2, axis=1) / 2
        p = np.exp(exponent - exponent.max())
        return p / p.sum(), activity(a @ t.T), exponent.max() + np.log(p.sum()) + cell

    def dual(v):
        t = v.reshape(3, 3)
        p, act, total = law(t)
        mean = np.einsum("i,ic,ir->cr", p, act, a)
        value = np.sum(counts[:, None] * (t * np.eye(3) - damping / 2 * t**2)) - total
        return -value, -(counts[:, None] * (np.eye(3) - damping * t - mean)).ravel()

    start = np.array([[5.5, -1.9, -1.9], [-3.8, 10.3, -3.4], [-3.8, -3.4, 10.3]])
    best = minimize(dual, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-5})
    p, act, _ = law(best.x.reshape(3, 3))
    return np.einsum("i,ic,id->cd", p, act, act), -best.fun


@pytest.mark.slow
def test_redundant_code_against_quadrature():
    """Code fractions are right although no particle ever changes its code."""
    task = nl.tasks.orthogonal(n_inputs=100)
    posterior = nl.Posterior(nl.Model(width=100, activation="erf"), task, temperature=1e-5)
    blocks, value = exact_toy(100, 1e-3)
    solution = solve_particles(posterior, progress=False)
    assert solution.converged, solution.status
    found = np.array([nl.kernel_blocks(k[0], task.labels) for k in solution.kernels_by_replicate])
    error = found.std(axis=0, ddof=1) / 2
    # Beside the scatter of the replicates a bias of the order of 1 / particles is allowed for.
    assert np.all(np.abs(found.mean(axis=0) - blocks) < BOUND * error + 0.003)
    assert abs(solution.free_energy - value) < BOUND * solution.free_energy_error + 0.3
    active = np.asarray(posterior.model.phi(solution.preactivations[0]))
    code = np.stack([active[:, task.labels == c].mean(axis=1) > 0.5 for c in range(3)], axis=1)
    for pattern in ([1, 1, 0], [1, 0, 1], [0, 1, 1]):
        assert abs(np.mean(np.all(code == pattern, axis=1)) - 0.33) < 0.015


@pytest.mark.slow
def test_sparse_code_of_relu():
    """One outlier for each class, on the boundary of the region where outliers cost nothing."""
    task = nl.tasks.orthogonal(n_inputs=100)
    posterior = nl.Posterior(nl.Model(width=100, activation="relu"), task, temperature=1e-5)
    solution = solve_particles(posterior, progress=False)
    assert solution.converged, solution.status
    blocks = nl.kernel_blocks(solution.kernels[0], task.labels)
    # Leading order for large P; corrections are of the order of 1 / P.
    expected = np.array([[1.493, 0.264, 0.264], [0.264, 2.096, 0.227], [0.264, 0.227, 2.096]])
    np.testing.assert_allclose(blocks, expected, atol=0.02)
    by_class = np.stack([solution.outliers.activity[:, task.labels == c].mean(axis=1) for c in range(3)], axis=1)
    assert len(by_class) == 3
    assert np.all(np.sort(by_class, axis=1)[:, :2] < 0.05)
    norms = np.array([np.mean(np.sum(solution.t[task.labels == c] ** 2, axis=1)) for c in range(3)])
    np.testing.assert_allclose(norms, [2, 4, 4], rtol=0.02)
    (z,), readout = solution.draw_neurons(np.random.default_rng(0), 2000)
    outputs = np.maximum(z, 0) @ readout / 2000
    means = np.array([outputs[task.labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(means, np.eye(3), atol=0.06)


def test_draws_make_a_network_that_fits():
    task = correlated(4)
    solution = solve_particles(nl.Posterior(nl.Model(width=20), task, temperature=1e-3), **SMALL_RUN)
    (z,), readout = solution.draw_neurons(np.random.default_rng(0), 20_000)
    assert z.shape == (4, 20_000)
    assert readout.shape == (20_000, 2)
    outputs = (1 + special.erf(np.sqrt(np.pi) * z / 2)) / 2 @ readout / 20_000
    np.testing.assert_allclose(outputs, task.targets - 0.02 * solution.t, atol=0.05)


def test_same_seed_same_answer_other_seed_within_errors():
    posterior = nl.Posterior(nl.Model(width=20), correlated(4), temperature=1e-3)
    first, again, other = (solve_particles(posterior, seed=seed, **SMALL_RUN) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.kernels, again.kernels)
    error = np.hypot(first.kernels_error, other.kernels_error)
    entries = np.triu_indices(4)
    z = (first.kernels - other.kernels)[0][entries] / error[0][entries]
    assert np.abs(z).max() < BOUND


def test_rays_from_starts_along_a_dual_of_zero_are_finite():
    """As at the first step, where with many outputs such starts are needed."""
    with jax.enable_x64(True):
        starts = jnp.concatenate([jnp.zeros((2, 3)), jnp.eye(3)])
        found, ratios = find_rays(
            starts, Asymptote(jnp.asarray(1.0), jnp.asarray(0.0)), jnp.eye(3), 1.0, jnp.eye(3)[:, :2]
        )
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.readout).all()
    np.testing.assert_allclose(ratios, [1, 1, 0, 0, 0], atol=1e-12)


def test_too_few_steps_are_reported():
    posterior = nl.Posterior(nl.Model(width=20), correlated(4), temperature=1e-4)
    solution = solve_particles(posterior, max_steps=2, **SMALL_RUN)
    assert not solution.converged
    assert "max_steps" in solution.status


def test_progress_is_shown_on_request():
    posterior = nl.Posterior(nl.Model(width=20), correlated(4), temperature=1e-2)
    shown = io.StringIO()
    with redirect_stderr(shown):
        solve_particles(posterior, n_particles=4000, max_steps=2)
    assert "free energy" in shown.getvalue()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nl.Model(regime="lazy"), "non-lazy"),
        (nl.Model(activation=jnp.square), "neither saturates nor grows linearly"),
        (nl.Model(depth=2), "one hidden layer"),
    ],
)
def test_what_it_does_not_treat_is_refused(model, message):
    with pytest.raises(nl.errors.InputError, match=message):
        solve_particles(nl.Posterior(model, correlated(4), temperature=1e-2), progress=False)
