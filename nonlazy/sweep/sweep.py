"""`sweep`: samples and theory over many configurations, as one dataset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from nonlazy.errors import InputError
from nonlazy.sweep import cluster
from nonlazy.sweep.engine import Distributed, Engine, Serial
from nonlazy.sweep.folder import SweepFolder
from nonlazy.sweep.plan import DEFAULT_WHAT, make_plan, read_base
from nonlazy.sweep.running import run
from nonlazy.validation import file_path, integer


def sweep(
    base: Mapping[str, Any] | str | os.PathLike[str],
    axes: Mapping[str, Any],
    what: Sequence[str] = DEFAULT_WHAT,
    out: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    points: int | None = None,
    seed: int = 0,
    keep_samples: bool = False,
    scheduler: str | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Sample and solve the theory at many configurations, beside each other in worker processes.

    A script that calls it must do so below `if __name__ == "__main__":`, since workers import the script.

    Args:
        base: configuration as nested dictionaries, or the path of a file that `nonlazy run` reads.
        axes: what changes, by dotted name, such as {"model.activation": ["linear", "erf"]}; all combinations are computed. In a
            random design also {"uniform": [low, high]} and {"log_uniform": [low, high]}, of integers between two integers.
        what: to compute at each point: "sampling", "theory", and "schemes", the coding schemes of the networks drawn last.
        out: folder that keeps each point as it is finished; a second call computes only what is missing. None keeps
            nothing but what is returned.
        n_workers: worker processes, one thread each; None takes one for each core, 0 computes in this process without Dask.
        points: number of points of a random design; None is a grid.
        seed: of a random design.
        keep_samples: keep the draws of each point in the folder.
        scheduler: address of a Dask scheduler to use in place of processes on this machine.
        retry_failed: compute points that failed before again.
        progress: show progress on standard error.

    Returns:
        Figures on the axes of the grid, called by the last part of their names where that is not ambiguous, or along `point` of
        a random design: status ("ok", "failed", "missing"), error, wall_time (s), peak_memory (bytes), r_hat (largest),
        training_error, kernel_blocks (layer, label, label_), code_fractions (chain, code), and the theory's under `theory_...`.
        The result does not depend on the number of workers.

    Raises:
        InputError: a point that cannot be computed; nothing is, and the message names the point and the entry.
        FileError: the folder belongs to another sweep, or cannot be written.
        ClusterError: the scheduler was lost; the finished points are kept.

    Examples:
        >>> import nonlazy as nl
        >>> base = {"temperature": 1e-3, "task": {"name": "orthogonal", "n_inputs": 16}}
        >>> axes = {"model.activation": ["linear", "erf"], "temperature": [1e-3, 1e-2]}
        >>> found = nl.sweep(base, axes, what=["theory"], n_workers=0, progress=False)
        >>> found.theory_scheme.sel(temperature=1e-3).values.tolist()
        ['analog', 'redundant']
    """
    plan = make_plan(read_base(base), axes, what, points, seed, keep_samples)
    engine = choose_engine(n_workers, scheduler)
    if out is not None:
        return run(plan, SweepFolder(file_path("out", out)), engine, retry_failed, progress)
    if keep_samples:
        raise InputError("keep_samples needs a folder out to keep them in.")
    with tempfile.TemporaryDirectory() as folder:
        return run(plan, SweepFolder(Path(folder)), engine, retry_failed, progress)


def choose_engine(
    n_workers: int | None,
    scheduler: str | None = None,
    queue: str | None = None,
    options: dict[str, Any] | None = None,
) -> Engine:
    """This process, processes on this machine, a scheduler by address, or jobs of a queueing system.

    Raises:
        InputError: a number of workers below 0, two places at once, or a library that is not installed.
    """
    if n_workers is not None:
        integer("n_workers", n_workers, 0)
    if scheduler is not None and (queue is not None or n_workers is not None):
        raise InputError("a scheduler has its own workers: give no number of workers and no cluster with it.")
    if scheduler is not None:
        cluster.require("distributed", "sweep")
        return Distributed(lambda: cluster.client_at(scheduler), restarts=0)
    if queue is not None:
        cluster.require("dask_jobqueue", "jobqueue")
        return Distributed(lambda: cluster.queue_client(queue, options or {}, n_workers or 1))
    if n_workers == 0:
        return Serial()
    cluster.require("distributed", "sweep")
    return Distributed(lambda: cluster.local_client(n_workers or cluster.cores()))
