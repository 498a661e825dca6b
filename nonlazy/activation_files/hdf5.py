"""Arrays in HDF5 files; those stored as one block are mapped into memory, not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nonlazy.array_files import StoredArray
from nonlazy.errors import FileError
from nonlazy.files import reason


def hdf5_arrays(path: Path) -> dict[str, StoredArray]:
    """The datasets of an HDF5 file by their path in it."""
    found: dict[str, StoredArray] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = _stored(path, name, item)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except Exception as error:  # a damaged file can fail in any way, here and below
        raise FileError(f"{path} is no HDF5 file that can be read, or is damaged: {reason(error)}.") from error
    return found


def _stored(path: Path, name: str, dataset: Any) -> StoredArray:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        # The length of strings is not known before they are read.
        return StoredArray(dataset.shape, np.dtype("U1"), lambda: _read(path, name, strings=True))
    offset = _block(path, dataset)
    if offset is None:
        return StoredArray(dataset.shape, dataset.dtype, lambda: _read(path, name, strings=False))
    shape, dtype = dataset.shape, dataset.dtype
    return StoredArray(shape, dtype, lambda: np.memmap(path, dtype, mode="r", offset=offset, shape=shape), mapped=True)


def _block(path: Path, dataset: Any) -> int | None:
    """Where the numbers lie in the file, if they lie there one after the other as numpy has them in memory."""
    if dataset.dtype.kind not in "iuf" or dataset.file.userblock_size or dataset.external is not None:
        return None
    offset = None if dataset.is_virtual else dataset.id.get_offset()
    inside = offset is not None and offset + dataset.nbytes <= path.stat().st_size
    return offset if inside and dataset.size else None


def _read(path: Path, name: str, strings: bool) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            return np.array(file[name].asstr()[...], dtype=str) if strings else np.asarray(file[name][...])
    except Exception as error:
        raise FileError(f"{name!r} in {path} cannot be read: {reason(error)}.") from error
