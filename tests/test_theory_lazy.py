"""The lazy theory: Gaussian moments against closed forms and Monte Carlo, predictions against conditioning by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

import nonlazy as nl
from nonlazy.activations import Activation, resolve
from nonlazy.errors import InputError
from nonlazy.theory.lazy import solve_lazy
from nonlazy.theory.moments import CLOSED_FORMS, by_quadrature, find_kinks, second_moment

quick = settings(database=None, deadline=None, max_examples=12, derandomize=True)

CORRELATIONS = np.array(
    [-1, -1 + 1e-13, -1 + 1e-7, -0.99, -0.4, 0, 1e-9, 0.3, 0.9, 0.97, 0.999, 1 - 1e-6, 1 - 1e-12, 1]
)


def pairs(*variances):
    """Arguments of `second_moment` for all correlations and pairs of variances."""
    u, v, rho = (x.ravel() for x in np.meshgrid(variances, variances, CORRELATIONS))
    return u, rho * np.sqrt(u * v), v


EXP = Activation("exp", jnp.exp, None)


def leaky(z):
    return jnp.where(z > 0, z, 0.2 * z)


def step(z):
    return jnp.where(z > 0, 1.0, 0.0) * jnp.ones_like(z)


def shifted_step(z):
    return step(z + 0.8)


def shifted_relu(z):
    return jnp.maximum(z, -0.8)


# --- moments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", CLOSED_FORMS)
def test_quadrature_agrees_with_closed_forms(activation):
    arguments = pairs(0.0, 0.01, 1.0, 7.0)
    found = by_quadrature(resolve(activation), *arguments)
    assert np.max(np.abs(found.value - CLOSED_FORMS[activation](*arguments))) < 1e-12
    assert found.error < 1e-10


def relu_kernel(u, c, v):
    return CLOSED_FORMS["relu"](u, c, v)


@pytest.mark.parametrize(
    ("activation", "exact"),
    [
        (jnp.sin, lambda u, c, v: np.exp(-(u + v) / 2) * np.sinh(c)),
        (jnp.square, lambda u, c, v: u * v + 2 * c**2),
        (EXP, lambda u, c, v: np.exp((u + v) / 2 + c)),
        (lambda z: 1 + z**3, lambda u, c, v: 1 + 9 * u * v * c + 6 * c**3),
        (leaky, lambda u, c, v: (1 + 0.04) * relu_kernel(u, c, v) - 0.4 * relu_kernel(u, -c, v)),
        (jnp.abs, lambda u, c, v: 2 * relu_kernel(u, c, v) + 2 * relu_kernel(u, -c, v)),
        (step, lambda u, c, v: 1 / 4 + np.arcsin(np.clip(c / np.sqrt(u * v), -1, 1)) / (2 * np.pi)),
    ],
    ids=["sin", "square", "exp", "cubic", "leaky", "abs", "step"],
)
def test_quadrature_of_functions_of_the_user(activation, exact):
    """Smooth, with a kink, with a jump."""
    arguments = pairs(0.3, 2.0)
    found = by_quadrature(resolve(activation), *arguments)
    expected = exact(*arguments)
    # The step's kernel has infinite slope at the ends: rounding of the correlation is amplified.
    tolerance = 1e-7 if activation is step else 1e-11
    np.testing.assert_allclose(found.value, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", [jnp.tanh, shifted_relu, jax.nn.relu6, jax.nn.elu, jax.nn.soft_sign])
def test_moments_agree_with_draws(activation):
    phi, n, scores = resolve(activation), 200_000, {}
    x = np.random.default_rng(1).standard_normal((2, n))
    for rho in (-0.95, 0.3, 0.98, 0.9999):
        u, v = 1.5 * x[0], 3.0 * (rho * x[0] + np.sqrt(1 - rho**2) * x[1])
        products = np.asarray(activation(u) * activation(v), dtype=float)
        expected = second_moment(phi, np.array(2.25), np.array(4.5 * rho), np.array(9.0)).value
        scores[f"{rho}"] = (products.mean() - expected) / (products.std() / n**0.5)
    assert_close(scores)


@pytest.mark.parametrize("rho", [0.98, 0.9999, 1 - 1e-8, 1, -0.99])
@pytest.mark.parametrize("activation", [shifted_relu, shifted_step])
def test_kinks_that_nearly_meet(activation, rho):
    """Kinks and jumps off 0, and variances that differ a little. Given u, E phi(v) is known: one integral is left."""
    kink, std_u, std_v = 0.8, 1.0, 1.001
    width = np.sqrt(1 - rho**2)
    x, w = np.polynomial.legendre.leggauss(40)
    near = np.concatenate([np.outer([-1, 1], max(width, 1e-9) * 2.0 ** np.arange(30)).ravel(), [0]])
    ends = np.concatenate([np.linspace(-10, 10, 41), -kink / std_u + near, -kink / std_v * np.sign(rho) + near])
    breaks = np.unique(np.clip(ends, -10, 10))
    half = np.diff(breaks)[:, None] / 2
    g = breaks[:-1, None] + half + half * x
    mean, spread = std_v * rho * g + kink, std_v * max(width, 1e-30)
    u, above = std_u * g + kink, norm.cdf(mean / spread)
    if activation is shifted_step:
        factors = np.where(u > 0, 1.0, 0.0), above
    else:
        factors = np.maximum(u, 0) - kink, mean * above + spread * norm.pdf(mean / spread) - kink
    expected = np.sum(half * w * norm.pdf(g) * factors[0] * factors[1])
    moments = np.array(std_u**2), np.array(rho * std_u * std_v), np.array(std_v**2)
    found = by_quadrature(resolve(activation), *moments)
    assert abs(found.value - expected) < 1e-13
    assert found.error < 1e-12


@pytest.mark.parametrize(
    ("activation", "kinks"),
    [
        (jnp.tanh, []),
        (EXP, []),
        (jax.nn.relu, [0]),
        (jax.nn.relu6, [0, 6]),
        (lambda z: jnp.clip(z, -1, 1), [-1, 1]),
        (jax.nn.elu, [0]),  # in the second derivative
        (lambda z: jnp.where(z > 1 / 3, 1.0, 0.0) + 0 * z, [1 / 3]),
    ],
)
def test_kinks_are_found(activation, kinks):
    np.testing.assert_allclose(find_kinks(resolve(activation)), kinks, atol=1e-11)


def test_arguments_broadcast():
    d = np.array([0.5, 1.0, 2.0])
    kernel = np.sqrt(np.outer(d, d)) * np.array([[1, 0.2, -0.5], [0.2, 1, 0.9], [-0.5, 0.9, 1]])
    matrix = second_moment(resolve("tanh"), d[:, None], kernel, d[None, :]).value
    single = [
        [float(second_moment(resolve("tanh"), d[i], kernel[i, j], d[j]).value) for j in range(3)] for i in range(3)
    ]
    np.testing.assert_allclose(matrix, single, atol=1e-13)


@quick
@given(seed=st.integers(0, 2**20), n=st.integers(2, 6), name=st.sampled_from([*CLOSED_FORMS, "tanh"]))
def test_kernels_are_positive_and_even_in_the_sign_of_both_inputs(seed, n, name):
    x = np.random.default_rng(seed).standard_normal((n, 4))
    kernel, d = x @ x.T, np.sum(x**2, axis=1)
    value = second_moment(resolve(name), d[:, None], kernel, d[None, :]).value
    assert np.linalg.eigvalsh(value).min() > -1e-12
    np.testing.assert_allclose(value, value.T, atol=1e-12)


# --- the Gaussian process ------------------------------------------------------------------------


STDS = (1.3, 0.9, 1.1)


def data(n_inputs=6, n_test=4, m=2, seed=3):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n_inputs + n_test, 9)) * rng.uniform(0.5, 2, (n_inputs + n_test, 1))
    inputs[n_inputs] = inputs[0] * 1.01  # close to a training input
    return inputs[:n_inputs], rng.standard_normal((n_inputs, m)), inputs[n_inputs:]


def process(inputs, targets, activation="erf", depth=3, temperature=0.05, width=50):
    model = nl.Model(
        depth, width, activation, regime="lazy", readout_std=1.7, weight_std=STDS[:depth], readout_scaling=0.0
    )
    task = nl.tasks.from_arrays(inputs, np.arange(len(inputs)) % 2, targets=targets)
    return nl.Posterior(model, task, temperature)


@pytest.mark.parametrize("activation", ["linear", "erf", "relu", "tanh"])
def test_kernels_agree_with_draws_layer_by_layer(activation):
    inputs, targets, _ = data()
    posterior = process(inputs, targets, activation)
    solution, n, scores = solve_lazy(posterior), 100_000, {}
    rng = np.random.default_rng(0)
    covariance = STDS[0] ** 2 * inputs @ inputs.T / inputs.shape[1]
    for layer in range(3):
        z = np.linalg.cholesky(covariance) @ rng.standard_normal((len(inputs), n))
        phi = np.asarray(posterior.model.phi(z), dtype=float)
        mean, square = phi @ phi.T / n, phi**2 @ phi.T**2 / n
        z_layer = (mean - solution.kernels[layer]) / np.sqrt((square - mean**2) / n)
        scores |= {f"{layer + 1} {i},{j}": z_layer[i, j] for i in range(6) for j in range(i + 1)}
        if layer < 2:
            covariance = STDS[layer + 1] ** 2 * solution.kernels[layer]
    assert_close(scores)
    assert solution.kernel_error < 1e-12


@pytest.mark.parametrize("activation", ["linear", "erf", "relu", "tanh"])
def test_predictions_are_the_gaussian_conditional(activation):
    """The joint kernel of all inputs, as training inputs, conditioned by hand; `predict` builds cross-kernels on its own."""
    inputs, targets, test = data()
    everything = np.concatenate([inputs, test])
    joint = 1.7**2 * solve_lazy(process(everything, np.zeros((10, 2)), activation)).kernels[-1]
    covariance, cross = joint[:6, :6] + 0.05 * np.eye(6), joint[6:, :6]
    solution = solve_lazy(process(inputs, targets, activation))
    mean, variance = solution.predict(test)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(covariance, targets), atol=1e-10)
    expected = np.diag(joint[6:, 6:] - cross @ np.linalg.solve(covariance, cross.T))
    np.testing.assert_allclose(variance, np.stack([expected] * 2, axis=1), atol=1e-10)
    evidence = sum(multivariate_normal(cov=covariance).logpdf(y) for y in targets.T)
    assert solution.log_evidence == pytest.approx(evidence, rel=1e-12)
    assert solution.jitter == 0


@pytest.mark.parametrize("depth", [1, 2])
def test_neurons_give_the_kernels_and_the_outputs_of_the_gaussian_process(depth):
    inputs, targets, _ = data()
    posterior = process(inputs, targets, "erf", depth, temperature=0.5)
    solution, rng, n = solve_lazy(posterior), np.random.default_rng(5), 1000
    layers, readout = solution.draw_neurons(rng, 50_000)
    assert [z.shape for z in layers] == [(6, 50_000)] * depth
    assert readout.shape == (50_000, 2)
    scores = {}
    for layer, z in enumerate(layers):
        phi = np.asarray(posterior.model.phi(z), dtype=float)
        mean, square = phi @ phi.T / z.shape[1], phi**2 @ phi.T**2 / z.shape[1]
        z_layer = (mean - solution.kernels[layer]) / np.sqrt((square - mean**2) / z.shape[1])
        scores |= {f"{layer + 1} {i},{j}": z_layer[i, j] for i in range(6) for j in range(i + 1)}
    outputs = []
    for _ in range(200):
        layers, readout = solution.draw_neurons(rng, n)
        outputs.append(np.asarray(posterior.model.phi(layers[-1])) @ readout / n**0.5)
    mean, variance = solution.predict(inputs)
    deviations = np.array(outputs) - mean
    for i, r in np.ndindex(6, 2):
        scores[f"mean {i},{r}"] = deviations[:, i, r].mean() / np.sqrt(variance[i, r] / 200)
        # Squares of a Gaussian of this variance.
        scores[f"variance {i},{r}"] = (np.mean(deviations[:, i, r] ** 2) / variance[i, r] - 1) / np.sqrt(2 / 200)
    assert_close(scores)


def test_low_temperature_interpolates():
    inputs, targets, _ = data()
    solution = solve_lazy(process(inputs, targets, "relu", 2, temperature=1e-10))
    mean, variance = solution.predict(inputs)
    np.testing.assert_allclose(mean, targets, atol=1e-7)
    assert variance.max() < 1e-9
    assert solution.jitter == 0


def test_singular_covariance_gets_a_jitter_that_is_reported():
    """Six inputs of two features, linear: four eigenvalues vanish and the temperature is below rounding."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((6, 2))
    targets = inputs @ [[1.0], [-2.0]]
    solution = solve_lazy(process(inputs, targets, "linear", 1, temperature=1e-30))
    scale = np.trace(1.7**2 * solution.kernels[-1])
    assert 1e-16 * scale < solution.jitter < 1e-12 * scale
    new = rng.standard_normal((5, 2))
    mean, variance = solution.predict(new)
    np.testing.assert_allclose(mean, new @ [[1.0], [-2.0]], atol=1e-3)
    assert np.all(variance >= 0)
    assert variance.max() < 1e-12 * scale
    assert np.isfinite(solution.log_evidence)
    assert np.isfinite(solution.draw_neurons(rng, 20)[1]).all()


def test_permuted_inputs_permute_the_kernel():
    inputs, targets, test = data()
    order = np.random.default_rng(0).permutation(6)
    one, two = (solve_lazy(process(inputs[o], targets[o], "tanh")) for o in (np.arange(6), order))
    np.testing.assert_allclose(one.kernels[:, order][:, :, order], two.kernels, atol=1e-13)
    np.testing.assert_allclose(one.predict(test), two.predict(test), atol=1e-10)


def test_bad_arguments_are_refused():
    inputs, targets, _ = data()
    with pytest.raises(InputError, match="regime 'lazy'"):
        solve_lazy(nl.Posterior(nl.Model(), nl.tasks.orthogonal(4)))
    solution = solve_lazy(process(inputs, targets))
    with pytest.raises(InputError, match="9 columns"):
        solution.predict(np.zeros((3, 4)))
    with pytest.raises(InputError, match="n must be"):
        solution.draw_neurons(np.random.default_rng(0), 0)
