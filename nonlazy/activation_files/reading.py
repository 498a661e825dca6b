"""From the path of a file to activations and labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nonlazy.activation_files.hdf5 import hdf5_arrays
from nonlazy.activation_files.runs import read_run
from nonlazy.activation_files.table import read_table
from nonlazy.array_files import StoredArray, choose, npy_arrays, npz_arrays
from nonlazy.errors import FileError, InputError

CONTAINERS = {".npz": npz_arrays, ".h5": hdf5_arrays, ".hdf5": hdf5_arrays}
SUFFIXES = (*CONTAINERS, ".npy", ".csv", ".nc")


class Recording(NamedTuple):
    """A population of neurons: its name, activations (n_inputs, n_neurons), which may be memory-mapped, and labels.

    If there are names of classes, the labels count them from 0. `inputs` (n_inputs, n_features) are what the network was shown.
    """

    name: str
    activations: np.ndarray
    labels: np.ndarray
    class_names: np.ndarray | None = None
    inputs: np.ndarray | None = None


def read(
    path: Path, activations: str | None = None, labels: str | None = None, inputs: str | None = None
) -> list[Recording]:
    """The populations in a file: one, but for a run of this library, which has one for each layer.

    Args:
        path: .npz, .h5 or .hdf5 with named arrays, .npy with labels in another, .csv, or samples.nc of a run.
        activations: name of the activations in the file; "activations" if not given.
        labels: name of the labels, or of their column; "labels" if not given. Or a file of its own, .npy.
        inputs: name of the inputs in the file, or a file of its own, .npy; none if not given. Runs have them.

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
        for option, value in (("labels", labels), ("inputs", inputs)):
            if value is not None:
                raise InputError(f"{path} is a run, which has its own {option}; leave --{option} out.")
        found = read_run(path, activations)
        return [
            Recording(name, values, found.labels, found.class_names, found.inputs)
            for name, values in found.activities.items()
        ]
    if suffix == ".csv":
        if activations is not None:
            raise InputError(
                f"{path} is a table: all columns but that of the labels are neurons; leave --activations out."
            )
        if inputs is not None:
            raise InputError(f"{path} is a table, which has no place for inputs; leave --inputs out.")
        return [Recording("activations", *read_table(path, labels or "labels"))]
    return [_read_arrays(path, activations, labels, inputs)]


def _read_arrays(path: Path, activations: str | None, labels: str | None, inputs: str | None) -> Recording:
    if path.suffix.lower() == ".npy":
        if activations is not None or labels is None:
            raise InputError(
                f"{path} is one array, the activations: give the labels as --labels FILE.npy, and no names."
            )
        arrays, name = npy_arrays(path), path.name
    else:
        arrays, name = CONTAINERS[path.suffix.lower()](path), activations or "activations"
    values = choose(arrays, name, "--activations", path)
    classes = _other(path, arrays, labels or "labels", "--labels")
    shown = None if inputs is None else _other(path, arrays, inputs, "--inputs")
    _check_pair(values, classes)
    names = classes.read()
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "replace")
    return Recording(name, values.read(), names, inputs=None if shown is None else shown.read())


def _other(path: Path, arrays: dict[str, StoredArray], name: str, option: str) -> StoredArray:
    """The array of that name in the same file, or else in a file of that name."""
    other = Path(name)
    if (name in arrays and path.suffix.lower() != ".npy") or other.suffix.lower() != ".npy":
        return choose(arrays, name, option, path)
    if not other.exists():
        raise FileError(f"{other} does not exist.")
    return choose(npy_arrays(other), other.name, option, other)


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
