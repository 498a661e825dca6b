"""How far a sweep is, on standard error."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nonlazy.sweep.engine import State


class SweepProgress:
    """Points finished and failed, workers, elapsed and remaining time, and the link of Dask's dashboard."""

    def __init__(self, total: int, finished: int, shown: bool) -> None:
        self._console = Console(stderr=True, quiet=not shown)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("points"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            disable=not shown,
        )
        self._task = self._progress.add_task("starting workers", total=total, completed=finished)
        self._dashboard = ""

    def update(self, finished: int, failed: int, state: State) -> None:
        """Show these numbers, and the dashboard's address when it is new."""
        if state.dashboard != self._dashboard:
            self._dashboard = state.dashboard
            self._console.print(f"Dask's dashboard: {state.dashboard}", highlight=False, soft_wrap=True)
        workers = (
            f"{state.workers} worker{'' if state.workers == 1 else 's'}" if state.workers else "waiting for workers"
        )
        self._progress.update(
            self._task, completed=finished, description=workers + (f", {failed} failed" if failed else "")
        )

    def __enter__(self) -> SweepProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
