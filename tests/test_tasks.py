"""Tasks: exact properties of the toy inputs, and every refusal. Arrays: test_task_arrays.py, images: test_images.py."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import rows

from nonlazy.errors import InputError
from nonlazy.tasks import Task, digits, from_arrays, gaussian, orthogonal

X4 = np.arange(8.0).reshape(4, 2)


# --- Task ---------------------------------------------------------------------------------------


def test_task_is_read_only_and_detached_from_the_arrays_given():
    inputs = np.eye(2)
    task = Task(inputs, np.eye(2), np.array([0, 1]))
    inputs[0, 0] = 7.0
    assert task.inputs[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        task.inputs[0, 0] = 7.0
    assert inputs.flags.writeable


def test_task_sizes_and_dtypes():
    task = Task([[1, 2, 3], [4, 5, 6]], [[1], [0]], [1, 0], [[0, 0, 0]], [[1]], [0])
    assert (task.n_inputs, task.n_features, task.n_outputs, task.n_test) == (2, 3, 1, 1)
    assert task.inputs.dtype == task.targets.dtype == task.test_inputs.dtype == np.float64
    assert task.labels.dtype.kind == "i"
    assert Task(np.eye(2), np.eye(2), [0, 1]).n_test == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.ones(4)}, "inputs must have 2 axes"),
        ({"inputs": np.ones((0, 2))}, "inputs must not be empty"),
        ({"inputs": np.ones((4, 0))}, "inputs must not be empty"),
        ({"inputs": np.full((4, 2), np.nan)}, "inputs must hold finite numbers"),
        ({"targets": np.ones((4, 0))}, "targets must not be empty"),
        ({"targets": np.full((4, 2), np.inf)}, "targets must hold finite numbers"),
        ({"targets": np.ones((3, 2))}, "targets must have one entry per input, got 3 for 4 inputs"),
        ({"labels": [0, 1, 1]}, "labels must have one entry per input, got 3 for 4 inputs"),
        ({"labels": [0.0, 1.0, 1.0, 0.0]}, "labels must be integers"),
        ({"labels": [0, 0, 0, 0]}, "labels must hold at least two classes"),
        ({"labels": [0, 2, 2, 0]}, "no input of class 1"),
        ({"labels": [0, 10**12, 0, 0]}, "labels must lie in 0..3"),
        ({"labels": [-1, 1, 0, 0]}, "labels must lie in 0..1"),
        ({"class_names": ("a", "b", "c")}, "no input of class c"),
        ({"class_names": ("a", "a")}, "class_names must differ"),
        ({"class_names": "ab"}, "class_names must be a sequence"),
        ({"test_inputs": np.ones((1, 2))}, "test_targets must be given too"),
        ({"test_labels": [0]}, "test_inputs must be given too"),
        (
            {"test_inputs": np.ones((1, 3)), "test_targets": [[1, 0]], "test_labels": [0]},
            "test_inputs must have the 2",
        ),
        (
            {"test_inputs": np.ones((1, 2)), "test_targets": [[1.0]], "test_labels": [0]},
            "test_targets must have the 2",
        ),
        (
            {"test_inputs": np.ones((1, 2)), "test_targets": [[1, 0]], "test_labels": [2]},
            "test_labels must lie in 0..1",
        ),
        (
            {"test_inputs": np.ones((1, 2)), "test_targets": [[1, 0]], "test_labels": [0, 1]},
            "test_labels must have one entry per input, got 2 for 1 test_inputs",
        ),
    ],
)
def test_task_refuses(change, message):
    good = {"inputs": X4, "targets": np.eye(2)[[0, 1, 1, 0]], "labels": [0, 1, 1, 0]}
    Task(**good)
    with pytest.raises(InputError, match=message):
        Task(**good | change)


# --- toy inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_inputs", "n_features"), [(3, None), (50, 50), (40, 97), (200, None)])
def test_orthogonal_inputs_are_exactly_orthogonal(n_inputs, n_features):
    task = orthogonal(n_inputs, n_features=n_features, seed=3)
    gram = task.inputs @ task.inputs.T / task.n_features
    assert task.n_features == (n_features or n_inputs)
    np.testing.assert_allclose(gram, np.eye(n_inputs), rtol=0, atol=2e-14)


def test_orthogonal_inputs_point_everywhere():
    # A bare QR factorization fixes the sign of the first entry; all 20 seeds agree by chance once in 2^19.
    assert len({np.sign(orthogonal(4, seed=seed).inputs[0, 0]) for seed in range(20)}) == 2


@pytest.mark.parametrize(
    ("n_inputs", "ratios", "counts"),
    [
        (100, (0.5, 0.25, 0.25), [50, 25, 25]),
        (100, (1 / 3, 1 / 3, 1 / 3), [34, 33, 33]),
        (101, (1 / 3, 1 / 3, 1 / 3), [34, 34, 33]),
        (10, (0.25, 0.25, 0.5), [3, 2, 5]),  # a tie goes to the earlier class
        (10, (0.16, 0.28, 0.56), [2, 3, 5]),  # quotas 1.6, 2.8, 5.6: one each to .8 and then the first .6
        (100, (0.29, 0.29, 0.42), [29, 29, 42]),  # 100 * 0.29 rounds to just below 29
        (7, (0.5, 0.5), [4, 3]),
        (2, np.array([0.9, 0.1]), [2, 0]),
    ],
)
@pytest.mark.parametrize("make", [orthogonal, gaussian])
def test_class_counts(make, n_inputs, ratios, counts):
    if 0 in counts:
        with pytest.raises(InputError, match=r"class_ratios must give every class an input, got counts \[2, 0\]"):
            make(n_inputs, ratios)
        return
    task = make(n_inputs, ratios)
    assert np.bincount(task.labels).tolist() == counts
    assert np.all(np.diff(task.labels) >= 0)


@pytest.mark.parametrize("make", [orthogonal, lambda **k: gaussian(n_test=5, **k), lambda **k: digits(n_train=30, **k)])
def test_seed_decides(make):
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    np.testing.assert_array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
    if one.n_test:
        np.testing.assert_array_equal(one.test_inputs, same.test_inputs)


@pytest.mark.parametrize("make", [orthogonal, gaussian])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_inputs": 0}, "n_inputs must be an integer of at least 1, got 0"),
        ({"n_inputs": 2.5}, "n_inputs must be an integer"),
        ({"class_ratios": (0.5, 0.4)}, r"class_ratios must be .*\(sum 0.9\)"),
        ({"class_ratios": (1.5, -0.5)}, "class_ratios must be at least two positive"),
        ({"class_ratios": (1.0,)}, "class_ratios must be at least two"),
        ({"class_ratios": ()}, "class_ratios must not be empty"),
        ({"class_ratios": (0.5, np.nan)}, "class_ratios must hold finite"),
        ({"class_ratios": "half"}, "class_ratios must be an array"),
        ({"n_features": 0}, "n_features must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": None}, "seed must be an integer"),
        ({"encoding": "onehot"}, "encoding must be one of 'one-hot', 'plus-minus', 'centered', got 'onehot'"),
    ],
)
def test_toy_tasks_refuse(make, arguments, message):
    with pytest.raises(InputError, match=message):
        make(**arguments)


def test_orthogonal_needs_as_many_features_as_inputs():
    with pytest.raises(InputError, match=r"n_features must be at least n_inputs=10 .* got 9"):
        orthogonal(10, n_features=9)


def test_ratios_within_the_tolerance_are_accepted():
    assert orthogonal(10, (0.5, 0.5 + 5e-7)).n_inputs == 10


def test_gaussian_follows_its_formula():
    s, n, features = 0.8, 400, 2000
    task = gaussian(n, (0.5, 0.5), n_features=features, n_test=n, separation=s, seed=5)
    # Means over n N0 squared normals: standard error below sqrt(2 / (n N0)), about 0.0016.
    assert abs(np.mean(task.inputs**2) - 1) < 0.008
    class_means = np.stack([task.inputs[task.labels == c].mean(0) for c in (0, 1)])
    per_class = n // 2
    expected = s**2 + (1 - s**2) / per_class
    assert abs(np.mean(class_means**2, axis=1) - expected).max() < 5 * 2 * s * np.sqrt(
        (1 - s**2) / per_class / features
    )
    # Test inputs share the means, not the noise.
    test_means = np.stack([task.test_inputs[task.test_labels == c].mean(0) for c in (0, 1)])
    overlap = np.sum(class_means * test_means, axis=1) / features
    assert abs(overlap - s**2).max() < 0.02
    assert not rows(task.inputs) & rows(task.test_inputs)


def test_gaussian_without_separation_has_no_class_means():
    task = gaussian(400, (0.5, 0.5), n_features=500)
    half = task.inputs[task.labels == 0].mean(0)
    assert abs(np.mean(half**2) - 1 / 200) < 5 * np.sqrt(2 / 500) / 200


def test_gaussian_training_inputs_do_not_depend_on_the_test_inputs():
    np.testing.assert_array_equal(gaussian(20).inputs, gaussian(20, n_test=7).inputs)
    assert gaussian(20, n_test=7).n_test == 7
    assert np.bincount(gaussian(20, n_test=8).test_labels).tolist() == [4, 2, 2]


@pytest.mark.parametrize("separation", [-0.1, 1.0, np.nan, "much"])
def test_gaussian_refuses_separation(separation):
    with pytest.raises(InputError, match="separation must be"):
        gaussian(separation=separation)


def test_gaussian_refuses_a_negative_test_size():
    with pytest.raises(InputError, match="n_test must be an integer of at least 0, got -1"):
        gaussian(n_test=-1)


@pytest.mark.parametrize(
    ("encoding", "own", "other"),
    [("one-hot", 1.0, 0.0), ("plus-minus", 1.0, -1.0), ("centered", 2 / 3, -1 / 3)],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: orthogonal(8, **k),
        lambda **k: gaussian(8, n_test=5, **k),
        lambda **k: digits(n_train=8, n_test=5, **k),
        lambda **k: from_arrays(X4, [2, 0, 1, 0], X4 + 1, [0, 1, 2, 2], **k),
    ],
)
def test_encodings(make, encoding, own, other):
    task = make(encoding=encoding)
    for targets, labels in ((task.targets, task.labels), (task.test_targets, task.test_labels)):
        if labels is not None:
            expected = np.where(labels[:, None] == np.arange(3), own, other)
            np.testing.assert_allclose(targets, expected, rtol=0, atol=1e-15)
