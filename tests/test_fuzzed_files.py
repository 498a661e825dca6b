"""Damaged files of every kind: read, or refused in one sentence; never a crash, a hang or an error of some other library."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from coverage_guided import folder_of
from fuzzed_files import damaged, readers, try_to_read

NAMES = list(readers())


@pytest.mark.parametrize("n", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files(tmp_path, name, n):
    reader = readers()[name]
    path = tmp_path / reader.file
    reader.write(path)
    whole = path.read_bytes()
    assert try_to_read(reader, path, whole)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    taken = 0
    for i in range(n):
        content = damaged(rng, whole)
        try:
            taken += try_to_read(reader, path, content)
        except BaseException as error:
            error.add_note(f"damage {i} of {name}")
            raise
    print(f"{name}: {taken} of {n} damaged files were read")
    assert taken < n


@pytest.mark.parametrize("name", NAMES)
def test_files_kept_by_coverage_guided_fuzzing(tmp_path, name):
    reader = readers()[name]
    path = tmp_path / reader.file
    reader.write(path)  # and what else it needs
    for file in folder_of(name).iterdir():
        try:
            try_to_read(reader, path, file.read_bytes())
        except BaseException as error:
            error.add_note(str(file))
            raise
