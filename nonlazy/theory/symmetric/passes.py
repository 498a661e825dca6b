r"""Several layers: the forward and the backward pass, whose fixed points are the saddle points over lower kernels K_l.

\[ S = \sum_{l<L} \Big[ -\tfrac12 \mathrm{tr} \tilde K_l K_l + \log Z_l(K_{l-1}, \tilde K_l) \Big] - \max_t D(t; K_{L-1}) \]

is stationary. A forward pass turns conjugates into kernels, \(K_l = \langle \phi \phi^T \rangle\); the dual gives t; a backward
pass gives the conjugates by Stein's identity in layer l + 1,

\[ \tilde K_l = \sigma_{l+1}^2 \langle \psi \psi^T + \nabla \psi \rangle, \qquad \psi = \nabla g = (z - u) / d
   \text{ on average over } z \text{ given the fields,} \]

with exp(g) the tilt of that layer. With t frozen such passes run away, so that the dual is solved again in each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.coordinates import Coordinates
from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel
from nonlazy.theory.symmetric.dual import MIN_NODES, LastLayer, root, spread_of
from nonlazy.theory.symmetric.ensemble import Ensemble, Proposal, propose, weigh
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.newton import Climb, Dual, finish, solve_dual
from nonlazy.theory.symmetric.tilted import TAIL, GridTooShortError, make_grid

MIN_EFFECTIVE = 0.05
# Of the dual, on nodes that stay: more are needed only far from any solution.
MAX_DUAL_STEPS = 20


class Layer(NamedTuple):
    """A lower layer: its law, ensemble, and kernel."""

    law: Law
    ensemble: Ensemble
    kernel: SymmetricKernel


class Saddle(NamedTuple):
    """Lower layers from below, the last layer's dual, conjugates' coordinates, -S in nats per neuron, and the residual."""

    layers: tuple[Layer, ...]
    dual: Dual
    x: Float[np.ndarray, " x"]
    free_energy: float
    residual: float


def kernel_of(ensemble: Ensemble) -> SymmetricKernel:
    """K = <phi phi^T>."""
    phi = ensemble.moments.phi
    blocks = ensemble.mean(phi[:, :, None] * phi[:, None, :])
    return SymmetricKernel(blocks, ensemble.mean(ensemble.moments.phi_square) - np.diag(blocks))


def conjugate_of(law: Law, ensemble: Ensemble, variance: float) -> SymmetricKernel:
    """The conjugate of the kernel below a layer whose weights have this prior variance."""
    psi = ensemble.moments.noise / np.sqrt(law.variance)
    blocks = ensemble.mean(psi[:, :, None] * psi[:, None, :])
    diagonal = ensemble.mean(ensemble.moments.noise_square - 1) / law.variance
    return SymmetricKernel(variance * blocks, variance * (diagonal - np.diag(blocks)))


def trace(counts: Float[np.ndarray, " C"], a: SymmetricKernel, b: SymmetricKernel) -> float:
    """tr A B."""
    pairs = np.outer(counts, counts) - np.diag(counts)
    diagonals = (np.diag(a.blocks) + a.excess) * (np.diag(b.blocks) + b.excess)
    return float(np.sum(pairs * a.blocks * b.blocks) + counts @ diagonals)


class Nodes(NamedTuple):
    """Nodes of the lower layers and of the last."""

    lower: tuple[Proposal, ...]
    last: Proposal


class Passes:
    """Forward pass, dual, backward pass, as a function of the conjugates; zero where these are a solution."""

    def __init__(self, data: SymmetricData, n_nodes: int, seed: int) -> None:
        self.data, self.n_nodes, self.seed = data, n_nodes, seed
        self.coordinates = Coordinates(data)
        self.t: Float[np.ndarray, "C m"] | None = None

    def __call__(
        self, x: Float[np.ndarray, " x"], nodes: Nodes | None = None
    ) -> tuple[Float[np.ndarray, " x"], Saddle]:
        """Mismatch of the conjugates and all that was computed, on given nodes or on new ones."""
        data, variances = self.data, self.data.weight_variances
        conjugates = self.coordinates.unpack(x)
        layers: list[Layer] = []
        below = data.kernel
        for index, conjugate in enumerate(conjugates):
            layers.append(self._layer(below, conjugate, None if nodes is None else nodes.lower[index]))
            below = layers[-1].kernel.scaled(variances[index + 1])
        dual = self._dual(LastLayer(data, below, self.seed), None if nodes is None else nodes.last)
        self.t = dual.point.t
        above = [(layer.law, layer.ensemble) for layer in layers[1:]] + [(dual.point.law, dual.point.ensemble)]
        new = tuple(conjugate_of(*pair, variance) for pair, variance in zip(above, variances[1:], strict=True))
        free_energy = dual.point.value + sum(
            trace(data.counts, conjugate, layer.kernel) / 2 - layer.ensemble.log_norm
            for conjugate, layer in zip(conjugates, layers, strict=True)
        )
        mismatch = self.coordinates.pack(new) - x
        return mismatch, Saddle(tuple(layers), dual, x, free_energy, float(np.abs(mismatch).max()))

    def _layer(self, below: SymmetricKernel, conjugate: SymmetricKernel, nodes: Proposal | None) -> Layer:
        tilt, spread = root(conjugate.blocks), spread_of(self.data, below)
        reach = TAIL * float(np.sqrt(np.max(below.excess + np.sum(spread**2, axis=1)))) + 1
        while True:
            grid = make_grid(self.data.phi, reach, float(np.sqrt(below.excess.min())))
            law = Law(tilt, spread, below.excess, conjugate.excess, self.data.counts, grid)
            try:
                ensemble = weigh(law, self._propose(law) if nodes is None else nodes)
                if nodes is not None and ensemble.effective_fraction < MIN_EFFECTIVE:
                    raise ConvergenceError("a step of the lower layers' conjugates left the quadrature nodes behind.")
                return Layer(law, ensemble, self._symmetrized(kernel_of(ensemble)))
            except GridTooShortError:
                reach *= 1.5

    def _propose(self, law: Law) -> Proposal:
        modes = find_modes(law, code_starts(law))
        return propose(law.n_fields, modes, max(2 ** int(np.log2(self.n_nodes / len(modes.x))), MIN_NODES), self.seed)

    def _symmetrized(self, kernel: SymmetricKernel) -> SymmetricKernel:
        """The kernel without the quadrature's error in what symmetry makes equal."""
        return self.coordinates.unpack(self.coordinates.pack((kernel,)))[0]

    def _dual(self, last: LastLayer, nodes: Proposal | None) -> Dual:
        if nodes is not None and self.t is not None:
            last.widen(self.t, nodes)
            climb = Climb(last, self.t, self.data.width_temperature, nodes, MAX_DUAL_STEPS)
            climb.follow()
            return finish(climb)
        return solve_dual(last, self.t, self.n_nodes)
