"""Every public entry point with arguments that nobody expects: taken, or refused in one sentence."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from fuzzed_arguments import ENTRIES, UNEXPECTED, arguments_of, try_to_call

import nonlazy as nl

pytestmark = pytest.mark.usefixtures("few_simulations")


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    """Texts are taken for paths, and files are written there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def theory(posterior):
    return nl.solve(nl.Posterior(nl.Model(width=10, activation="linear"), posterior.task, 1e-3), progress=False)


def call(name, arguments, replaced):
    try:
        return try_to_call(ENTRIES[name], arguments | replaced)
    except Exception as error:
        if any("of the learning curve" in note for note in getattr(error, "__notes__", ())):
            return "taken"  # what a function of the user raises is passed on
        error.add_note(f"{name} with another {', '.join(replaced)}")
        raise


@pytest.mark.parametrize("name", ENTRIES)
def test_unexpected_arguments(name, tree, theory, posterior, tmp_path):
    """One or two at a time."""
    arguments = arguments_of(name, tree, theory, posterior, tmp_path)
    rng, found = np.random.default_rng(zlib.crc32(name.encode())), []
    for _ in range(20):
        chosen = rng.choice(list(arguments), size=min(rng.integers(1, 3), len(arguments)), replace=False)
        found.append(call(name, arguments, {key: UNEXPECTED[rng.integers(len(UNEXPECTED))] for key in chosen}))
    assert "refused" in found


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_every_unexpected_argument(name, tree, theory, posterior, tmp_path):
    arguments = arguments_of(name, tree, theory, posterior, tmp_path)
    assert name == "tasks.cifar10" or try_to_call(ENTRIES[name], arguments) == "taken"
    for key in arguments:
        for value in UNEXPECTED:
            call(name, arguments, {key: value})
