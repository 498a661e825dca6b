"""Progress of a run: a bar on standard error with the time left, also inside a transition that takes long; or a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.text import Text

LONG_TRANSITION = 2.0

# Called with the phase, the transitions made and those of the whole run.
Report = Callable[[str, int, int], None]


class _Remaining(ProgressColumn):
    """Time left from the seconds a transition takes; counts on while one is under way."""

    def render(self, task: Task) -> Text:
        seconds = task.fields["seconds_per_transition"]
        if seconds is None or task.total is None:
            return Text("-:--:-- left")
        under_way = time.monotonic() - task.fields["since"]
        left = max((task.total - task.completed) * seconds - under_way, 0)
        text = f"{int(left // 3600)}:{int(left // 60 % 60):02d}:{int(left % 60):02d} left"
        if seconds > LONG_TRANSITION and not task.finished:
            text += f", {under_way:.0f} s into a transition of about {seconds:.0f} s"
        return Text(text)


class ProgressBar:
    """Shows the phase, the transitions made, elapsed and remaining time; or calls `progress`; or is silent if it is false."""

    def __init__(self, transitions: int, progress: bool | Report) -> None:
        self._transitions, self._report = transitions, progress if callable(progress) else None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Elapsed(),
            _Remaining(),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            disable=progress is not True,
        )
        self._task = self._progress.add_task(
            "compiling", total=transitions, detail="", since=time.monotonic(), seconds_per_transition=None
        )

    def update(self, phase: str, transitions: int, seconds_per_transition: float, detail: str) -> None:
        """Show that this many transitions are made and the next ones are under way."""
        if self._report is not None:
            self._report(phase, transitions, self._transitions)
        self._progress.update(
            self._task,
            description=phase,
            completed=transitions,
            seconds_per_transition=seconds_per_transition,
            since=time.monotonic(),
            detail=detail,
        )

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
