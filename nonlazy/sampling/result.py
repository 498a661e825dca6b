"""The draws as one labelled tree in ArviZ's layout."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from xarray import Dataset, DataTree

from nonlazy.posterior import Network, Posterior
from nonlazy.sampling.devices import gather
from nonlazy.sampling.recording import DIMENSIONS, KEPT_VARIABLES
from nonlazy.sampling.run import Run
from nonlazy.tasks import Task


def to_tree(
    posterior: Posterior, run: Run, networks: Network, configuration: dict[str, Any], wall_time: float
) -> DataTree:
    """All groups of a run's result; attributes hold the configuration, the versions and the wall time in seconds."""
    draws = {
        name: (("chain", "draw", *DIMENSIONS[name]), values[:, : run.n_drawn]) for name, values in run.draws.items()
    }
    coords = {
        "layer": np.arange(1, posterior.model.depth + 1),
        "label": list(posterior.task.class_names),
        "label_": list(posterior.task.class_names),
    }
    mean_kernel = gather(run.chains.kernel_sum) / max(run.n_drawn, 1)
    layers = np.stack([gather(z) for z in networks.preactivations], axis=1)
    groups: dict[str, dict[str, Any]] = {
        "posterior": {name: draws[name] for name in draws if name in KEPT_VARIABLES},
        "sample_stats": {name: draws[name] for name in draws if name not in (*KEPT_VARIABLES, "targets")},
        "posterior_predictive": {"targets": draws["targets"]},
        "posterior_mean": {"kernel": (("chain", "layer", "input", "input_"), mean_kernel)},
        "last_draw": {
            "preactivations": (("chain", "layer", "neuron", "input"), layers.swapaxes(-1, -2)),
            "readout": (("chain", "neuron", "output"), gather(networks.readout)),
        },
        "observed_data": {"targets": (("input", "output"), posterior.task.targets)},
        "constant_data": _constant_data(posterior.task),
    }
    attributes = {
        "configuration": json.dumps(configuration),
        "complete": int(run.n_drawn == run.schedule.draws),
        "wall_time": wall_time,
    }
    tree = DataTree.from_dict({name: _dataset(variables, coords) for name, variables in groups.items()})
    tree.attrs.update(attributes)
    return tree


def _dataset(variables: dict[str, Any], coords: dict[str, Any]) -> Dataset:
    used = {name for dims, _ in variables.values() for name in dims}
    return Dataset(variables, {name: values for name, values in coords.items() if name in used})


def _constant_data(task: Task) -> dict[str, Any]:
    data: dict[str, Any] = {"inputs": (("input", "feature"), task.inputs), "labels": (("input",), task.labels)}
    if task.n_test:
        data |= {
            "test_inputs": (("test_input", "feature"), task.test_inputs),
            "test_targets": (("test_input", "output"), task.test_targets),
            "test_labels": (("test_input",), task.test_labels),
        }
    return data
