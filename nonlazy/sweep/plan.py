"""A sweep before it is computed: its points, each checked, with the key under which its result is kept."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nonlazy import config
from nonlazy.errors import FileError, InputError, NonlazyError
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.sampling.driver import check_features, choose_method
from nonlazy.sampling.recording import check_keep
from nonlazy.sweep.design import Design, Values, make_design
from nonlazy.tasks import Task
from nonlazy.validation import boolean, integer, shown

WHAT = ("sampling", "theory", "schemes")
DEFAULT_WHAT = ("sampling", "theory")
ENTRIES = ("axes", "what", "points", "seed", "keep_samples")


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep.

    Attributes:
        number: its place in the design, from 0.
        values: of the axes, by dotted name.
        settings: the whole configuration as plain values.
        what: "sampling", "theory", "schemes".
        keep_samples: whether its draws are kept.
        key: hash of configuration, data files, what is computed, and the version of the library.
    """

    number: int
    values: Values
    settings: dict[str, Any]
    what: tuple[str, ...]
    keep_samples: bool
    key: str

    def __str__(self) -> str:
        return f"point {self.number} ({', '.join(f'{name} = {value!r}' for name, value in self.values.items())})"


@dataclass(frozen=True)
class Plan:
    """A design and its points, in the design's order."""

    design: Design
    points: tuple[Point, ...]
    what: tuple[str, ...]


def library_version() -> str:
    """Version of this library, a part of each point's key."""
    return version("nonlazy")


def make_plan(
    base: Mapping[str, Any],
    axes: Mapping[str, Any],
    what: Sequence[str] = DEFAULT_WHAT,
    points: int | None = None,
    seed: int = 0,
    keep_samples: bool = False,
    name: str = "sweep",
) -> Plan:
    """The points of a sweep, every one checked.

    Args:
        base: configuration as nested tables, what `nonlazy run` reads.
        axes: values or ranges by dotted name; see `make_design`.
        what: to compute at each point: "sampling", "theory", and "schemes", the coding schemes of the networks drawn last.
        points: number of points of a random design; a grid without it.
        seed: of a random design.
        keep_samples: keep the draws of each point.
        name: what to call the sweep in messages.

    Raises:
        InputError: the first point that cannot be computed, and which of its entries is why.
    """
    chosen = check_what(what)
    keep_samples = boolean("keep_samples", keep_samples)
    design = make_design(axes, points, seed)
    check, made = _Checker(), []
    for number, values in enumerate(design.points()):
        settings = merged(base, values)
        point = Point(number, values, settings, chosen, keep_samples, "")
        try:
            checked = check(settings)
        except NonlazyError as error:
            raise InputError(f"{name}: {point}: {error}") from error
        settings = json.loads(checked.model_dump_json(exclude={"title", "theory"}))
        made.append(
            Point(number, values, _absolute(settings), chosen, keep_samples, key(settings, chosen, keep_samples))
        )
    return Plan(design, tuple(made), chosen)


def parse_sweep(text: str, name: str, seed: int | None = None) -> Plan:
    """The plan of a sweep file: a configuration with a table `sweep`.

    Args:
        text: of the file.
        name: what to call it in messages.
        seed: of the chains, in place of the configuration's.

    Raises:
        InputError: text that is no TOML, an unknown entry, or a point that cannot be computed.
    """
    try:
        base = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is no valid TOML: {error}.") from None
    table = base.pop("sweep", None)
    if not isinstance(table, dict) or not isinstance(table.get("axes"), dict):
        raise InputError(f"{name} must have a table [sweep.axes] that names what changes from point to point.")
    if unknown := sorted(table.keys() - set(ENTRIES)):
        raise InputError(f"{name}: table sweep may hold {', '.join(ENTRIES)}, got {unknown[0]}.")
    if seed is not None:
        base = merged(base, {"sampling.seed": seed})
        if "seed" in dict(table["axes"].get("sampling", {})) or "sampling.seed" in table["axes"]:
            raise InputError(f"{name}: sampling.seed is an axis, --seed cannot replace it.")
    try:
        return make_plan(base, **table, name=name)
    except InputError as error:
        raise error if str(error).startswith(name) else InputError(f"{name}: {error}") from error


def check_what(what: Sequence[str]) -> tuple[str, ...]:
    """What is computed at each point, without repetition, in a fixed order."""
    names = (what,) if isinstance(what, str) else tuple(what) if isinstance(what, list | tuple) else ()
    if not names or any(not isinstance(name, str) or name not in WHAT for name in names):
        raise InputError(f"what must hold names from {', '.join(map(repr, WHAT))}, got {shown(what)}.")
    if "schemes" in names and "sampling" not in names:
        raise InputError('what: "schemes" are read from draws and need "sampling" too.')
    return tuple(name for name in WHAT if name in names)


def merged(base: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Nested tables with entries replaced by dotted name."""
    settings = deepcopy(dict(base))
    for name, value in values.items():
        *tables, entry = name.split(".")
        place = settings
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise InputError(f"{name} must be an entry of a configuration, but {table} is no table.")
        place[entry] = value
    return settings


def key(settings: dict[str, Any], what: tuple[str, ...], keep_samples: bool) -> str:
    """Under which a point's result is kept: where anything that determines it differs, so does the key."""
    identity = {
        "settings": _with_contents(settings),
        "what": what,
        "keep_samples": keep_samples,
        "version": library_version(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


FILE_ENTRIES = ("path", "source")


def _with_contents(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with data files replaced by their contents' hash: the same name may hold other data tomorrow."""
    task = dict(settings["task"])
    for entry in FILE_ENTRIES:
        if task.get(entry) and Path(task[entry]).is_file():
            with Path(task[entry]).open("rb") as stream:
                task[entry] = hashlib.file_digest(stream, "sha256").hexdigest()
    return settings | {"task": task}


def _absolute(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with data files by absolute path: workers may live in another folder."""
    task = dict(settings["task"])
    for entry in FILE_ENTRIES:
        if task.get(entry) and Path(task[entry]).exists():
            task[entry] = str(Path(task[entry]).resolve())
    return settings | {"task": task}


class _Checker:
    """Builds what a point would build, data and posteriors once for all points that share them."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._posteriors: set[tuple[str, str, float]] = set()

    def __call__(self, settings: dict[str, Any]) -> config.Config:
        checked = config.from_tables(settings)
        model = Model(**checked.model.model_dump())
        name = checked.task.model_dump_json()
        if name not in self._tasks:
            self._tasks[name] = checked.task.load()
        shared = (name, checked.model.model_dump_json(), checked.temperature)
        if shared not in self._posteriors:
            Posterior(model, self._tasks[name], checked.temperature)
            self._posteriors.add(shared)
        check_sampling(checked.sampling)
        return checked


def check_sampling(settings: config.SamplingConfig) -> None:
    """The ranges that `nonlazy.sample` would check.

    Raises:
        InputError: a value out of its range.
    """
    for entry, least in (("chains", 1), ("warmup", 0), ("draws", 1), ("thin", 1), ("seed", 0)):
        integer(entry, getattr(settings, entry), least)
    check_keep(settings.keep)
    check_features(settings.features, *choose_method(settings.method, settings.parametrization))


def read_base(base: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """Tables of a base configuration given as such or as a file.

    Raises:
        InputError: neither tables nor a path. FileError: no such file.
    """
    if isinstance(base, Mapping):
        return deepcopy(dict(base))
    if not isinstance(base, str | os.PathLike):
        raise InputError(f"base must be a dictionary or the path of a configuration, got {type(base).__name__}.")
    try:
        return tomllib.loads(config.read(Path(base)))
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"configuration {base} is no valid TOML: {error}.") from None
