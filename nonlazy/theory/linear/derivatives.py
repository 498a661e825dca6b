r"""Gradient and curvature of the free energy by \(\log Q_1\), in the eigenbasis of Q_1."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from nonlazy.theory.linear.data import Data


def gradient_of(data: Data, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, "m m"]:
    r"""\(2\, Q_1^{1/2} (\partial F / \partial Q_1)\, Q_1^{1/2} = r - 1 + Q_1 D - W^T W\), in the eigenbasis of Q_1."""
    w = data.weights(q, targets)
    return np.diag(data.ratio(q) - 1 + np.sum(data.gains(q), axis=0) / data.width) - w.T @ w


def hessian_of(
    data: Data, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"], directions: Float[np.ndarray, "d m m"]
) -> Float[np.ndarray, "d d"]:
    r"""\(2\, \partial^2 F / \partial (\log Q_1)^2\) in the given directions, in the eigenbasis of Q_1.

    The prior's part is that of the matrix function r, whose derivative has divided differences
    \((r_i q_j - r_j q_i) / (q_i - q_j)\); the last part is the curvature of the exponential function.
    """
    r, w, gains = data.ratio(q), data.weights(q, targets), data.gains(q)
    gap = q[:, None] - q[None, :]
    close = np.abs(gap) < 1e-5 * (q[:, None] + q[None, :])
    mean = np.sqrt(np.outer(r, r))
    divided = (np.outer(r, q) - np.outer(q, r)) / np.where(close, 1, gap)
    factor = 1 + np.where(close, mean * (1 / data.depth - 1), divided) - gains.T @ gains / data.width
    changes = stretch(q) * directions
    half = np.einsum("pil,ki,kl,kj->pij", changes, gains, w, w, optimize=True)
    curvature = np.einsum("ij,ilj,plj->pil", gradient_of(data, q, targets), _bend(q), directions, optimize=True)
    applied = stretch(q) * (factor * changes + half + half.swapaxes(1, 2)) + curvature + curvature.swapaxes(1, 2)
    return np.einsum("pij,sij->ps", directions, applied)


def stretch(q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m"]:
    r"""Change of Q_1 over \(\sqrt{q_i q_j}\) for a unit change of log Q_1: \(\sinh(x) / x\), x half the difference of log q."""
    x = np.subtract.outer(np.log(q), np.log(q)) / 2
    return np.divide(np.sinh(x), x, out=1 + x**2 / 6, where=np.abs(x) > 1e-4)


def _bend(q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m m"]:
    r"""Second divided differences of the exponential function at log q_i, q_l, q_j, over \(\sqrt{q_i q_j}\)."""
    x, first = np.log(q), stretch(q) * np.sqrt(np.outer(q, q))
    i, end, j = x[:, None, None], x[None, :, None], x[None, None, :]
    at_i, at_l, at_j = np.exp(i), np.exp(end), np.exp(j)
    near, all_near = np.abs(i - j) < 1e-4, (np.abs(i - j) < 1e-4) & (np.abs(i - end) < 1e-3)
    middle, from_l = (at_i + at_j) / 2, (first[:, :, None] + first[None, :, :]) / 2
    apart = (first[:, :, None] - first[None, :, :]) / np.where(near, 1, i - j)
    pair = (middle - from_l) / np.where(all_near, 1, (i + j) / 2 - end)
    return np.where(all_near, (at_i + at_l + at_j) / 6, np.where(near, pair, apart)) / np.sqrt(at_i * at_j)


def symmetric_basis(m: int) -> Float[np.ndarray, "d m m"]:
    """Orthonormal basis of the symmetric matrices."""
    rows, columns = np.triu_indices(m)
    basis = np.zeros((len(rows), m, m))
    index = np.arange(len(rows))
    basis[index, rows, columns] = np.where(rows == columns, 1, math.sqrt(0.5))
    basis[index, columns, rows] = basis[index, rows, columns]
    return basis
