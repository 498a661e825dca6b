"""The error function against SciPy's, with its derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from nonlazy.error_function import erf

X = np.concatenate([np.linspace(-8, 8, 40_001), np.geomspace(1e-300, 1e-3, 50), [0.0, 30.0, -30.0, np.inf, -np.inf]])


@pytest.mark.usefixtures("in_double_precision")
def test_values_and_derivatives():
    np.testing.assert_allclose(erf(jnp.asarray(X)), special.erf(X), rtol=0, atol=2e-15)
    first = jax.vmap(jax.grad(erf))(X)
    np.testing.assert_allclose(first, 2 / np.sqrt(np.pi) * np.exp(-(X**2)), rtol=1e-12, atol=1e-300)
    value_and_slope = jax.vmap(jax.grad(lambda x: sum(jax.value_and_grad(erf)(x))))(X[np.isfinite(X)])
    finite = X[np.isfinite(X)]
    slope = 2 / np.sqrt(np.pi) * np.exp(-(finite**2))
    np.testing.assert_allclose(value_and_slope, slope * (1 - 2 * finite), rtol=1e-11, atol=1e-300)
    second = jax.vmap(jax.grad(jax.grad(erf)))(finite)
    np.testing.assert_allclose(second, -4 * finite / np.sqrt(np.pi) * np.exp(-(finite**2)), rtol=1e-12, atol=1e-300)


def test_single_precision_is_left_to_jax():
    x = jnp.linspace(-3, 3, 101, dtype=jnp.float32)
    assert erf(x).dtype == jnp.float32
    np.testing.assert_array_equal(erf(x), jax.lax.erf(x))


@pytest.mark.usefixtures("in_double_precision")
def test_nan_stays():
    assert np.isnan(erf(jnp.nan))
