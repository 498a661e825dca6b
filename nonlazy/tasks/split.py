"""From a pool of images to training and test images of chosen classes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from nonlazy.errors import InputError
from nonlazy.tasks.classes import largest_remainder
from nonlazy.validation import integer, items, shown


class ImagePool(NamedTuple):
    """Images as stored, flat; `white` is a full pixel's value, `held_out` marks the source's test set."""

    pixels: Shaped[np.ndarray, "n N0"]
    labels: Int[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"]
    class_names: tuple[str, ...]
    white: float


class Split(NamedTuple):
    """Row numbers in the pool, sorted by class, and the chosen class of each row."""

    train: Int[np.ndarray, " P"]
    train_labels: Int[np.ndarray, " P"]
    test: Int[np.ndarray, " n_test"]
    test_labels: Int[np.ndarray, " n_test"]
    class_names: tuple[str, ...]


def split(pool: ImagePool, classes: Sequence[int | str], n_train: int, n_test: int, seed: int) -> Split:
    """Distinct training and test images, as evenly as possible from each class; training ignores `n_test`."""
    chosen = _chosen(classes, pool.class_names)
    n_train, n_test = integer("n_train", n_train, len(chosen)), integer("n_test", n_test, 0)
    rng = np.random.default_rng(integer("seed", seed, 0))
    even = np.full(len(chosen), 1 / len(chosen))
    counts, test_counts = largest_remainder(n_train, even), largest_remainder(n_test, even)
    rows = _distinct(pool, np.flatnonzero(np.isin(pool.labels, chosen)))
    train, test = [], []
    for k, a, b in zip(chosen, counts, test_counts, strict=True):
        order = rng.permutation(rows[pool.labels[rows] == k])
        fresh = order[~pool.held_out[order]]
        rest = order[pool.held_out[order]] if pool.held_out.any() else fresh[a:]
        train.append(_first(fresh, a, f"n_train={n_train}", "training", pool.class_names[k]))
        test.append(_first(rest, b, f"n_test={n_test}", "testing", pool.class_names[k]))
    names = tuple(pool.class_names[k] for k in chosen)
    labels = np.arange(len(chosen))
    return Split(
        np.concatenate(train),
        np.repeat(labels, counts),
        np.concatenate(test),
        np.repeat(labels, test_counts),
        names,
    )


def _chosen(classes: Sequence[int | str], names: tuple[str, ...]) -> list[int]:
    """Class numbers; the order given is the order of the labels."""
    given = items("classes", classes, "a sequence of class numbers or names")
    chosen = [_class_number(value, names) for value in given]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise InputError(f"classes must be at least two different classes, got {shown(classes)}.")
    return chosen


def _class_number(value: int | str, names: tuple[str, ...]) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value < len(names):
        return int(value)
    listed = ", ".join(f"{k} {name!r}" for k, name in enumerate(names))
    raise InputError(f"classes must be numbers or names out of {listed}, got {shown(value)}.")


def _distinct(pool: ImagePool, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Rows without exact copies of earlier images: copies make K_0 singular, and leak into the test set.

    Training pools precede held-out images, so it is the held-out copy that goes.
    """
    first: dict[bytes, int] = {}
    for row in rows[np.argsort(pool.held_out[rows], kind="stable")]:
        first.setdefault(pool.pixels[row].tobytes(), row)
    return np.array(list(first.values()), dtype=int)


def _first(rows: Int[np.ndarray, " n"], count: int, asked: str, purpose: str, name: str) -> Int[np.ndarray, " count"]:
    if len(rows) < count:
        raise InputError(
            f"{asked} needs {count} images of class {name!r}, "
            f"but only {len(rows)} distinct ones are left for {purpose}."
        )
    return rows[:count]
