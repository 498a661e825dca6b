r"""Several layers: the saddle point over the kernels K_l of the lower layers and their conjugates.

\[ S = \sum_{l<L} \Big[ -\tfrac12 \mathrm{tr} \tilde K_l K_l + \log Z_l(K_{l-1}, \tilde K_l) \Big] - \max_t D(t; K_{L-1}) \]

is stationary. A forward pass turns conjugates into kernels, \(K_l = \langle \phi \phi^T \rangle\); the dual gives t; a backward
pass gives the conjugates by Stein's identity in layer l + 1,

\[ \tilde K_l = \sigma_{l+1}^2 \langle \psi \psi^T + \nabla \psi \rangle, \qquad \psi = \nabla g = (z - u) / d
   \text{ on average over } z \text{ given the fields,} \]

with exp(g) the tilt of that layer. With t frozen such passes run away, so that the dual is solved again in each. A quasi-Newton
method on the conjugates, on nodes that stay, then finds the solution; the nodes are renewed until nothing changes.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel
from nonlazy.theory.symmetric.dual import MIN_NODES, N_NODES, LastLayer, root, spread_of
from nonlazy.theory.symmetric.ensemble import Ensemble, Proposal, propose, weigh
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.newton import Climb, Dual, finish, solve_dual
from nonlazy.theory.symmetric.tilted import TAIL, GridTooShortError, make_grid

# Of the conjugates' mismatch at the prior, what is left of it at a start.
STARTS = (0.2, 0.02)
# Inputs in the smallest class with which the search begins.
FIRST_INPUTS = 4.0
MORE_INPUTS = 4.0
# Conjugates for one layer more, relative to those for one less.
DEEPER = 0.7
# Quasi-random nodes in each layer while the solution is sought.
COARSE = 2**10
MAX_STEPS = 40
SHORTEST = 1e-3
# Relative changes of the conjugates by new nodes that end the search, and the whole.
COARSE_CHANGE, CHANGE = 0.1, 5e-3
MIN_EFFECTIVE = 0.05
# Of the dual, on nodes that stay: more are needed only far from any solution.
MAX_DUAL_STEPS = 20
MAX_ROUNDS = 30
TOLERANCE = 1e-6
# Relative change of a conjugate for a finite difference.
DIFFERENCE = 1e-4


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


class Coordinates:
    """Conjugates as one vector: an entry for each set of classes, or pairs of them, that the data do not tell apart.

    Exchanging two classes of equal size whose targets enter Y Y^T alike is a symmetry, since the readout prior is isotropic.
    """

    def __init__(self, data: SymmetricData) -> None:
        self.n_classes = len(data.counts)
        gram = data.targets @ data.targets.T
        self.permutations = [
            swap
            for a, b in combinations(range(self.n_classes), 2)
            if _invariant(swap := _exchange(self.n_classes, a, b), data.counts, data.kernel, gram)
        ]
        self.block_orbits = self._orbits([(a, b) for a in range(self.n_classes) for b in range(self.n_classes)])
        self.class_orbits = self._orbits([(a,) for a in range(self.n_classes)])
        # In these units the sums over inputs, which the blocks multiply, have fluctuations of order one.
        sizes = np.sqrt(np.outer(data.counts, data.counts))
        self.units = np.array([1 / sizes[orbit[0]] for orbit in self.block_orbits] + [1.0] * len(self.class_orbits))

    def _orbits(self, items: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        left, orbits = set(items), []
        while left:
            orbit = {min(left)}
            while True:
                grown = orbit | {tuple(p[list(i)]) for p in self.permutations for i in orbit} | {i[::-1] for i in orbit}
                if grown == orbit:
                    break
                orbit = grown
            orbits.append(sorted(orbit))
            left -= orbit
        return orbits

    def pack(self, conjugates: tuple[SymmetricKernel, ...]) -> Float[np.ndarray, " x"]:
        rows = []
        for kernel in conjugates:
            row = [np.mean([kernel.blocks[i] for i in orbit]) for orbit in self.block_orbits]
            rows.append(
                np.array(row + [np.mean([kernel.excess[i] for i in orbit]) for orbit in self.class_orbits]) / self.units
            )
        return np.concatenate(rows)

    def unpack(self, x: Float[np.ndarray, " x"]) -> tuple[SymmetricKernel, ...]:
        found = []
        for row in x.reshape(-1, len(self.units)) * self.units:
            blocks, excess = np.empty((self.n_classes,) * 2), np.empty(self.n_classes)
            for value, orbit in zip(row, self.block_orbits + self.class_orbits, strict=True):
                for i in orbit:
                    (blocks if len(i) == 2 else excess)[i] = value
            found.append(SymmetricKernel(blocks, excess))
        return tuple(found)


def _exchange(n: int, a: int, b: int) -> np.ndarray:
    order = np.arange(n)
    order[[a, b]] = b, a
    return order


def _invariant(order: np.ndarray, counts: np.ndarray, kernel: SymmetricKernel, gram: np.ndarray) -> bool:
    same = (np.allclose(m[np.ix_(order, order)], m, rtol=1e-9, atol=1e-12) for m in (kernel.blocks, gram))
    return all(same) and np.array_equal(counts[order], counts) and np.allclose(kernel.excess[order], kernel.excess)


# Coordinates of the conjugates, and t where it is known.
Start = tuple[Float[np.ndarray, " x"], Float[np.ndarray, "C m"] | None]


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


def solve_saddle(data: SymmetricData, n_nodes: int = N_NODES, seed: int = 0) -> list[Saddle]:
    """The solutions reached from several starts, lowest free energy first."""
    first, *rest = _path(data)
    starts, failures = _starts(first, seed)
    found, failed = _solve_from_each(starts, first, COARSE, seed)
    failures += failed
    # The last stage is repeated on all nodes.
    for stage, nodes in [*((stage, COARSE) for stage in rest), (data, n_nodes)]:
        found, failed = _solve_from_each(
            [_carried(start, len(stage.weight_variances) - 1) for start in found], stage, nodes, seed
        )
        failures += failed
    if not found:
        raise ConvergenceError(failures[-1])
    return sorted(found, key=lambda saddle: saddle.free_energy)


def _path(data: SymmetricData) -> list[SymmetricData]:
    """From few inputs and two layers, where the first solution is found, to all inputs and then to all layers."""
    fraction = min(FIRST_INPUTS / float(data.counts.min()), 1.0)
    stages = [data.with_depth(2).with_fewer_inputs(fraction)]
    while fraction < 1:
        fraction = min(MORE_INPUTS * fraction, 1.0)
        stages.append(data.with_depth(2).with_fewer_inputs(fraction))
    return stages + [data.with_depth(depth) for depth in range(3, len(data.weight_variances) + 1)]


def _carried(saddle: Saddle, n_lower: int) -> Start:
    """A solution as a start for more inputs or layers: conjugates of deeper networks are smaller, and alike in all layers."""
    rows, t = saddle.x.reshape(len(saddle.layers), -1), saddle.dual.point.t
    if n_lower == len(rows):
        return saddle.x, t
    return DEEPER * np.concatenate([rows, rows[-1:]]).ravel(), t


def _starts(data: SymmetricData, seed: int) -> tuple[list[Start], list[str]]:
    """Starts along the first mismatch, and what went wrong on the way to others."""
    passes = Passes(data, COARSE, seed)
    mismatch, _ = passes(np.zeros(len(passes.coordinates.units)))
    starts: list[Start] = []
    failures: list[str] = []
    for left in STARTS:
        passes.t = None
        try:
            starts.append((_along(passes, mismatch, left), passes.t))
        except ConvergenceError as error:
            failures.append(str(error))
    return starts, failures


def _solve_from_each(
    starts: list[Start], data: SymmetricData, n_nodes: int, seed: int
) -> tuple[list[Saddle], list[str]]:
    """The distinct solutions reached, and what went wrong with the other starts."""
    found: list[Saddle] = []
    failures: list[str] = []
    for x, t in starts:
        passes = Passes(data, n_nodes, seed)
        passes.t = t
        try:
            solution = _solve_from(passes, x)
        except ConvergenceError as error:
            failures.append(str(error))
            continue
        if not any(_same(solution, other) for other in found):
            found.append(solution)
    return found, failures


def _same(one: Saddle, other: Saddle) -> bool:
    return all(
        np.abs(a.kernel.blocks - b.kernel.blocks).max() < 0.05 * np.abs(a.kernel.blocks).max()
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def _along(passes: Passes, mismatch: Float[np.ndarray, " x"], left: float) -> Float[np.ndarray, " x"]:
    """The multiple of the first mismatch at which only the fraction `left` of it remains, or before it grows again."""

    def remains(s: float) -> tuple[float, float]:
        found = passes(s * mismatch)[0]
        return float(found @ mismatch / (mismatch @ mismatch)), float(np.linalg.norm(found))

    low, high, size = 0.0, 1e-4, float(np.linalg.norm(mismatch))
    while (now := remains(high))[0] > left:
        if now[1] > size:
            return low * mismatch
        low, high, size = high, 1.5 * high, now[1]
    for _ in range(3):
        middle = (low + high) / 2
        low, high = (middle, high) if remains(middle)[0] > left else (low, middle)
    return (low + high) / 2 * mismatch


def _solve_from(passes: Passes, x: Float[np.ndarray, " x"]) -> Saddle:
    coarse = passes.n_nodes == COARSE
    for _ in range(MAX_ROUNDS):
        _, saddle = passes(x)
        nodes = Nodes(tuple(layer.ensemble.proposal for layer in saddle.layers), saddle.dual.point.ensemble.proposal)
        before = x
        x, saddle = _newton(passes, x, nodes)
        moved = np.abs(x - before).max() / (1 + np.abs(x).max())
        if moved < (COARSE_CHANGE if coarse else CHANGE):
            # Where coarse nodes lead nowhere, finer ones go on from there.
            if coarse or saddle.residual < CHANGE * (1 + np.abs(x).max()):
                return saddle
            break
    raise ConvergenceError(
        f"the saddle point over the lower layers' kernels was not reached: its equations are still missed by "
        f"{saddle.residual:.2g}, and its conjugates change by a fraction {moved:.2g} when the quadrature nodes are renewed. "
        "Use fewer inputs, or a higher temperature."
    )


def _newton(passes: Passes, x: Float[np.ndarray, " x"], nodes: Nodes) -> tuple[Float[np.ndarray, " x"], Saddle]:
    """Broyden's method on fixed nodes, from a Jacobian of finite differences; stops early where the nodes no longer serve."""
    mismatch, saddle = passes(x, nodes)
    jacobian = _jacobian(passes, x, mismatch, nodes)
    for _ in range(MAX_STEPS):
        if np.abs(mismatch).max() < TOLERANCE * (1 + np.abs(x).max()):
            break
        step = -np.linalg.solve(jacobian, mismatch)
        # Far outside, where kernels are nearly singular, passes are slow or fail.
        step *= min(1.0, (1 + np.linalg.norm(x)) / np.linalg.norm(step))
        t, length = passes.t, 1.0
        while (tried := _try(passes, x + length * step, nodes, mismatch)) is None and length > SHORTEST:
            passes.t, length = t, length / 2
        if tried is None:
            break
        change, before = length * step, mismatch
        x, (mismatch, saddle) = x + change, tried
        jacobian += np.outer(mismatch - before - jacobian @ change, change) / (change @ change)
        if length < 1:
            break
    return x, saddle


def _try(
    passes: Passes, x: Float[np.ndarray, " x"], nodes: Nodes, before: Float[np.ndarray, " x"]
) -> tuple[Float[np.ndarray, " x"], Saddle] | None:
    """The passes at x, or None if they do not come closer to a solution or leave the nodes behind."""
    try:
        mismatch, saddle = passes(x, nodes)
    except ConvergenceError:
        return None
    return (mismatch, saddle) if np.linalg.norm(mismatch) < np.linalg.norm(before) else None


def _jacobian(
    passes: Passes, x: Float[np.ndarray, " x"], mismatch: Float[np.ndarray, " x"], nodes: Nodes
) -> Float[np.ndarray, "x x"]:
    t, columns = passes.t, []
    for i in range(len(x)):
        passes.t = t
        change = DIFFERENCE * (1 + abs(x[i]))
        columns.append((passes(x + change * np.eye(len(x))[i], nodes)[0] - mismatch) / change)
    passes.t = t
    return np.stack(columns, axis=1)
