"""The two log densities, the exact draws, and the scalings, against formulas written out again here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_moments
from scipy import stats
from scipy.special import erf

import nonlazy as nl
from nonlazy.posterior import SinglePrecision
from nonlazy.posterior.likelihood import draw_readout, log_marginal_likelihood

T = 1e-3


def swish(z):
    return z * jax.nn.sigmoid(z)


PHI = {
    "linear": lambda z: z,
    "erf": lambda z: (1 + erf(np.sqrt(np.pi) * z / 2)) / 2,
    "relu": lambda z: np.where(z > 0, z, 0.0),
    "tanh": np.tanh,
    "swish": lambda z: z / (1 + np.exp(-z)),
}
EXPONENT = {("erf", 1): 1, ("erf", 2): 1, ("tanh", 1): 1, ("tanh", 2): 1}  # all others 1 / depth

networks = pytest.mark.parametrize(
    ("activation", "depth", "regime"),
    [(phi, depth, regime) for phi in PHI for depth in (1, 2) for regime in ("nonlazy", "lazy")],
)


def posterior(
    activation="erf", depth=1, regime="nonlazy", width=7, temperature=T, n_features=9, n_inputs=6, **settings
):
    rng = np.random.default_rng(3)
    task = nl.tasks.from_arrays(
        rng.standard_normal((n_inputs, n_features)),
        np.arange(n_inputs) % 3,
        rng.standard_normal((4, n_features)),
        [0, 1, 2, 0],
    )
    model = nl.Model(
        depth=depth,
        width=width,
        activation=swish if activation == "swish" else activation,
        regime=regime,
        readout_std=1.3,
        weight_std=(1.1, 0.7)[:depth],
        **settings,
    )
    return nl.Posterior(model, task, temperature)


def first_preactivations(density, position):
    with jax.enable_x64(True):
        return np.asarray(density.first_layer.preactivations(jnp.asarray(position[0])))


def draw(density, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape) for shape in density.shapes)


def readout_variance(activation, depth, regime, n_inputs):
    """the model's scalings, with s_a = 1.3."""
    if regime == "lazy":
        return 1.3**2
    return 1.3**2 / n_inputs ** EXPONENT.get((activation, depth), 1 / depth)


def forward(activation, z, deeper, width):
    """Last-layer features, sigma_2 = 0.7."""
    for weights in deeper:
        z = 0.7 * PHI[activation](z) @ weights / np.sqrt(width)
    return PHI[activation](z)


# --- log densities ------------------------------------------------------------------------------


@networks
def test_reduced_density_is_a_gaussian_process_likelihood_and_a_standard_normal_prior(activation, depth, regime):
    target = posterior(activation, depth, regime)
    position = draw(target.reduced)
    # Any factor of K_0 is allowed, so the preactivations of the first layer are taken from the library.
    z = first_preactivations(target.reduced, position)
    features = forward(activation, z, position[1:], 7)
    output_scale = 1 / 7 if regime == "nonlazy" else 1 / np.sqrt(7)
    covariance = readout_variance(activation, depth, regime, 6) * output_scale**2 * features @ features.T + T * np.eye(
        6
    )
    expected = stats.multivariate_normal(np.zeros(6), covariance).logpdf(target.task.targets.T).sum()
    expected += sum(stats.norm.logpdf(x).sum() for x in position)
    assert target.log_density(position) == pytest.approx(expected, rel=1e-9)


@networks
def test_plain_density_is_the_likelihood_of_the_network_and_a_standard_normal_prior(activation, depth, regime):
    target = posterior(activation, depth, regime)
    first, *deeper, readout = position = draw(target.plain)
    features = forward(activation, 1.1 * target.task.inputs @ first / np.sqrt(9), deeper, 7)
    scale = np.sqrt(readout_variance(activation, depth, regime, 6)) / (7 if regime == "nonlazy" else np.sqrt(7))
    expected = stats.norm.logpdf(target.task.targets, scale * features @ readout, np.sqrt(T)).sum()
    expected += sum(stats.norm.logpdf(x).sum() for x in position)
    assert target.log_density(position, "plain") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("regime", ["nonlazy", "lazy"])
@pytest.mark.parametrize(("width", "activation"), [(1, "erf"), (2, "erf"), (2, "relu")])
def test_plain_density_integrated_over_the_readout_is_the_reduced_density(width, activation, regime):
    """N0 = P = 2: eps is then W^1 rotated, and the densities differ by the readout alone, constants included."""
    rng = np.random.default_rng(5)
    task = nl.tasks.from_arrays(rng.standard_normal((2, 2)), [[0.6], [-0.4]])
    target = nl.Posterior(
        nl.Model(width=width, activation=activation, regime=regime, weight_std=1.2), task, temperature=0.3
    )
    (eps,) = draw(target.reduced)
    z = first_preactivations(target.reduced, (eps,))
    first = np.linalg.solve(1.2 * task.inputs / np.sqrt(2), z)
    assert np.sum(first**2) == pytest.approx(np.sum(eps**2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(*[nodes] * width, indexing="ij"), axis=-1).reshape(-1, width, 1)
    log_weights = sum(np.meshgrid(*[np.log(weights / np.sqrt(2 * np.pi))] * width, indexing="ij")).ravel()
    with jax.enable_x64(True):
        log_density = jax.vmap(lambda a: target.plain.log_density((jnp.asarray(first), a)))(jnp.asarray(grid))
    log_prior = stats.norm.logpdf(grid).sum(axis=(1, 2))
    integral = np.logaddexp.reduce(np.asarray(log_density) - log_prior + log_weights)
    assert integral == pytest.approx(target.log_density((eps,)), abs=1e-6)


def naive_likelihood(features, targets, scale, temperature):
    """The same number with nothing but a Cholesky factor, for JAX to differentiate."""
    chol = jnp.linalg.cholesky(scale * features @ features.T + temperature * jnp.eye(len(features)))
    white = jax.scipy.linalg.solve_triangular(chol, targets, lower=True)
    log_normalization = targets.shape[1] * (jnp.sum(jnp.log(jnp.diag(chol))) + len(features) / 2 * jnp.log(2 * jnp.pi))
    return -jnp.sum(white**2) / 2 - log_normalization


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@networks
def test_gradient_of_the_reduced_density_is_that_of_automatic_differentiation(activation, depth, regime):
    target = posterior(activation, depth, regime)
    density = target.reduced
    with jax.enable_x64(True):
        position = tuple(jnp.asarray(x) for x in draw(density))

        def naive(position):
            features = target.model.phi(density.preactivations(position)[-1])
            scale = target.readout_variance * target.model.output_scale**2
            return naive_likelihood(features, target.task.targets, scale, T) - sum(jnp.sum(x**2) / 2 for x in position)

        found, expected = jax.grad(density.log_density)(position), jax.grad(naive)(position)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) < 1e-8


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("temperature", [0.3, 1e-3])
def test_gradient_of_the_likelihood_by_every_argument(n_outputs, temperature):
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        features, targets = rng.standard_normal((5, 8)), rng.standard_normal((5, n_outputs))
        arguments = (jnp.asarray(features), jnp.asarray(targets), 0.2, temperature)
        # A factor in front: the cotangent must be passed on.
        found = jax.grad(lambda *x: 3 * log_marginal_likelihood(*x), argnums=(0, 1, 2, 3))(*arguments)
        expected = jax.grad(lambda *x: 3 * naive_likelihood(*x), argnums=(0, 1, 2, 3))(*arguments)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(np.asarray(a), np.asarray(b)) < 1e-8


@pytest.mark.parametrize("parametrization", ["reduced", "plain"])
def test_order_of_neurons_does_not_matter(parametrization):
    target = posterior(depth=2, width=5)
    position = draw(target.density(parametrization))
    rng = np.random.default_rng(2)
    one, two = rng.permutation(5), rng.permutation(5)
    permuted = (position[0][:, one], position[1][one][:, two], *(a[two] for a in position[2:]))
    unmatched = (position[0][:, one], *position[1:])
    assert target.log_density(permuted, parametrization) == pytest.approx(target.log_density(position, parametrization))
    assert abs(target.log_density(unmatched, parametrization) - target.log_density(position, parametrization)) > 1e-3


# --- scalings -----------------------------------------------------------------------------------


@networks
def test_scalings_of_theory_section_1(activation, depth, regime):
    target = posterior(activation, depth, regime)
    assert target.readout_variance == pytest.approx(readout_variance(activation, depth, regime, 6))
    assert target.model.output_scale == pytest.approx(1 / 7 if regime == "nonlazy" else 7**-0.5)


def test_readout_scaling_can_be_given():
    assert posterior(readout_scaling=0.5).readout_variance == pytest.approx(1.3**2 / 6**0.5)
    with pytest.raises(nl.InputError, match="readout_scaling"):
        nl.Model(depth=2, activation=lambda z: z**2)


# --- exact draws --------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["nonlazy", "lazy"])
@pytest.mark.parametrize("n_inputs", [3, 8])
def test_readout_draws_have_the_moments_of_ridge_regression(n_inputs, regime):
    """Covariance (1/variance + o^2 Phi^T Phi / T)^-1, mean that times o Phi^T y / T: the N x N form of the Gaussian."""
    rng = np.random.default_rng(4)
    width, variance, temperature = 5, 0.7, 0.05
    scale = 1 / width if regime == "nonlazy" else width**-0.5
    features, targets = rng.standard_normal((n_inputs, width)), rng.standard_normal((n_inputs, 2))
    covariance = np.linalg.inv(np.eye(width) / variance + scale**2 * features.T @ features / temperature)
    mean = covariance @ features.T @ targets * scale / temperature
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 20_000)
        draws = jax.vmap(draw_readout, (0, *[None] * 5))(keys, features, targets, variance, scale, temperature)
    # Output by output; outputs are independent.
    assert_moments(
        np.asarray(draws).transpose(0, 2, 1).reshape(len(keys), -1), mean.T.ravel(), np.kron(np.eye(2), covariance)
    )


INPUTS = {"N0 > P": (9, 5), "N0 = P": (5, 5), "N0 < P": (4, 7), "rank deficient": (9, 6), "orthogonal": (8, 5)}


def inputs_posterior(kind):
    n_features, n_inputs = INPUTS[kind]
    rng = np.random.default_rng(6)
    inputs = rng.standard_normal((n_inputs, n_features))
    if kind == "rank deficient":
        inputs[-2:] = rng.standard_normal((2, n_inputs - 2)) @ inputs[:-2]
    if kind == "orthogonal":
        inputs = nl.tasks.orthogonal(n_inputs, (0.5, 0.5), n_features).inputs
    test = rng.standard_normal((6, n_features))
    task = nl.tasks.from_arrays(inputs, np.arange(n_inputs) % 2, test, np.arange(6) % 2)
    return nl.Posterior(nl.Model(width=3, weight_std=1.2), task), 1.2**2 * np.concatenate(
        [inputs, test]
    ) @ np.concatenate([inputs, test]).T / n_features


@pytest.mark.parametrize("kind", INPUTS)
def test_first_layer_on_training_and_test_inputs_has_the_joint_prior_and_the_conditional_of_section_6(kind):
    target, kernel = inputs_posterior(kind)
    layer, n = target.reduced.first_layer, target.task.n_inputs
    factor, directions = (np.asarray(array) for array in layer)
    factor = np.diag(factor) if factor.ndim == 1 else factor
    assert layer.rank == np.linalg.matrix_rank(kernel[:n, :n])
    np.testing.assert_allclose(factor @ factor.T, kernel[:n, :n], atol=1e-10)
    # The conditional mean of z(x) is k_0^T K_0^-1 z whatever eps is.
    solved = kernel[n:, :n] @ np.linalg.pinv(kernel[:n, :n], rcond=1e-10)
    test = 1.2 * target.task.test_inputs / np.sqrt(target.task.n_features)
    unseen = test - test @ directions @ directions.T
    np.testing.assert_allclose(directions.T @ directions, np.eye(layer.rank), atol=1e-10)
    np.testing.assert_allclose(test @ directions, solved @ factor, atol=1e-9)
    np.testing.assert_allclose(unseen @ unseen.T, kernel[n:, n:] - solved @ kernel[:n, n:], atol=1e-9)
    assert (layer.factor.ndim == 1) == (kind == "orthogonal")


def test_networks_drawn_on_test_inputs_follow_the_conditional_law():
    """Many networks at one position: the first layer on test inputs is Gaussian, and deeper layers follow from it."""
    target = posterior(depth=2, width=2, n_features=8, n_inputs=4)
    position = draw(target.reduced)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), 20_000)
        networks = jax.vmap(target.reduced.network, (0, None))(keys, position)
    first, second = (np.asarray(z) for z in networks.test_preactivations)
    inputs = np.concatenate([target.task.inputs, target.task.test_inputs])
    kernel = 1.1**2 * inputs @ inputs.T / 8
    solved = kernel[4:, :4] @ np.linalg.inv(kernel[:4, :4])
    mean = solved @ first_preactivations(target.reduced, position)
    covariance = kernel[4:, 4:] - solved @ kernel[:4, 4:]
    assert_moments(first.transpose(0, 2, 1).reshape(len(keys), -1), mean.T.ravel(), np.kron(np.eye(2), covariance))
    np.testing.assert_allclose(second, 0.7 * PHI["erf"](first) @ position[1] / np.sqrt(2), rtol=1e-10)


@pytest.mark.parametrize(("activation", "depth"), [("erf", 1), ("relu", 2)])
def test_features_in_single_precision(activation, depth):
    """Rounded, hence not equal, but by no more than 24 bits allow; the gradient is the rounded density's own."""
    target = posterior(activation, depth, width=30, n_inputs=20)
    with jax.enable_x64(True):
        rounded = SinglePrecision(target.reduced)
        position = draw(target.reduced)
        (value, gradient), (exact, exact_gradient) = (
            jax.value_and_grad(density.log_density)(position) for density in (rounded, target.reduced)
        )
        assert rounded.features(position).dtype == np.float32
        value, exact = float(value), float(exact)
    assert 0 < abs(value - exact) < 1e-5 * abs(exact)
    for g, expected in zip(gradient, exact_gradient, strict=True):
        assert g.dtype == np.float64
        np.testing.assert_allclose(g, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
