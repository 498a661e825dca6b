"""A sweep under way: results are written as they arrive, whatever happens to those that compute them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import xarray as xr

from nonlazy.errors import ClusterError
from nonlazy.sampling.interruption import Interruption
from nonlazy.sweep.engine import Engine
from nonlazy.sweep.folder import Records, SweepFolder, unfinished
from nonlazy.sweep.plan import Plan, Point
from nonlazy.sweep.progress import SweepProgress

SECONDS_BETWEEN_RENEWALS = 5.0
# Making the dataset of many points takes long; it may take this fraction of the time.
SHARE_OF_RENEWALS = 0.05


def run(plan: Plan, folder: SweepFolder, engine: Engine, retry_failed: bool, progress: bool) -> xr.Dataset:
    """Compute the points that are missing, and write each as it arrives.

    Raises:
        FileError: a folder of another sweep, or one that cannot be written.
        ClusterError: the scheduler was lost; the finished points are written.
        KeyboardInterrupt: Ctrl-C or SIGTERM; likewise.
    """
    with folder:
        folder.accept(plan)
        records = folder.records(plan)
        todo = unfinished(plan.points, records, retry_failed)
        total = len(records.keys() | {point.key for point in todo})
        for point in todo:
            records.pop(point.key, None)
        try:
            if todo:
                _compute(plan, folder, engine, todo, records, progress)
        except ClusterError as error:
            raise ClusterError(
                f"{error}; {len(records)} of {total} points are finished and kept in {folder.path}. The same command goes "
                "on with the others."
            ) from error
        finally:
            dataset = folder.write_dataset(plan, records)
    return dataset


def _compute(
    plan: Plan, folder: SweepFolder, engine: Engine, todo: list[Point], records: Records, progress: bool
) -> None:
    """Add records of the points that are to be computed."""
    renewal = _Renewal()
    with (
        Interruption() as interruption,
        SweepProgress(len(records) + len(todo), len(records), progress) as bar,
        closing(engine.results(todo)) as results,
    ):
        for result in results:
            if result is not None:
                folder.write(result)
                records[result.record["key"]] = result.record
                renewal.if_due(lambda: folder.write_dataset(plan, records))
            bar.update(len(records), sum(r["status"] == "failed" for r in records.values()), engine.state)
            if interruption.requested:
                raise KeyboardInterrupt


class _Renewal:
    """Does something not more often than every few seconds, and not for more than a small part of the time."""

    def __init__(self) -> None:
        self._next = time.monotonic() + SECONDS_BETWEEN_RENEWALS

    def if_due(self, work: Callable[[], Any]) -> None:
        began = time.monotonic()
        if began < self._next:
            return
        work()
        now = time.monotonic()
        self._next = now + max(SECONDS_BETWEEN_RENEWALS, (now - began) / SHARE_OF_RENEWALS)
