"""Branches: the local maxima of a neuron's law, found from every code and checked by a search from elsewhere."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from nonlazy.theory.symmetric.law import Law

# Branches lighter than the heaviest by this factor cannot be seen in any average.
NEGLIGIBLE = 30.0
MAX_STEPS = 300
# Fields have unit variance under the prior: starts closer than this lead to one branch.
SAME = 1e-4


class Modes(NamedTuple):
    """Places x (b, f) of the branches, F there, negative Hessians, and Laplace weights, heaviest first."""

    x: Float[np.ndarray, "b f"]
    log_density: Float[np.ndarray, " b"]
    precision: Float[np.ndarray, "b f f"]

    @property
    def log_weights(self) -> Float[np.ndarray, " b"]:
        r"""Laplace's approximation of each branch's mass, \(F - \tfrac12 \log\det(-\nabla^2 F)\)."""
        return self.log_density - np.linalg.slogdet(self.precision)[1] / 2

    @property
    def weights(self) -> Float[np.ndarray, " b"]:
        return np.exp(self.log_weights - logsumexp(self.log_weights))


def find_modes(law: Law, starts: Float[np.ndarray, "n f"]) -> Modes:
    """All local maxima that ascent from these starts reaches, without the negligible ones."""
    if law.n_fields == 0:
        return Modes(starts[:1], law.log_density(starts[:1]), np.zeros((1, 0, 0)))
    x = ascend(law, starts)
    moments = law.moments(x)
    value = law.log_density(x, moments)
    gradient, precision = law.derivatives(x, moments)
    maximum = (np.linalg.eigvalsh(precision)[:, 0] > 1e-9) & (np.abs(gradient).max(axis=1) < 1e-6)
    kept = distinct(x, np.flatnonzero(maximum)[np.argsort(-value[maximum])])
    modes = Modes(x[kept], value[kept], precision[kept])
    heavy = np.flatnonzero(modes.log_weights > modes.log_weights.max(initial=-np.inf) - NEGLIGIBLE)
    order = heavy[np.argsort(-modes.log_weights[heavy], kind="stable")]
    return Modes(modes.x[order], modes.log_density[order], modes.precision[order])


def distinct(x: Float[np.ndarray, "n f"], order: Int[np.ndarray, " k"]) -> list[int]:
    """The first of each group of equal places, gone through in this order."""
    kept: list[int] = []
    while len(order):
        first = x[order[0]]
        kept.append(int(order[0]))
        order = order[np.abs(x[order] - first).max(axis=1) > SAME * (1 + np.abs(first).max())]
    return kept


def ascend(law: Law, x: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    """Newton's method from each start, made an ascent by the absolute curvatures and by halving steps."""
    x = x.copy()
    active = np.arange(len(x))
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        here = x[active]
        moments = law.moments(here)
        value = law.log_density(here, moments)
        gradient, precision = law.derivatives(here, moments)
        curvature, basis = np.linalg.eigh(precision)
        along = np.einsum("nji,nj->ni", basis, gradient)
        step = np.einsum("nij,nj->ni", basis, along / np.maximum(np.abs(curvature), 1e-3))
        # A step may at most double the fields, so that a saddle is left towards the nearer maximum.
        limit = 1 + np.linalg.norm(here, axis=1)
        step *= np.minimum(1, limit / np.maximum(np.linalg.norm(step, axis=1), 1e-300))[:, None]
        x[active] = _line_search(law, here, value, step)
        active = active[np.abs(gradient).max(axis=1) > 1e-9 * (1 + np.abs(here).max(axis=1))]
    return x


def _line_search(
    law: Law, x: Float[np.ndarray, "n f"], value: Float[np.ndarray, " n"], step: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "n f"]:
    length = np.ones(len(x))
    for _ in range(12):
        lower = law.log_density(x + length[:, None] * step) < value - 1e-9 * (1 + np.abs(value))
        if not lower.any():
            break
        length[lower] /= 2
    return x + np.where(lower, 0, length)[:, None] * step


def code_starts(law: Law) -> Float[np.ndarray, "n f"]:
    """A start in every code: classes at the upper or the lower end of the activation's range seen by the prior."""
    common = law.spread @ law.spread.T
    seen = np.abs(law.grid.z) <= 2 * np.sqrt(np.max(law.variance + np.diag(common)))
    z, phi = law.grid.z[seen], law.grid.phi[seen]
    ends = [int(phi.argmin()), int(phi.argmax())]
    code = np.array(list(product(ends, repeat=len(law.counts))))
    # The mean of nu for these class means of the preactivations.
    mean = np.linalg.solve(common + np.diag(law.variance / law.counts), z[code].T).T @ law.spread
    return np.concatenate([(law.counts * phi[code]) @ law.tilt, mean], axis=1)
