"""From a configuration to draws, figures, summary and report in a folder."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import xarray as xr

from nonlazy import config, io
from nonlazy.analysis import summarize
from nonlazy.errors import FileError, SamplingWarning
from nonlazy.files import write_text
from nonlazy.posterior import Posterior
from nonlazy.report import Picture, pictures, report_page
from nonlazy.sampling import sample


class RunFolder:
    """Where a run keeps its files: samples.nc, summary.json, report.html, config.toml, figures/, and its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples, self.summary, self.report = path / "samples.nc", path / "summary.json", path / "report.html"
        self.config, self.figures, self.checkpoint = path / "config.toml", path / "figures", path / "checkpoint"

    def check_free(self) -> None:
        """Refuse a folder that holds a finished run; one that was interrupted has a checkpoint to go on from.

        Raises:
            FileError: samples.nc exists and no checkpoint.
        """
        if self.samples.exists() and not self.checkpoint.exists():
            raise FileError(f"{self.path} holds a finished run; choose another folder with --out, or delete it.")


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
    folder.check_free()
    with warnings.catch_warnings():
        # The report and the summary say it in full.
        warnings.simplefilter("ignore", SamplingWarning)
        tree = sample(posterior, **options, checkpoint=folder.checkpoint, progress=progress)
    io.save(tree, folder.samples)
    write_text(folder.config, text)
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
    write_text(folder.summary, json.dumps(summary, indent=1))
    write_text(folder.report, report_page(title, summary, drawn, reproduce))
    return drawn
