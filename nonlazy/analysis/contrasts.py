"""What tells classes apart in single neurons."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy.codes import class_activity_of_layer
from nonlazy.errors import InputError

Activity = Float[np.ndarray, "... neuron label"]
# Differences smaller than this, relative to the activities, are rounding errors.
ROUNDING = 1e-10


def kept_activity(tree: xr.DataTree) -> xr.DataArray:
    """Class activities of all layers, of two draws or more.

    Raises:
        InputError: the run did not keep class_activity; fewer than two draws.
    """
    n_draws = class_activity_of_layer(tree).sizes["draw"]
    if n_draws < 2:
        raise InputError(f"drift needs at least two draws, the tree has {n_draws}.")
    return tree["posterior"]["class_activity"]


def contrast(activity: Activity) -> Activity:
    r"""\(x_{ic} = A_{ic} - \frac{1}{C} \sum_{c'} A_{ic'}\), with exact zeros in place of rounding errors."""
    x = activity - activity.mean(axis=-1, keepdims=True)
    return _without_rounding(x, np.abs(activity).max(axis=(-2, -1), keepdims=True))


def relative_to_population(x: Activity) -> Activity:
    r"""\(y_{ic} = x_{ic} - \frac{1}{N} \sum_j x_{jc}\), with exact zeros in place of rounding errors."""
    return _without_rounding(x - x.mean(axis=-2, keepdims=True), np.abs(x).max(axis=(-2, -1), keepdims=True))


def unit_norm(x: Activity) -> Activity:
    r"""\(x_{ic} / (\sum_{c'} x_{ic'}^2)^{1/2}\); neurons without contrast stay zero."""
    norm = np.sqrt((x**2).sum(axis=-1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def correlation(a: Activity, b: Activity) -> Float[np.ndarray, "..."]:
    r"""\(\sum_{ic} a_{ic} b_{ic} / (\sum a^2 \sum b^2)^{1/2}\); NaN where one of them vanishes."""
    norm = np.sqrt((a**2).sum(axis=(-2, -1)) * (b**2).sum(axis=(-2, -1)))
    return np.divide((a * b).sum(axis=(-2, -1)), norm, out=np.full(norm.shape, np.nan), where=norm > 0)


def _without_rounding(differences: Activity, scale: Activity) -> Activity:
    return np.where(np.abs(differences) > ROUNDING * scale, differences, 0.0)
