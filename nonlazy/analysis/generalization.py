r"""Errors on test inputs: bias and variance by class and output, misclassified inputs, and calibration.

With draws f of the outputs, their mean \(\bar f\) and the targets y,

\[ (y - f)^2 = (y - \bar f)^2 - 2 (y - \bar f)(f - \bar f) + (f - \bar f)^2 , \]

where the mean over draws of the last term is the variance, and the second one carries the Monte Carlo error of the squared
bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float
from scipy.special import ndtr

from nonlazy.analysis.held_out import HeldOut, drawn_outputs, held_out
from nonlazy.analysis.predictor import Moments, moments_of
from nonlazy.theory import Theory

# Nominal coverages of central intervals.
LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
AXES = {"chain_axis": 0, "draw_axis": 1}


def generalization(source: xr.DataTree | Theory) -> xr.Dataset:
    r"""Errors on the task's test inputs: of a run, or of a theory, lazy or not.

    \[ \langle (y - f(x))^2 \rangle = (y - \langle f(x) \rangle)^2 + \mathrm{Var} f(x) \]

    averaged over test inputs and outputs, or over those of one class and output. The squared bias is corrected for the Monte
    Carlo error of the mean, so that it may be slightly negative.

    Args:
        source: result of `nonlazy.sample`, with `predictions` kept, or of `nonlazy.solve`.

    Returns:
        Scalars, or by (label, output) with the prefix `class_`; `*_mcse` are Monte Carlo errors, for these test inputs:

        - `error` = `bias_squared` + `variance`: mean squared error of single networks, and its parts.
        - `misclassified`: fraction of inputs whose largest mean output is not their class; `misclassified_draws`: the mean of
            that fraction over single networks (runs only). NaN unless there is one output for each class.
        - `standardized_error`: mean of \((y - \langle f \rangle)^2 / (\mathrm{Var} f + T)\). 1 if the variance is
            calibrated, larger if it is too small.
        - `coverage` (level): fraction of targets in the central interval that should hold a fraction `level` of them, of the
            draws with noise of variance T (theories: of a Gaussian).
        - `error_r_hat`, `error_ess`: R-hat and effective draws of the error (runs only).
        - `n_test` (label): test inputs of each class.

        Theories: errors of closed forms are 0; for those computed from drawn neurons `bias_squared_mcse` is an upper bound, and
        that of the variance is not known (NaN).

    Raises:
        InputError: neither a run nor a theory, no test inputs, or predictions that were not kept.

    References:
        Van Meegen and Sompolinsky (2025): the variance is of order 1/N in the non-lazy and of order 1 in the lazy regime.

    Examples:
        >>> import nonlazy as nl
        >>> task = nl.tasks.digits(n_train=60)
        >>> lazy = nl.Posterior(nl.Model(activation="erf", regime="lazy"), task, temperature=1e-3)
        >>> found = nl.generalization(nl.solve(lazy))
        >>> bool(abs(found.error - found.bias_squared - found.variance) < 1e-12)
        True
    """
    data = held_out(source)
    moments = moments_of(source)
    found = _of_theory(data, moments) if isinstance(source, Theory) else _of_draws(data, moments, drawn_outputs(source))
    found |= _misclassified(data, moments.mean)
    variance = moments.variance + data.temperature
    found["standardized_error"] = float(np.mean(((data.targets - moments.mean) ** 2 - moments.noise) / variance))
    names, m = data.class_names, data.targets.shape[1]
    coords = {"label": list(names), "output": list(names) if data.output_per_class else np.arange(m), "level": LEVELS}
    variables = {name: (_dimensions(name), value) for name, value in found.items()}
    return xr.Dataset(variables, coords)


def _dimensions(name: str) -> tuple[str, ...]:
    if name in ("n_test", "class_misclassified"):
        return ("label",)
    if name == "coverage":
        return ("level",)
    return ("label", "output") if name.startswith("class_") else ()


def _of_theory(data: HeldOut, moments: Moments) -> dict[str, Any]:
    mean, variance, noise = moments
    misses = data.targets - mean
    # Errors of different inputs come from the same neurons: as if they were all the same.
    bias_mcse = 2 * np.abs(misses) * np.sqrt(noise)
    unknown = np.where(noise > 0, np.nan, 0.0)
    parts = {
        "bias_squared": misses**2 - noise,
        "variance": variance,
        "error": misses**2 - noise + variance,
        "bias_squared_mcse": bias_mcse,
        "variance_mcse": unknown,
        "error_mcse": bias_mcse + unknown,
    }
    found: dict[str, Any] = {}
    for name, values in parts.items():
        found |= {name: values.mean(), f"class_{name}": by_class(data, values)}
    standard = np.sqrt(variance + data.temperature)
    return found | {"coverage": _coverage(ndtr(misses / standard))}


def _of_draws(data: HeldOut, moments: Moments, draws: Float[np.ndarray, "chain draw T m"]) -> dict[str, Any]:
    mean, variance, noise = moments
    misses = data.targets - mean
    parts = {"bias_squared": misses**2 - noise, "variance": variance, "error": misses**2 - noise + variance}
    # What each draw adds to the means: their Monte Carlo errors are those of the parts.
    terms = {
        "bias_squared": lambda f: -2 * misses * (f - mean),
        "variance": lambda f: (f - mean) ** 2,
        "error": lambda f: (data.targets - f) ** 2,
    }
    found: dict[str, Any] = {}
    for name, values in parts.items():
        found |= {name: values.mean(), f"class_{name}": by_class(data, values)}
        found[f"{name}_mcse"] = _mcse(np.stack([terms[name](f).mean(axis=(1, 2)) for f in draws]))
        found[f"class_{name}_mcse"] = _mcse(np.stack([by_class(data, terms[name](f)) for f in draws]))
    wrong = (draws.argmax(axis=3) != data.labels).mean(axis=2) if data.output_per_class else None
    error = np.stack([terms["error"](f).mean(axis=(1, 2)) for f in draws])
    few = draws.shape[1] < 4
    return found | {
        "misclassified_draws": np.nan if wrong is None else wrong.mean(),
        "misclassified_draws_mcse": np.nan if wrong is None else _mcse(wrong),
        "error_r_hat": np.nan if few or len(draws) == 1 else float(array_stats.rhat(error, **AXES)),
        "error_ess": np.nan if few else float(array_stats.ess(error, method="mean", **AXES)),
        "coverage": _coverage(
            np.mean([ndtr((data.targets - f) / np.sqrt(data.temperature)).mean(axis=0) for f in draws], axis=0)
        ),
    }


def _misclassified(data: HeldOut, mean: Float[np.ndarray, "T m"]) -> dict[str, Any]:
    """By the mean predictor, in all and class by class, and the numbers of test inputs."""
    wrong = mean.argmax(axis=1) != data.labels if data.output_per_class else np.full(len(mean), np.nan)
    classes = by_class(data, np.asarray(wrong, dtype=float)[:, None])[:, 0]
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    return {"misclassified": float(np.mean(wrong)), "class_misclassified": classes, "n_test": counts}


def by_class(data: HeldOut, values: Float[np.ndarray, "... T m"]) -> Float[np.ndarray, "... C m"]:
    """Means over the test inputs of each class; NaN for a class without any."""
    members = np.equal.outer(np.arange(len(data.class_names)), data.labels)
    with np.errstate(invalid="ignore"):
        return members / members.sum(axis=1, keepdims=True) @ values


def _coverage(below: Float[np.ndarray, "T m"]) -> Float[np.ndarray, " level"]:
    """From the predictive probability below each target: how many are closer to the median than each level allows."""
    return (np.abs(2 * below - 1) < LEVELS[:, None, None]).mean(axis=(1, 2))


def _mcse(values: Float[np.ndarray, "chain draw *rest"]) -> Any:
    if values.shape[1] < 4:
        return np.full(values.shape[2:], np.nan)[()]
    return array_stats.mcse(values, **AXES)
