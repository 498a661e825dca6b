r"""Several layers: the saddle point over the kernels K_l of the lower layers and their conjugates.

\[ S = \sum_{l<L} \Big[ -\tfrac12 \mathrm{tr} \tilde K_l K_l + \log Z_l(K_{l-1}, \tilde K_l) \Big] - \max_t D(t; K_{L-1}) \]

is stationary. A forward pass turns conjugates into kernels, \(K_l = \langle \phi \phi^T \rangle\); the dual gives t; a backward
pass gives the conjugates by Stein's identity in layer l + 1,

\[ \tilde K_l = \sigma_{l+1}^2 \langle \psi \psi^T + \nabla\nabla g \rangle, \qquad \psi = \nabla g = \frac{z - u}{d}, \]

with exp(g) the tilt of that layer. Newton's method on the conjugates after damped passes; with t frozen the passes are unstable,
so that the dual is solved again in each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel
from nonlazy.theory.symmetric.dual import Dual, LastLayer, root, solve_dual
from nonlazy.theory.symmetric.ensemble import Ensemble, make_ensemble
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.tilted import TAIL, GridTooShortError, make_grid

class Layer(NamedTuple):
    """A lower layer: its law, ensemble, and kernel."""

    law: Law
    ensemble: Ensemble
    kernel: SymmetricKernel


class Saddle(NamedTuple):
    """Lower layers from below, the last layer's dual, conjugates, -S per neuron, and the residual of the conjugates."""

    layers: list[Layer]
    dual: Dual
    conjugates: list[SymmetricKernel]
    free_energy: float
    residual: float


def lower_layer(data, below, conjugate, n_nodes, seed):
    tilt, spread = root(conjugate.blocks), root(below.blocks)
    reach = 2 * TAIL * np.sqrt(np.max(below.excess + np.sum(spread**2, axis=1))) + 1
    while True:
        grid = make_grid(data.phi, reach, float(np.sqrt(below.excess.min())))
        law = Law(tilt, spread, below.excess, conjugate.excess, data.counts, grid)
        try:
            modes = find_modes(law, code_starts(law))
            ensemble = make_ensemble(law, modes, max(n_nodes // len(modes.x), 64), seed)
            return Layer(law, ensemble, kernel_of(ensemble))
        except GridTooShortError:
            reach *= 1.5


def kernel_of(e):
    blocks = e.mean(e.moments.phi[:, :, None] * e.moments.phi[:, None, :])
    return SymmetricKernel(blocks, e.mean(e.moments.phi_square) - np.diag(blocks))


def conjugate_of(law, e):
    psi = e.moments.noise / np.sqrt(law.variance)
    blocks = e.mean(psi[:, :, None] * psi[:, None, :])
    return SymmetricKernel(blocks, e.mean(e.moments.noise_square - 1) / law.variance - np.diag(blocks))


def trace(counts, a, b):
    """tr A B of two class-symmetric matrices."""
    diag = np.diag(a.blocks) + a.excess, np.diag(b.blocks) + b.excess
    off = np.outer(counts, counts) - np.diag(counts)
    return float(np.sum(off * a.blocks * b.blocks) + counts @ (diag[0] * diag[1]))


class Passes:
    def __init__(self, data, nodes=4096, seed=0):
        self.data, self.nodes, self.seed = data, nodes, seed
        self.t = None
        c = len(data.counts)
        self.upper = np.triu_indices(c)
        w = np.sqrt(np.outer(data.counts, data.counts))[self.upper]
        self.scale = np.concatenate([1 / w, np.ones(c)])
        self.depth = len(data.weight_variances)

    def pack(self, conjugates):
        return np.concatenate([np.concatenate([k.blocks[self.upper], k.excess]) / self.scale for k in conjugates])

    def unpack(self, x):
        c = len(self.data.counts)
        out = []
        for row in x.reshape(self.depth - 1, -1) * self.scale:
            b = np.zeros((c, c)); b[self.upper] = row[:-c]; b = b + b.T - np.diag(np.diag(b))
            out.append(SymmetricKernel(b, row[-c:]))
        return out

    def __call__(self, x):
        data = self.data
        conjugates = self.unpack(x)
        below, layers = data.kernel, []
        for l, k in enumerate(conjugates):
            layers.append(lower_layer(data, below, k, self.nodes, self.seed))
            below = layers[-1].kernel.scaled(data.weight_variances[l + 1])
        last = LastLayer(data, below, self.seed)
        dual = solve_dual(last, self.t, 256)
        self.t = dual.point.t
        new = [conjugate_of(dual.point.law, dual.point.ensemble).scaled(data.weight_variances[-1])]
        for l in range(self.depth - 2, 0, -1):
            new.insert(0, conjugate_of(layers[l].law, layers[l].ensemble).scaled(data.weight_variances[l]))
        F = dual.point.value
        for l, k in zip(layers, conjugates):
            F -= -trace(data.counts, k, l.kernel) / 2 + l.ensemble.log_norm
        self.last = layers, dual, conjugates, F
        return self.pack(new) - x
