"""What the points of a sweep will cost, from short runs at some of them.

A point takes

    seconds = transitions x seconds per transition + seconds of the theory,

both measured at the point's own size where there are few sizes, otherwise at the nearest of those measured, scaled by
the operations of a gradient, L (N P^2 + N^2 P) + P^3 for each chain. Compiling is counted once for each size and worker.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from nonlazy import config
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.sampling import sample
from nonlazy.sweep.environment import worker_environment
from nonlazy.sweep.memory import PeakMemory
from nonlazy.sweep.plan import Plan, Point
from nonlazy.theory import solve

MAX_MEASURED = 4
# Of the short runs.
WARMUP, DRAWS = 60, 20
# A solution that takes this long is not repeated to tell compiling from solving.
LONG = 10.0


class Timing(NamedTuple):
    """Of one size: seconds to compile, seconds of a transition of all chains, seconds of the theory, bytes."""

    compiling: float
    transition: float
    theory: float
    memory: int
    bytes_per_transition: float


class Estimate(NamedTuple):
    """Seconds and bytes of each point, seconds of compiling in each worker, and how many sizes were measured."""

    seconds: list[float]
    memory: list[float]
    compiling: float
    measured: int
    sizes: int

    def total(self, n_workers: int) -> float:
        """Seconds from start to end with so many workers."""
        return sum(self.seconds) / n_workers + self.compiling


def estimate(plan: Plan, points: Sequence[Point], announce: Callable[[str], Any] = lambda _: None) -> Estimate:
    """Cost of some of a plan's points, measured in a process like a worker's."""
    sizes = {size(point): point for point in points}
    order = sorted(sizes, key=lambda name: operations(sizes[name]))
    chosen = order if len(order) <= MAX_MEASURED else [order[i] for i in _spread(len(order), MAX_MEASURED)]
    context = multiprocessing.get_context("spawn")
    timings = {}
    with ProcessPoolExecutor(1, context, _set_environment, (worker_environment(),)) as pool:
        for number, name in enumerate(chosen, 1):
            announce(f"timing size {number} of {len(chosen)}")
            timings[name] = pool.submit(measure, sizes[name]).result()
    costs = [_cost(point, timings, sizes) for point in points]
    per_size = sum(timing.compiling for timing in timings.values()) / max(len(timings), 1)
    return Estimate(
        [seconds for seconds, _ in costs],
        [memory for _, memory in costs],
        per_size * len(sizes),
        len(chosen),
        len(sizes),
    )


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def _spread(n: int, k: int) -> list[int]:
    return [round(i * (n - 1) / (k - 1)) for i in range(k)]


def size(point: Point) -> str:
    """What decides on a point's cost: its configuration without the seeds."""
    settings = {
        section: {entry: value for entry, value in table.items() if entry != "seed"}
        if isinstance(table, dict)
        else table
        for section, table in point.settings.items()
    }
    return json.dumps(settings, sort_keys=True)


def operations(point: Point) -> float:
    """Of a gradient of all chains, up to a factor."""
    model, task = point.settings["model"], point.settings["task"]
    n, p = model["width"], task.get("n_inputs") or task.get("n_train") or 100
    return point.settings["sampling"]["chains"] * (model["depth"] * (n * p**2 + n**2 * p) + p**3)


def transitions(point: Point) -> int:
    """Of each chain, warm-up included."""
    sampling = point.settings["sampling"]
    return sampling["warmup"] + sampling["draws"] * sampling["thin"]


def measure(point: Point) -> Timing:
    """Sample shortly and solve the theory, both twice: the first time compiles."""
    settings = config.from_tables(point.settings)
    posterior = settings.posterior()
    options = settings.sampling.model_dump() | {"warmup": WARMUP, "draws": DRAWS, "thin": 1}
    compiling = transition = theory = kept = 0.0
    with PeakMemory() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "sampling" in point.what:
            first, tree = _seconds(lambda: sample(posterior, **options, progress=False))
            second, _ = _seconds(lambda: sample(posterior, **options | {"seed": options["seed"] + 1}, progress=False))
            compiling, transition, kept = first - second, second / (WARMUP + DRAWS), tree.nbytes / DRAWS
        if "theory" in point.what:
            first = theory = _seconds(lambda: _solve(posterior, 0))[0]
            if first < LONG:
                theory = _seconds(lambda: _solve(posterior, 1))[0]
                compiling += first - theory
    return Timing(max(compiling, 0.0), transition, theory, memory.peak, kept)


def _solve(posterior: Any, seed: int) -> None:
    try:
        solve(posterior, seed=seed, progress=False, throw=False)
    except (InputError, ConvergenceError):
        return


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _cost(point: Point, timings: dict[str, Timing], sizes: dict[str, Point]) -> tuple[float, float]:
    ops = operations(point)
    name = size(point)
    if name not in timings:
        name = min(timings, key=lambda other: abs(math.log(operations(sizes[other]) / ops)))
    timing, ratio = timings[name], ops / operations(sizes[name])
    seconds = ratio * (transitions(point) * timing.transition + timing.theory)
    draws = point.settings["sampling"]["draws"]
    # The draws are held by the run and once more in its result.
    return seconds, timing.memory + 2 * timing.bytes_per_transition * max(draws - DRAWS, 0)
