r"""The likelihood of the targets with the readout integrated out, with its gradient in closed form.

\[ y_r \mid \Phi \sim N(0, C), \qquad C = v\, \Phi \Phi^T + T I, \qquad v = \sigma_a^2 \cdot \text{output scale}^2 \]

Differentiating through the Cholesky factor would cost about twice as much.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

Scalar = Float[Array, ""] | float
# features, Cholesky factor of C, C^-1 Y, scale
_Residuals = tuple[Array, Array, Array, Scalar]


def cholesky_of_covariance(features: Float[Array, "P N"], scale: Scalar, temperature: Scalar) -> Float[Array, "P P"]:
    """Lower Cholesky factor of C = scale * Phi Phi^T + temperature * I."""
    return jnp.linalg.cholesky(scale * features @ features.T + temperature * jnp.eye(len(features)))


@jax.custom_vjp
def log_marginal_likelihood(
    features: Float[Array, "P N"], targets: Float[Array, "P m"], scale: Scalar, temperature: Scalar
) -> Float[Array, ""]:
    r"""\(\sum_r \log N(y_r \mid 0, C)\) with \(C = \text{scale} \cdot \Phi \Phi^T + T I\).

    The gradients, with \(A = C^{-1} Y\):
    \(\partial / \partial \Phi = \text{scale} (A A^T - m C^{-1}) \Phi\), and \(\partial / \partial Y = -A\).
    """
    return _forward(features, targets, scale, temperature)[0]


def _forward(
    features: Float[Array, "P N"], targets: Float[Array, "P m"], scale: Scalar, temperature: Scalar
) -> tuple[Float[Array, ""], _Residuals]:
    n_inputs, n_outputs = targets.shape
    chol = cholesky_of_covariance(features, scale, temperature)
    a = cho_solve((chol, True), targets)
    log_det = 2 * jnp.sum(jnp.log(jnp.diag(chol)))
    value = -(jnp.sum(targets * a) + n_outputs * (log_det + n_inputs * math.log(2 * math.pi))) / 2
    return value, (features, chol, a, scale)


def _backward(residuals: _Residuals, cotangent: Float[Array, ""]) -> tuple[Array, ...]:
    features, chol, a, scale = residuals
    n_outputs = a.shape[1]
    by_features = scale * (a @ (a.T @ features) - n_outputs * cho_solve((chol, True), features))
    by_scale = jnp.sum(features * by_features) / (2 * scale)
    trace_of_inverse = jnp.sum(solve_triangular(chol, jnp.eye(len(chol)), lower=True) ** 2)
    by_temperature = (jnp.sum(a**2) - n_outputs * trace_of_inverse) / 2
    return tuple(cotangent * g for g in (by_features, -a, by_scale, by_temperature))


log_marginal_likelihood.defvjp(_forward, _backward)


def draw_readout(
    key: Array,
    features: Float[Array, "P N"],
    targets: Float[Array, "P m"],
    variance: Scalar,
    output_scale: Scalar,
    temperature: Scalar,
) -> Float[Array, "N m"]:
    r"""Exact draw of the readout given the features.

    \[ a = a_0 + \sigma_a^2 o\, \Phi^T C^{-1} (Y - o\, \Phi a_0 - \sqrt{T} \xi), \qquad
       a_0 \sim N(0, \sigma_a^2), \; \xi \sim N(0, 1) \]

    with the output scale o. A draw of (a_0, noise) from the prior is moved to agree with the targets.
    """
    key_prior, key_noise = jax.random.split(key)
    prior_draw = jnp.sqrt(variance) * jax.random.normal(key_prior, (features.shape[1], targets.shape[1]))
    noise = jnp.sqrt(temperature) * jax.random.normal(key_noise, targets.shape)
    chol = cholesky_of_covariance(features, variance * output_scale**2, temperature)
    mismatch = targets - output_scale * features @ prior_draw - noise
    return prior_draw + variance * output_scale * features.T @ cho_solve((chol, True), mismatch)
