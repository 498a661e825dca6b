"""From a configuration to draws, figures, summary and report in a folder."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import xarray as xr

from nonlazy import config, io
from nonlazy.analysis import summarize
from nonlazy.errors import FileError, SamplingWarning
from nonlazy.posterior import Posterior
from nonlazy.report import Picture, pictures, report_page
from nonlazy.sampling import sample
from nonlazy.sampling.checkpoint import write_atomically


class RunFolder:
    """Where a run keeps its files: samples.nc, summary.json, report.html, config.toml, figures/, and its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples, self.summary, self.report = path / "samples.nc", path / "summary.json", path / "report.html"
        self.config, self.figures, self.checkpoint = path / "config.toml", path / "figures", path / "checkpoint"

    def prepare(self, text: str) -> None:
        """Make the folder and write the configuration; refuse a folder that holds a finished or another run.

        Raises:
            FileError: the folder cannot be written, or holds something that would be overwritten.
        """
        if self.samples.exists() and not self.checkpoint.exists():
            raise FileError(f"{self.path} holds a finished run; choose another folder with --out, or delete it.")
        if self.config.exists() and self.config.read_text(encoding="utf-8") != text:
            raise FileError(f"{self.path} holds a run of another configuration; choose another folder with --out.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"output folder {self.path} cannot be made: {error.strerror}.") from error
        if not os.access(self.path, os.W_OK):
            raise FileError(f"output folder {self.path} is not writable.")
        _write_text(self.config, text)


def run(text: str, name: str, seed: int | None, folder: RunFolder, progress: bool, reproduce: str) -> xr.DataTree:
    """Sample the posterior a configuration describes, and write everything about it; goes on where a killed run stopped.

    Args:
        text: configuration in TOML.
        name: what to call it in messages.
        seed: replaces the configuration's `sampling.seed`.
        folder: where to write.
        progress: show a progress bar.
        reproduce: the command that makes this run, for the report.
    """
    settings = config.parse(text, name)
    posterior = settings.posterior()
    options = settings.sampling.model_dump() | ({} if seed is None else {"seed": seed})
    folder.prepare(text)
    with warnings.catch_warnings():
        # The report and the summary say it in full.
        warnings.simplefilter("ignore", SamplingWarning)
        tree = sample(posterior, **options, checkpoint=folder.checkpoint, progress=progress)
    io.save(tree, folder.samples)
    write_report(tree, posterior, settings.title, folder, reproduce)
    shutil.rmtree(folder.checkpoint)
    return tree


def write_report(
    tree: xr.DataTree, posterior: Posterior, title: str, folder: RunFolder, reproduce: str
) -> list[Picture]:
    """Write figures, summary and report of a run."""
    summary = summarize(tree)
    drawn = pictures(tree, posterior.model.phi, posterior.readout_variance)
    folder.figures.mkdir(exist_ok=True)
    for picture in drawn:
        for suffix in ("svg", "png"):
            picture.figure.savefig(folder.figures / f"{picture.name}.{suffix}")
    _write_text(folder.summary, json.dumps(summary, indent=1))
    _write_text(folder.report, report_page(title, summary, drawn, reproduce))
    return drawn


def _write_text(file: Path, text: str) -> None:
    write_atomically(file, lambda stream: stream.write(text.encode()))
