"""Inputs drawn at random, without any data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nonlazy.errors import InputError
from nonlazy.tasks.classes import class_ratios_array, encode, largest_remainder, sorted_labels
from nonlazy.tasks.task import Task
from nonlazy.validation import finite, integer, shown


def orthogonal(
    n_inputs: int = 100,
    class_ratios: Sequence[float] = (0.5, 0.25, 0.25),
    n_features: int | None = None,
    seed: int = 0,
    encoding: str = "one-hot",
) -> Task:
    r"""Exactly orthogonal inputs: no structure, so that whatever the kernel shows was learned.

    \[ X X^T / N_0 = I \]

    Args:
        n_inputs: P.
        class_ratios: fraction of the inputs in each class, in order; counts by the largest remainder.
        n_features: N0, at least P; P by default.
        seed: of the random rotation.
        encoding: of the classes as targets, "one-hot" (1, 0), "plus-minus" (1, -1) or "centered" (1 - 1/m,
            -1/m).

    Raises:
        InputError: N0 < P, or ratios that are not positive, do not sum to 1 or leave a class without an
            input.

    Examples:
        >>> import numpy as np
        >>> from nonlazy import tasks
        >>> task = tasks.orthogonal(n_inputs=8)
        >>> task.labels
        array([0, 0, 0, 0, 1, 1, 2, 2])
        >>> bool(np.allclose(task.inputs @ task.inputs.T / task.n_features, np.eye(8)))
        True
    """
    n_inputs, n_features = _sizes(n_inputs, n_features)
    if n_features < n_inputs:
        raise InputError(f"n_features must be at least n_inputs={n_inputs} for orthogonal inputs, got {n_features}.")
    labels = sorted_labels(n_inputs, class_ratios)
    gaussian_matrix = np.random.default_rng(integer("seed", seed, 0)).standard_normal((n_features, n_inputs))
    q, r = np.linalg.qr(gaussian_matrix)
    inputs = np.sqrt(n_features) * (q * np.sign(np.diagonal(r))).T  # the signs make the rotation uniform
    return Task(inputs, encode(labels, len(class_ratios), encoding), labels, name="orthogonal")


def gaussian(
    n_inputs: int = 100,
    class_ratios: Sequence[float] = (0.5, 0.25, 0.25),
    n_features: int | None = None,
    n_test: int = 0,
    separation: float = 0.0,
    seed: int = 0,
    encoding: str = "one-hot",
) -> Task:
    r"""Gaussian clouds around one random mean per class.

    \[ x = s\, \mu_c + \sqrt{1 - s^2}\; \xi, \qquad |\mu_c|^2 = N_0, \quad \xi \sim \mathcal{N}(0, I) \]

    The mean of $|x|^2 / N_0$ is 1 for every separation $s$. At $s = 0$ the classes are arbitrary: a network
    can fit the training inputs, and its answers on test inputs stay at chance.

    Args:
        n_inputs: P.
        class_ratios: fraction of the inputs in each class, in order; counts by the largest remainder.
        n_features: N0; P by default.
        n_test: test inputs from the same law, in the same ratios; the training inputs do not depend on it.
        separation: s, from 0 to below 1.
        seed: of means and noise.
        encoding: of the classes as targets, "one-hot" (1, 0), "plus-minus" (1, -1) or "centered" (1 - 1/m,
            -1/m).

    Raises:
        InputError: a separation out of range, or ratios as in `orthogonal`.

    Examples:
        >>> from nonlazy import tasks
        >>> tasks.gaussian(n_inputs=20, class_ratios=(0.5, 0.5), n_features=50, n_test=10, separation=0.6)
        Task('gaussian', n_inputs=20, n_features=50, n_outputs=2, n_test=10, class_names=('0', '1'))
    """
    n_inputs, n_features = _sizes(n_inputs, n_features)
    labels = sorted_labels(n_inputs, class_ratios)
    test_counts = largest_remainder(integer("n_test", n_test, 0), class_ratios_array(class_ratios))
    test_labels = np.repeat(np.arange(len(test_counts)), test_counts)
    separation = _separation(separation)
    rng = np.random.default_rng(integer("seed", seed, 0))
    means = rng.standard_normal((len(test_counts), n_features))
    means *= np.sqrt(n_features) / np.linalg.norm(means, axis=1, keepdims=True)

    def draw(labels: np.ndarray) -> Float[np.ndarray, "n N0"]:
        noise = rng.standard_normal((len(labels), n_features))
        return separation * means[labels] + np.sqrt(1 - separation**2) * noise

    task = Task(draw(labels), encode(labels, len(means), encoding), labels, name="gaussian")
    if n_test == 0:
        return task
    test = draw(test_labels), encode(test_labels, len(means), encoding), test_labels
    return Task(task.inputs, task.targets, task.labels, *test, name=task.name)


def _sizes(n_inputs: int, n_features: int | None) -> tuple[int, int]:
    n_inputs = integer("n_inputs", n_inputs, 1)
    return n_inputs, n_inputs if n_features is None else integer("n_features", n_features, 1)


def _separation(value: float) -> float:
    value = finite("separation", value)
    if not 0 <= value < 1:
        raise InputError(f"separation must be at least 0 and below 1, got {shown(value)}.")
    return value
