r"""Exact posterior moments of linear networks of finite width: integrals over m x m matrices, m outputs.

Inputs are orthogonal, X X^T / N0 = I, so that z^1 = sigma_1 * (standard normal). With o the output scale and
u = a (one hidden layer) or u = sigma_2 W^2 a / sqrt(N) (two), f = o z^1 u, so that f depends on the weights after the
first layer by the m x m matrix A = u^T u / N alone:

    rows of Y ~ N(0, V + T),                         V = sigma_1^2 o^2 N A;
    rows of f | Y ~ N(S y, V - S V),                 S = V (V + T)^-1;
    K_1 = z^1 z^1T / N:  off the diagonal            y^T M_1 y',  M_1 = sigma_1^2 / N * (V + T)^-1 V (V + T)^-1,
                         on it, additionally         sigma_1^2 - sigma_1^2 / N * tr S.

The law of A: N A_1 = a^T a is Wishart with N degrees of freedom and scale sigma_a^2; given it u is N(0, sigma_2^2 A_1),
so N A_2 is Wishart with scale sigma_2^2 A_1. Given a and u, W^2 is fixed on the span of a and free across it, and z^2 on
the span of a is known from f = o z^2 a:

    K_2 = sigma_2^2 (1 - m / N) K_1 + f A_1^-1 f^T / (N o)^2  on average.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Linear(NamedTuple):
    """A network and its targets; one standard deviation sigma_l a layer."""

    targets: np.ndarray
    width: int
    variance: float
    temperature: float
    stds: tuple[float, ...] = (1.0,)
    regime: str = "nonlazy"

    @property
    def output_scale(self):
        return 1 / self.width if self.regime == "nonlazy" else self.width**-0.5


class Moments(NamedTuple):
    """Posterior means: K_l = Y by_targets[l] Y^T + excess[l] I; readout is <a^T a> / N."""

    by_targets: list[np.ndarray]
    excess: list[float]
    readout: np.ndarray

    def kernel(self, layer, targets):
        return targets @ self.by_targets[layer] @ targets.T + self.excess[layer] * np.eye(len(targets))


def given(net, one, last):
    """Kernel moments given A_1 and A_L, (..., m, m) each: [M_1, M_2], [excess_1, excess_2]."""
    n, m, kappa = net.width, net.targets.shape[1], net.stds[0] ** 2
    v = kappa * net.output_scale**2 * n * last
    inverse = np.linalg.inv(v + net.temperature * np.eye(m))
    s = v @ inverse
    trace = lambda x: np.trace(x, axis1=-2, axis2=-1)  # noqa: E731
    by_targets, excess = [kappa / n * inverse @ s], [kappa - kappa / n * trace(s)]
    if len(net.stds) == 2:
        weight = net.stds[1] ** 2 * (1 - m / n)
        q = np.linalg.inv(one) / (n * net.output_scale) ** 2
        by_targets.append(weight * by_targets[0] + s.swapaxes(-1, -2) @ q @ s)
        excess.append(weight * excess[0] + trace(q @ (v - s @ v)))
    return by_targets, excess


def by_quadrature(net, points=400):
    """One output: A_1 and A_2 are positive numbers, and the trapezoidal rule in their logarithms converges fast."""
    n, depth, (y,) = net.width, len(net.stds), net.targets.T
    scales = [net.variance, *(s**2 for s in net.stds[1:])]

    def log_density(grids):
        """On the grid of the logarithms of A_l / (scale A_{l-1}), each chi^2_N / N under the prior."""
        axes = np.meshgrid(*grids, indexing="ij")
        a = np.cumprod([scale * np.exp(g) for scale, g in zip(scales, axes, strict=True)], axis=0)
        v = net.stds[0] ** 2 * net.output_scale**2 * n * a[-1] + net.temperature
        log_p = sum(n / 2 * (g - np.exp(g)) for g in axes) - len(y) / 2 * np.log(v) - y @ y / (2 * v)
        return axes, a, log_p

    axes, _, log_p = log_density([np.linspace(-8, 8, points)] * depth)
    inside = log_p > log_p.max() - 60  # the second grid covers the support: the posterior can be narrow
    axes, a, log_p = log_density([np.linspace(g[inside].min() - 0.1, g[inside].max() + 0.1, points) for g in axes])
    p = np.exp(log_p - log_p.max()).ravel()
    one, last = a[0].reshape(-1, 1, 1), a[-1].reshape(-1, 1, 1)
    return _average(net, one, last, p / p.sum())[0]


def _average(net, one, last, p):
    by_targets, excess = given(net, one, last)
    moments = Moments(
        [np.tensordot(p, m, 1) for m in by_targets], [float(p @ e) for e in excess], np.tensordot(p, one, 1)
    )
    errors = Moments(
        [
            np.sqrt(np.tensordot(p**2, (m - mean) ** 2, 1))
            for m, mean in zip(by_targets, moments.by_targets, strict=True)
        ],
        [float(np.sqrt(p**2 @ (e - mean) ** 2)) for e, mean in zip(excess, moments.excess, strict=True)],
        np.sqrt(np.tensordot(p**2, (one - moments.readout) ** 2, 1)),
    )
    return moments, errors


def by_importance_sampling(net, n_samples=100_000, seed=0):
    """Any number of outputs: the Bartlett factors of the Wishart matrices, drawn from a t distribution at the mode.

    Returns the moments, their standard errors, and the effective fraction of the samples.
    """
    n, depth, m = net.width, len(net.stds), net.targets.shape[1]
    gram = net.targets.T @ net.targets
    rows, columns = np.tril_indices(m)
    diagonal = rows == columns
    degrees = n - rows[diagonal]
    size = len(rows)

    # Puts the entries in their places, for numpy and for JAX alike.
    place = np.zeros((size, m, m))
    place[np.arange(size), rows, columns] = 1

    def matrices(x, np=np):
        """A_1 and A_L from the coordinates: B lower triangular, logarithms on its diagonal."""
        found, root = [], np.sqrt(net.variance / n) * np.eye(m)
        for layer in range(depth):
            entries = x[..., layer * size : (layer + 1) * size]
            entries = np.where(diagonal, np.exp(np.where(diagonal, entries, 0.0)), entries)
            std = net.stds[layer] / n**0.5 if layer else 1.0
            root = std * root @ np.tensordot(entries, place, 1)
            found.append(root @ np.swapaxes(root, -1, -2))
        return found[0], found[-1]

    def log_density(x, np=np):
        log_p = 0.0
        for layer in range(depth):
            entries = x[..., layer * size : (layer + 1) * size]
            logs = entries[..., diagonal]
            log_p = (
                log_p + np.sum(degrees * logs - np.exp(2 * logs) / 2, -1) - np.sum(entries[..., ~diagonal] ** 2, -1) / 2
            )
        v = net.stds[0] ** 2 * net.output_scale**2 * n * matrices(x, np)[1] + net.temperature * np.eye(m)
        data = np.trace(np.linalg.solve(v, np.broadcast_to(gram, v.shape)), axis1=-2, axis2=-1)
        return log_p - len(net.targets) / 2 * np.linalg.slogdet(v)[1] - data / 2

    with jax.enable_x64(True):
        function = jax.jit(lambda x: -log_density(x, jnp))
        gradient, hessian = jax.jit(jax.grad(function)), jax.jit(jax.hessian(function))
        x = np.zeros(depth * size)
        x[np.tile(diagonal, depth)] = np.log(n) / 2
        for _ in range(500):  # damped Newton
            g, h = np.asarray(gradient(x)), np.asarray(hessian(x))
            values, vectors = np.linalg.eigh(h)
            step = -vectors @ (vectors.T @ g / np.maximum(np.abs(values), 1e-3))
            length, now = 1.0, float(function(x))
            while not float(function(x + length * step)) <= now and length > 1e-10:
                length /= 2
            x = x + length * step
            if np.linalg.norm(g) < 1e-6:
                break
    rng = np.random.default_rng(seed)
    df, d = 10, len(x)
    root = np.linalg.inv(np.linalg.cholesky(h)).T
    t = rng.standard_normal((n_samples, d)) / np.sqrt(rng.chisquare(df, (n_samples, 1)) / df)
    log_w = log_density(x + t @ root.T) + (df + d) / 2 * np.log1p(np.sum(t**2, 1) / df)
    p = np.exp(log_w - log_w.max())
    p /= p.sum()
    one, last = matrices(x + t @ root.T)
    return *_average(net, one, last, p), 1 / np.sum(p**2) / n_samples


def large_width(net):
    """The theory at large width, T -> 0, sigma_l = 1: (by_targets of each layer, U), for targets with diagonal Y^T Y."""
    depth = len(net.stds)
    g = np.diag(net.targets.T @ net.targets)
    alpha = len(net.targets) / net.width
    r = np.empty(len(g))
    for i, gi in enumerate(g):
        roots = np.roots([1, -(1 - alpha), *[0] * (depth - 1), -gi / net.variance])
        r[i] = max(x.real for x in roots if abs(x.imag) < 1e-9 * abs(x))
    u = net.variance * r
    total, by_targets = np.zeros((len(g), len(g))), []
    for layer in range(1, depth + 1):
        total = total + np.diag(1 / (u * r ** (depth - layer)))
        by_targets.append(total)
    return by_targets, u
