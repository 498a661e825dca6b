"""How much memory there is."""

from __future__ import annotations

import math
import os
from typing import Any


def of_machine() -> float:
    """Bytes of memory of this machine; no limit where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def of_device(device: Any) -> float:
    """Bytes that a JAX device may use; processors use the machine's."""
    if device.platform == "cpu":
        return of_machine()
    stats = device.memory_stats() or {}
    return float(stats.get("bytes_limit", math.inf))
