"""Class activity along the draws: how long single neurons remember what they responded to."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy.analysis.contrasts import contrast, kept_activity, relative_to_population
from nonlazy.analysis.drift import warn_if_silent
from nonlazy.analysis.elapsed import times, unit_of_time


def activity_autocorrelation(tree: xr.DataTree) -> xr.Dataset:
    r"""Correlation of the neurons' class activities as a function of the time between two draws.

    With \(y_{ic}(s)\) of draw s of D as in `nonlazy.drift`,

    \[ \rho(k) = \frac{\sum_s \sum_{ic} y_{ic}(s)\, y_{ic}(s + k)}
       {\sqrt{\sum_s \sum_{ic} y_{ic}(s)^2\, \sum_s \sum_{ic} y_{ic}(s + k)^2}}, \qquad s = 0 \ldots D - 1 - k, \]

    1 at lag 0, 0 where neurons have forgotten, and one minus `nonlazy.drift` at the largest lag. Large lags rest on few
    pairs of draws, the largest on one.

    Args:
        tree: result of `nonlazy.sample`, with two draws or more.

    Returns:
        Variable `correlation` (chain, layer, lag); coordinates `lag` in draws, and `time` (chain, lag), the mean over the pairs
        of draws in the unit that the attribute `unit_of_time` says, as in `nonlazy.drift`.

    Raises:
        InputError: class_activity was not kept; fewer than two draws.

    Warns:
        DataWarning: layers without class structure; their correlation is NaN.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(width=20), nl.tasks.orthogonal(n_inputs=12), temperature=1e-3)
        >>> tree = nl.sample(posterior, chains=2, warmup=200, draws=100, progress=False)
        >>> nl.activity_autocorrelation(tree).sizes
        Frozen({'chain': 2, 'layer': 1, 'lag': 100})
    """
    activity = kept_activity(tree).transpose("chain", "layer", "draw", "neuron", "label")
    y = relative_to_population(contrast(activity.values))
    warn_if_silent(activity, np.any(y[:, :, [0, -1]], axis=(-2, -1)).all(axis=-1))
    values = np.empty(y.shape[:3])
    for index in np.ndindex(y.shape[:2]):
        values[index] = _autocorrelation(y[index].reshape(y.shape[2], -1))
    lags = np.arange(y.shape[2])
    time = times(tree)
    passed = np.stack([(time[:, k:] - time[:, : time.shape[1] - k]).mean(axis=1) for k in lags], axis=1)
    coords = {"chain": activity.chain, "layer": activity.layer, "lag": lags, "time": (("chain", "lag"), passed)}
    variables = {"correlation": (("chain", "layer", "lag"), values)}
    return xr.Dataset(variables, coords, {"unit_of_time": unit_of_time(tree)})


def _autocorrelation(y: Float[np.ndarray, "draw d"]) -> Float[np.ndarray, " lag"]:
    """Sums over pairs of draws for all lags, by the Fourier transform of the series padded with as many zeros."""
    n = len(y)
    power = (np.abs(np.fft.rfft(y, 2 * n, axis=0)) ** 2).sum(axis=1)
    products = np.fft.irfft(power, 2 * n)[:n]
    squares = (y**2).sum(axis=1)
    norm = np.sqrt(np.cumsum(squares)[::-1] * np.cumsum(squares[::-1])[::-1])
    return np.divide(products, norm, out=np.full(n, np.nan), where=norm > 0)
