"""Kernels seen class by class."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.validation import label_index, real_array


def class_averages(labels: Int[ArrayLike, " P"], n_labels: int) -> Float[Array, "labels P"]:
    """Matrix whose product with values at the inputs gives their means over each class."""
    indicator = jnp.asarray(labels)[None, :] == jnp.arange(n_labels)[:, None]
    return indicator / indicator.sum(axis=1, keepdims=True)


def block_means(kernel: Float[Array, "... P P"], averages: Float[Array, "labels P"]) -> Float[Array, "... a b"]:
    """Block means of kernels, diagonal entries left out; NaN where a class has one input only."""
    counts = jnp.sum(averages > 0, axis=1)
    blocks = averages @ kernel @ averages.T
    diagonal = jnp.diagonal(kernel, axis1=-2, axis2=-1)
    within = jnp.diagonal(blocks, axis1=-2, axis2=-1) - diagonal @ (averages**2).T
    without_diagonal = jnp.where(counts > 1, counts / (counts - 1), jnp.nan)
    return jnp.where(jnp.eye(len(averages), dtype=bool), (within * without_diagonal)[..., None], blocks)


@double_precision
def kernel_blocks(kernel: ArrayLike, labels: ArrayLike) -> Float[np.ndarray, "... a b"]:
    r"""Mean of a kernel over each pair of classes, diagonal entries left out.

    \[ B_{ab} = \langle K_{\mu\nu} \rangle_{\mu \in a,\, \nu \in b,\, \mu \neq \nu} \]

    Args:
        kernel: (..., P, P), one kernel or several.
        labels: (P,), the class of each input, of any type; classes are sorted.

    Returns:
        (..., n_classes, n_classes); NaN on the diagonal for a class with one input only.

    Raises:
        InputError: a kernel that is not square, or labels of another length.

    Examples:
        >>> import nonlazy as nl
        >>> nl.kernel_blocks([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]], ["a", "a", "b"])
        array([[0.5, 0.2],
               [0.2, nan]])
    """
    kernel = real_array("kernel", kernel)
    classes, index = label_index(labels)
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2]:
        raise InputError(f"kernel must have shape (..., P, P), got {kernel.shape}.")
    if index.shape != kernel.shape[-1:]:
        raise InputError(
            f"labels must have one entry for each of the {kernel.shape[-1]} inputs, got shape {index.shape}."
        )
    return np.array(block_means(jnp.asarray(kernel), class_averages(index, len(classes))))
