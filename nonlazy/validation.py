"""Checks of arguments at the boundary: one sentence that names the argument, what was received and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from nonlazy.errors import InputError


def integer(name: str, value: Any, minimum: int) -> int:
    """An integer of at least `minimum`; booleans and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise InputError(f"{name} must be an integer of at least {minimum}, got {value!r}.")
    return int(value)


def finite(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {value!r}.")
    return float(value)


def positive(name: str, value: Any) -> float:
    """A finite number greater than zero."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name} must be a finite number greater than 0, got {value!r}.")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number strictly between 0 and 1."""
    if positive(name, value) >= 1:
        raise InputError(f"{name} must lie strictly between 0 and 1, got {value!r}.")
    return float(value)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """One of the allowed names."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return value


def finite_array(name: str, value: Any, ndim: int) -> np.ndarray:
    """A non-empty numeric array with `ndim` axes and finite entries, in double precision."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers with {ndim} axes, got {_short(value)}.") from None
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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
