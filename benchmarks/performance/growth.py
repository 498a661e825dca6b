"""How time and memory of gradients of the log density grow with N, P, L and the number of chains: fitted exponents."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks.performance.cases import Case
from benchmarks.performance.gradient_cost import Position, gradient_pass, position, seconds
from nonlazy.compilation import compiled, double_precision
from nonlazy.posterior import Reduced

ROUNDS = 2
Point = tuple[Case, int]


def erf(width: int, n_inputs: int, depth: int = 1) -> Case:
    return Case("erf", depth, width, n_inputs / width)


# What grows: its values, and the network and the number of chains at each.
SERIES: dict[str, dict[int, Point]] = {
    "N, at P = 200": {n: (erf(n, 200), 1) for n in (125, 250, 500, 1000)},
    "P, at N = 200": {p: (erf(200, p), 1) for p in (125, 250, 500, 1000)},
    "N = P": {n: (erf(n, n), 1) for n in (100, 200, 500, 1000)},
    "L, at N = P = 200": {depth: (erf(200, 200, depth), 1) for depth in (1, 2, 3, 5)},
    "chains, at N = P = 100": {chains: (erf(100, 100), chains) for chains in (1, 2, 4, 8, 16)},
}


def passes(density: Reduced, x: Position, n: int) -> Position:
    """n gradients of each chain, one after another."""
    return jax.lax.fori_loop(0, n, lambda _, x: jax.vmap(partial(gradient_pass, density))(x), x)


@double_precision
def measure(series: dict[int, Point]) -> dict[str, Any]:
    """Processor seconds of a gradient of all chains, megabytes by the compiler's account, and exponents of both."""
    program = compiled(passes)
    rows = []
    for size, (case, chains) in series.items():
        density = case.posterior().reduced
        x = position(density, chains)
        memory = program.lower(density, x, 1).compile().memory_analysis()
        megabytes = (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes) / 1e6
        time = min(seconds(partial(program, density, x)) for _ in range(ROUNDS))
        rows.append({"size": size, "seconds": time, "megabytes": megabytes})
    return {"rows": rows} | {
        f"{kind} of {what}": fit(rows, what, kind) for what in ("seconds", "megabytes") for kind in FITS
    }


FITS = {"exponent": slice(None), "last exponent": slice(-2, None)}


def fit(rows: list[dict[str, Any]], what: str, kind: str) -> float:
    """Slope of the logarithm against that of the size, of all sizes or of the last two."""
    sizes, values = np.log([[r["size"], r[what]] for r in rows[FITS[kind]]]).T
    return float(np.polyfit(sizes, values, 1)[0])
