"""Class-symmetric problems that several test files share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from reference import leading_order

import nonlazy as nl
from nonlazy.activations import resolve
from nonlazy.theory.symmetric import SymmetricData
from nonlazy.theory.symmetric.data import SymmetricKernel
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.tilted import make_grid

WIDTH = 100
TOY = (0.5, 0.25, 0.25)


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
