"""From a file of activations to their coding scheme, its figures and its report in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nonlazy import activation_files
from nonlazy.activation_files import Recording
from nonlazy.analysis import plain, summarize_scheme, with_class_names
from nonlazy.announcing import announced
from nonlazy.errors import FileError
from nonlazy.files import write_text
from nonlazy.report import Picture, Reading, codes_page, save_figures, scheme_pictures
from nonlazy.representation import coding_scheme
from nonlazy.validation import integer


class CodesFolder:
    """Where a reading keeps its files: codes.json, neurons.csv, report.html, figures/."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary, self.neurons = path / "codes.json", path / "neurons.csv"
        self.report, self.figures = path / "report.html", path / "figures"

    def check_free(self) -> None:
        """Refuse a folder that holds a reading."""
        if self.summary.exists():
            raise FileError(f"{self.path} holds a reading already; choose another folder with --out, or delete it.")

    def make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"folder {self.path} cannot be made: {error.strerror}.") from error


def run_codes(
    file: Path,
    activations: str | None,
    labels: str | None,
    inputs: str | None,
    seed: int,
    folder: CodesFolder,
    progress: bool,
    reproduce: str,
) -> list[Reading]:
    """Read the coding scheme of each population in a file, and write everything about it.

    Args:
        file, activations, labels, inputs: as in `nonlazy.activation_files.read`.
        seed: of the reader's permutations and simulations.
        folder: where to write.
        progress: show on standard error what is under way.
        reproduce: the command that makes this reading, for the report.
    """
    integer("seed", seed, 0)
    folder.check_free()
    with announced(f"reading {file.name}", progress) as announce:
        recordings = activation_files.read(file, activations, labels, inputs)
        readings = [_read(recording, seed, announce) for recording in recordings]
        folder.make()
        announce("drawing")
        _write(readings, f"Coding scheme of {file.name}", file, seed, folder, reproduce)
    return readings


def _read(recording: Recording, seed: int, announce: Callable[[str], Any]) -> Reading:
    name, values, labels, class_names, inputs = recording
    announce(f"reading the coding scheme of {name}, {values.shape[0]} inputs x {values.shape[1]} neurons")
    scheme = coding_scheme(values, labels, inputs=inputs, seed=seed)
    index = np.searchsorted(scheme.classes, labels)
    return Reading(name, values, index, scheme if class_names is None else with_class_names(scheme, class_names))


def _write(readings: list[Reading], title: str, file: Path, seed: int, folder: CodesFolder, reproduce: str) -> None:
    populations: list[tuple[dict[str, Any], list[Picture]]] = []
    for reading in readings:
        pictures = scheme_pictures(reading)
        summary = plain({"name": reading.name, "n_inputs": len(reading.labels)} | summarize_scheme(reading.scheme))
        populations.append((summary, pictures))
        prefix = f"{reading.name.replace(' ', '-')}-" if len(readings) > 1 else ""
        save_figures([p._replace(name=prefix + p.name) for p in pictures], folder.figures)
    write_text(folder.neurons, _table(readings))
    write_text(folder.report, codes_page(title, populations, reproduce))
    # Last: its presence marks the folder as complete.
    contents = {"file": str(file), "seed": seed, "populations": [summary for summary, _ in populations]}
    write_text(folder.summary, json.dumps(contents, indent=1))


def _table(readings: list[Reading]) -> str:
    """The neurons of all populations, with the population's name in front if there are several."""
    import pandas as pd  # takes a second to import

    frames = {reading.name: reading.scheme.to_frame() for reading in readings}
    table = pd.concat(frames, names=["population"]) if len(frames) > 1 else next(iter(frames.values()))
    return str(table.to_csv())
