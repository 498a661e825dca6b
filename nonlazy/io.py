"""Saving and loading runs as netCDF."""

from __future__ import annotations

import os

import xarray as xr

from nonlazy.errors import FileError
from nonlazy.files import reason, write_atomically
from nonlazy.validation import file_path, run_of


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a run to a netCDF file, complete or not at all; `load` and arviz read it.

    Raises:
        InputError: no tree, or no path.
        FileError: the place cannot be written; an older file of this name is left as it was.
    """
    run_of("tree", tree)
    write_atomically(file_path("path", path), lambda temporary: tree.to_netcdf(temporary, engine="h5netcdf"))


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a run written by `save`, by `tree.to_netcdf` or by the command line, into memory.

    Raises:
        InputError: no path.
        FileError: no such file, or one that is damaged or no netCDF file.

    Examples:
        >>> import nonlazy as nl
        >>> nl.load("nowhere.nc")
        Traceback (most recent call last):
        ...
        nonlazy.errors.FileError: nowhere.nc does not exist.
    """
    path = file_path("path", path)
    if not os.path.exists(path):  # a name that is too long does not
        raise FileError(f"{path} does not exist.")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except Exception as error:  # a damaged file can fail in any way
        raise FileError(f"{path} is no netCDF file that can be read, or is damaged: {reason(error)}.") from error
