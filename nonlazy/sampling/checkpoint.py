"""A folder from which a killed run goes on to the same draws.

    configuration.json   what is being run; another configuration is refused
    draws-000003.npz     a complete block of draws, written once
    state.npz            the chains after the last saved transition, and the draws of the block in progress
    lock                 held by the run that writes here

Files are written beside their place, flushed to disk and renamed, so a file is either complete or absent.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from filelock import FileLock, Timeout

from nonlazy.array_files import read_npz
from nonlazy.errors import CheckpointError, FileError
from nonlazy.files import write_atomically, write_text
from nonlazy.sampling.chains import Chains
from nonlazy.validation import file_path

Arrays = dict[str, np.ndarray]


class Saved(NamedTuple):
    """The chains, the number of draws in complete blocks, and the draws of the block in progress, (draws, chains, ...)."""

    chains: Chains
    first_draw: int
    draws: Arrays


class Checkpoint:
    """Blocks of draws and the latest state of a run, in a folder that no other run may use inside the context."""

    def __init__(self, folder: str | os.PathLike[str], configuration: dict[str, Any]) -> None:
        self.folder = file_path("checkpoint", folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"checkpoint folder {self.folder} cannot be made: {error.strerror}.") from error
        self._lock = FileLock(self.folder / "lock")
        self._configuration = configuration

    def __enter__(self) -> Checkpoint:
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise CheckpointError(
                f"checkpoint {self.folder} is in use by another run. Nothing was changed; wait for its end, or choose "
                "another folder."
            ) from error
        except OSError as error:
            raise FileError(f"checkpoint {self.folder} cannot be written: {error.strerror}.") from error
        try:
            self._check_configuration(self._configuration)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _check_configuration(self, configuration: dict[str, Any]) -> None:
        file = self.folder / "configuration.json"
        expected = json.loads(json.dumps(configuration))
        if not file.exists():
            write_text(file, json.dumps(configuration, indent=1))
            return
        try:
            found = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(file) from error
        if not isinstance(found, dict):
            raise self._damaged(file)
        different = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        if different:
            raise CheckpointError(
                f"checkpoint {self.folder} belongs to another run: {', '.join(different)} differ "
                f"({different[0]}: {_short(found.get(different[0]))} there, {_short(expected.get(different[0]))} here). "
                "Nothing was changed; choose another folder, or delete this one."
            )

    def load(self, template: Chains) -> Saved | None:
        """The latest state, or None if nothing was saved yet; `template` gives the shapes of the chains."""
        file = self.folder / "state.npz"
        if not file.exists():
            return None
        arrays = self._read(file)
        leaves, tree = jax.tree.flatten(template)
        try:
            saved = [jnp.asarray(arrays[f"chains.{i}"]) for i in range(len(leaves))]
            first_draw = int(arrays["first_draw"])
        except KeyError as error:
            raise self._damaged(file) from error
        if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(saved, leaves, strict=True)):
            raise self._damaged(file)
        draws = {name.removeprefix("draws."): a for name, a in arrays.items() if name.startswith("draws.")}
        return Saved(jax.tree.unflatten(tree, saved), first_draw, draws)

    def load_block(self, number: int) -> Arrays:
        """A complete block of draws."""
        return self._read(self.folder / f"draws-{number:06d}.npz")

    def save_block(self, number: int, draws: Arrays) -> None:
        """Write a complete block; call it before the state that lies beyond it is saved."""
        self._write(self.folder / f"draws-{number:06d}.npz", draws)

    def save(self, chains: Chains, first_draw: int, draws: Arrays) -> None:
        """Write the chains, the number of draws in complete blocks, and the draws of the block in progress."""
        state = {f"chains.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(chains))}
        state["first_draw"] = np.asarray(first_draw)
        self._write(self.folder / "state.npz", state | {f"draws.{name}": a for name, a in draws.items()})

    def _write(self, file: Path, arrays: Arrays) -> None:
        # The stubs of savez take no dictionary of arrays beside its flag.
        write_atomically(file, lambda path: np.savez(path, **arrays))  # type: ignore[arg-type]

    def _read(self, file: Path) -> Arrays:
        try:
            return read_npz(file)
        except FileError as error:
            raise self._damaged(file) from error

    def _damaged(self, file: Path) -> CheckpointError:
        return CheckpointError(
            f"checkpoint file {file} is damaged or incomplete. Nothing was changed; delete the folder {self.folder} to "
            "start the run again."
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
