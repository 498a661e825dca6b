r"""Geometry of a representation, from its kernel and the labels alone.

With class averages \(A_{c\mu} = \delta_{c c_\mu} / n_c\) and \(J = 1 - \frac1C \mathbf{1}\mathbf{1}^T\), inner products of
the centred class means \(m_c\) are \(M = J A K A^T J\), those of the deviations \(h_\mu - \bar h_{c_\mu}\) with them
\(R = J A K (1 - A^T S)\), \(S_{c\mu} = \delta_{c c_\mu}\), and everything below follows without the features \(h_\mu\).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from sklearn.preprocessing import KernelCenterer

from nonlazy.errors import InputError
from nonlazy.validation import finite_array, label_index

# Relative to the largest value: smaller ones are rounding errors.
ROUNDING = 1e-10


class Geometry(NamedTuple):
    """Geometry of one layer; each field is explained in `nonlazy.kernel_geometry`."""

    alignment: float
    dimension: float
    within: float
    between: float
    nc1: float
    nc2_norms: float
    nc2_angles: float
    nc2_simplex: float
    nc4: float
    nc4_left_out: float


def kernel_geometry(kernel: ArrayLike, labels: ArrayLike) -> Geometry:
    r"""How a layer arranges inputs of different classes, from its kernel: of samples, a theory, or a recording.

    With features \(h_\mu\), kernel \(K_{\mu\nu} = h_\mu \cdot h_\nu\), class means \(\bar h_c\), \(m_c\) these less their mean,
    \(\Sigma_W\) the covariance within classes and \(\Sigma_B = \frac1C \sum_c m_c m_c^T\), each class with the same weight:

    - `alignment`: centred kernel alignment of K with the kernel of the labels, 1 for same and 0 for different classes.
    - `dimension`: participation ratio \((\sum_k \lambda_k)^2 / \sum_k \lambda_k^2\) of the eigenvalues of the centred kernel.
    - `within`, `between`: variances \(\mathrm{tr}\, \Sigma_W\), \(\mathrm{tr}\, \Sigma_B\), in units of K.
    - `nc1`: \(\mathrm{tr}(\Sigma_W \Sigma_B^+) / C\), 0 where classes collapse to points, infinite if their means coincide.
      Also 0 where deviations are orthogonal to the \(m_c\), as in noise of many dimensions or a kernel that depends on classes
      but for its diagonal: `within / between` tells these from collapse.
    - `nc2_norms`: standard deviation of \(|m_c|\) over its mean, 0 for equal norms.
    - `nc2_angles`: standard deviation over pairs of classes of \(\cos(m_c, m_{c'})\), 0 for equal angles.
    - `nc2_simplex`: mean of \(|\cos(m_c, m_{c'}) + 1/(C-1)|\), 0 for a simplex. With two classes all three are 0 by definition.
    - `nc4`: fraction of inputs whose own class has the nearest \(\bar h_c\). Their own features are part of it, so that it is 1
      for pure noise in many dimensions.
    - `nc4_left_out`: the same for unbiased squared distances, from pairs of different inputs only: 1/C for noise.
      Ties are shared evenly; NaN if a class has fewer than three inputs.

    The third of these phenomena (NC3) compares class means with readout weights and does not follow from a kernel.

    Args:
        kernel: (P, P), symmetric. Of activations (P, N): `activations @ activations.T / N`.
        labels: (P,), the class of each input, of any type; at least two classes.

    Raises:
        InputError: a kernel that is not square, finite, symmetric and positive semidefinite; labels of another length,
            or of one class.

    References:
        Papyan, Han and Donoho, PNAS 117, 24652 (2020): neural collapse. Cortes, Mohri and Rostamizadeh, JMLR 13, 795 (2012);
        Kornblith et al., ICML (2019): centred kernel alignment.

    Examples:
        >>> import nonlazy as nl
        >>> import numpy as np
        >>> labels = np.repeat(["cat", "dog", "owl"], 4)
        >>> same_class = labels[:, None] == labels
        >>> found = nl.kernel_geometry(same_class + 0.1 * np.eye(12), labels)
        >>> print(f"alignment {found.alignment:.3f}, within / between {found.within / found.between:.3f}")
        alignment 0.999, within / between 0.110
    """
    kernel = _kernel("kernel", kernel)
    index = _class_index(labels, len(kernel))
    counts = np.bincount(index)
    n_classes = len(counts)
    members = np.equal.outer(np.arange(n_classes), index)
    averages = members / counts[:, None]
    to_means = averages @ kernel  # inner products of class means and inputs
    means = to_means @ averages.T
    centred = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean()
    deviations = to_means - means[:, index]
    deviations = deviations - deviations.mean(axis=0)
    weights = 1 / (n_classes * counts[index])
    within = weights @ np.diagonal(kernel) - np.diagonal(means).mean()
    between = np.trace(centred) / n_classes
    coincide = between <= ROUNDING * np.diagonal(kernel).mean()
    return Geometry(
        kernel_alignment(kernel, members.T @ members),
        _participation_ratio(kernel),
        float(max(within, 0)),
        float(max(between, 0)),
        np.inf if coincide else _collapse(centred, deviations, weights),
        *((np.nan,) * 3 if coincide else _simplex(centred)),
        _share_nearest(np.diagonal(means) - 2 * to_means.T, index),
        _share_nearest(_unbiased_distances(kernel, members, index), index) if counts.min() > 2 else np.nan,
    )


def kernel_alignment(kernel: ArrayLike, other: ArrayLike) -> float:
    r"""Centred alignment of two kernels, the cosine of the angle between them once inputs are centred.

    \[ \mathrm{CKA}(K, L) = \frac{\langle HKH, HLH \rangle_F}{|HKH|_F\, |HLH|_F}, \qquad
       H = 1 - \tfrac1P \mathbf{1}\mathbf{1}^T \]

    It ignores scales and lies between 0 and 1. With noise of P inputs in few dimensions it is above 0 by chance.

    Args:
        kernel, other: (P, P), symmetric, of the same inputs in the same order.

    Returns:
        NaN if one of them is constant.

    Raises:
        InputError: kernels of different shapes, or not square, finite, symmetric and positive semidefinite.

    References:
        Cortes, Mohri and Rostamizadeh, JMLR 13, 795 (2012), eq. 3; Kornblith et al., ICML (2019), linear CKA.

    Examples:
        >>> import nonlazy as nl
        >>> round(nl.kernel_alignment([[1.0, 0.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 3.0]]), 6)
        1.0
    """
    first, second = _pair(kernel, other)
    first, second = _centred(first), _centred(second)
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / norms) if norms else np.nan


def kernel_distance(kernel: ArrayLike, reference: ArrayLike) -> float:
    r"""Distance of a kernel from a reference, relative to its size: \(|K - K_\mathrm{ref}|_F / |K_\mathrm{ref}|_F\).

    Scales and diagonal entries count: with the kernel of the lazy theory as reference it says how much was learned, with
    that of the non-lazy theory how well the theory holds.

    Args:
        kernel, reference: (P, P), of the same inputs in the same order.

    Raises:
        InputError: kernels of different shapes, or not square, finite, symmetric and positive semidefinite; a reference of
            zeros.

    Examples:
        >>> import nonlazy as nl
        >>> nl.kernel_distance([[1.5, 0.0], [0.0, 1.5]], [[1.0, 0.0], [0.0, 1.0]])
        0.5
    """
    first, second = _pair(kernel, reference)
    if not second.any():
        raise InputError("reference must have an entry that is not zero.")
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def _collapse(
    means: Float[np.ndarray, "C C"], deviations: Float[np.ndarray, "C P"], weights: Float[np.ndarray, " P"]
) -> float:
    r"""\(\mathrm{tr}(\Sigma_W \Sigma_B^+) / C = \mathrm{tr}(M^{+2} R\, \mathrm{diag}(w)\, R^T)\)."""
    values, vectors = np.linalg.eigh(means)
    kept = values > ROUNDING * values[-1]
    return float(np.sum(weights * (vectors[:, kept].T @ deviations / values[kept, None]) ** 2))


def _simplex(means: Float[np.ndarray, "C C"]) -> tuple[float, float, float]:
    """Spreads of norms and angles of centred class means, and their distance from a simplex's angles."""
    norms = np.sqrt(np.maximum(np.diagonal(means), 0))
    pairs = np.triu_indices(len(means), 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a class at the centre has no angle
        cosines = (means / np.outer(norms, norms))[pairs]
    simplex = np.abs(cosines + 1 / (len(means) - 1)).mean()
    return float(norms.std() / norms.mean()), float(cosines.std()), float(simplex)


def _unbiased_distances(
    kernel: Float[np.ndarray, "P P"], members: Float[np.ndarray, "C P"], index: Int[np.ndarray, " P"]
) -> Float[np.ndarray, "P C"]:
    """Squared distances of inputs from class means, less |h|^2, without products of an input with itself."""
    counts, own = members.sum(axis=1), members.T
    diagonal = np.diagonal(kernel)[:, None]
    to_class = kernel @ members.T
    pairs = np.sum(members @ kernel * members, axis=1) - members @ np.diagonal(kernel)
    # From its own class the input itself is left out too.
    left = counts - own
    products = (to_class - own * diagonal) / left
    squares = (pairs - 2 * own * (to_class - diagonal)) / (left * (left - 1))
    return squares - 2 * products


def _share_nearest(distances: Float[np.ndarray, "P C"], index: Int[np.ndarray, " P"]) -> float:
    """How often the own class is the nearest; classes at the same distance share the input."""
    rounding = ROUNDING * np.abs(distances).max()
    nearest = distances <= distances.min(axis=1, keepdims=True) + rounding
    return float(np.mean(nearest[np.arange(len(index)), index] / nearest.sum(axis=1)))


def _participation_ratio(kernel: Float[np.ndarray, "P P"]) -> float:
    centred = _centred(kernel)
    size = np.sum(centred**2)
    return float(np.trace(centred) ** 2 / size) if size else np.nan


def _centred(kernel: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """H K H; exactly zero if nothing but rounding errors remains."""
    centred = KernelCenterer().fit_transform(kernel)
    negligible = np.linalg.norm(centred) <= ROUNDING * np.linalg.norm(kernel)
    return np.zeros_like(centred) if negligible else centred


def _kernel(name: str, value: ArrayLike) -> Float[np.ndarray, "P P"]:
    kernel = finite_array(name, value, ndim=2)
    if kernel.shape[0] != kernel.shape[1]:
        raise InputError(f"{name} must have shape (P, P), got {kernel.shape}.")
    size = np.abs(kernel).max()
    asymmetry = np.abs(kernel - kernel.T).max()
    # Means over many single-precision kernels are symmetric and positive to about seven digits.
    if asymmetry > 1e-5 * size:
        raise InputError(
            f"{name} must be symmetric, got entries that differ from their mirror image by {asymmetry:.2g}."
        )
    kernel = (kernel + kernel.T) / 2
    smallest = np.linalg.eigvalsh(kernel)[0]
    if smallest < -1e-5 * size * len(kernel):
        raise InputError(f"{name} must be positive semidefinite, got an eigenvalue of {smallest:.2g}.")
    return kernel


def _pair(kernel: ArrayLike, other: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = _kernel("the first kernel", kernel), _kernel("the second kernel", other)
    if first.shape != second.shape:
        raise InputError(f"kernels must be of the same inputs, got shapes {first.shape} and {second.shape}.")
    return first, second


def _class_index(labels: ArrayLike, n_inputs: int) -> Int[np.ndarray, " P"]:
    classes, index = label_index(labels)
    if index.shape != (n_inputs,):
        raise InputError(f"labels must have one entry for each of the {n_inputs} inputs, got shape {index.shape}.")
    if len(classes) < 2:
        raise InputError(f"labels must name at least two classes, got {classes.tolist()}.")
    return index
