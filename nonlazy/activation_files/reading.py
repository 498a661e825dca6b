"""From the path of a file to activations and labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nonlazy.activation_files.hdf5 import hdf5_arrays
from nonlazy.activation_files.numpy_files import npy_arrays, npz_arrays
from nonlazy.activation_files.runs import read_run
from nonlazy.activation_files.stored import StoredArray, choose
from nonlazy.activation_files.table import read_table
from nonlazy.errors import FileError, InputError

CONTAINERS = {".npz": npz_arrays, ".h5": hdf5_arrays, ".hdf5": hdf5_arrays}
SUFFIXES = (*CONTAINERS, ".npy", ".csv", ".nc")


class Recording(NamedTuple):
    """A population of neurons: its name, activations (n_inputs, n_neurons), which may be memory-mapped, and labels.

    If there are names of classes, the labels count them from 0.
    """

    name: str
    activations: np.ndarray
    labels: np.ndarray
    class_names: np.ndarray | None = None


def read(path: Path, activations: str | None = None, labels: str | None = None) -> list[Recording]:
    """The populations in a file: one, but for a run of this library, which has one for each layer.

    Args:
        path: .npz, .h5 or .hdf5 with named arrays, .npy with labels in another, .csv, or samples.nc of a run.
        activations: name of the activations in the file; "activations" if not given.
        labels: name of the labels, or of their column; "labels" if not given. Or a file of its own, .npy.

    Raises:
        FileError: a file that does not exist, cannot be read or would not fit into memory.
        InputError: names that the file does not hold, shapes that do not belong together.
    """
    if not path.exists():
        raise FileError(f"{path} does not exist.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} must be a file of type {', '.join(SUFFIXES)}.")
    if suffix == ".nc":
        if labels is not None:
            raise InputError(f"{path} is a run, which has its own labels; leave --labels out.")
        found = read_run(path, activations)
        return [Recording(name, values, found.labels, found.class_names) for name, values in found.activities.items()]
    if suffix == ".csv":
        if activations is not None:
            raise InputError(
                f"{path} is a table: all columns but that of the labels are neurons; leave --activations out."
            )
        return [Recording("activations", *read_table(path, labels or "labels"))]
    return [_read_arrays(path, activations, labels)]


def _read_arrays(path: Path, activations: str | None, labels: str | None) -> Recording:
    if path.suffix.lower() == ".npy":
        if activations is not None or labels is None:
            raise InputError(
                f"{path} is one array, the activations: give the labels as --labels FILE.npy, and no names."
            )
        arrays, name = npy_arrays(path), path.name
    else:
        arrays, name = CONTAINERS[path.suffix.lower()](path), activations or "activations"
    values = choose(arrays, name, "--activations", path)
    classes = _labels(path, arrays, labels or "labels")
    _check_pair(values, classes)
    names = classes.read()
    return Recording(
        name, values.read(), np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    )


def _labels(path: Path, arrays: dict[str, StoredArray], labels: str) -> StoredArray:
    """Labels of that name in the same file, or else in a file of that name."""
    other = Path(labels)
    if (labels in arrays and path.suffix.lower() != ".npy") or other.suffix.lower() != ".npy":
        return choose(arrays, labels, "--labels", path)
    if not other.exists():
        raise FileError(f"{other} does not exist.")
    return choose(npy_arrays(other), other.name, "--labels", other)


def _check_pair(activations: StoredArray, labels: StoredArray) -> None:
    """Refuse what does not belong together before it is read."""
    if len(activations.shape) != 2:
        raise InputError(f"activations must have shape (n_inputs, n_neurons), got {activations.shape}.")
    if labels.shape != activations.shape[:1]:
        turned = labels.shape == activations.shape[1:]
        raise InputError(
            f"labels must have one entry for each of the {activations.shape[0]} inputs, got shape {labels.shape}"
            + (": are the activations transposed? They must have shape (n_inputs, n_neurons)." if turned else ".")
        )
