"""What `nonlazy sweep` does: reads the file, computes or shows the plan, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nonlazy import config
from nonlazy.announcing import announced
from nonlazy.errors import InputError
from nonlazy.sweep import cluster
from nonlazy.sweep.cost import Estimate, estimate
from nonlazy.sweep.design import Grid
from nonlazy.sweep.folder import SweepFolder, unfinished
from nonlazy.sweep.plan import Plan, Point, parse_sweep
from nonlazy.sweep.running import run
from nonlazy.sweep.sweep import choose_engine


class Place(NamedTuple):
    """Where the points are to be computed, as the command line says it."""

    n_workers: int | None = None
    scheduler: str | None = None
    queue: str | None = None
    options: Path | None = None

    def queue_options(self) -> dict[str, Any]:
        """Options of the queueing system.

        Raises:
            InputError: options without a queueing system.
        """
        if self.options is None:
            return {}
        if self.queue is None:
            raise InputError("--cluster-options needs --cluster.")
        return cluster.read_options(self.options)


def run_sweep(file: Path, out: Path, place: Place, seed: int | None, retry_failed: bool, progress: bool) -> int:
    """Compute the points of a sweep file; the number of those that failed."""
    text = config.read(file)
    with announced("checking the points", progress):
        plan = parse_sweep(text, str(file), seed)
    engine = choose_engine(place.n_workers, place.scheduler, place.queue, place.queue_options())
    dataset = run(plan, SweepFolder(out, text), engine, retry_failed, progress)
    return int((dataset.status == "failed").sum())


def show_plan(
    file: Path, out: Path, place: Place, seed: int | None, retry_failed: bool, progress: bool, say: Callable[[str], Any]
) -> None:
    """Print points, estimates of time and memory, and the script of a queueing system's jobs."""
    with announced("checking the points", progress):
        plan = parse_sweep(config.read(file), str(file), seed)
    folder = SweepFolder(out)
    folder.check(plan)
    todo = unfinished(plan.points, folder.records(plan), retry_failed)
    say(describe(plan, todo))
    if todo:
        with announced("timing", progress) as announce:
            say(describe_cost(estimate(plan, todo, announce), place))
    if place.queue is not None:
        say(f"Script of each job:\n{cluster.job_script(place.queue, place.queue_options())}")


def describe(plan: Plan, todo: list[Point]) -> str:
    """The design, and how much of it there is to do."""
    design = plan.design
    if isinstance(design, Grid):
        axes = [f"  {name}: {', '.join(map(str, values))}" for name, values in design.axes.items()]
        head = f"Grid of {len(design)} points:"
    else:
        axes = [f"  {name}: {kind} {', '.join(map(str, ends))}" for name, (kind, ends) in design.axes.items()]
        head = f"Random design of {len(design)} points, seed {design.seed}:"
    rest = f"{', '.join(plan.what)} at each; {len(todo)} to compute, {len(plan.points) - len(todo)} finished."
    return "\n".join([head, *axes, rest])


def describe_cost(cost: Estimate, place: Place) -> str:
    """Time and memory of a point and of the sweep, and where the numbers come from."""
    seconds, workers = np.array(cost.seconds), place.n_workers or cluster.cores()
    how = (
        "timed by a short run at each size"
        if cost.measured == cost.sizes
        else f"timed by short runs at {cost.measured} of {cost.sizes} sizes, scaled by the operations of a gradient"
    )
    lines = [
        f"Time of a point: {duration(seconds.mean())} on average, from {duration(seconds.min())} to {duration(seconds.max())}",
        f"Compiling: {duration(cost.compiling)} in each worker",
        f"Memory of a worker: up to {max(cost.memory) / 2**30:.1f} GiB",
        f"Together: about {duration(cost.total(workers))} with {workers} workers",
        f"({how}; expect errors of a factor of two, since the step size is still being tuned there.)",
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
