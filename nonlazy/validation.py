"""Checks of arguments at the boundary: one sentence that names the argument, what was received and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nonlazy.errors import InputError

LONGEST_PATH = 4096


def integer(name: str, value: Any, minimum: int) -> int:
    """An integer of at least `minimum` that fits in 64 bits; booleans and floats are refused."""
    if not _is(Integral, value) or value < minimum:
        raise InputError(f"{name} must be an integer of at least {minimum}, got {shown(value)}.")
    if value >= 2**63:
        raise InputError(f"{name} must be an integer of less than 2^63, got {shown(value)}.")
    return int(value)


def finite(name: str, value: Any) -> float:
    """A finite number."""
    if not _is_finite(value):
        raise InputError(f"{name} must be a finite number, got {shown(value)}.")
    return float(value)


def positive(name: str, value: Any) -> float:
    """A finite number greater than zero."""
    if not _is_finite(value) or value <= 0:
        raise InputError(f"{name} must be a finite number greater than 0, got {shown(value)}.")
    return float(value)


def _is(kind: type, value: Any) -> bool:
    """Whether this is a number of this kind; to Python and numpy truth values and durations are integers too."""
    return isinstance(value, kind) and not isinstance(value, bool | np.timedelta64)


def _is_finite(value: Any) -> bool:
    try:
        return _is(Real, value) and math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def fraction(name: str, value: Any) -> float:
    """A number strictly between 0 and 1."""
    if positive(name, value) >= 1:
        raise InputError(f"{name} must lie strictly between 0 and 1, got {shown(value)}.")
    return float(value)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """One of the allowed names."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}.")
    return value


def items(name: str, value: Any, allowed: str) -> list[Any]:
    """The items of a list, an array with an axis, or anything else with an order; a text is one item, not a list of letters."""
    try:
        if isinstance(value, str | bytes | Mapping | Set):
            raise TypeError
        return list(value)
    except TypeError:
        raise InputError(f"{name} must be {allowed}, got {shown(value)}.") from None


def boolean(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be true or false, got {shown(value)}.")
    return bool(value)


def file_path(name: str, value: Any) -> Path:
    """A path that the file system can hold; an empty text would be the present folder."""
    try:
        path = Path(value)
        os.fsencode(path)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a path, got {shown(value)}.") from None
    if value == "" or "\0" in str(path) or len(str(path)) > LONGEST_PATH:
        raise InputError(f"{name} must be a path, got {shown(value)}.")
    return path


def run_of(name: str, value: Any, *groups: str) -> xr.DataTree:
    """A result of `nonlazy.sample`, or one that holds these groups."""
    if not isinstance(value, xr.DataTree):
        raise InputError(f"{name} must be a result of nonlazy.sample, got {type(value).__name__}.")
    missing = [group for group in groups if group not in value.children]
    if missing:
        raise InputError(f"{name} must be a result of nonlazy.sample, got a tree without the group {missing[0]!r}.")
    return value


def finite_array(name: str, value: Any, ndim: int) -> np.ndarray:
    """A non-empty numeric array with `ndim` axes and finite entries, in double precision."""
    array = real_array(name, value, f"an array of numbers with {ndim} axes")
    if array.ndim != ndim:
        raise InputError(f"{name} must have {ndim} axes, got an array of shape {array.shape}.")
    if array.size == 0:
        raise InputError(f"{name} must not be empty, got an array of shape {array.shape}.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise InputError(
            f"{name} must hold finite numbers, got {len(bad)} NaN or infinite entries, the first at {where}."
        )
    return array


def real_array(name: str, value: Any, allowed: str = "an array of real numbers") -> np.ndarray:
    """An array of real numbers of any shape, in double precision."""
    try:
        given = np.asarray(value)
        if np.iscomplexobj(given) or given.dtype.kind in "mM":
            raise TypeError
        return given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be {allowed}, got {shown(value)}.") from None


def label_index(labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """The classes in order, and the number of its class for each input.

    Raises:
        InputError: labels that cannot be sorted.
    """
    try:
        return np.unique(np.asarray(labels), return_inverse=True)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"labels must be of one type that can be sorted, got {shown(labels)}.") from None


def shown(value: Any) -> str:
    """A value in an error: one short line, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
