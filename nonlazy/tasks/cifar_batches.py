"""The official python batches of CIFAR-10, read without trusting them.

The files are pickles, and unpickling runs whatever code a file names and reserves whatever memory it asks for. Here only
the reconstruction of numpy arrays is allowed (lists, dicts, strings and numbers need no permission); anything else is
refused before it runs, and lengths and places in the table of known objects are checked against the file's own length.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from nonlazy.errors import FileError, InputError
from nonlazy.files import reason

TRAINING_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST_BATCH = "test_batch"
N_PIXELS = 3 * 32 * 32

# Operations that grow the table of known objects to the number they name.
_PLACES = ("PUT", "BINPUT", "LONG_BINPUT")
_ndarray = object()


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An empty array, which gets its content later, whatever shape it asks for now."""
    if kind is not _ndarray:
        raise pickle.UnpicklingError("it reconstructs something else than an array")
    return np.empty(0)


def _dtype(name: str | bytes, align: Any = False, copy: Any = False) -> np.dtype:
    """A dtype of numbers, never of objects; a copy, because the file may change it."""
    dtype = np.dtype(name.decode() if isinstance(name, bytes) else name, copy=True)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"it holds an array of {dtype}, not of numbers")
    return dtype


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        return _ALLOWED[module, name]


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n, N_PIXELS), labels (n,) and the mark of the test batch (n,)."""
    names = (*TRAINING_BATCHES, TEST_BATCH)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileError(
            f"source={str(folder)!r} must be the unpacked folder cifar-10-batches-py, "
            f"but it holds no file {', '.join(missing)}."
        )
    batches = [_read_batch(folder / name) for name in names]
    pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    held_out = np.concatenate([np.full(len(b[1]), name == TEST_BATCH) for b, name in zip(batches, names, strict=True)])
    return pixels, labels, held_out


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = _load(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path} is not a CIFAR-10 batch that can be trusted: {reason(error)}.") from error
    pixels, labels = (_array(path, content, key) for key in ("data", "labels"))
    if (
        labels.ndim != 1
        or pixels.shape != (len(labels), N_PIXELS)
        or pixels.dtype != np.uint8
        or labels.dtype.kind not in "iu"
    ):
        raise InputError(
            f"{path} must hold data (n, {N_PIXELS}) of bytes and n integer labels, "
            f"got {pixels.shape} of {pixels.dtype} and {labels.shape} of {labels.dtype}."
        )
    return pixels, labels


def _load(content: bytes) -> Any:
    for operation, argument, _ in pickletools.genops(content):  # fails where a length exceeds what is left of the file
        if operation.name in _PLACES and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it asks for room for {argument} objects")
    return _ArraysOnly(io.BytesIO(content), encoding="bytes").load()


def _array(path: Path, content: Any, key: str) -> np.ndarray:
    if not isinstance(content, dict) or key.encode() not in content:
        raise InputError(f"{path} must hold a dictionary with the entry {key!r}, as the official CIFAR-10 batches do.")
    value = content[key.encode()]
    # A few lists that hold each other many times are a small file and a large array.
    if not isinstance(value, np.ndarray) and not (isinstance(value, list) and all(isinstance(x, int) for x in value)):
        raise InputError(f"{path} must hold {key!r} as an array or a list of integers, got {type(value).__name__}.")
    return np.asarray(value)
