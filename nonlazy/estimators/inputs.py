"""What a network sees of the rows of X: one scale for all entries, a constant feature, and no row twice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nonlazy.errors import InputError


def input_scale(inputs: Float[np.ndarray, "n N0"]) -> float:
    """The number that brings the mean of |x|^2 / N0 to one when divided by."""
    scale = float(np.sqrt(np.mean(inputs**2)))
    if scale == 0:
        raise InputError(f"X must hold a number that is not zero, got zeros only, of shape {inputs.shape}.")
    return scale


def network_inputs(inputs: Float[np.ndarray, "n features"], scale: float, intercept: bool) -> Float[np.ndarray, "n N0"]:
    """Scaled inputs, with the constant feature 1 behind them if there is an intercept."""
    scaled = inputs / scale
    return np.column_stack([scaled, np.ones(len(scaled))]) if intercept else scaled


def merge_copies(
    inputs: Float[np.ndarray, "n N0"], targets: Float[np.ndarray, "n m"]
) -> tuple[Float[np.ndarray, "P N0"], Float[np.ndarray, "P m"]]:
    """The different inputs in the order of their first appearance, with the mean target of their copies.

    As T goes to zero the posterior depends on copies only through this mean; repeated rows of K_0 would make it singular.
    """
    _, first, inverse = np.unique(inputs, axis=0, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise InputError(f"X must hold at least two different inputs, got {len(inputs)} copies of one.")
    group = np.argsort(np.argsort(first))[inverse.ravel()]
    means = np.zeros((len(first), targets.shape[1]))
    np.add.at(means, group, targets)
    return inputs[np.sort(first)], means / np.bincount(group)[:, None]
