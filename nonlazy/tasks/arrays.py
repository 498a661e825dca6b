"""The user's own arrays as a task."""

from __future__ import annotations

from operator import ne
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nonlazy.errors import InputError
from nonlazy.tasks.classes import encode
from nonlazy.tasks.task import Task
from nonlazy.validation import finite_array

# More different values than this are taken for measurements, not for classes.
MOST_CLASSES = 20


def from_arrays(
    inputs: Any,
    labels: Any = None,
    test_inputs: Any = None,
    test_labels: Any = None,
    *,
    targets: Any = None,
    test_targets: Any = None,
    encoding: str = "one-hot",
    name: str = "arrays",
) -> Task:
    """A task from arrays, lists or pandas objects; nothing is scaled, so bring |x|^2 / N0 to about 1 before.

    Classes come from labels. If only targets are given, the class of an input is its largest output (m > 1)
    or its value (m = 1, at most 20 different ones, such as 1 and -1).

    Args:
        inputs: (P, N0).
        labels: (P,), a class per input of any type that can be compared, such as integers or strings; classes
            are sorted. Or (P, m): targets.
        test_inputs, test_labels: (n_test, N0) and (n_test,) or (n_test, m), both or none.
        targets, test_targets: (P, m), (n_test, m), to fit these values and read codes by the classes in
            `labels`.
        encoding: of labels as targets, "one-hot" (1, 0), "plus-minus" (1, -1) or "centered" (1 - 1/m, -1/m);
            given targets are left as they are.
        name: a word for figures and reports.

    Raises:
        InputError: arrays that are empty, not finite or of different lengths; missing labels; one class only;
            test labels that do not occur in training; targets that do not say which class an input belongs
            to.

    Examples:
        >>> from nonlazy import tasks
        >>> task = tasks.from_arrays([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ["dog", "cat", "dog"])
        >>> task.class_names, task.labels
        (('cat', 'dog'), array([1, 0, 1]))
        >>> tasks.from_arrays([[1.0, 0.0], [0.0, 1.0]], [[1.0], [-1.0]]).class_names
        ('-1', '1')
    """
    inputs = finite_array("inputs", inputs, ndim=2)
    labels, targets = _sides("labels", labels, "targets", targets)
    test_labels, test_targets = _sides("test_labels", test_labels, "test_targets", test_targets)
    if labels is None and targets is None:
        raise InputError("labels must be given: a class per input, (P,), or targets, (P, m).")
    _check_pairing(labels, targets, test_inputs, test_labels, test_targets)
    train = _classes_of(labels, targets)
    if len(train.names) < 2:
        raise InputError(f"labels must hold at least two classes, got only {train.names[0]!r}.")
    test_classes = None
    if test_inputs is not None:
        test_classes = _known_classes(test_labels, test_targets, train, labels is None)
    if targets is None:
        targets = encode(train.labels, len(train.names), encoding)
        test_targets = None if test_classes is None else encode(test_classes, len(train.names), encoding)
    return Task(inputs, targets, train.labels, test_inputs, test_targets, test_classes, name, train.names)


class _Classes(NamedTuple):
    values: list[Any]
    labels: Int[np.ndarray, " P"]
    names: tuple[str, ...]


def _sides(name: str, labels: Any, targets_name: str, targets: Any) -> tuple[list[Any] | None, np.ndarray | None]:
    """Labels as a list and targets as an array; two axes under `labels` mean targets."""
    if targets is not None:
        targets = finite_array(targets_name, targets, ndim=2)
    if labels is None:
        return None, targets
    array = _plain_array(name, labels)
    if array.ndim == 2 and targets is None:
        return None, finite_array(name, labels, ndim=2)
    if array.ndim != 1:
        raise InputError(f"{name} must be classes (n,) or targets (n, m), got an array of shape {array.shape}.")
    if array.size == 0:
        raise InputError(f"{name} must not be empty, got an array of shape {array.shape}.")
    return _complete(name, array.tolist()), targets


def _plain_array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be one class per input, got a ragged sequence.") from None


def _complete(name: str, values: list[Any]) -> list[Any]:
    """The values, each of which can stand for a class."""
    try:
        set(values)
    except TypeError as error:
        raise InputError(f"{name} must be classes such as integers or strings, got an {error}.") from None
    missing = [i for i, value in enumerate(values) if _is_missing(value)]
    if missing:
        raise InputError(f"{name} must not be missing, got {len(missing)} NaN or None, first at {missing[0]}.")
    return values


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(ne(value, value))  # NaN and NaT differ from themselves
    except TypeError:
        return True  # pandas.NA has no truth value


def _check_pairing(labels: Any, targets: Any, test_inputs: Any, test_labels: Any, test_targets: Any) -> None:
    if test_inputs is None:
        if test_labels is not None or test_targets is not None:
            raise InputError("test_inputs must be given too, got test labels or targets alone.")
        return
    for name, value, train in (("test_labels", test_labels, labels), ("test_targets", test_targets, targets)):
        if (value is None) != (train is None):
            raise InputError(
                f"{name} must be given exactly if {name.removeprefix('test_')} are, and in the same form: "
                "test data take the form of the training data, classes (n,) or targets (n, m) or both."
            )


def _classes_of(labels: list[Any] | None, targets: np.ndarray | None) -> _Classes:
    if labels is None:
        assert targets is not None
        labels = _values_of(targets, "targets")
    elif _looks_continuous(labels):
        raise InputError(
            f"labels must be classes, got {len(set(labels))} different decimal numbers; for values to fit "
            "give targets (P, m), and the classes as labels: from_arrays(inputs, labels, targets=...)."
        )
    values = _sorted(set(labels))
    index = {value: k for k, value in enumerate(values)}
    return _Classes(values, np.array([index[value] for value in labels]), tuple(map(_name, values)))


def _known_classes(
    labels: list[Any] | None, targets: np.ndarray | None, train: _Classes, from_targets: bool
) -> Int[np.ndarray, " n_test"]:
    if from_targets:
        assert targets is not None
        labels = _values_of(targets, "test_targets")
    assert labels is not None
    index = {value: k for k, value in enumerate(train.values)}
    unseen = [_name(value) for value in _sorted(set(labels) - set(index))]
    if unseen:
        raise InputError(
            f"test_labels must be classes of the training inputs ({_shown(train.names)}), got also {_shown(unseen)}."
        )
    return np.array([index[value] for value in labels])


def _values_of(targets: Float[np.ndarray, "n m"], name: str) -> list[Any]:
    """What stands for the class without labels: the largest output, or the value of the only one."""
    advice = "class labels are needed to read codes: from_arrays(inputs, labels, targets=...)"
    if targets.shape[1] == 1:
        values = targets[:, 0].tolist()
        if len(set(values)) > MOST_CLASSES:
            raise InputError(f"{name} hold {len(set(values))} different values, more than {MOST_CLASSES}; {advice}.")
        return values
    largest = targets == targets.max(axis=1, keepdims=True)
    tied = np.flatnonzero(largest.sum(axis=1) > 1)
    if len(tied):
        raise InputError(f"{name} have no single largest output in {len(tied)} rows, the first {tied[0]}; {advice}.")
    return targets.argmax(axis=1).tolist()


def _looks_continuous(labels: list[Any]) -> bool:
    decimals = [value for value in labels if isinstance(value, float) and not value.is_integer()]
    return bool(decimals) and len(set(labels)) > MOST_CLASSES


def _sorted(values: set[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # mixed types, such as 1 and "one"
        return sorted(values, key=lambda value: (type(value).__name__, str(value)))


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(names: Any) -> str:
    return ", ".join(list(names)[:10]) + (", ..." if len(names) > 10 else "")
