"""Results as one JSON file, written after each measurement so that an interrupted run goes on."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "results.json"


def load(file: Path = FILE) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def save(found: dict[str, Any], file: Path = FILE) -> None:
    """Write beside the file and rename: a run that is killed leaves the old file or the new one."""
    new = file.with_suffix(".tmp")
    new.write_text(json.dumps(plain(found), indent=1) + "\n", encoding="utf-8")
    os.replace(new, file)


def plain(value: Any) -> Any:
    """Four digits are enough, and JSON has no NaN."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
