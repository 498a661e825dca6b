"""Computing entries one after the other; what is finished in the folder is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from nonlazy.analysis import plain
from nonlazy.announcing import announced
from nonlazy.errors import FileError, InputError
from nonlazy.plot import style
from nonlazy.reproduce.entry import SIZES, Entry, Job
from nonlazy.reproduce.machine import machine, versions
from nonlazy.reproduce.registry import ENTRIES
from nonlazy.reproduce.writing import ResultFolder, write_gallery
from nonlazy.validation import integer, one_of


def chosen(names: Sequence[str], everything: bool, data: Path | None) -> list[Entry]:
    """The entries of these names, or all; of all, those that need data only with data.

    Raises:
        InputError: an unknown name; no name; names although all are asked for.
    """
    if everything == bool(names):
        raise InputError(f"give names of entries or --all, not both; there are {', '.join(ENTRIES)}.")
    for name in names:
        one_of("NAME", name, ENTRIES)
    found = [ENTRIES[name] for name in dict.fromkeys(names)] if names else list(ENTRIES.values())
    return [entry for entry in found if names or data is not None or not entry.needs_data]


def reproduce(
    entries: Sequence[Entry],
    out: Path,
    size: str = "full",
    seed: int = 0,
    data: Path | None = None,
    progress: bool = True,
    announce: Callable[[dict[str, Any], bool], Any] = lambda result, computed: None,
) -> list[dict[str, Any]]:
    """Compute entries into folders below `out`, and write the gallery page.

    A result that is there is kept if it was computed with the same settings and seed.

    Args:
        size: "quick" or "full".
        announce: is told each result, and whether it was computed now.

    Raises:
        InputError: an unknown size; a result of other settings or another seed in the folder; no data
            for an entry that needs them.
        FileError: a folder that holds something else, or cannot be written to.
    """
    one_of("size", size, SIZES)
    integer("seed", seed, 0)
    for entry in entries:
        if entry.needs_data and data is None:
            raise InputError(f"{entry.name} needs --data PATH, the images of CIFAR-10.")
    if data is not None and not data.exists():
        raise FileError(f"--data: {data} does not exist.")
    folders = [ResultFolder(out / entry.name) for entry in entries]
    stored = [_stored(entry, folder, size, seed) for entry, folder in zip(entries, folders, strict=True)]
    results = []
    for entry, folder, kept in zip(entries, folders, stored, strict=True):
        result = kept or compute(entry, folder, size, seed, data, progress)
        announce(result, kept is None)
        results.append(result)
        write_gallery(out, _all_results(out))
    return results


def compute(
    entry: Entry, folder: ResultFolder, size: str, seed: int, data: Path | None, progress: bool
) -> dict[str, Any]:
    """Compute one entry and write its folder."""
    settings = entry.settings(size)
    began, began_cpu = time.perf_counter(), time.process_time()
    with announced(entry.title, progress) as announce, style():
        outcome = entry.compute(Job(settings, seed, data, lambda what: announce(f"{entry.title}: {what}")))
    jax.clear_caches()  # programs compiled for one entry are of no use to the next, and take gigabytes in the end
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    run = {"size": size, "seed": seed, "settings": settings, "seconds": round(seconds, 1)}
    run["cpu_seconds"] = round(cpu_seconds, 1)  # on a machine that others use too, the time that counts
    return folder.write(entry, outcome, run | {"machine": machine(), "versions": versions()})


def _stored(entry: Entry, folder: ResultFolder, size: str, seed: int) -> dict[str, Any] | None:
    folder.check()
    found = folder.stored()
    if found is not None and (found.get("seed"), found.get("settings")) != (seed, plain(entry.settings(size))):
        raise InputError(
            f"--out: {folder.path} holds a result of size {found.get('size')!r} and seed {found.get('seed')}, asked "
            f"for are {size!r} and {seed}, or the settings have changed; choose another folder, or delete it."
        )
    return found


def _all_results(out: Path) -> list[dict[str, Any]]:
    """All results in the folder, those of earlier calls included, in the order of the list."""
    found = (ResultFolder(out / name).stored() for name in ENTRIES)
    return [result for result in found if result is not None]
