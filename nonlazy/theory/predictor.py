r"""Predictors on new inputs, from independent draws of neurons.

Neuron by neuron and layer by layer, \(z^l(x) \mid z^l\) is Gaussian with mean \(k_{l-1}(x)^T K_{l-1}^{-1} z^l\) and variance
\(\kappa_{l-1}(x) - k_{l-1}(x)^T K_{l-1}^{-1} k_{l-1}(x)\). With \(g(x) = \langle a \phi(z(x)) \rangle\) over that noise and
\(c_\mu = a \phi(z_\mu)\),

\[ f(x) = \langle g \rangle, \qquad
   \mathrm{Var} f(x) = \frac{1}{N} \Big[ \langle \mathrm{var}(a \phi(z(x))) \rangle + \Sigma_{gg}
   - \Sigma_{gc} (\Sigma_{cc} + N T)^{-1} \Sigma_{cg} \Big] : \]

the fit pins the sums of c over neurons, so that only what c does not explain of g fluctuates. The same regression serves as a
control variate, since the means of c are known. For L > 1 fluctuations of the lower layers' kernels, of the same order 1/N, are
left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from nonlazy.compilation import double_precision
from nonlazy.posterior import Posterior
from nonlazy.theory.neurons import OutlierNeurons

N_NEURONS = 20_000
# Values of one block of test inputs times neurons.
BLOCK = 2**23
NOISE_NODES = 12


class Neurons(NamedTuple):
    """Draws from the single-neuron laws, z^l (P, n) of each layer and readouts (n, m), and the outliers."""

    preactivations: list[Float[np.ndarray, "P n"]]
    readout: Float[np.ndarray, "n m"]
    outliers: OutlierNeurons


class Prediction(NamedTuple):
    """Mean and variance of the outputs on new inputs over the posterior at width N, and the mean's Monte Carlo error."""

    mean: Float[np.ndarray, "n m"]
    variance: Float[np.ndarray, "n m"]
    error: Float[np.ndarray, "n m"]


@double_precision
def predict(
    posterior: Posterior,
    neurons: Neurons,
    kernels: Float[np.ndarray, "L P P"],
    t: Float[np.ndarray, "P m"],
    inputs: Float[np.ndarray, "n N0"],
) -> Prediction:
    """The predictor at the posterior's width, from neurons of a solved theory with these kernels and this t."""
    parts = [
        _predict_block(posterior, neurons, kernels, t, block)
        for block in np.array_split(inputs, max(len(inputs) * len(neurons.readout) // BLOCK, 1))
        if len(block)
    ]
    return Prediction(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _predict_block(
    posterior: Posterior,
    neurons: Neurons,
    kernels: Float[np.ndarray, "L P P"],
    t: Float[np.ndarray, "P m"],
    inputs: Float[np.ndarray, "n N0"],
) -> Prediction:
    model, task = posterior.model, posterior.task
    phi: Callable[[np.ndarray], np.ndarray] = lambda z: np.asarray(model.phi(jnp.asarray(z)))  # noqa: E731
    rng = np.random.default_rng(0)
    scale = model.weight_stds[0] ** 2 / task.n_features
    kernel = scale * task.inputs @ task.inputs.T
    cross, own = scale * inputs @ task.inputs.T, scale * np.sum(inputs**2, axis=1)
    for layer, z in enumerate(neurons.preactivations):
        weights = np.linalg.lstsq(kernel, cross.T, rcond=1e-12)[0].T
        mean = weights @ z
        noise = np.sqrt(np.maximum(own - np.sum(weights * cross, axis=1), 0))[:, None]
        if layer == model.depth - 1:
            break
        # Neurons are independent; inputs share the noise, so that a prediction does not depend on the others asked for.
        above = phi(mean + noise * rng.standard_normal(mean.shape[1]))
        variance, n = model.weight_stds[layer + 1] ** 2, z.shape[1]
        cross, own = variance * above @ phi(z).T / n, variance * np.mean(above**2, axis=1)
        kernel = variance * kernels[layer]
    # Last layer: averages over the noise by Gauss-Hermite quadrature.
    nodes, quadrature = np.polynomial.hermite_e.hermegauss(NOISE_NODES)
    quadrature = quadrature / quadrature.sum()
    first, second = np.zeros_like(mean), np.zeros_like(mean)
    for node, weight in zip(nodes, quadrature, strict=True):
        values = phi(mean + noise * node)
        first += weight * values
        second += weight * values**2
    bulk = _regress(posterior, neurons, t, phi(z), first, second - first**2)
    # Outliers are few and large: to the mean they add order 1, to the variance their slope times the noise.
    outliers = neurons.outliers
    far = outliers.preactivations @ weights.T
    slopes = _far_slopes(model.phi, far)
    variance = noise**2 * ((slopes**2).T @ outliers.readout**2) / model.width
    return Prediction(bulk.mean + (slopes * far).T @ outliers.readout, bulk.variance + variance, bulk.error)


def _far_slopes(phi: Callable, z: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k n"]:
    """phi(z) / z far out on the side of each z, which is all that outliers feel of the activation."""
    right, left = (float(phi(jnp.asarray(far))) / far for far in (1e8, -1e8))
    return np.where(z > 0, right, left)


def _regress(
    posterior: Posterior,
    neurons: Neurons,
    t: Float[np.ndarray, "P m"],
    features: Float[np.ndarray, "P n"],
    first: Float[np.ndarray, "x n"],
    spread: Float[np.ndarray, "x n"],
) -> Prediction:
    """Means and variances from a phi(z(x)) averaged over the noise, its variance by the noise, and the features."""
    a, outliers, width = neurons.readout, neurons.outliers, posterior.model.width
    n, m = a.shape
    width_temperature = posterior.temperature * width
    statistics = (features.T[:, :, None] * a[:, None, :]).reshape(n, -1)
    # What bulk neurons must add up to.
    expected = posterior.task.targets - width_temperature * t - outliers.activity.T @ outliers.readout
    centred = statistics - statistics.mean(axis=0)
    covariance = centred.T @ centred / n
    ridge = max(width_temperature, 1e-10 * np.trace(covariance) / len(covariance))
    factor = cho_factor(covariance + ridge * np.eye(len(covariance)))
    means, variances, errors = [], [], []
    for r in range(m):
        g = first * a[:, r]
        shared = (g - g.mean(axis=1, keepdims=True)) @ centred / n
        coefficients = cho_solve(factor, shared.T).T
        means.append(g.mean(axis=1) + coefficients @ (expected.ravel() - statistics.mean(axis=0)))
        unexplained = np.maximum(g.var(axis=1) - np.sum(coefficients * shared, axis=1), 0)
        by_noise = spread @ a[:, r] ** 2 / n
        variances.append((by_noise + unexplained) / width)
        errors.append(np.sqrt(unexplained / n))
    return Prediction(np.stack(means, axis=1), np.stack(variances, axis=1), np.stack(errors, axis=1))
