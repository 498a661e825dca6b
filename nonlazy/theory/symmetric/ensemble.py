r"""Averages over a neuron's law by importance sampling around its branches, with quasi-random nodes.

Each branch proposes a Gaussian with its curvature; weights \(w \propto e^{F(x)} / q(x)\), q the mixture of all proposals, make
the averages exact up to the quadrature. What Laplace's method leaves out at finite P is therefore included, and for given
nodes log Z is exactly convex in the readout's tilt.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp
from scipy.stats import qmc

from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import Modes
from nonlazy.theory.symmetric.tilted import Tilted

# Wider than the curvature says, so that tails are covered and weights stay bounded.
INFLATION = 1.15


class Proposal(NamedTuple):
    """Nodes x, log density of the mixture they are drawn from, the share of each branch in each node, and the branches."""

    x: Float[np.ndarray, "n f"]
    log_mixture: Float[np.ndarray, " n"]
    shares: Float[np.ndarray, "b n"]
    modes: Modes


class Ensemble(NamedTuple):
    """Nodes x with normalized weights, tilted moments at the nodes, log Z, and the proposal."""

    x: Float[np.ndarray, "n f"]
    weights: Float[np.ndarray, " n"]
    moments: Tilted
    log_norm: float
    proposal: Proposal

    @property
    def probabilities(self) -> Float[np.ndarray, " b"]:
        """Weight of each branch."""
        return self.proposal.shares @ self.weights

    @property
    def effective_fraction(self) -> float:
        """Effective fraction of the nodes, 1 for equal weights."""
        return float(1 / (len(self.weights) * np.sum(self.weights**2)))

    def mean(self, values: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "..."]:
        return np.tensordot(self.weights, values, 1)


def propose(n_fields: int, modes: Modes, n_nodes: int, seed: int) -> Proposal:
    """Nodes around all branches, `n_nodes` each."""
    n_branches = len(modes.x)
    # Each branch has nodes of its own: errors of shared ones would add up.
    normal = _normal_nodes(n_fields, 2 ** (n_branches - 1).bit_length(), n_nodes, seed)[:n_branches]
    roots = INFLATION * np.linalg.cholesky(np.linalg.inv(modes.precision))
    x = (modes.x[:, None] + normal @ roots.swapaxes(1, 2)).reshape(n_branches * n_nodes, n_fields)
    log_proposals = np.stack([_log_normal(x, *branch) for branch in zip(modes.x, np.linalg.inv(roots), strict=True)])
    log_mixture = logsumexp(log_proposals, axis=0)
    return Proposal(x, log_mixture + np.log(n_nodes), np.exp(log_proposals - log_mixture), modes)


def weigh(law: Law, proposal: Proposal) -> Ensemble:
    """The law's weights on given nodes: a smooth function of the law as long as the nodes stay."""
    moments = law.moments(proposal.x)
    log_weights = law.log_density(proposal.x, moments) - proposal.log_mixture
    log_norm = float(logsumexp(log_weights))
    return Ensemble(proposal.x, np.exp(log_weights - log_norm), moments, log_norm, proposal)


def _log_normal(
    x: Float[np.ndarray, "n f"], mean: Float[np.ndarray, " f"], whitening: Float[np.ndarray, "f f"]
) -> Float[np.ndarray, " n"]:
    """Log density of the normal law whose triangular root has this inverse, in units of the standard normal's constant."""
    white = (x - mean) @ whitening.T
    return -np.sum(white**2, axis=1) / 2 + np.sum(np.log(np.diag(whitening)))


@lru_cache(maxsize=16)
def _normal_nodes(dimension: int, n_sets: int, n: int, seed: int) -> Float[np.ndarray, "s n f"]:
    """Quasi-random standard normal nodes, n in each set, in pairs x, -x, which make odd moments exact."""
    if dimension == 0:
        return np.zeros((n_sets, n, 0))
    sequence = qmc.MultivariateNormalQMC(np.zeros(dimension), rng=np.random.default_rng(seed))
    half = sequence.random(n_sets * n // 2).reshape(n_sets, n // 2, dimension)
    return np.concatenate([half, -half], axis=1)
