"""Configuration files: what `nonlazy run` reads, checked entry by entry before anything is computed."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nonlazy import tasks
from nonlazy.array_files import read_npz
from nonlazy.errors import FileError, InputError
from nonlazy.files import reason
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.sampling.recording import DEFAULT_KEEP
from nonlazy.validation import file_path


class Section(BaseModel):
    """A table of the file; unknown entries are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OrthogonalTask(Section):
    name: Literal["orthogonal"]
    n_inputs: int = 100
    class_ratios: list[float] = [0.5, 0.25, 0.25]
    n_features: int | None = None
    encoding: str = "one-hot"
    seed: int = 0

    def load(self) -> tasks.Task:
        return tasks.orthogonal(**self.model_dump(exclude={"name"}))


class GaussianTask(OrthogonalTask):
    name: Literal["gaussian"]  # type: ignore[assignment]
    n_test: int = 0
    separation: float = 0.0

    def load(self) -> tasks.Task:
        return tasks.gaussian(**self.model_dump(exclude={"name"}, exclude_none=True))


class DigitsTask(Section):
    name: Literal["digits"]
    classes: list[int | str] = [0, 1, 2]
    n_train: int = 100
    n_test: int | None = None
    normalize: bool = True
    center: str = "none"
    encoding: str = "one-hot"
    seed: int = 0

    def load(self) -> tasks.Task:
        return getattr(tasks, self.name)(**self.model_dump(exclude={"name"}, exclude_none=True))


class ImageTask(DigitsTask):
    name: Literal["mnist", "fashion_mnist", "cifar10"]  # type: ignore[assignment]
    source: str | None = None
    data_home: str | None = None


class FileTask(Section):
    """Arrays `inputs`, `labels`, and optionally `test_inputs`, `test_labels`, in an .npz file."""

    name: Literal["file"]
    path: Path
    encoding: str = "one-hot"

    def load(self) -> tasks.Task:
        if not self.path.exists():
            raise FileError(f"task.path {self.path} does not exist.")
        arrays: dict[str, Any] = read_npz(self.path)
        allowed = ("inputs", "labels", "test_inputs", "test_labels")
        if unknown := arrays.keys() - set(allowed):
            raise InputError(
                f"task.path {self.path} may hold {', '.join(allowed)}, got {', '.join(sorted(unknown))} too."
            )
        if missing := {"inputs", "labels"} - arrays.keys():
            raise InputError(
                f"task.path {self.path} must hold inputs and labels, {' and '.join(sorted(missing))} missing."
            )
        return tasks.from_arrays(**arrays, encoding=self.encoding)


class ModelConfig(Section):
    depth: int = 1
    width: int = 100
    activation: str = "erf"
    regime: str = "nonlazy"
    readout_std: float = 1.0
    weight_std: float | list[float] = 1.0
    readout_scaling: float | None = None


class SamplingConfig(Section):
    chains: int = 4
    warmup: int = 500
    draws: int = 500
    seed: int = 0
    method: str = "hmc"
    start: Literal["prior", "theory"] = "prior"
    keep: list[str] = list(DEFAULT_KEEP)
    thin: int = 1
    parametrization: str | None = None
    features: str = "float64"


class Config(Section):
    """A run: task, model, temperature, sampling.

    The ranges of the values are checked where the objects are built, so that the library and the command line give the same
    errors.
    """

    title: str = "A run of nonlazy"
    temperature: float = 1e-5
    theory: bool = True
    task: Annotated[OrthogonalTask | GaussianTask | DigitsTask | ImageTask | FileTask, Field(discriminator="name")]
    model: ModelConfig = ModelConfig()
    sampling: SamplingConfig = SamplingConfig()

    def posterior(self) -> Posterior:
        """Load the data and build the posterior."""
        return Posterior(Model(**self.model.model_dump()), self.task.load(), self.temperature)


def parse(text: str, name: str) -> Config:
    """A configuration from the text of a TOML file called `name`.

    Raises:
        InputError: text that is no TOML, entries that are missing, unknown or of another type.
    """
    try:
        return from_tables(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{name} is no valid TOML: {reason(error)}.") from None
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def from_tables(tables: dict[str, Any]) -> Config:
    """A configuration from nested dictionaries.

    Raises:
        InputError: entries that are missing, unknown or of another type.
    """
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        raise InputError(_sentence(error)) from None


def read(path: Path) -> str:
    """Text of a configuration file."""
    try:
        return file_path("configuration", path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def presets() -> list[str]:
    """Names of the configurations that come with the library."""
    folder = resources.files("nonlazy.presets")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_preset(name: str) -> str:
    """Text of a preset.

    Raises:
        InputError: no such preset.
    """
    if name not in presets():
        raise InputError(f"preset must be one of {', '.join(presets())}, got {name!r}.")
    return (resources.files("nonlazy.presets") / f"{name}.toml").read_text(encoding="utf-8")


def _sentence(error: ValidationError) -> str:
    def describe(entry: Any) -> str:
        place = ".".join(str(part) for part in entry["loc"] if not str(part).endswith("Task")) or "file"
        if entry["type"] == "missing":
            return f"{place} is missing"
        if entry["type"] == "extra_forbidden":
            return f"{place} is not a known entry"
        return f"{place}: {entry['msg'][0].lower()}{entry['msg'][1:]}, got {entry['input']!r}"

    return "; ".join(describe(entry) for entry in error.errors()) + "."
