r"""Mean and variance of the predictor over the posterior, and the test error split into bias and variance.

\[ \langle (y - f(x))^2 \rangle = (y - \langle f(x) \rangle)^2 + \mathrm{Var} f(x) \]

averaged over test inputs and outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy.errors import InputError


class Predictor(NamedTuple):
    """Posterior mean and variance of the outputs on the test inputs, and the error they make.

    `error` = `bias` + `variance_part`, all mean squares per output; `misclassified` is the fraction of test inputs whose
    largest mean output is not their class, NaN for a single output.
    """

    mean: Float[np.ndarray, "T m"]
    variance: Float[np.ndarray, "T m"]
    bias: float
    variance_part: float
    misclassified: float

    @property
    def error(self) -> float:
        return self.bias + self.variance_part


def predictor(tree: xr.DataTree) -> Predictor:
    """The predictor of a run on its test inputs, over all chains and draws.

    Raises:
        InputError: the task has no test inputs, or the run did not keep predictions.
    """
    if "predictions" not in tree["posterior"]:
        raise InputError("the predictor needs test inputs in the task and keep=(..., 'predictions').")
    draws = tree["posterior"]["predictions"]
    mean, variance = draws.mean(["chain", "draw"]).values, draws.var(["chain", "draw"]).values
    data = tree["constant_data"]
    targets, labels = data["test_targets"].values, data["test_labels"].values
    misclassified = float(np.mean(mean.argmax(axis=1) != labels)) if mean.shape[1] > 1 else np.nan
    return Predictor(mean, variance, float(np.mean((targets - mean) ** 2)), float(variance.mean()), misclassified)
