r"""Mean and variance of the predictor over the posterior, and the test error split into bias and variance.

\[ \langle (y - f(x))^2 \rangle = (y - \langle f(x) \rangle)^2 + \mathrm{Var} f(x) \]

averaged over test inputs and outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy.analysis.held_out import drawn_outputs, held_out, squared_error_of_mean
from nonlazy.theory import Theory


class Predictor(NamedTuple):
    """Posterior mean and variance of the outputs on the test inputs, and the error they make.

    `error` = `bias` + `variance_part`, all mean squares per output; `misclassified` is the fraction of test inputs whose
    largest mean output is not their class, NaN unless there is one output for each class.
    """

    mean: Float[np.ndarray, "T m"]
    variance: Float[np.ndarray, "T m"]
    bias: float
    variance_part: float
    misclassified: float

    @property
    def error(self) -> float:
        return self.bias + self.variance_part


def predictor(source: xr.DataTree | Theory) -> Predictor:
    """The predictor of a run, over all chains and draws, or of a theory on the task's test inputs.

    Raises:
        InputError: the task has no test inputs, or the run did not keep predictions.
    """
    data = held_out(source)
    moments = moments_of(source)
    bias = float(np.mean((data.targets - moments.mean) ** 2 - moments.noise))
    wrong = float(np.mean(moments.mean.argmax(axis=1) != data.labels)) if data.output_per_class else np.nan
    return Predictor(moments.mean, moments.variance, bias, float(moments.variance.mean()), wrong)


class Moments(NamedTuple):
    """Mean and variance of the outputs, and the squared Monte Carlo error of the mean.

    By that error the square of (y - mean) exceeds the squared bias, and the spread of the draws misses the variance.
    """

    mean: Float[np.ndarray, "T m"]
    variance: Float[np.ndarray, "T m"]
    noise: Float[np.ndarray, "T m"]


def moments_of(source: xr.DataTree | Theory) -> Moments:
    """Moments of the outputs on the test inputs, the variance corrected for the error of the mean."""
    if isinstance(source, Theory):
        assert source.posterior.task.test_inputs is not None  # held_out has seen to it
        mean, variance, error = source.predict(source.posterior.task.test_inputs)
        return Moments(mean, variance, error**2)
    draws = drawn_outputs(source)
    noise = squared_error_of_mean(draws)
    return Moments(draws.mean(axis=(0, 1)), draws.var(axis=(0, 1)) + noise, noise)
