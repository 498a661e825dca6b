"""Drift of single neurons along the draws: whether each keeps responding to the classes that it responded to."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from nonlazy.analysis.contrasts import contrast, correlation, kept_activity, relative_to_population, unit_norm
from nonlazy.analysis.elapsed import times, unit_of_time
from nonlazy.analysis.matching import best_match
from nonlazy.codes import activation_of, activity_threshold, class_activity_of_layer, code_names, neuron_codes
from nonlazy.errors import DataWarning
from nonlazy.representation.sharing import participation_ratio


def drift(tree: xr.DataTree) -> xr.DataArray:
    r"""How much single neurons moved between the first and the last draw of each chain.

    With the class activity \(A_{ic}(t)\), the mean of \(\phi(z_i)\) over the inputs of class c, first what a neuron does for
    all classes alike is taken away, then what all neurons do alike:

    \[ x_{ic} = A_{ic} - \tfrac1C \sum_{c'} A_{ic'}, \qquad y_{ic} = x_{ic} - \tfrac1N \sum_j x_{jc}, \qquad
       d = 1 - \frac{\sum_{ic} y_{ic}(0)\, y_{ic}(t)}{\sqrt{\sum_{ic} y_{ic}(0)^2\, \sum_{ic} y_{ic}(t)^2}} \]

    d = 0: no neuron moved. \(d = 1 \pm (N - 1)^{-1/2}\): what neurons do at the end has nothing to do with what the same
    neurons did at the start. A neuron counts as much as it contributes to the task-related kernel, so that under sparse
    coding a few outliers decide. `participation` says how many neurons d speaks of, `drift_of_all` how much
    neurons moved if all count the same.

    Further coordinates of dimensions (chain, layer):

    - `drift_of_all`: d with \(u_{ic} = x_{ic} / (\sum_{c'} x_{ic'}^2)^{1/2}\) in place of \(x_{ic}\).
    - `matched_drift`: \(\min_\pi d\) over the permutations of the neurons at the end. It is small where neurons only
      exchanged what they do. Independent populations of few neurons match well, too.
    - `participation`: \((\sum_i s_i)^2 / \sum_i s_i^2\) with \(s_i = \sum_c y_{ic}(0)^2\).
    - `codes_kept`: fraction of neurons with the same code at both ends; codes as in `nonlazy.code_fractions`.
    - `codes_kept_by_chance`: the same if neurons were shuffled, \(\sum_\gamma p_\gamma(0)\, p_\gamma(t)\).
    - `code_change`: total variation \(\tfrac12 \sum_\gamma |p_\gamma(t) - p_\gamma(0)|\) of the code fractions.

    and `time` (chain), from the first draw to the last: that of the dynamics for method "langevin", the number of
    transitions for others, as the attribute `unit_of_time` says.

    Args:
        tree: result of `nonlazy.sample`, with two draws or more.

    Returns:
        d (chain, layer), with the coordinates above.

    Raises:
        InputError: class_activity was not kept; fewer than two draws.

    Warns:
        DataWarning: layers without class structure; their drift is NaN.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(width=20), nl.tasks.orthogonal(n_inputs=12), temperature=1e-3)
        >>> tree = nl.sample(posterior, chains=2, warmup=200, draws=100, progress=False)
        >>> found = nl.drift(tree)
        >>> found.dims, float(found.matched_drift.max()) <= float(found.max())
        (('chain', 'layer'), True)
    """
    activity = kept_activity(tree)
    ends = activity.isel(draw=[0, -1]).transpose("draw", "chain", "layer", "neuron", "label").values
    x = contrast(ends)
    y, u = relative_to_population(x), relative_to_population(unit_norm(x))
    warn_if_silent(activity, np.any(y, axis=(-2, -1)).all(axis=0))
    time = times(tree)
    coordinates = {
        "drift_of_all": 1 - correlation(*u),
        "matched_drift": 1 - correlation(y[0], _matched(*y)),
        "participation": np.apply_along_axis(participation_ratio, -1, (y[0] ** 2).sum(axis=-1)),
        **_compare_codes(*_codes(tree, activity)),
    }
    coords = {
        "chain": activity.chain,
        "layer": activity.layer,
        **{name: (("chain", "layer"), values) for name, values in coordinates.items()},
        "time": ("chain", time[:, -1] - time[:, 0]),
    }
    attributes = {"unit_of_time": unit_of_time(tree)}
    return xr.DataArray(1 - correlation(*y), coords, ("chain", "layer"), "drift", attributes)


def _matched(first: Float[np.ndarray, "... neuron label"], last: Float[np.ndarray, "... neuron label"]) -> np.ndarray:
    """The last draw of each chain and layer, its neurons in the order that matches the first best."""
    matched = np.empty_like(last)
    for index in np.ndindex(first.shape[:-2]):
        matched[index] = last[index][best_match(first[index], last[index])]
    return matched


def _codes(tree: xr.DataTree, activity: xr.DataArray) -> Bool[np.ndarray, "draw chain layer neuron label"]:
    """Codes at both ends, with the thresholds of all draws."""
    layers = []
    for layer in range(1, activity.sizes["layer"] + 1):
        values = class_activity_of_layer(tree, layer)
        ends = values.isel(draw=[0, -1]).transpose("draw", "chain", "neuron", "label")
        layers.append(neuron_codes(ends, activity_threshold(values, activation_of(tree))))
    return np.stack(layers, axis=2)


def _compare_codes(
    first: Bool[np.ndarray, "chain layer neuron label"], last: Bool[np.ndarray, "chain layer neuron label"]
) -> dict[str, Float[np.ndarray, "chain layer"]]:
    _, index = np.unique(code_names(np.stack([first, last])), return_inverse=True)
    a, b = index.reshape(2, *first.shape[:-1])
    p, q = (np.mean(codes[..., None] == np.arange(index.max() + 1), axis=-2) for codes in (a, b))
    return {
        "codes_kept": np.mean(a == b, axis=-1),
        "codes_kept_by_chance": np.sum(p * q, axis=-1),
        "code_change": np.abs(p - q).sum(axis=-1) / 2,
    }


def warn_if_silent(activity: xr.DataArray, structured: Bool[np.ndarray, "chain layer"]) -> None:
    """Say where drift is not defined because no neuron tells classes apart, or all do in the same way."""
    layers = activity.layer.values[~structured.all(axis=0)]
    if len(layers):
        warnings.warn(
            f"Neurons of layer {', '.join(map(str, layers))} do not differ in what tells classes apart, in the first or the "
            f"last draw of {(~structured).any(axis=1).sum()} chains: there is nothing that could drift, and the drift is NaN.",
            DataWarning,
            stacklevel=3,
        )
