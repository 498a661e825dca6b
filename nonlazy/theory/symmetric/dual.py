r"""The last layer: the concave dual for t at a given kernel of the layer below.

\[ D(t) = \mathrm{tr}\, t^T Y - \tfrac{N T}{2} |t|^2 - \log Z(t), \qquad \nabla D = Y - N T t - \langle a \phi(z) \rangle \]

Neurons whose activity grows without bound (rays.py) bound the domain of D. There the conditions for the maximum are

\[ \nabla D = \sum_k \lambda_k \nabla R_k / 2, \qquad \lambda_k \ge 0, \quad R_k \le 1, \quad \lambda_k (1 - R_k) = 0, \]

with the strengths \(\lambda_k\) of the outlier neurons as multipliers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel
from nonlazy.theory.symmetric.ensemble import Ensemble, Proposal, propose, weigh
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import Modes, code_starts, find_modes
from nonlazy.theory.symmetric.rays import Rays, asymptotic_slopes, find_rays
from nonlazy.theory.symmetric.tilted import TAIL, GridTooShortError, make_grid

# Quasi-random nodes in all, shared among the branches; the least for each of them, as long as these stay below the most.
N_NODES = 2**13
MIN_NODES = 64
MOST_NODES = 2**14
# On the way to the solution.
COARSE_NODES = 2**9
MIN_COARSE_NODES = 4
# Preactivations beyond this belong to a law that cannot be normalized; where no activity grows, multiples of the prior's.
MAX_REACH = 1e4
MAX_WIDENING = 10


class Point(NamedTuple):
    """The dual at one t: the law, its ensemble, rays, value, gradient and negative Hessian by t."""

    t: Float[np.ndarray, "C m"]
    law: Law
    ensemble: Ensemble
    rays: Rays
    value: float
    gradient: Float[np.ndarray, " Cm"]
    curvature: Float[np.ndarray, "Cm Cm"]


class LastLayer:
    """Value and derivatives of the dual for given data and kernel of the layer below."""

    def __init__(self, data: SymmetricData, below: SymmetricKernel, seed: int) -> None:
        self.data, self.below, self.seed = data, below, seed
        self.std = float(np.sqrt(data.readout_variance))
        self.spread = spread_of(data, below)
        self.slopes = asymptotic_slopes(data.phi)
        self.reach = TAIL * float(np.sqrt(np.max(below.excess + np.sum(self.spread**2, axis=1)))) + 1
        self.max_reach = MAX_REACH if self.slopes.any() else MAX_WIDENING * self.reach

    def with_fewer_inputs(self, fraction: float) -> LastLayer:
        """This layer for a fraction of the inputs."""
        return LastLayer(self.data.with_fewer_inputs(fraction), self.below, self.seed)

    def law(self, t: Float[np.ndarray, "C m"]) -> Law:
        """The neurons' law at t."""
        grid = make_grid(self.data.phi, self.reach, float(np.sqrt(self.below.excess.min())))
        zero = np.zeros(len(self.data.counts))
        return Law(self.std * t, self.spread, self.below.excess, zero, self.data.counts, grid)

    def branches(self, t: Float[np.ndarray, "C m"], known: Modes | None) -> Modes:
        """All branches at t, from every code and from those known at another t."""
        while True:
            law = self.law(t)
            starts = code_starts(law)
            try:
                return find_modes(law, starts if known is None else np.concatenate([known.x, starts]))
            except GridTooShortError:
                self._reach_further()

    def propose(self, t: Float[np.ndarray, "C m"], n_nodes: int, known: Modes | None = None) -> Proposal:
        """Nodes at t, `n_nodes` in all but at least MIN_NODES for each branch."""
        return self._propose(t, n_nodes, MIN_NODES, known)

    def propose_coarsely(self, t: Float[np.ndarray, "C m"], known: Modes | None = None) -> Proposal:
        """Nodes at t for a step on the way: enough for a mean of each of the Cm constraints."""
        return self._propose(t, max(COARSE_NODES, 16 * t.size), MIN_COARSE_NODES, known)

    def _propose(self, t: Float[np.ndarray, "C m"], n_nodes: int, least: int, known: Modes | None) -> Proposal:
        modes = self.branches(t, known)
        n_branches = max(len(modes.x), 1)
        per_branch = max(n_nodes / n_branches, min(least, MOST_NODES / n_branches), MIN_COARSE_NODES)
        proposal = propose(self.law(t).n_fields, modes, 2 ** int(np.log2(per_branch)), self.seed)
        self.widen(t, proposal)
        return proposal

    def log_norm(self, t: Float[np.ndarray, "C m"]) -> float:
        """log Z at t."""
        proposal = self.propose(t, N_NODES)
        return weigh(self.law(t), proposal).log_norm

    def widen(self, t: Float[np.ndarray, "C m"], proposal: Proposal) -> None:
        """Make the grid as wide as these nodes need it."""
        while True:
            try:
                self.law(t).moments(proposal.x)
                return
            except GridTooShortError:
                self._reach_further()

    def _reach_further(self) -> None:
        self.reach *= 1.2
        if self.reach > self.max_reach:
            raise ConvergenceError("the law of a neuron cannot be normalized: t is outside the domain of the dual.")

    def rays(self, t: Float[np.ndarray, "C m"]) -> Rays:
        """The rays at t; outside the domain of the dual one of them has R >= 1, and the law cannot be normalized."""
        law = self.law(t)
        return find_rays(law, self.slopes, code_starts(law))

    def point(self, t: Float[np.ndarray, "C m"], rays: Rays, temperature: float, proposal: Proposal) -> Point | None:
        """Value and derivatives at t on given nodes, or None if these leave the grid; `temperature` is N T."""
        data, (n_classes, m) = self.data, t.shape
        try:
            law = self.law(t)
            ensemble = weigh(law, proposal)
        except GridTooShortError:
            return None
        a = self.std * ensemble.x[:, :m]
        fitted = ensemble.mean(ensemble.moments.phi[:, :, None] * a[:, None, :])
        value = data.counts @ np.sum(t * data.targets - temperature / 2 * t**2, axis=1) - ensemble.log_norm
        gradient = (data.counts[:, None] * (data.targets - temperature * t - fitted)).ravel()
        sums = ((data.counts * ensemble.moments.phi)[:, :, None] * a[:, None, :]).reshape(len(a), -1)
        centred = sums - ensemble.mean(sums)
        curvature = (centred.T * ensemble.weights) @ centred + temperature * np.diag(np.repeat(data.counts, m))
        for c in range(n_classes):
            rows = slice(c * m, (c + 1) * m)
            within = ensemble.weights * ensemble.moments.phi_variance[:, c]
            curvature[rows, rows] += data.counts[c] * (a.T * within) @ a
        return Point(t, law, ensemble, rays, float(value), gradient, curvature)


def root(blocks: Float[np.ndarray, "C C"]) -> Float[np.ndarray, "C C"]:
    """The symmetric G with G G^T = blocks, continuous in the blocks."""
    values, basis = np.linalg.eigh(blocks)
    return basis * np.sqrt(np.maximum(values, 0)) @ basis.T


def spread_of(data: SymmetricData, below: SymmetricKernel) -> Float[np.ndarray, "C s"]:
    """A factor G with G G^T = blocks of the kernel below; one column or none for inputs with one common component or none."""
    values, basis = np.linalg.eigh(below.blocks)
    kept = values > 1e-12 * max(values.max(), 1e-300)
    if below is not data.kernel or kept.sum() > 1:
        return root(below.blocks)
    return basis[:, kept] * np.sqrt(values[kept]) * np.sign(basis[:, kept].sum(axis=0))
