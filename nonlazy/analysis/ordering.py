"""Orders of inputs and neurons that make class structure visible."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from nonlazy.codes import activity_threshold, neuron_codes
from nonlazy.representation import CodingScheme


def order_by_class(labels: ArrayLike) -> Int[np.ndarray, " P"]:
    """Indices that sort inputs by class, otherwise as they are."""
    return np.argsort(np.asarray(labels), kind="stable")


def order_by_code(class_activity: Float[np.ndarray, "neuron label"], activation: str) -> Int[np.ndarray, " neuron"]:
    """Indices that sort neurons by code, then by the class they prefer and how strongly."""
    activity = np.asarray(class_activity)
    return _order(activity, neuron_codes(activity, activity_threshold(activity, activation)))


def order_by_scheme(scheme: CodingScheme) -> Int[np.ndarray, " neuron"]:
    """Indices that sort neurons by their code, if the scheme has codes, then by the class they prefer and how strongly."""
    activity = scheme.class_activity
    return _order(activity - activity.mean(axis=1, keepdims=True), scheme.neuron_codes)


def _order(
    activity: Float[np.ndarray, "neuron label"], codes: Bool[np.ndarray, "neuron label"]
) -> Int[np.ndarray, " neuron"]:
    # lexsort takes the last key first: codes by their number of classes and then class by class.
    keys = (-activity.max(axis=1), activity.argmax(axis=1), *(~codes[:, ::-1]).T, -codes.sum(axis=1))
    return np.lexsort(keys)


def shown_inputs(labels: Int[np.ndarray, " P"], most: int) -> Int[np.ndarray, " shown"]:
    """Inputs sorted by class; of more than `most` an even choice, two of each class at least."""
    order = order_by_class(labels)
    classes = np.split(order, np.cumsum(np.bincount(labels))[:-1])
    return np.concatenate([evenly(inputs, max(2, most * len(inputs) // len(labels))) for inputs in classes])


def shown_neurons(scheme: CodingScheme, most: int) -> Int[np.ndarray, " shown"]:
    """Neurons sorted by code; of a large sparse population, whose few would be too thin to see, fewer of the silent ones."""
    order = order_by_scheme(scheme)
    if scheme.name != "sparse":
        return evenly(order, most)
    coding = np.isin(order, scheme.coding_neurons)
    few = evenly(order[coding], most // 2)
    return np.concatenate([few, evenly(order[~coding], min(most // 2, max(100, 4 * len(few))))])


def evenly(order: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " shown"]:
    """At most so many of a sequence, evenly spaced."""
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(int)]
