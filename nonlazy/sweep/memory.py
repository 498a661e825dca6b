"""Peak memory of a piece of work in a process that lives on."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Context that measures the largest resident memory of the process inside it, in bytes.

    Linux forgets the peak on request; elsewhere the peak is that of the process since its start.
    """

    peak = 0

    def __enter__(self) -> PeakMemory:
        try:
            CLEAR.write_text("5")
        except OSError:
            self._largest_ever = True
        else:
            self._largest_ever = False
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = _since_start() if self._largest_ever else _high_water_mark()


def _high_water_mark() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else _since_start()


def _since_start() -> int:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
