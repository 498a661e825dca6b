"""Orders of inputs and neurons that make class structure visible."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from nonlazy.codes import activity_threshold, neuron_codes


def order_by_class(labels: ArrayLike) -> Int[np.ndarray, " P"]:
    """Indices that sort inputs by class, otherwise as they are."""
    return np.argsort(np.asarray(labels), kind="stable")


def order_by_code(class_activity: Float[np.ndarray, "neuron label"], activation: str) -> Int[np.ndarray, " neuron"]:
    """Indices that sort neurons by code, then by the class they prefer and how strongly."""
    activity = np.asarray(class_activity)
    codes = neuron_codes(activity, activity_threshold(activity, activation))
    preferred = activity.argmax(axis=1)
    # lexsort takes the last key first: codes by their number of classes and then class by class.
    keys = (-activity.max(axis=1), preferred, *(~codes[:, ::-1]).T, -codes.sum(axis=1))
    return np.lexsort(keys)
