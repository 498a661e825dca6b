"""What is under way, on standard error, with the time it has taken: for work of seconds whose parts have no number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def announced(what: str, shown: bool) -> Iterator[Callable[[str], None]]:
    """Context that shows a line while it lasts, and gives a function that changes the line; silent if not `shown`."""
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as progress:
        task = progress.add_task(what)
        yield lambda text: progress.update(task, description=text)
