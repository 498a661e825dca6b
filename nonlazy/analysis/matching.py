"""The same neurons at the start and at the end of a chain, and which of them took whose place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from nonlazy.analysis.contrasts import contrast, kept_activity, relative_to_population
from nonlazy.analysis.ordering import order_by_code
from nonlazy.codes import activation_of


class Matched(NamedTuple):
    """Class activities (neuron, label) of the first draw, of the same neurons in the last, and of their best matches there."""

    first: Float[np.ndarray, "neuron label"]
    last: Float[np.ndarray, "neuron label"]
    matched: Float[np.ndarray, "neuron label"]


def best_match(
    a: Float[np.ndarray, "neuron label"], b: Float[np.ndarray, "neuron label"]
) -> Int[np.ndarray, " neuron"]:
    r"""The permutation \(\pi\) of neurons that maximizes \(\sum_{ic} a_{ic} b_{\pi(i) c}\): linear assignment."""
    return linear_sum_assignment(a @ b.T, maximize=True)[1]


def matched_activities(tree: xr.DataTree, chain: int = 0, layer: int = 1) -> Matched:
    """Class activities of a layer at the ends of a chain, neurons sorted by the code of the first draw.

    Args:
        tree: result of `nonlazy.sample`, with two draws or more.
        chain: index of the chain.
        layer: number of the layer from 1.
    """
    activity = kept_activity(tree).isel(draw=[0, -1], chain=chain, layer=layer - 1)
    first, last = activity.transpose("draw", "neuron", "label").values
    order = order_by_code(first, activation_of(tree))
    first, last = first[order], last[order]
    y = relative_to_population(contrast(np.stack([first, last])))
    return Matched(first, last, last[best_match(*y)])
