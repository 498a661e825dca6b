"""Arrays that lie in a file, known by shape and type before any memory is taken for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nonlazy import memory
from nonlazy.errors import FileError, InputError

# Names listed in a message.
MOST_LISTED = 12


class StoredArray(NamedTuple):
    """Shape and type of an array in a file, and how to read it; `mapped` if that takes no memory."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]
    mapped: bool = False

    def __str__(self) -> str:
        return f"{self.shape} of {self.dtype}"

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def choose(arrays: Mapping[str, StoredArray], name: str, option: str, path: Path) -> StoredArray:
    """The array of this name, once it is known to be a plain one that fits into memory.

    Raises:
        InputError: no such array.
        FileError: an array of Python objects, which only pickle could read, or one larger than the machine's memory.
    """
    if name not in arrays:
        raise InputError(f"{path} holds no {name!r} (choose with {option}); it holds {listing(arrays)}.")
    array = arrays[name]
    if array.dtype.hasobject:
        raise FileError(
            f"{name!r} in {path} is an array of Python objects, which are not read: they could run code. "
            "Save plain numbers or strings, such as labels.astype(str)."
        )
    if not array.mapped and array.n_bytes > memory.of_machine():
        raise FileError(
            f"{name!r} in {path}, {array}, would take {array.n_bytes / 2**30:.1f} GiB and this machine has "
            f"{memory.of_machine() / 2**30:.1f}: save it as .npy, which is read in parts."
        )
    return array


def listing(arrays: Mapping[str, Any]) -> str:
    """The names in a file with shape and type, as many as a message bears."""
    shown = [f"{name!r} {array}" for name, array in arrays.items()][:MOST_LISTED]
    rest = [f"{len(arrays) - MOST_LISTED} more"] if len(arrays) > MOST_LISTED else []
    return ", ".join(shown + rest) or "no arrays"
