"""Where a sweep keeps its results.

sweep.toml           the sweep file, if there is one
sweep.json           the keys of its points and the library's version; a changed sweep is refused
points/KEY.json      record of a finished point, written once
samples/KEY.nc       its draws, if they are kept
results.nc           all records as one labelled dataset
table.csv            their scalar figures, a row for each point
lock                 held by the sweep that writes here
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr
from filelock import FileLock, Timeout

from nonlazy.errors import FileError
from nonlazy.files import write_atomically, write_text
from nonlazy.sweep.computing import Result
from nonlazy.sweep.dataset import to_dataset, to_table
from nonlazy.sweep.plan import Plan, Point, library_version

Records = dict[str, dict[str, Any]]


class SweepFolder:
    """Folder of a sweep; a context that no other sweep may enter at the same time.

    Args:
        path: of the folder.
        text: of the sweep file, kept beside the results.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        self.path, self.text = path, text
        self.points, self.samples = path / "points", path / "samples"
        self.dataset, self.table, self.manifest = path / "results.nc", path / "table.csv", path / "sweep.json"

    def __enter__(self) -> SweepFolder:
        try:
            self.points.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"folder {self.points} cannot be made: {error.strerror}.") from error
        self._lock = FileLock(self.path / "lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise FileError(
                f"{self.path} is in use by another sweep. Nothing was changed; wait for its end, or choose another folder."
            ) from error
        except OSError as error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}.") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def check(self, plan: Plan) -> None:
        """Refuse a folder whose points are not all in the plan.

        Raises:
            FileError: the folder belongs to another sweep, or is damaged.
        """
        if not self.manifest.exists():
            return
        found = self._read(self.manifest)
        missing = set(found.get("points", ())) - {point.key for point in plan.points}
        if not missing:
            return
        reason = (
            f"{len(missing)} of its {len(found['points'])} points are not in this one (more values on its axes would go on)"
            if found.get("version") == library_version()
            else f"it was made with nonlazy {found.get('version')}, this is {library_version()}"
        )
        raise FileError(
            f"{self.path} belongs to another sweep: {reason}. Nothing was changed; choose another folder with --out, or "
            "delete this one."
        )

    def accept(self, plan: Plan) -> None:
        """Note which points are to come; call it inside the context."""
        self.check(plan)
        text = json.dumps({"version": library_version(), "points": [point.key for point in plan.points]}, indent=1)
        write_text(self.manifest, text)
        if self.text:
            write_text(self.path / "sweep.toml", self.text)

    def records(self, plan: Plan) -> Records:
        """Records of the plan's points that are there, by key.

        Raises:
            FileError: a damaged record.
        """
        files = {point.key: self.points / f"{point.key}.json" for point in plan.points}
        return {key: self._read(file) for key, file in files.items() if file.exists()}

    def write(self, result: Result) -> None:
        """Keep a point's result: its draws first, so that a record always has them."""
        key, samples = result.record["key"], result.samples
        if samples is not None:
            self.samples.mkdir(exist_ok=True)
            write_atomically(self.samples / f"{key}.nc", lambda file: file.write_bytes(samples))
        write_text(self.points / f"{key}.json", json.dumps(result.record))

    def write_dataset(self, plan: Plan, records: Records) -> xr.Dataset:
        """Write dataset and table of the points that are there."""
        dataset = to_dataset(plan, records)
        write_atomically(self.dataset, lambda file: dataset.to_netcdf(file, engine="h5netcdf"))
        write_atomically(self.table, lambda file: to_table(plan, records).to_csv(file, index=False))
        return dataset

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{file} is damaged: {error}. Delete it, and its point is computed again.") from error
        if not isinstance(found, dict):
            raise FileError(f"{file} is damaged. Delete it, and its point is computed again.")
        return found


def unfinished(points: tuple[Point, ...], records: Records, retry_failed: bool) -> list[Point]:
    """Points without a record, and those that failed if they are to be tried again; each key once."""
    missing = {
        point.key: point
        for point in points
        if point.key not in records or (retry_failed and records[point.key]["status"] == "failed")
    }
    return list(missing.values())
