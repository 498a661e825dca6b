"""Valid arguments of every public entry point, and values that nobody expects there."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.sparse
import xarray as xr

import nonlazy as nl

LABELS = np.repeat([0, 1, 2], [4, 2, 2])
INPUTS = np.random.default_rng(0).standard_normal((8, 6))


class ReachedError(Exception):
    """The arguments were taken; what would follow is heavy."""


class Odd:
    """An object of a class of its own, which cannot even be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no representation")


SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 300, 2**63, -(2**63), 10**400, 0.0, -0.0, 0.5, 1.5, -2.5, 1e-300, 1e300,
    float("nan"), float("inf"), -float("inf"), 1j, "", "erf", "prior", "a" * 5000, "\x00", "\ud800", "ü", b"bytes",
    np.float32(1.5), np.float64("nan"), np.int8(3), np.uint64(2**64 - 1), np.bool_(True), np.datetime64("NaT"),
    np.timedelta64(3, "s"), datetime.date(2000, 1, 1), Path("nowhere"), object(), Odd(), int, len, lambda: None,
    lambda z: z, jnp.tanh, Ellipsis, NotImplemented, range(3), slice(2),
]  # fmt: skip
ARRAYS: list[Any] = [
    np.zeros(()), np.zeros(0), np.zeros((0, 3)), np.zeros((8, 0)), np.zeros(8), np.ones((8, 6)), np.ones((6, 8)),
    np.ones((2, 2, 2)), np.full((8, 6), np.nan), np.full((8, 6), np.inf), np.full((8, 6), 1e308), np.eye(8), -np.eye(8),
    np.eye(8, dtype=complex), np.eye(8, dtype=bool), np.eye(8, dtype=np.float16), np.arange(8),
    np.arange(8, dtype=np.uint64) + 2**63,
    np.array(["a", "b"] * 4), np.array([b"a", b"b"] * 4), np.array([None] * 8), np.array([1, "a", None, 2.5] * 2, dtype=object),
    np.array([[1, 2], [3]], dtype=object), np.zeros(8, "datetime64[s]"), np.zeros(8, [("a", int), ("b", float)]),
    np.ma.masked_array(np.ones(8), [True] + [False] * 7), np.broadcast_to(1.0, (8, 6)), jnp.ones((8, 6)),
    scipy.sparse.eye_array(8), pd.DataFrame(INPUTS), pd.Series(list("aabbccdd")), pd.Series([pd.NA] * 8),
    pd.Categorical(list("aabbccdd")),
    xr.DataArray(INPUTS), xr.Dataset(), xr.DataTree(),
]  # fmt: skip
CONTAINERS: list[Any] = [
    [], (), {}, set(), [[]], [[1.0], [2.0, 3.0]], [1, "a"], ["readout", "readout"], [None], {"a": 1}, {1, 2}, {1: {2: 3}},
    ["a"] * 3, (0.5, 0.5), (0.5, 0.6), (-0.5, 1.5), [0.5, "x"], [float("nan")] * 2, (1.0,), [0, 1, 1, 0, 0, 1, 2, 2],
    [10**400] * 8,
]  # fmt: skip
UNEXPECTED: list[Any] = [*SCALARS, *ARRAYS, *CONTAINERS]
BASE = {"task": {"name": "orthogonal", "n_inputs": 8, "class_ratios": [0.5, 0.5]}, "model": {"activation": "linear"}}
TASKS = ("orthogonal", "gaussian", "digits", "cifar10", "from_arrays", "Task")
NAMES = (
    "Model",
    "Posterior",
    "sample",
    "solve",
    "coding_scheme",
    "generalization",
    "geometry_table",
    "diagnose",
    "drift",
)
NAMES += ("activity_autocorrelation", "code_fractions", "kernel_blocks", "kernel_geometry", "kernel_alignment")
NAMES += ("kernel_distance", "learning_curve", "load", "log_evidence", "save", "sweep")
ENTRIES: dict[str, Callable[..., Any]] = {
    **{f"tasks.{name}": getattr(nl.tasks, name) for name in TASKS},
    **{name: getattr(nl, name) for name in NAMES},
}


def arguments_of(
    name: str, tree: xr.DataTree, theory: nl.Theory, posterior: nl.Posterior, folder: Path
) -> dict[str, Any]:
    """All arguments of an entry point, the defaults where these will do."""
    parameters = inspect.signature(ENTRIES[name]).parameters
    file = folder / "tree.nc"
    if name == "load":
        nl.save(tree, file)
    data = {"inputs": INPUTS, "labels": LABELS}
    given = data | {
        "model": posterior.model,
        "task": posterior.task,
        "posterior": theory.posterior if name == "solve" else posterior,
        "tree": tree,
        "source": theory if name == "geometry_table" else tree,
        "path": file,
        "activations": INPUTS,
        "kernel": INPUTS @ INPUTS.T,
        "other": np.eye(8),
        "reference": np.eye(8),
        "targets": np.eye(3)[LABELS],
        "posteriors": [theory.posterior],
        "base": BASE,
        "axes": {"task.seed": [0, 1]},
    }
    small: dict[str, Any] = {"n_inputs": 8, "n_train": 6, "n_test": 3, "progress": False, "n_workers": 0}
    if name == "learning_curve":
        small["method"] = lambda _, progress: theory
    if name == "tasks.from_arrays":
        small["labels"] = LABELS
    if name == "tasks.cifar10":
        small["source"] = folder
    return {
        key: small[key] if key in small else given[key] if parameter.default is parameter.empty else parameter.default
        for key, parameter in parameters.items()
    }


def try_to_call(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """`taken` or `refused`; any error that is not the library's own is raised.

    Long computations end where they would begin.
    """
    with contextlib.ExitStack() as stack:
        for name in ("nonlazy.sampling.driver.Run", "nonlazy.sweep.sweep.run"):
            stack.enter_context(mock.patch(name, side_effect=ReachedError))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            function(**arguments)
        except nl.NonlazyError as error:
            if not 10 < len(str(error)) < 1000:
                raise AssertionError(f"no short sentence: {error}") from error
            return "refused"
        except ReachedError:
            pass
        return "taken"
