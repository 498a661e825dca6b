"""The saddle point of several layers: a quasi-Newton method on the conjugates, for which the passes have a zero.

On nodes that stay it is a smooth problem; the nodes are renewed until nothing changes. The search begins with few inputs and
two layers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.data import SymmetricData, fractions_of_inputs
from nonlazy.theory.symmetric.dual import N_NODES
from nonlazy.theory.symmetric.passes import Nodes, Passes, Saddle

# Of the conjugates' mismatch at the prior, what is left of it at a start.
STARTS = (0.2, 0.02)
# Inputs in the smallest class with which the search begins.
FIRST_INPUTS = 4.0
# Conjugates for one layer more, relative to those for one less.
DEEPER = 0.7
# Quasi-random nodes in each layer while the solution is sought.
COARSE = 2**10
MAX_STEPS = 40
SHORTEST = 1e-3
# Relative changes of the conjugates by new nodes that end the search, and the whole.
COARSE_CHANGE, CHANGE = 0.1, 5e-3
MAX_ROUNDS = 30
TOLERANCE = 1e-6
# Relative change of a conjugate for a finite difference.
DIFFERENCE = 1e-4

# Coordinates of the conjugates, and t where it is known.
Start = tuple[Float[np.ndarray, " x"], Float[np.ndarray, "C m"] | None]


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
    two = data.with_depth(2)
    fewer = [two.with_fewer_inputs(f) for f in fractions_of_inputs(FIRST_INPUTS / float(data.counts.min()))]
    return fewer + [data.with_depth(depth) for depth in range(3, len(data.weight_variances) + 1)]


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
