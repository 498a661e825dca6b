"""Tasks from arrays: labels of any type, targets, and every refusal names its argument."""

from __future__ import annotations

import numpy as np
import pytest

from nonlazy.errors import InputError
from nonlazy.tasks import from_arrays

X4 = np.arange(8.0).reshape(4, 2)


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        ([3, 1, 3, 2], ("1", "2", "3"), [2, 0, 2, 1]),
        (["dog", "cat", "dog", "dog"], ("cat", "dog"), [1, 0, 1, 1]),
        ([True, False, True, True], ("False", "True"), [1, 0, 1, 1]),
        ([1.0, -1.0, 1.0, 1.0], ("-1", "1"), [1, 0, 1, 1]),
        (np.array([2, "two", 2, "two"], dtype=object), ("2", "two"), [0, 1, 0, 1]),
    ],
)
def test_labels_of_any_type(labels, names, numbers):
    task = from_arrays(X4, labels)
    assert task.class_names == names
    assert task.labels.tolist() == numbers
    np.testing.assert_array_equal(task.targets, np.eye(len(names))[numbers])
    np.testing.assert_array_equal(task.inputs, X4)


def test_pandas_objects():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X4, columns=["a", "b"])
    task = from_arrays(frame, pandas.Series(["x", "y", "x", "y"], index=[5, 6, 7, 8]))
    np.testing.assert_array_equal(task.inputs, X4)
    assert task.class_names == ("x", "y")
    with pytest.raises(InputError, match="labels must not be missing, got 1 NaN or None, first at 1"):
        from_arrays(frame, pandas.Series([1, None, 1, 2], dtype="Int64"))


def test_test_labels_share_the_classes_of_training():
    task = from_arrays(X4, ["c", "a", "b", "a"], X4[:2] + 0.5, ["b", "b"])
    assert task.test_labels.tolist() == [1, 1]
    np.testing.assert_array_equal(task.test_targets, [[0, 1, 0], [0, 1, 0]])


def test_targets_in_place_of_labels():
    targets = np.array([[0.9, 0.2], [0.1, 0.8], [-0.5, -0.7], [0.0, 3.0]])
    task = from_arrays(X4, targets, X4[:1], targets[1:2], encoding="plus-minus")
    np.testing.assert_array_equal(task.targets, targets)
    np.testing.assert_array_equal(task.test_targets, targets[1:2])
    assert (task.labels.tolist(), task.test_labels.tolist()) == ([0, 1, 0, 1], [1])


def test_targets_with_one_output():
    task = from_arrays(X4, [[1.0], [-1.0], [-1.0], [1.0]])
    assert (task.n_outputs, task.labels.tolist(), task.class_names) == (1, [1, 0, 0, 1], ("-1", "1"))


def test_outputs_that_are_never_largest_are_no_classes():
    task = from_arrays(X4, np.eye(3)[[0, 2, 2, 0]])
    assert (task.class_names, task.labels.tolist(), task.n_outputs) == (("0", "2"), [0, 1, 1, 0], 3)


def test_targets_beside_labels():
    values = np.linspace(0, 1, 30)[:, None]
    inputs = np.arange(60.0).reshape(30, 2)
    task = from_arrays(
        inputs, ["low"] * 15 + ["up"] * 15, inputs[:2], ["up", "low"], targets=values, test_targets=values[:2]
    )
    np.testing.assert_array_equal(task.targets, values)
    np.testing.assert_array_equal(task.test_targets, values[:2])
    assert task.class_names == ("low", "up")
    assert task.test_labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "labels must be given"),
        ({"inputs": np.ones((0, 2)), "labels": []}, "inputs must not be empty"),
        ({"inputs": X4 * np.nan, "labels": [0, 1, 0, 1]}, "inputs must hold finite numbers"),
        ({"inputs": np.ones((4, 2, 2)), "labels": [0, 1, 0, 1]}, "inputs must have 2 axes"),
        ({"inputs": [["a", "b"]], "labels": [0]}, "inputs must be an array of numbers"),
        ({"labels": [0, 1]}, "labels must have one entry per input, got 2 for 4 inputs"),
        ({"labels": [0, 0, 0, 0]}, "labels must hold at least two classes, got only '0'"),
        ({"labels": []}, "labels must not be empty"),
        ({"labels": [0.0, np.nan, 1.0, 0.0]}, "labels must not be missing, got 1 NaN or None, first at 1"),
        ({"labels": ["a", None, "b", None]}, "labels must not be missing, got 2 NaN or None, first at 1"),
        ({"labels": 3}, r"labels must be classes \(n,\) or targets \(n, m\), got an array of shape \(\)"),
        ({"labels": np.ones((4, 2, 2))}, "labels must be classes"),
        ({"labels": [[0], [1, 2], [0], [1]]}, "labels must be one class per input, got a ragged"),
        ({"labels": [{}, {}, {}, {}]}, "labels must be classes such as integers or strings"),
        ({"labels": np.full((4, 2), np.nan)}, "labels must hold finite numbers"),
        ({"labels": [["a"], ["b"], ["a"], ["b"]]}, "labels must be an array of numbers"),
        (
            {"labels": np.ones((4, 2))},
            "targets have no single largest output in 4 rows.*class labels are needed",
        ),
        ({"labels": np.eye(2)}, "labels must have one entry per input, got 2 for 4"),
        (
            {"labels": [0, 1, 0, 1], "targets": np.ones((3, 1))},
            "targets must have one entry per input, got 3",
        ),
        ({"labels": [0, 1, 0, 1], "targets": np.ones(4)}, "targets must have 2 axes"),
        ({"labels": np.eye(2)[[0, 1, 0, 1]], "targets": np.ones((4, 1))}, "labels must be classes"),
        ({"labels": [0, 1, 0, 1], "test_inputs": X4}, "test_labels must be given exactly if labels"),
        ({"labels": [0, 1, 0, 1], "test_labels": [0]}, "test_inputs must be given too"),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4, "test_labels": np.eye(4)},
            "test_labels must be given exactly",
        ),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4, "test_labels": [0, 1, 5, 7]},
            r"test_labels .*0, 1.*also 5, 7",
        ),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4, "test_labels": [0, 1, None, 0]},
            "test_labels must not be missing",
        ),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4, "test_labels": [0]},
            "test_labels must have one entry per input",
        ),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4[:, :1], "test_labels": [0] * 4},
            "test_inputs must have the 2",
        ),
        (
            {"labels": [0, 1, 0, 1], "test_inputs": X4 - np.inf, "test_labels": [0] * 4},
            "test_inputs must hold finite",
        ),
        ({"labels": [0, 1, 0, 1], "encoding": "binary"}, "encoding must be one of"),
    ],
)
def test_from_arrays_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        from_arrays(**{"inputs": X4} | arguments)


@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_measurements_are_not_classes(shape):
    inputs = np.arange(60.0).reshape(30, 2)
    with pytest.raises(InputError, match=r"30 different .*from_arrays\(inputs, labels, targets=...\)"):
        from_arrays(inputs, np.linspace(0.01, 1, 30).reshape(shape))
