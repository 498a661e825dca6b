"""Sweeps of small points, and ways to run them."""

from __future__ import annotations

from commands import call

from nonlazy.sweep.computing import Result, record
from nonlazy.sweep.engine import Serial
from nonlazy.sweep.folder import SweepFolder
from nonlazy.sweep.running import run

BASE = {
    "temperature": 1e-3,
    "task": {"name": "orthogonal", "n_inputs": 12, "class_ratios": [0.5, 0.5]},
    "model": {"width": 10, "activation": "linear"},
    "sampling": {"chains": 2, "warmup": 20, "draws": 10},
}
# Its programs are shared with the tests of `nonlazy run`.
SMALL = {
    "temperature": 1e-3,
    "task": {"name": "gaussian", "n_inputs": 12, "n_features": 16, "n_test": 9, "separation": 0.6},
    "model": {"width": 10},
    "sampling": {"chains": 2, "warmup": 30, "draws": 20},
}
AXES = {"model.width": [4, 6], "sampling.seed": [0, 1, 2]}
FILE = """
temperature = 1e-3
[task]
name = "orthogonal"
n_inputs = 12
[model]
activation = "linear"
[sweep]
what = ["theory"]
[sweep.axes]
model.width = [4, 6]
"task.class_ratios" = [[0.5, 0.5], [0.5, 0.25, 0.25]]
"""


def stub(point, made_by):
    """Result of a point without work: its width is its wall time; width 5 fails."""
    width = point.settings["model"]["width"]
    found = {"status": "ok", "error": ""} if width != 5 else {"status": "failed", "error": "InputError: five"}
    return Result(record(point, found, {"wall_time": width, "peak_memory": 1, "worker": "here"}))


class Counting:
    """A computation that counts, and may be interrupted after some points."""

    def __init__(self, stop_after=None, compute=stub):
        self.keys, self.stop_after, self.compute = [], stop_after, compute

    def __call__(self, point, made_by):
        if len(self.keys) == self.stop_after:
            raise KeyboardInterrupt
        self.keys.append(point.key)
        return self.compute(point, made_by)


def finish(plan, path, compute, retry_failed=False):
    return run(plan, SweepFolder(path), Serial(compute), retry_failed, progress=False)


def sweep_command(monkeypatch, capsys, *arguments):
    return call(monkeypatch, capsys, "sweep", *arguments)


def without_costs(dataset):
    return dataset.drop_vars(["wall_time", "peak_memory", "worker"])
