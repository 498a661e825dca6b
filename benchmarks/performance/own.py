"""This library's methods, called as a user calls them and interrupted when their time is up."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import Any

import numpy as np

import nonlazy as nl
from benchmarks.performance.draws import KEEP, Drawn, scalars

# More than any budget allows.
MANY = 20_000
# Only a step size is tuned.
WARMUPS = {"hmc": 80, "nuts": 80, "mclmc": 80, "tempered": 30}
# Draws that a run makes whatever they take.
FEWEST = 25


class Clock:
    """Notes processor time at each report of progress; when time is up it interrupts the run, which keeps its draws."""

    def __init__(self, warmup: int, budget: float) -> None:
        self.warmup, self.budget = warmup, budget
        self.began = time.process_time()
        self.reports: list[tuple[int, float]] = []
        self.interrupted = False

    def __call__(self, phase: str, made: int, total: int) -> None:
        elapsed = time.process_time() - self.began
        self.reports.append((made - self.warmup, elapsed))
        if elapsed > self.budget and made >= self.warmup + FEWEST and not self.interrupted:
            self.interrupted = True
            os.kill(os.getpid(), signal.SIGINT)


def draw(posterior: nl.Posterior, method: str, budget: float, chains: int, seed: int, start: str = "prior") -> Drawn:
    """`nonlazy.sample` for `budget` processor seconds; warm-up and the first draws are made whatever they take."""
    warmup = WARMUPS[method]
    clock = Clock(warmup, budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"method": method, "start": start, "seed": seed, "keep": KEEP}
        tree = nl.sample(posterior, chains, warmup, MANY, progress=clock, **options)
    times = [(n, t) for n, t in clock.reports if n > 0]
    draws, stats = tree["posterior"], tree["sample_stats"]
    recorded = {name: draws[name].values for name in KEEP if name in draws}
    recorded["training_error"] = stats["training_error"].values
    # The first report with draws comes after some of them: warm-up is taken to have ended at the same pace before it.
    warm = [t for n, t in clock.reports if n <= 0][-1]
    return Drawn(
        scalars(recorded),
        times,
        times[-1][1],
        times[-1][1] - warm,
        int(np.sum(stats["n_gradients"].values)),
        warm,
        {"warmup": warmup, "step_size": float(stats["step_size"][0, -1]), "chains": "vectorised"},
    )
