"""Saving and loading runs as netCDF."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from nonlazy.errors import FileError
from nonlazy.files import reason, write_atomically


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a run to a netCDF file, complete or not at all; `load` and arviz read it.

    Raises:
        FileError: the place cannot be written; an older file of this name is left as it was.
    """
    write_atomically(Path(path), lambda temporary: tree.to_netcdf(temporary, engine="h5netcdf"))


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a run written by `save`, by `tree.to_netcdf` or by the command line, into memory.

    Raises:
        FileError: no such file, or one that is damaged or no netCDF file.

    Examples:
        >>> import nonlazy as nl
        >>> nl.load("nowhere.nc")
        Traceback (most recent call last):
        ...
        nonlazy.errors.FileError: nowhere.nc does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise FileError(f"{path} does not exist.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except Exception as error:  # a damaged file can fail in any way
        raise FileError(f"{path} is no netCDF file that can be read, or is damaged: {reason(error)}.") from error
