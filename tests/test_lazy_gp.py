"""The lazy regime: predictions on test inputs against Gaussian processes with kernels in closed form.

At width N the posterior differs from its limit of infinite width by O(1/N). That term is not guessed: features drawn
from the prior and weighted by the likelihood of the targets give the exact answer at this N, which is first shown to
approach the closed form like 1/N, and then to be what the sampler gives.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from helpers import SIGMAS, assert_close, mean_and_error, z_score
from scipy.special import erf

import nonlazy as nl

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")

INPUTS, FEATURES, TEST, T = 8, 12, 3, 0.1
READOUT_STD, WEIGHT_STDS = 2.0, (1.3, 0.9)

PHI = {
    "linear": lambda z: z,
    "erf": lambda z: (1 + erf(np.sqrt(np.pi) * z / 2)) / 2,
    "relu": lambda z: np.where(z > 0, z, 0.0),
}
activations = pytest.mark.parametrize("activation", PHI)
depths = pytest.mark.parametrize("depth", [1, 2])


def second_moment(activation, kernel):
    """E phi(z) phi(z)^T for z ~ N(0, kernel)."""
    if activation == "linear":
        return kernel
    diagonal = np.diag(kernel)
    if activation == "erf":
        # E erf(s u) erf(s v) = (2 / pi) arcsin(2 s^2 k_uv / sqrt((1 + 2 s^2 k_uu)(1 + 2 s^2 k_vv))) with s^2 = pi / 4.
        norm = np.sqrt(1 + np.pi / 2 * diagonal)
        return 1 / 4 + np.arcsin(np.pi / 2 * kernel / np.outer(norm, norm)) / (2 * np.pi)
    norm = np.sqrt(np.outer(diagonal, diagonal))
    angle = np.arccos(np.clip(kernel / norm, -1, 1))
    return norm / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))


@cache
def data():
    rng = np.random.default_rng(8)
    inputs = rng.standard_normal((INPUTS + TEST, FEATURES))
    inputs[INPUTS:] = (
        0.6 * inputs[:TEST] + 0.8 * inputs[INPUTS:]
    )  # near training inputs, so that there is something to predict
    labels = np.arange(INPUTS) % 2
    return inputs, labels, np.where(labels == 0, 1.0, -0.7)


def first_kernel():
    inputs, *_ = data()
    return WEIGHT_STDS[0] ** 2 * inputs @ inputs.T / FEATURES


def regression(kernel):
    """Mean and variance of noiseless outputs on the test inputs, and log N(Y; 0, K + T); kernels (..., n, n)."""
    _, _, targets = data()
    covariance = kernel[..., :INPUTS, :INPUTS] + T * np.eye(INPUTS)
    cross = kernel[..., INPUTS:, :INPUTS]
    solved = np.linalg.solve(covariance, cross.swapaxes(-1, -2)).swapaxes(-1, -2)
    prior = np.diagonal(kernel[..., INPUTS:, INPUTS:], axis1=-2, axis2=-1)
    log_likelihood = (
        -(np.linalg.slogdet(covariance)[1] + targets @ np.linalg.solve(covariance, targets[:, None])[..., 0].T) / 2
    )
    return solved @ targets, prior - np.sum(solved * cross, axis=-1), log_likelihood


def infinite_width(activation, depth):
    kernel = second_moment(activation, first_kernel())
    for std in WEIGHT_STDS[1:depth]:
        kernel = second_moment(activation, std**2 * kernel)
    mean, variance, _ = regression(READOUT_STD**2 * kernel)
    return np.concatenate([mean, variance])


@cache
def finite_width(activation, depth, width, n=20_000, seed=0):
    """Mean, variance of the outputs at this width, and their standard errors."""
    rng = np.random.default_rng(seed)
    size, found = INPUTS + TEST, []
    for _ in range(n // 2000):
        kernel = np.broadcast_to(first_kernel(), (2000, size, size))
        for layer in range(depth):
            # Given the layer below, the neurons of a layer are independent draws of N(0, sigma_l^2 K_{l-1}).
            root = np.linalg.cholesky(WEIGHT_STDS[layer] ** 2 * kernel if layer else kernel)
            phi = PHI[activation](root @ rng.standard_normal((2000, size, width)))
            kernel = phi @ phi.swapaxes(-1, -2) / width
        found.append(regression(READOUT_STD**2 * kernel))
    mean, variance, log_likelihood = (np.concatenate(part) for part in zip(*found, strict=True))
    p = np.exp(log_likelihood - log_likelihood.max())
    p /= p.sum()
    assert 1 / np.sum(p**2) > n / 10
    total = p @ mean
    # The law of total variance, with each network's mean measured from the mean of all.
    values = np.concatenate([mean, variance + (mean - total) ** 2], axis=1)
    average = p @ values
    return average, np.sqrt(p**2 @ (values - average) ** 2)


@pytest.mark.slow
@activations
@depths
def test_finite_width_approaches_the_gaussian_process_like_one_over_width(activation, depth):
    """Twice the answer at 2 N minus that at N has no 1/N term left: it must be the closed form, to sampling errors."""
    one, error_one = finite_width(activation, depth, 300)
    two, error_two = finite_width(activation, depth, 600, seed=1)
    z = (2 * two - one - infinite_width(activation, depth)) / np.hypot(2 * error_two, error_one)
    assert_close(dict(enumerate(z)))


def compare(activation, depth, width, **settings):
    inputs, labels, targets = data()
    task = nl.tasks.from_arrays(
        inputs[:INPUTS],
        labels,
        inputs[INPUTS:],
        np.zeros(TEST, int),
        targets=targets[:, None],
        test_targets=np.zeros((TEST, 1)),
    )
    model = nl.Model(
        depth=depth,
        width=width,
        activation=activation,
        regime="lazy",
        readout_std=READOUT_STD,
        weight_std=WEIGHT_STDS[:depth],
    )
    settings = {"warmup": 200, "draws": 1000, "keep": ("predictions",), "progress": False} | settings
    tree = nl.sample(nl.Posterior(model, task, T), **settings)
    predictions = tree["posterior"]["predictions"].values[..., 0]
    (exact, errors), limit = finite_width(activation, depth, width), infinite_width(activation, depth)
    scores = {}
    for i in range(TEST):
        squares = (predictions[..., i] - exact[i]) ** 2
        scores[f"mean {i}"] = z_score(predictions[..., i], exact[i], errors[i])
        scores[f"variance {i}"] = z_score(squares, exact[TEST + i], errors[TEST + i])
        # The limit itself, with twice the O(1/N) term as room for the terms of higher order.
        room = 2 * np.abs(exact - limit) + SIGMAS * errors
        assert abs(predictions[..., i].mean() - limit[i]) < room[i] + SIGMAS * mean_and_error(predictions[..., i])[1]
        assert abs(squares.mean() - limit[TEST + i]) < room[TEST + i] + SIGMAS * mean_and_error(squares)[1]
    assert_close(scores)


def test_hmc():
    compare("erf", 1, 60)


@pytest.mark.slow
@activations
@depths
def test_hmc_on_all(activation, depth):
    compare(activation, depth, 300, draws=2000 if depth == 1 else 1000, seed=1)


def test_closed_forms_agree_with_draws():
    """The arcsine and arc-cosine kernels against plain Monte Carlo."""
    kernel = np.array([[1.5, 0.7], [0.7, 0.8]])
    z = np.random.default_rng(0).standard_normal((400_000, 2)) @ np.linalg.cholesky(kernel).T
    for activation, phi in PHI.items():
        products = phi(z)[:, :, None] * phi(z)[:, None, :]
        scores = (products.mean(0) - second_moment(activation, kernel)) / (products.std(0) / len(z) ** 0.5)
        assert_close({f"{activation} {i}{j}": scores[i, j] for i, j in ((0, 0), (0, 1), (1, 1))})
