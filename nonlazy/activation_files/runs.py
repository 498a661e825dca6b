"""Activities of the networks that a run of this library ended with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from nonlazy.activations import NAMED, resolve
from nonlazy.analysis import last_activities
from nonlazy.errors import FileError, InputError
from nonlazy.files import reason


class LastDraw(NamedTuple):
    """Activities (n_inputs, n_neurons) by name of the population, inputs and their classes, and the names of classes."""

    activities: dict[str, np.ndarray]
    inputs: Float[np.ndarray, "P N0"]
    labels: Int[np.ndarray, " P"]
    class_names: np.ndarray


def read_run(path: Path, name: str | None) -> LastDraw:
    """The layers of the networks in the last draw of a run's first chain.

    Args:
        path: samples.nc.
        name: "chain 2 layer 1", for example, to read this population alone.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            configuration = json.loads(tree.attrs["configuration"])
            preactivations = tree["last_draw"]["preactivations"].transpose("chain", "layer", "neuron", "input").values
            inputs, labels = (tree["constant_data"][variable].values for variable in ("inputs", "labels"))
    except Exception as error:  # a damaged file can fail in any way
        raise FileError(
            f"{path} is no run written by nonlazy that can be read, or is damaged: {reason(error)}."
        ) from error
    activation = configuration["model"]["activation"]
    if activation not in NAMED:
        raise InputError(
            f"{path} was sampled with the activation {activation}, which the file does not hold; "
            "in Python, give its values on last_draw's preactivations to nonlazy.coding_scheme."
        )
    populations = {
        f"chain {chain} layer {layer}": activities
        for chain, layers in enumerate(last_activities(preactivations, resolve(activation)), start=1)
        for layer, activities in enumerate(layers, start=1)
    }
    names = [name] if name is not None else [name for name in populations if name.startswith("chain 1 ")]
    if names[0] not in populations:
        raise InputError(f"{path} holds no {name!r} (choose with --activations); it holds {', '.join(populations)}.")
    chosen = {name: populations[name] for name in names}
    return LastDraw(chosen, inputs, labels, np.array(configuration["task"]["class_names"]))
