"""Where the points of a sweep are computed: in this process, or by the workers of a Dask cluster."""

from __future__ import annotations

import queue
from asyncio import CancelledError as AsyncCancelled
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError as Cancelled
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from nonlazy.errors import ClusterError
from nonlazy.sweep.computing import Result, compute, record
from nonlazy.sweep.plan import Point, library_version

# None while there is no new one, so that the caller can look at other things.
Results = Generator[Result | None, None, None]
Compute = Callable[[Point, str], Result]
# Of a cluster that this process has made; a scheduler of the user's is the user's to restart.
MAX_RESTARTS = 3
SECONDS_BETWEEN_LOOKS = 0.5


class State(NamedTuple):
    """What an engine is doing: its number of workers, and where to watch them."""

    workers: int
    dashboard: str = ""


class Engine(Protocol):
    """Computes points in any order."""

    state: State

    def results(self, points: Sequence[Point]) -> Results:
        """Results as they arrive."""


class Serial:
    """This process, one point after the other."""

    state = State(1)

    def __init__(self, compute: Compute = compute) -> None:
        self._compute = compute

    def results(self, points: Sequence[Point]) -> Results:
        yield None
        for point in points:
            yield self._compute(point, library_version())


class Distributed:
    """The workers of a Dask cluster.

    Args:
        connect: makes a client, a context.
        restarts: how often to connect anew after the scheduler was lost.
        compute: a point.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Any]],
        restarts: int = MAX_RESTARTS,
        compute: Compute = compute,
    ) -> None:
        self._connect, self._restarts, self._compute = connect, restarts, compute
        self.state = State(0)

    def results(self, points: Sequence[Point]) -> Results:
        left = {point.key: point for point in points}
        for restarts_left in range(self._restarts, -1, -1):
            try:
                with self._connect() as client:
                    for result in self._from(client, list(left.values())):
                        if result is not None:
                            del left[result.record["key"]]
                        yield result
                return
            except ClusterError:
                if not restarts_left:
                    raise

    def _from(self, client: Any, points: Sequence[Point]) -> Results:
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = {}
        for point in points:
            future = client.submit(self._compute, point, library_version(), key=("point", point.key), pure=False)
            future.add_done_callback(finished.put)
            futures[future.key] = point, future
        while futures:
            self.state = _state(client)
            try:
                future = finished.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                yield None
                continue
            if future.status in ("pending", "lost"):  # with the worker that held the result: it is computed again
                future.add_done_callback(finished.put)
                continue
            point, _ = futures.pop(future.key)
            yield _result(future, point)
            future.release()


def _state(client: Any) -> State:
    if client.status not in ("running", "connecting") or _closed_here(client):
        raise _lost()
    scheduler = client.scheduler_info(n_workers=-1)
    if "workers" not in scheduler:  # what a client that has just lost its scheduler gets
        raise _lost()
    return State(len(scheduler["workers"]), client.dashboard_link or "")


def _closed_here(client: Any) -> bool:
    """Whether the scheduler lives in this process and has ended: the client itself would try to reconnect for a while."""
    scheduler = getattr(client.cluster, "scheduler", None)
    return scheduler is not None and scheduler.status.name in ("closing", "closed", "failed")


def _lost() -> ClusterError:
    return ClusterError("the scheduler of the sweep was lost")


def _result(future: Any, point: Point) -> Result:
    """Result of a finished future, waited for if its worker dies meanwhile; a point whose workers die repeatedly has failed."""
    try:
        return future.result()
    except (AsyncCancelled, Cancelled, OSError) as error:
        raise _lost() from error
    except Exception as error:
        cost = {"wall_time": None, "peak_memory": None, "worker": ""}
        return Result(record(point, {"status": "failed", "error": _describe(error)}, cost))


def _describe(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the workers that computed this point died again and again: killed, or out of memory."
    return f"{type(error).__name__}: {error}"
