"""What predictions are compared with: the test inputs' targets and classes, from a run or a theory."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from nonlazy.errors import InputError
from nonlazy.theory import Theory


class HeldOut(NamedTuple):
    """Targets and classes of the test inputs, and the variance T of the noise that the model assumes of targets."""

    targets: Float[np.ndarray, "T m"]
    labels: Int[np.ndarray, " T"]
    class_names: tuple[str, ...]
    temperature: float

    @property
    def output_per_class(self) -> bool:
        """Whether the largest output names a class."""
        return self.targets.shape[1] == len(self.class_names)


def held_out(source: xr.DataTree | Theory) -> HeldOut:
    """The test data of a run or a theory.

    Raises:
        InputError: another kind of source, or a task without test inputs.
    """
    if isinstance(source, Theory):
        task, temperature = source.posterior.task, source.posterior.temperature
        targets, labels, names = task.test_targets, task.test_labels, task.class_names
    elif isinstance(source, xr.DataTree) and "constant_data" in source.children:
        data, configuration = source["constant_data"], json.loads(source.attrs["configuration"])
        targets, labels = (data[name].values if name in data else None for name in ("test_targets", "test_labels"))
        names, temperature = tuple(configuration["task"]["class_names"]), configuration["temperature"]
    else:
        raise InputError(f"source must be the result of nonlazy.sample or nonlazy.solve, got {type(source).__name__}.")
    if targets is None or labels is None:
        raise InputError("the predictor needs test inputs, and the task has none.")
    return HeldOut(targets, labels, names, temperature)


def drawn_outputs(tree: xr.DataTree) -> Float[np.ndarray, "chain draw T m"]:
    """Outputs on the test inputs in each draw.

    Raises:
        InputError: the run did not keep predictions.
    """
    if "predictions" not in tree["posterior"]:
        raise InputError("the predictor needs predictions: sample with keep=(..., 'predictions').")
    return tree["posterior"]["predictions"].transpose("chain", "draw", "test_input", "output").values


def squared_error_of_mean(draws: Float[np.ndarray, "chain draw *rest"]) -> Float[np.ndarray, "*rest"]:
    """Square of the Monte Carlo error of a mean over draws, from the spread of the chains' means; one chain is cut in two.

    Unbiased, whatever the draws' correlations and even if chains stay in different states; NaN for a single draw.
    """
    chains = draws.mean(axis=1)
    if len(draws) == 1:
        half = draws.shape[1] // 2
        if not half:
            return np.full(draws.shape[2:], np.nan)
        chains = np.stack([draws[0, :half].mean(axis=0), draws[0, half:].mean(axis=0)])
    return chains.var(axis=0, ddof=1) / len(chains)
