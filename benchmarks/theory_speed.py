"""Time of the mean-field theory against that of sampling to the same error: makes theory_speed.json.

Each part solves the theory, again with everything compiled, then samples the network from the prior with more and more draws
until the errors of all kernel blocks are below 1 % or time is up. All parts run in one process, one after the other.

    python benchmarks/theory_speed.py
    python benchmarks/theory_against_sampling.py --minutes 0    # puts the numbers on the page
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

import nonlazy as nl

RESULTS = Path(__file__).with_suffix(".json")
CLASSES = "processor seconds by number of classes"
ERROR = 0.01
AXES = {"chain_axis": 0, "draw_axis": 1}


def toy(width: int, ratios: tuple[float, ...]) -> nl.Posterior:
    """Sigmoidal network with P = 200 orthogonal inputs and N T = 1e-3."""
    task = nl.tasks.orthogonal(n_inputs=200, class_ratios=ratios)
    return nl.Posterior(nl.Model(width=width, activation="erf"), task, temperature=1e-3 / width)


def digits() -> nl.Posterior:
    """Sigmoidal network on 100 handwritten digits 0, 1, 2."""
    return nl.Posterior(nl.Model(width=100, activation="erf"), nl.tasks.mnist(n_train=100, n_test=0), temperature=1e-5)


PARTS: dict[str, tuple[Callable[[], nl.Posterior], float]] = {
    "erf, L = 1, P = 200, 3 classes": (lambda: toy(200, (0.5, 0.25, 0.25)), 1.0),
    "erf, L = 1, MNIST 0, 1, 2, P = 100": (digits, 120.0),
    "erf, L = 1, P = 200, 10 classes": (lambda: toy(200, (0.1,) * 10), 30.0),
}


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall-clock seconds, processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def out_of_time(*_: Any) -> None:
    """Signal handler: a solution that takes too long."""
    raise TimeoutError


def theory_part(posterior: nl.Posterior, limit: int) -> tuple[nl.Theory, dict[str, Any]]:
    """Seconds of the first and the second solution, and the relative error of the kernel blocks."""
    signal.alarm(limit)
    _, first, _ = timed(lambda: nl.solve(posterior, progress=False, throw=False))
    theory, warm, cpu = timed(lambda: nl.solve(posterior, seed=1, progress=False, throw=False))
    signal.alarm(0)
    figures = {
        "method": theory.method,
        "scheme": theory.scheme,
        "converged": theory.converged,
        "first_seconds": first,
        "warm_seconds": warm,
        "warm_cpu_seconds": cpu,
        "gap": theory.gap,
        "relative_error": relative_error(theory),
    }
    return theory, figures


def relative_error(theory: nl.Theory) -> float:
    """Largest error of a kernel block: its entries' mean error, which the block's own does not exceed. 0 without particles."""
    if theory.kernels_error is None:
        return 0.0
    errors = nl.kernel_blocks(theory.kernels_error, theory.posterior.task.labels)
    return float(np.max(errors / np.abs(theory.kernel_blocks)))


def upper_blocks(blocks: np.ndarray) -> np.ndarray:
    """The distinct blocks (..., blocks) of the last layer's symmetric (..., L, C, C)."""
    rows, columns = np.triu_indices(blocks.shape[-1])
    return blocks[..., -1, rows, columns]


def sampling_part(theory: nl.Theory, limit: float) -> dict[str, Any]:
    """Sample with twice as many draws again and again, until errors are below 1 % or the next run would take too long."""
    draws, expected = 50, upper_blocks(theory.kernel_blocks)
    while True:
        tree, wall, cpu = timed(lambda: nl.sample(theory.posterior, 4, 100, draws, progress=False))  # noqa: B023
        blocks = upper_blocks(tree["posterior"]["kernel_blocks"].values)
        means = blocks.mean((0, 1))
        errors = [float(array_stats.mcse(blocks[..., i], **AXES)) for i in range(len(means))]
        figures = {
            "draws": draws,
            "seconds": wall,
            "cpu_seconds": cpu,
            "relative_error": float(np.max(errors / np.abs(means))),
            "r_hat": max(float(array_stats.rhat(blocks[..., i], **AXES)) for i in range(len(means))),
            "deviation": float(np.max(np.abs(means / expected - 1))),
        }
        print(figures, flush=True)
        if figures["relative_error"] < ERROR or 2 * wall > limit:
            return figures
        draws *= 2


def measure(posterior: nl.Posterior, options: argparse.Namespace) -> dict[str, Any]:
    """Times of theory and sampling of one posterior."""
    try:
        theory, figures = theory_part(posterior, options.solve_seconds)
    except TimeoutError:
        return {"width": posterior.model.width, "theory": None, "stopped_after": options.solve_seconds}
    print(figures, flush=True)
    return {"width": posterior.model.width, "theory": figures, "sampling": sampling_part(theory, options.seconds)}


def seconds_by_classes() -> dict[str, float]:
    """Processor seconds of the second solution, P = 200 and 3 to 10 classes of equal size."""
    found = {}
    for n_classes in (3, 5, 7, 10):
        posterior = toy(200, (1 / n_classes,) * n_classes)
        nl.solve(posterior, progress=False, throw=False)
        found[str(n_classes)] = timed(lambda: nl.solve(posterior, seed=1, progress=False, throw=False))[2]  # noqa: B023
    return found


def main() -> None:
    """Run the parts that are missing in the JSON, or all of them again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="longest sampling run")
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--solve-seconds", type=int, default=600, help="longest time for two solutions of the theory")
    options = parser.parse_args()
    warnings.simplefilter("ignore", nl.SamplingWarning)
    signal.signal(signal.SIGALRM, out_of_time)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and not options.again else {}
    if CLASSES not in results:
        results[CLASSES] = seconds_by_classes()
    for name, (posterior, goal) in PARTS.items():
        if name in results:
            continue
        results[name] = {"goal": goal, "cores": len(os.sched_getaffinity(0))} | measure(posterior(), options)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
