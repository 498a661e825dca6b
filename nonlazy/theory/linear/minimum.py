"""The minimum of the free energy: from exact minima of single outputs by Newton's method."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from nonlazy.theory.linear.data import Data, Spectrum
from nonlazy.theory.linear.derivatives import gradient_of, hessian_of, stretch, symmetric_basis

MAX_STEPS = 200
TOLERANCE = 1e-9  # of the gradient of F by the logarithm of Q_1, relative to 1 + r
GRID = 400  # points in log r where minima for a single output are looked for


def minimize(data: Data) -> tuple[Spectrum, float, int]:
    """The lowest minimum found, its relative gradient, and the number of Newton steps.

    Output directions in which all targets vanish decouple, and are solved apart: there Q_1 may be smaller by many orders.
    """
    _, singular, outputs = np.linalg.svd(data.targets, full_matrices=True)
    cut = singular[0] * max(data.targets.shape) * np.finfo(float).eps
    rank = int(np.sum(singular > cut)) if singular[0] > 0 else 0
    fitted, empty = outputs[:rank].T, outputs[rank:].T
    found = [_newton(data, data.targets @ fitted, start) for start in _starts(data, data.targets @ fitted)]
    (q, basis), gradient, n_steps = min(
        found, key=lambda f: np.sum(data.free_energies(f[0].q, data.targets @ fitted @ f[0].basis))
    )
    q_empty = _single_output(data, np.zeros(len(data.kappa)))
    spectrum = Spectrum(np.append(q, np.full(empty.shape[1], q_empty)), np.hstack([fitted @ basis, empty]))
    return spectrum, gradient, n_steps


def _starts(data: Data, targets: Float[np.ndarray, "R m"]) -> list[Spectrum]:
    """Exact minima over all Q_1 that are diagonal in the eigenbasis of Y^T K_0^-1 Y (right for T -> 0) or Y^T Y."""
    grams = [targets.T @ (targets / data.kappa[:, None]), targets.T @ targets]
    bases = [np.linalg.eigh(gram)[1] for gram in grams]
    return [Spectrum(np.array([_single_output(data, y) for y in (targets @ basis).T]), basis) for basis in bases]


def _single_output(data: Data, targets: Float[np.ndarray, " R"]) -> float:
    """q of lowest free energy for one output: every minimum lies where dF / d log q changes its sign."""

    def q_of(log_r: float) -> Float[np.ndarray, " 1"]:
        return np.array([data.prior_q * math.exp(data.depth * log_r)])

    def gradient(log_r: float) -> float:
        return float(gradient_of(data, q_of(log_r), targets[:, None])[0, 0])

    # At the low end r + tr gains / N < 1/2; at the high end |W|^2 <= |y|^2 / 4 N T < r - 1.
    low = (data.width * data.nt / (4 * data.prior_q * np.sum(data.kappa))) ** (1 / data.depth)
    grid = np.linspace(math.log(min(0.25, low)), math.log(2 + np.sum(targets**2) / (4 * data.nt)), GRID)
    signs = np.sign([gradient(x) for x in grid])
    minima = [brentq(gradient, grid[i], grid[i + 1], xtol=1e-13) for i in np.flatnonzero(np.diff(signs) > 0)]
    candidates = [q_of(x) for x in minima]
    return float(min(candidates, key=lambda q: data.free_energies(q, targets[:, None])[0])[0])


def _newton(data: Data, targets: Float[np.ndarray, "R m"], start: Spectrum) -> tuple[Spectrum, float, int]:
    r"""Newton's method in log Q_1, where eigenvalues that differ by many orders leave rotations well scaled."""
    (q, basis), step = start, 0
    directions = symmetric_basis(len(q))
    for step in range(MAX_STEPS):  # noqa: B007
        rotated = targets @ basis
        gradient = gradient_of(data, q, rotated)
        if _relative(data, q, gradient) < TOLERANCE / 100:
            break
        slope = np.einsum("ij,pij->p", stretch(q) * gradient, directions)
        change = -_solve_downhill(hessian_of(data, q, rotated, directions), slope)
        change *= min(1, 2 / np.linalg.norm(change))
        moved = _descend(data, targets, Spectrum(q, basis), np.einsum("p,pij->ij", change, directions))
        if moved is None:
            break
        q, basis = moved
    return Spectrum(q, basis), _relative(data, q, gradient_of(data, q, targets @ basis)), step


def _solve_downhill(hessian: Float[np.ndarray, "d d"], slope: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """|H|^-1 slope: its negative leads downhill along negative curvature too. Scaled, as curvatures differ by many orders."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-12))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    return scale * (vectors @ (vectors.T @ (scale * slope) / np.maximum(np.abs(values), 1e-8)))


def _descend(
    data: Data, targets: Float[np.ndarray, "R m"], now: Spectrum, change: Float[np.ndarray, "m m"]
) -> Spectrum | None:
    """The longest of the steps 1, 1/2, 1/4, ... along which the free energy does not grow, beyond its rounding errors."""
    value = data.free_energies(now.q, targets @ now.basis)
    for halvings in range(40):
        log_q, rotation = np.linalg.eigh(np.diag(np.log(now.q)) + change / 2**halvings)
        moved = Spectrum(np.exp(log_q), now.basis @ rotation)
        difference = np.sum(data.free_energies(moved.q, targets @ moved.basis)) - np.sum(value)
        if difference <= 1e-13 * np.sum(np.abs(value)):
            return moved
    return None


def _relative(data: Data, q: Float[np.ndarray, " m"], gradient: Float[np.ndarray, "m m"]) -> float:
    root = np.sqrt(data.ratio(q))
    return float(np.max(np.abs(gradient) / (1 + np.outer(root, root)), initial=0.0))
