"""Writing files so that each is either complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nonlazy.errors import FileError


def write_atomically(file: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` make a file beside its place, flush it to disk, and rename it.

    Raises:
        FileError: the folder is not writable, or the disk is full; an older file of this name is left as it was.
    """
    if not file.name:
        raise FileError(f"{file} cannot be written: it is a folder.")
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        write(temporary)
        _flush(temporary)
        temporary.replace(file)
        _flush(file.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise FileError(f"{file} cannot be written: {error.strerror or error}.") from error


def write_text(file: Path, text: str) -> None:
    """Write text in UTF-8, complete or not at all."""
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def reason(error: Exception) -> str:
    """What an error of some other library says, in one line of bearable length, its full stop left out."""
    text = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(".")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
