"""How many inputs each class gets, and how classes are written as targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from nonlazy.errors import InputError
from nonlazy.validation import finite_array, one_of, shown

ENCODINGS = ("one-hot", "plus-minus", "centered")


def encode(labels: Int[np.ndarray, " P"], n_classes: int, encoding: str = "one-hot") -> Float[np.ndarray, "P m"]:
    """Targets with one output per class: the own class and the others at 1, 0 | 1, -1 | 1 - 1/m, -1/m.

    The three are named "one-hot", "plus-minus" and "centered"; the rows of the last sum to zero.
    """
    one_hot = np.eye(n_classes)[labels]
    match one_of("encoding", encoding, ENCODINGS):
        case "plus-minus":
            return 2 * one_hot - 1
        case "centered":
            return one_hot - 1 / n_classes
    return one_hot


def class_ratios_array(class_ratios: Sequence[float]) -> Float[np.ndarray, " m"]:
    """Ratios of at least two classes, positive and summing to 1."""
    ratios = finite_array("class_ratios", class_ratios, ndim=1)
    if len(ratios) < 2 or np.any(ratios <= 0) or abs(ratios.sum() - 1) > 1e-6:
        raise InputError(
            f"class_ratios must be at least two positive numbers that sum to 1, "
            f"got {shown(class_ratios)} (sum {ratios.sum():g})."
        )
    return ratios / ratios.sum()


def largest_remainder(total: int, ratios: Float[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """Counts that sum to `total`, each within one of `total * ratio`; ties go to the earlier class."""
    counts = np.floor(total * ratios).astype(int)
    remainders = np.round(total * ratios - counts, 9)  # so that ties stay ties under rounding errors
    by_remainder = np.argsort(-remainders, kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    return counts


def sorted_labels(n_inputs: int, class_ratios: Sequence[float]) -> Int[np.ndarray, " P"]:
    """Labels 0, ..., 0, 1, ..., 1, ... in the given ratios, at least one per class."""
    counts = largest_remainder(n_inputs, class_ratios_array(class_ratios))
    if counts.min() == 0:
        raise InputError(
            f"class_ratios must give every class an input, got counts {counts.tolist()} for n_inputs={n_inputs}."
        )
    return np.repeat(np.arange(len(counts)), counts)
