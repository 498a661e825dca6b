"""Which values the axes of a sweep take at each point: a grid, or a random design."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nonlazy.errors import InputError
from nonlazy.validation import integer, shown

RANGES = ("uniform", "log_uniform", "choice")
# The first says nothing about the numbers, and `what` stands in for the second.
NOT_SWEPT = ("title", "theory")

Values = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """All combinations of the axes' values, the last axis changing fastest."""

    axes: dict[str, tuple[Any, ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes.values()))

    def __len__(self) -> int:
        return math.prod(self.shape)

    def points(self) -> list[Values]:
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]


@dataclass(frozen=True)
class RandomDesign:
    """Independent draws from the axes' ranges; a design with more points begins with the same ones."""

    axes: dict[str, tuple[str, tuple[Any, ...]]]
    n_points: int
    seed: int

    def __len__(self) -> int:
        return self.n_points

    def points(self) -> list[Values]:
        return [self._point(number) for number in range(self.n_points)]

    def _point(self, number: int) -> Values:
        rng = np.random.default_rng((self.seed, number))
        return {name: draw(rng, kind, ends) for name, (kind, ends) in self.axes.items()}


Design = Grid | RandomDesign


def draw(rng: np.random.Generator, kind: str, ends: tuple[Any, ...]) -> Any:
    """A value of a range; between two integers an integer, both ends included."""
    if kind == "choice":
        return ends[rng.integers(len(ends))]
    low, high = ends
    if all(isinstance(end, int) for end in ends):
        if kind == "uniform":
            return int(rng.integers(low, high + 1))
        return int(np.clip(round(math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5)))), low, high))
    if kind == "uniform":
        return float(rng.uniform(low, high))
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def make_design(axes: Mapping[str, Any], n_points: int | None = None, seed: int = 0) -> Design:
    """A grid, or with a number of points a random design.

    Args:
        axes: values of configuration entries by dotted name, as a list; in a random design also
            {"uniform": [low, high]}, {"log_uniform": [low, high]}, {"choice": [...]}, of which a list is short for the last.
        n_points: number of points of a random design.
        seed: of a random design.

    Raises:
        InputError: no axes, an axis without values, with the same value twice, or with a range that is none.
    """
    if not isinstance(axes, Mapping):
        raise InputError(f"axes must be a table of lists by the names of entries, got {shown(axes)}.")
    named = dict(flatten(axes))
    if not named:
        raise InputError("axes must name at least one entry of the configuration, got none.")
    for name in named:
        if name in NOT_SWEPT:
            raise InputError(f"axes may hold any entry of the configuration but {' and '.join(NOT_SWEPT)}, got {name}.")
    if n_points is None:
        return Grid({name: _grid_values(name, values) for name, values in named.items()})
    return RandomDesign(
        {name: _range(name, values) for name, values in named.items()},
        integer("points", n_points, 1),
        integer("seed", seed, 0),
    )


def flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Entries of nested tables by dotted name; a table that is a range is an entry."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        nested = isinstance(value, Mapping) and not (len(value) == 1 and next(iter(value)) in RANGES)
        found += flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return found


def _grid_values(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, Mapping):
        raise InputError(
            f"axes: {name} is a range, which a grid cannot have: give a list, or a number of points for a random design."
        )
    return _values(name, values)


def _values(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple | np.ndarray | range) or not len(values):
        raise InputError(f"axes: {name} must be a list of at least one value, got {shown(values)}.")
    plain = tuple(_plain(value) for value in values)
    for i, value in enumerate(plain):
        if value in plain[:i]:
            raise InputError(f"axes: {name} holds {shown(value)} twice.")
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _range(name: str, values: Any) -> tuple[str, tuple[Any, ...]]:
    if not isinstance(values, Mapping):
        return "choice", _values(name, values)
    ((kind, ends),) = values.items()
    if kind == "choice":
        return kind, _values(name, ends)
    numbers = isinstance(ends, list | tuple) and len(ends) == 2 and all(map(_is_number, ends))
    if not numbers or not ends[0] < ends[1] or (kind == "log_uniform" and ends[0] <= 0):
        above = " above 0" if kind == "log_uniform" else ""
        raise InputError(f"axes: {name} must have a {kind} range [low, high] of two numbers{above}, got {shown(ends)}.")
    return kind, tuple(ends)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
