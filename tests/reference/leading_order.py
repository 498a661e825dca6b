r"""The theory at leading order in 1 / P, for orthogonal inputs (K_0 = kappa I) and targets y_c of classes with fractions p_c.

Written apart from the library: numpy and scipy only. With t_c the dual variable of class c, a neuron's readout has the law
exp(-P E(a)),

    E(a) = |a|^2 / (2 s_a^2) - sum_c p_c H(a . t_c),    H(h) = log E_{z ~ N(0, kappa)} exp(h phi(z)),

so that all its mass is at the minima of E, the branches. Saturating activation: several minima of equal height up to O(1/P),
weighed by Laplace's method. ReLU: one minimum, and a few outliers.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq, fixed_point, root
from scipy.special import erf, log_ndtr, logsumexp, softmax
from scipy.stats import norm


def linear(class_sizes, width, variance, depth=1):
    """T -> 0, one-hot targets, K_0 = I: r and the class blocks added to K_0 by each layer, (L, m), and U; any P / N."""
    alpha = sum(class_sizes) / width
    g = np.asarray(class_sizes, dtype=float)
    r = np.array([brentq(lambda x: x - (1 - alpha) - gi / (variance * x**depth), 1e-9, 1e9) for gi in g])  # noqa: B023
    u = variance * r
    added = np.cumsum([1 / (u * r ** (depth - layer)) for layer in range(1, depth + 1)], axis=0)
    return r, added, u


def linear_large_p(class_sizes, s_a, depth):
    """U for P -> infinity."""
    g = np.asarray(class_sizes, dtype=float)
    return (s_a ** (2 * depth) * g / g.sum()) ** (1 / (depth + 1))


# --- saturating activations -----------------------------------------------------------------------


class Redundant(NamedTuple):
    """Branches, heaviest first: weights (b,), readouts (b, m), class activities (b, C); t (C, m); class blocks of K_1."""

    weights: np.ndarray
    readout: np.ndarray
    activity: np.ndarray
    t: np.ndarray
    blocks: np.ndarray


class Energy:
    """E and its derivatives; H by the trapezoidal rule, then splined."""

    def __init__(self, phi, fractions, s_a, kappa):
        self.p, self.s2 = np.asarray(fractions), s_a**2
        z = np.linspace(-9, 9, 601)
        values, weights = phi(np.sqrt(kappa) * z), np.log(norm.pdf(z)) + np.log(z[1] - z[0])
        h = np.linspace(-60, 60, 6001)
        exponent = h[:, None] * values + weights
        self.h = CubicSpline(h, logsumexp(exponent, axis=1))
        self.first = CubicSpline(h, softmax(exponent, axis=1) @ values)
        self.second = self.first.derivative()
        self.levels = values.min(), values.max()

    def gradient(self, a, t):
        h = a @ t.T
        gradient = a / self.s2 - (self.p * self.first(h)) @ t
        return gradient, np.eye(t.shape[1]) / self.s2 - np.einsum("bc,ci,cj->bij", self.p * self.second(h), t, t)

    def branches(self, t):
        """The minima of E from every code."""
        a = np.array([self.s2 * (self.p * code) @ t for code in product(self.levels, repeat=len(self.p))])
        for _ in range(20):  # never raises E
            a = self.s2 * (self.p * self.first(a @ t.T)) @ t
        for _ in range(30):  # Newton, downhill
            gradient, hessian = self.gradient(a, t)
            curvature, basis = np.linalg.eigh(hessian)
            along = np.einsum("bji,bj->bi", basis, gradient) / np.maximum(np.abs(curvature), 0.05)
            a = a - np.clip(np.einsum("bij,bj->bi", basis, along), -0.5, 0.5)
            if np.abs(gradient).max() < 1e-13:
                break
        kept = [i for i in range(len(a)) if all(np.abs(a[i] - a[j]).max() > 1e-3 for j in range(i))]
        a = a[kept]
        hessian = self.gradient(a, t)[1]
        minimum = np.linalg.eigvalsh(hessian)[:, 0] > 1e-6
        a, hessian = a[minimum], hessian[minimum]
        energy = np.sum(a**2, axis=1) / (2 * self.s2) - self.h(a @ t.T) @ self.p
        return a, energy, self.first(a @ t.T), np.linalg.slogdet(hessian)[1]


def erf_activation(z):
    return (1 + erf(np.sqrt(np.pi) / 2 * z)) / 2


def redundant(phi, fractions, targets, n_inputs, width_temperature, s_a=1.0, kappa=1.0):
    """Solve y_c - N T t_c = sum_branches P_branch a H'(a . t_c), with P_branch ~ exp(-P E) / sqrt(det Hess E)."""
    energy, y = Energy(phi, fractions, s_a, kappa), np.asarray(targets, dtype=float)

    def weigh(t, factor):
        a, value, activity, log_det = energy.branches(t)
        log_w = -factor * value - log_det / 2
        return a, activity, np.exp(log_w - logsumexp(log_w))

    def missed(t, factor, temperature):
        t = t.reshape(y.shape)
        a, activity, w = weigh(t, factor)
        return (y - temperature * t - np.einsum("b,bi,bc->ci", w, a, activity)).ravel()

    # From high temperature down, with few inputs first, which smears the choice between the branches.
    t = np.zeros(y.size)
    path = [(5.0, temperature) for temperature in np.geomspace(1, width_temperature, 8)]
    path += [(factor, width_temperature) for factor in np.geomspace(5, n_inputs, 12)[1:]]
    for factor, temperature in path:
        found = root(missed, t, (factor, temperature), tol=1e-12)
        t = found.x
    assert np.abs(missed(t, n_inputs, width_temperature)).max() < 1e-9, found.message
    t = t.reshape(y.shape)
    a, activity, w = weigh(t, n_inputs)
    order = np.argsort(-w)
    blocks = np.einsum("b,bc,bd->cd", w, activity, activity)
    return Redundant(w[order], a[order], activity[order], t, blocks)


# --- ReLU -----------------------------------------------------------------------------------------


class Sparse(NamedTuple):
    """Bulk readout (m,) and class activities (C,); t (C, m); squared outlier activity of each class per N; blocks of K_1."""

    readout: np.ndarray
    activity: np.ndarray
    t: np.ndarray
    strength: np.ndarray
    blocks: np.ndarray


def relu_slope(h):
    """H' for ReLU and kappa = 1: H = log(1/2 + exp(h^2 / 2) Phi(h))."""
    log_tail = h**2 / 2 + log_ndtr(h)
    value = np.logaddexp(np.log(0.5), log_tail)
    return h * np.exp(log_tail - value) + np.exp(-value) / np.sqrt(2 * np.pi)


def sparse(fractions, targets, s_a=1.0):
    """ReLU, kappa = 1, N T -> 0."""
    p, y = np.asarray(fractions), np.asarray(targets, dtype=float)

    def dual(a, t):
        rest = y - relu_slope(t @ a)[:, None] * a
        return rest / (np.linalg.norm(rest, axis=1) * s_a * np.sqrt(p))[:, None]

    def step(state):
        t, a = state[:, :-1].reshape(y.shape), state[: y.shape[1], -1]
        for _ in range(200):
            t = dual(a, t)
            a = s_a**2 * (p * relu_slope(t @ a)) @ t
        return np.concatenate([t, np.pad(a, (0, len(t) - len(a)))[:, None]], axis=1)

    start = np.concatenate([y / (s_a * np.sqrt(p))[:, None], np.full((len(y), 1), 0.1)], axis=1)
    state = fixed_point(step, start, xtol=1e-13, method="iteration")
    t, a = state[:, :-1], state[: y.shape[1], -1]
    activity = relu_slope(t @ a)
    strength = np.linalg.norm(y - activity[:, None] * a, axis=1) / (s_a * np.sqrt(p))
    return Sparse(a, activity, t, strength, np.outer(activity, activity) + np.diag(strength))
