"""A progress bar on standard error with the time that is left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """Shows the phase, the transitions made, elapsed and remaining time; silent if `shown` is false."""

    def __init__(self, transitions: int, shown: bool) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            disable=not shown,
            speed_estimate_period=120,
        )
        self._task = self._progress.add_task("compiling", total=transitions, detail="")

    def update(self, phase: str, transitions: int, detail: str) -> None:
        self._progress.update(self._task, description=phase, completed=transitions, detail=detail)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()
