"""Features in single precision against double: error of the log density at posterior draws, and time of a gradient.

Writes single_precision.json beside this file and docs/reliability/single-precision.md.

    python benchmarks/single_precision.py
    python benchmarks/single_precision.py --page     # only the page, from the JSON
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import nonlazy as nl
from nonlazy.compilation import compiled, double_precision
from nonlazy.posterior import SinglePrecision

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "single-precision.md"
CASES = [
    ("erf", 1, 100, 1e-3), ("erf", 1, 100, 1e-5), ("erf", 1, 100, 1e-7), ("erf", 3, 100, 1e-5), ("relu", 3, 100, 1e-5),
    ("linear", 3, 100, 1e-5), ("erf", 1, 400, 1e-5), ("erf", 3, 400, 1e-5),
]  # fmt: skip
TRANSITIONS = 40
GRADIENTS = 20
ROUNDS = 3


def posterior(activation: str, depth: int, n: int, temperature: float) -> nl.Posterior:
    model = nl.Model(depth=depth, width=n, activation=activation)
    return nl.Posterior(model, nl.tasks.orthogonal(n_inputs=n), temperature)


@double_precision
def measure(activation: str, depth: int, n: int, temperature: float) -> dict[str, Any]:
    target = posterior(activation, depth, n, temperature)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains: only where they end matters
        tree = nl.sample(target, 1, TRANSITIONS, 1, progress=False, features="float32", keep=("weights",))
    x = coordinates(tree, target)
    densities = {"float64": target.reduced, "float32": SinglePrecision(target.reduced)}
    values = {name: jax.value_and_grad(d.log_density)(x) for name, d in densities.items()}
    gradients = {name: np.concatenate([np.ravel(g) for g in gradient]) for name, (_, gradient) in values.items()}
    difference = np.linalg.norm(gradients["float32"] - gradients["float64"]) / np.linalg.norm(gradients["float64"])
    found = {"activation": activation, "depth": depth, "n": n, "temperature": temperature}
    found |= {"rounding_error": tree.attrs["rounding_error"], "gradient_error": float(difference)}
    times = {name: min(seconds(d, x) for _ in range(ROUNDS)) for name, d in densities.items()}
    return found | {"seconds": times}


def coordinates(tree: xr.DataTree, target: nl.Posterior) -> tuple[jax.Array, ...]:
    """Where the chain ends."""
    weights = tree["posterior"]
    first = target.reduced.first_layer.directions.T @ weights["first_weights"].values[0, 0]
    deeper = weights["deeper_weights"].values[0, 0] if "deeper_weights" in weights else ()
    return (first, *map(jnp.asarray, deeper))


@compiled
def several(density: Any, x: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    def body(_: jax.Array, x: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return jax.tree.map(lambda a, g: a + 1e-12 * g, x, jax.grad(density.log_density)(x))

    return jax.lax.fori_loop(0, GRADIENTS, body, x)


def seconds(density: Any, x: tuple[jax.Array, ...]) -> float:
    """Processor time of a gradient in a compiled loop."""
    jax.block_until_ready(several(density, x))
    began = time.process_time()
    jax.block_until_ready(several(density, x))
    return (time.process_time() - began) / GRADIENTS


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Features in single precision\n",
        'Made by `benchmarks/single_precision.py`. `nl.sample(..., features="float32")` computes preactivations and features',
        "in single precision; coordinates, covariance of the outputs, its Cholesky factor and log density stay in double.",
        "Toy task, N = P; errors where a chain ends: of the log density in nats (below 0.1 nothing is said, above it every run",
        "warns), and of the gradient relative to its length. Processor times of a gradient, side by side in one process.\n",
        "| activation | L | N = P | T | error of log density | of gradient | ms, double | ms, single | gain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        double, single = (1e3 * r["seconds"][name] for name in ("float64", "float32"))
        lines.append(
            f"| {r['activation']} | {r['depth']} | {r['n']} | {r['temperature']:.0e} | {r['rounding_error']:.1e} "
            f"| {r['gradient_error']:.1e} | {double:.2f} | {single:.2f} | {double / single:.2f} |"
        )
    lines.append(
        "\nThe compiler's account of memory is the same for both within a percent: coordinates, momenta and gradients, which\n"
        "stay in double, are what takes it."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--page" not in sys.argv:
        rows = []
        for case in CASES:
            rows.append(measure(*case))
            print(rows[-1], flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
