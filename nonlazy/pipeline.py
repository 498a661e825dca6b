"""From a configuration to draws, figures, summary and report in a folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from nonlazy import config, io
from nonlazy.analysis import LayerScheme, layer_schemes, plain, summarize, summarize_theory
from nonlazy.announcing import announced
from nonlazy.errors import ConvergenceError, FileError, InputError, SamplingWarning
from nonlazy.files import write_atomically, write_text
from nonlazy.posterior import Posterior
from nonlazy.report import Picture, pictures, report_page, save_figures, theory_pictures
from nonlazy.sampling import sample
from nonlazy.theory import Theory, solve


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


def run(
    text: str, name: str, replaced: dict[str, Any], folder: RunFolder, progress: bool, reproduce: str
) -> xr.DataTree:
    """Sample the posterior a configuration describes, and write everything about it; goes on where a killed run stopped.

    Args:
        text: configuration in TOML.
        name: what to call it in messages.
        replaced: values in place of the configuration's, by their names in its table `sampling`.
        folder: where to write.
        progress: show a progress bar.
        reproduce: the command that makes this run, for the report.
    """
    settings = config.parse(text, name)
    posterior = settings.posterior()
    options = settings.sampling.model_dump() | replaced
    folder.check_free()
    with warnings.catch_warnings():
        # The report and the summary say it in full.
        warnings.simplefilter("ignore", SamplingWarning)
        tree = sample(posterior, **options, checkpoint=folder.checkpoint, progress=progress)
    io.save(tree, folder.samples)
    write_text(folder.config, text)
    theory = _theory(posterior, options["seed"], progress) if settings.theory else None
    with announced("coding schemes", progress) as announce:
        schemes = layer_schemes(tree, posterior.model.phi, options["seed"], announce)
    write_report(tree, posterior, settings.title, folder, reproduce, theory, schemes)
    shutil.rmtree(folder.checkpoint)
    return tree


def _theory(posterior: Posterior, seed: int, progress: bool) -> Theory | str:
    """The theory of a posterior, or why there is none: a run is not lost for it."""
    try:
        return solve(posterior, seed=seed, progress=progress, throw=False)
    except (InputError, ConvergenceError) as error:
        return str(error)


def write_report(
    tree: xr.DataTree,
    posterior: Posterior,
    title: str,
    folder: RunFolder,
    reproduce: str,
    theory: Theory | str | None = None,
    schemes: Sequence[LayerScheme] = (),
) -> list[Picture]:
    """Write figures, summary and report of a run, with its theory, or the reason why there is none, and coding schemes."""
    known = theory if isinstance(theory, Theory) else None
    summary = summarize(tree, known, schemes)
    if isinstance(theory, str):
        summary["theory"] = {"unavailable": theory}
    drawn = pictures(tree, posterior.model.phi, posterior.readout_variance, known)
    save_figures(drawn, folder.figures)
    write_text(folder.summary, json.dumps(summary, indent=1))
    write_text(folder.report, report_page(title, summary, drawn, reproduce))
    return drawn


class TheoryFolder:
    """Where a theory keeps its files: theory.nc, theory.json, figures/."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dataset, self.summary, self.figures = path / "theory.nc", path / "theory.json", path / "figures"


def run_theory(text: str, name: str, seed: int | None, folder: TheoryFolder, progress: bool) -> Theory:
    """Solve the theory of the posterior that a configuration describes, and write everything about it."""
    settings = config.parse(text, name)
    posterior = settings.posterior()
    if folder.dataset.exists():
        raise FileError(f"{folder.path} holds a theory already; choose another folder with --out, or delete it.")
    theory = solve(posterior, seed=settings.sampling.seed if seed is None else seed, progress=progress)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"folder {folder.path} cannot be made: {error.strerror}.") from error
    write_atomically(folder.dataset, lambda path: theory.to_dataset().to_netcdf(path, engine="h5netcdf"))
    write_text(folder.summary, json.dumps(plain(summarize_theory(None, theory)), indent=1))
    save_figures(theory_pictures(theory), folder.figures)
    return theory
