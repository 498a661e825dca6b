"""One learning problem: training inputs with their targets and classes, and optional test inputs."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Number
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from nonlazy.errors import InputError
from nonlazy.validation import finite_array, items, shown


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    r"""Inputs $x_\mu$, targets $Y_{\mu r}$ and classes of one problem, as read-only double-precision arrays.

    The targets are what the network fits; the labels say which inputs belong together when codes and kernels
    are read.

    Args:
        inputs: X, (P, N0).
        targets: Y, (P, m).
        labels: (P,), integers that index `class_names`.
        test_inputs, test_targets, test_labels: (n_test, N0), (n_test, m), (n_test,); all three or none.
        name: a word for figures and reports.
        class_names: one name per class; "0", "1", ... by default.

    Raises:
        InputError: wrong shapes, lengths that differ, entries that are not finite, fewer than two classes, or
            a class without a training input.

    Examples:
        >>> from nonlazy.tasks import Task
        >>> Task(inputs=[[1.0, 0.0], [0.0, 1.0]], targets=[[1.0], [-1.0]], labels=[0, 1])
        Task('task', n_inputs=2, n_features=2, n_outputs=1, n_test=0, class_names=('0', '1'))
    """

    inputs: Float[np.ndarray, "P N0"]
    targets: Float[np.ndarray, "P m"]
    labels: Int[np.ndarray, " P"]
    test_inputs: Float[np.ndarray, "n_test N0"] | None = None
    test_targets: Float[np.ndarray, "n_test m"] | None = None
    test_labels: Int[np.ndarray, " n_test"] | None = None
    name: str = "task"
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._set("inputs", finite_array("inputs", self.inputs, ndim=2))
        self._set("targets", finite_array("targets", self.targets, ndim=2))
        self._set("labels", _integers("labels", self.labels))
        _same_length("inputs", self.inputs, labels=self.labels, targets=self.targets)
        object.__setattr__(self, "class_names", _names(self.class_names, self.labels))
        _check_classes("labels", self.labels, self.class_names)
        _check_every_class_present(self.labels, self.class_names)
        self._check_test()

    def _check_test(self) -> None:
        given = {n: getattr(self, n) for n in ("test_inputs", "test_targets", "test_labels")}
        missing = [n for n, value in given.items() if value is None]
        if len(missing) == 3:
            return
        if missing:
            raise InputError(f"{missing[0]} must be given too: test data need {', '.join(given)}, or none of them.")
        self._set("test_inputs", finite_array("test_inputs", self.test_inputs, ndim=2))
        self._set("test_targets", finite_array("test_targets", self.test_targets, ndim=2))
        self._set("test_labels", _integers("test_labels", self.test_labels))
        assert self.test_inputs is not None and self.test_targets is not None and self.test_labels is not None
        _same_length("test_inputs", self.test_inputs, test_labels=self.test_labels, test_targets=self.test_targets)
        _same_columns("test_inputs", self.test_inputs, "inputs", self.inputs)
        _same_columns("test_targets", self.test_targets, "targets", self.targets)
        _check_classes("test_labels", self.test_labels, self.class_names)

    def _set(self, name: str, array: np.ndarray) -> None:
        """Store a read-only copy, so that neither the caller's array nor the task can change the other."""
        copy = np.array(array)
        copy.setflags(write=False)
        object.__setattr__(self, name, copy)

    @property
    def n_inputs(self) -> int:
        """P, the number of training inputs."""
        return self.inputs.shape[0]

    @property
    def n_features(self) -> int:
        """N0, the dimension of the inputs."""
        return self.inputs.shape[1]

    @property
    def n_outputs(self) -> int:
        """m, the number of outputs."""
        return self.targets.shape[1]

    @property
    def n_test(self) -> int:
        """The number of test inputs, 0 without any."""
        return 0 if self.test_inputs is None else self.test_inputs.shape[0]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n}={getattr(self, n)}" for n in ("n_inputs", "n_features", "n_outputs", "n_test"))
        return f"Task({self.name!r}, {sizes}, class_names={self.class_names!r})"


def _integers(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be integers along one axis, got {shown(value)}.") from None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers along one axis, got shape {array.shape} of {array.dtype}.")
    return array.astype(np.int64)


def _same_length(name: str, array: np.ndarray, **others: np.ndarray) -> None:
    for other, values in others.items():
        if len(values) != len(array):
            raise InputError(f"{other} must have one entry per input, got {len(values)} for {len(array)} {name}.")


def _same_columns(name: str, array: np.ndarray, other: str, expected: np.ndarray) -> None:
    if array.shape[1] != expected.shape[1]:
        raise InputError(f"{name} must have the {expected.shape[1]} columns of {other}, got {array.shape[1]}.")


def _names(class_names: Any, labels: np.ndarray) -> tuple[str, ...]:
    given = items("class_names", class_names, "a sequence of names")
    if not all(isinstance(name, str | Number | np.generic) for name in given):
        raise InputError(f"class_names must be texts or numbers, got {shown(class_names)}.")
    names = tuple(map(str, given)) or _numbers(labels)
    if len(set(names)) != len(names):
        raise InputError(f"class_names must differ from each other, got {shown(names)}.")
    if len(names) < 2:
        raise InputError(f"labels must hold at least two classes, got {len(names)}: {names}.")
    return names


def _numbers(labels: np.ndarray) -> tuple[str, ...]:
    """Names 0, 1, ...; no more than inputs, as every class needs one."""
    return tuple(str(k) for k in range(min(int(labels.max()) + 1, len(labels))))


def _check_classes(name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(
            f"{name} must lie in 0..{len(class_names) - 1} (one number per class), "
            f"got values from {labels.min()} to {labels.max()}."
        )


def _check_every_class_present(labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    absent = [class_names[k] for k in set(range(len(class_names))) - set(labels.tolist())]
    if absent:
        raise InputError(f"labels must hold every class at least once, got no input of class {', '.join(absent)}.")


# Compiled functions take tasks as arguments: arrays are traced, names are part of the function's signature.
_ARRAYS = ("inputs", "targets", "labels", "test_inputs", "test_targets", "test_labels")


def _flatten(task: Task) -> tuple[tuple[Any, ...], tuple[str, tuple[str, ...]]]:
    return tuple(getattr(task, name) for name in _ARRAYS), (task.name, task.class_names)


def _unflatten(names: tuple[str, tuple[str, ...]], arrays: tuple[Any, ...]) -> Task:
    task = object.__new__(Task)  # the arrays were checked when the task was made, and may now be tracers
    for name, value in zip((*_ARRAYS, "name", "class_names"), (*arrays, *names), strict=True):
        object.__setattr__(task, name, value)
    return task


jax.tree_util.register_pytree_node(Task, _flatten, _unflatten)
