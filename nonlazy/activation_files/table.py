"""Activations in a table: a row for each input, a column for each neuron, and one for the labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nonlazy import memory
from nonlazy.array_files import MOST_LISTED
from nonlazy.errors import FileError, InputError
from nonlazy.files import reason

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, label_column: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations (n_inputs, n_neurons) and labels of a .csv file.

    Raises:
        FileError: no table that can be read.
        InputError: no such column, missing labels, neurons that are no numbers, an index that was written as a column.
    """
    frame = _parsed(path)
    if label_column not in frame:
        raise InputError(
            f"{path} has no column {label_column!r} (choose with --labels); its columns are {_names(frame.columns)}."
        )
    labels, neurons = frame[label_column], frame.drop(columns=label_column)
    if labels.isna().any():
        raise InputError(f"{path} must have a label in each row, got none in row {1 + int(labels.isna().argmax())}.")
    if unnamed := [name for name in neurons if str(name).startswith("Unnamed:")]:
        raise InputError(
            f"{path} must have a name for each column, got {len(unnamed)} without one; "
            "if it is an index that pandas wrote, write the file with index=False."
        )
    others = neurons.select_dtypes(exclude=["number", "bool"])
    if not others.empty:
        raise InputError(
            f"{path} must hold numbers in all columns but that of the labels, {label_column!r}; "
            f"other columns are {_names(others.columns)}."
        )
    classes = labels.to_numpy() if labels.dtype.kind in "biuf" else labels.astype(str).to_numpy(dtype=str)
    return neurons.to_numpy(dtype=float), classes


def _parsed(path: Path) -> pd.DataFrame:
    import pandas as pd  # takes a second to import

    # A number takes eight bytes of memory, and two of text at least.
    if 4 * path.stat().st_size > memory.of_machine():
        raise FileError(f"{path} may not fit into memory as a table: save it as .npy, which is read in parts.")
    try:
        return pd.read_csv(path, low_memory=False)
    except Exception as error:  # a damaged file can fail in any way
        raise FileError(f"{path} is no table that can be read: {reason(error)}.") from error


def _names(columns: pd.Index) -> str:
    shown = [repr(str(name)) for name in columns[:MOST_LISTED]]
    return ", ".join(shown + ([f"{len(columns) - MOST_LISTED} more"] if len(columns) > MOST_LISTED else []))
