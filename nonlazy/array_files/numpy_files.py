"""Arrays in .npy and .npz files; pickled objects are never loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from nonlazy.array_files.stored import StoredArray, choose
from nonlazy.errors import FileError
from nonlazy.files import reason


def npy_arrays(path: Path) -> dict[str, StoredArray]:
    """The array of an .npy file, under the name of the file; mapped into memory, not read."""
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
    except Exception as error:  # a damaged file can fail in any way, here and below
        raise FileError(f"{path} is no .npy file of a plain array: {reason(error)}.") from error

    def read() -> np.ndarray:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            raise FileError(f"{path} is damaged: {reason(error)}.") from error

    return {path.name: StoredArray(shape, dtype, read, mapped=True)}


def npz_arrays(path: Path) -> dict[str, StoredArray]:
    """The arrays of an .npz archive by name; only their headers are read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members}
    except Exception as error:
        raise FileError(f"{path} is no .npz file of plain arrays: {reason(error)}.") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz archive.

    Raises:
        FileError: no such archive, a damaged one, pickled objects, or an array larger than the machine's memory.
    """
    arrays = npz_arrays(path)
    return {name: choose(arrays, name, "name", path).read() for name in arrays}


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> StoredArray:
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as file:
        shape, dtype = _header(file)
        header = file.tell()

    def read() -> np.ndarray:
        if array.n_bytes != info.file_size - header:
            raise FileError(f"{name!r} in {path} is damaged: {array}, but {info.file_size - header} bytes.")
        try:
            # Opened here, as numpy leaves the file open when the archive is damaged.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return np.asarray(arrays[name])
        except Exception as error:
            raise FileError(f"{name!r} in {path} is damaged: {reason(error)}.") from error

    array = StoredArray(shape, dtype, read)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:  # (3, 0) is for tables whose columns have names outside Latin-1
        raise ValueError(f"version {version} of the format is not for plain arrays")
    shape, _, dtype = readers[version](file)
    return shape, dtype
