"""One point of a sweep: samples and theory in a few numbers, with the time and memory they took."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr

from nonlazy import config, io
from nonlazy.analysis import layer_schemes, plain, summarize, summarize_theory
from nonlazy.errors import ConvergenceError, InputError, SamplingWarning
from nonlazy.posterior import Posterior
from nonlazy.sampling import sample
from nonlazy.sweep.memory import PeakMemory
from nonlazy.sweep.plan import Point, library_version
from nonlazy.theory import solve

# Each compiled program holds hundreds of memory maps, of which Linux allows a process 65530.
MAX_MEMORY_MAPS = 20_000
_one_at_a_time = threading.Lock()


class Result(NamedTuple):
    """A point's record as plain values, and its draws as the bytes of a netCDF file, if they are kept."""

    record: dict[str, Any]
    samples: bytes | None = None


def compute(point: Point, made_by: str) -> Result:
    """Compute a point; an error becomes part of the record, so that the other points go on.

    Args:
        point: what to compute.
        made_by: version of the library that planned the sweep; another version here is an error of the point.
    """
    with _one_at_a_time, PeakMemory() as memory:  # a worker with several threads computes one point after the other
        began = time.perf_counter()
        try:
            if library_version() != made_by:
                raise InputError(f"the worker has nonlazy {library_version()}, the sweep was planned with {made_by}.")
            figures, samples = _figures(point)
            found: dict[str, Any] = {"status": "ok", "error": "", **figures}
        except Exception as error:
            found, samples = {"status": "failed", "error": f"{type(error).__name__}: {error}"}, None
        seconds = time.perf_counter() - began
    _forget_programs()
    cost = {"wall_time": seconds, "peak_memory": memory.peak, "worker": f"{platform.node()}:{os.getpid()}"}
    return Result(record(point, found, cost), samples)


def record(point: Point, found: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a point: what it is, what was found, at what cost, with which versions."""
    versions = {package: version(package) for package in ("nonlazy", "jax", "jaxlib", "blackjax", "numpy")}
    what = {"key": point.key, "values": point.values, "settings": point.settings}
    return plain(what | found | {"cost": cost, "versions": versions})


def _figures(point: Point) -> tuple[dict[str, Any], bytes | None]:
    settings = config.from_tables(point.settings)
    posterior = settings.posterior()
    figures: dict[str, Any] = {"labels": list(posterior.task.class_names)}
    samples = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)  # they are part of the record
        if "sampling" in point.what:
            tree = sample(posterior, **settings.sampling.model_dump(), progress=False)
            if not tree.attrs["complete"]:
                raise KeyboardInterrupt
            seed = settings.sampling.seed
            schemes = layer_schemes(tree, posterior.model.phi, seed) if "schemes" in point.what else ()
            summary = summarize(tree, schemes=schemes)
            figures["sampling"] = {name: summary[name] for name in summary.keys() - {"configuration", "wall_time"}}
            samples = _bytes(tree) if point.keep_samples else None
    if "theory" in point.what:
        figures["theory"] = _theory(posterior, settings.sampling.seed)
    return figures, samples


def _theory(posterior: Posterior, seed: int) -> dict[str, Any]:
    """Figures of the theory, or why there is none: samples are not lost for it."""
    try:
        return summarize_theory(None, solve(posterior, seed=seed, progress=False, throw=False))
    except (InputError, ConvergenceError) as error:
        return {"unavailable": str(error)}


def _bytes(tree: xr.DataTree) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.nc"
        io.save(tree, file)
        return file.read_bytes()


def _forget_programs() -> None:
    """Drop compiled programs once they hold many memory maps; points of other sizes need other programs anyway."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            many = sum(1 for _ in maps) > MAX_MEMORY_MAPS
    except OSError:  # no Linux, no limit
        return
    if many:
        jax.clear_caches()
