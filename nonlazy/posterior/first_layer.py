r"""The first layer, whitened: all weight directions that the training inputs do not see are left out.

With the singular value decomposition \(\sigma_1 X / \sqrt{N_0} = U S V^T\) of rank R,

\[ z^1 = F \epsilon, \qquad F F^T = K_0, \qquad \epsilon \in \mathbb{R}^{R \times N} \text{ standard normal}, \]

and the weights are \(W^1 = D \epsilon + (I - D D^T) W_0\), with orthonormal directions D that the training inputs see,
\(F = \sigma_1 X D / \sqrt{N_0}\), and \(W_0\) from the prior. On a new input the mean of \(z^1(x)\) is then
\(k_0(x)^T K_0^{-1} z^1\), and its covariance the conditional one.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nonlazy.compilation import double_precision
from nonlazy.errors import DataWarning, InputError
from nonlazy.model import Model
from nonlazy.prior import layer_scale
from nonlazy.tasks import Task


class FirstLayer(NamedTuple):
    """Factor F and directions D.

    For orthogonal inputs F is diagonal and kept as a vector (P,), which saves two products of matrices a gradient;
    otherwise F is (P, R).
    """

    factor: Float[Array, "P R"] | Float[Array, " P"]
    directions: Float[Array, "N0 R"]

    @property
    def rank(self) -> int:
        """Number R of directions that the training inputs see."""
        return self.factor.shape[-1]

    def preactivations(self, coordinates: Float[Array, "R N"]) -> Float[Array, "P N"]:
        """z^1 = F eps on the training inputs."""
        return self.factor[:, None] * coordinates if self.factor.ndim == 1 else self.factor @ coordinates

    def weights(self, key: Array, coordinates: Float[Array, "R N"]) -> Float[Array, "N0 N"]:
        """A draw of the weights W^1 = D eps + (I - D D^T) W_0."""
        prior_draw = jax.random.normal(key, (len(self.directions), coordinates.shape[1]))
        return prior_draw + self.directions @ (coordinates - self.directions.T @ prior_draw)


@double_precision
def whiten(model: Model, task: Task) -> FirstLayer:
    """The whitened first layer of a model on a task's inputs.

    Raises:
        InputError: two training inputs are equal.

    Warns:
        DataWarning: K_0 is singular in a way that keeps the network from fitting the targets.
    """
    check_duplicates(task.inputs)
    scale = layer_scale(model.weight_stds[0], task.n_features)
    u, s, vt = np.linalg.svd(scale * task.inputs, full_matrices=False)
    rank = int(np.sum(s > s[0] * max(task.inputs.shape) * np.finfo(float).eps))
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    _warn_if_singular(model, task, u)
    # The symmetric root where it exists, so that orthogonal inputs give the identity.
    rotation = u.T if rank == task.n_inputs else np.eye(rank)
    factor = u * s @ rotation
    diagonal = np.diagonal(factor)
    orthogonal = rank == task.n_inputs and np.allclose(factor, np.diag(diagonal), rtol=0, atol=1e-12 * s[0])
    return FirstLayer(jnp.asarray(diagonal if orthogonal else factor), jnp.asarray(vt.T @ rotation))


def check_duplicates(inputs: Float[np.ndarray, "P N0"]) -> None:
    """Refuse equal training inputs: they make K_0 singular, and with different labels they cannot be fitted."""
    unique, first, inverse = np.unique(inputs, axis=0, return_index=True, return_inverse=True)
    if len(unique) == len(inputs):
        return
    original = first[inverse.ravel()]
    copies = [(int(original[i]), i) for i in range(len(inputs)) if original[i] != i]
    shown = ", ".join(f"{i} = {j}" for i, j in copies[:3]) + (", ..." if len(copies) > 3 else "")
    raise InputError(
        f"inputs must be distinct, got {len(copies)} that repeat earlier ones ({shown}): they make the kernel "
        "K_0 = X X^T / N0 singular. Drop the copies; numpy.unique(inputs, axis=0, return_index=True) finds them."
    )


def _warn_if_singular(model: Model, task: Task, span: Float[np.ndarray, "P R"]) -> None:
    if span.shape[1] == task.n_inputs:
        return
    residual = task.targets - span @ (span.T @ task.targets)
    unfitted = float(np.mean(residual**2))
    reason = (
        f"K_0 = X X^T / N0 is singular (rank {span.shape[1]} for {task.n_inputs} inputs of {task.n_features} features)"
    )
    centred = np.linalg.norm(span.T @ np.ones(task.n_inputs)) < 1e-8 * np.sqrt(task.n_inputs)
    if centred:
        reason += ", because the mean of the inputs was subtracted: the network cannot see the constant direction"
    if model.phi.name == "linear" and unfitted > 1e-12:
        warnings.warn(
            f"{reason}. A linear network keeps a training error of at least {unfitted:.2g} per element at any temperature; "
            "use fewer inputs than features, or do not centre them.",
            DataWarning,
            stacklevel=5,
        )
    elif centred:
        warnings.warn(
            f"{reason}. Networks without biases fit such data badly; do not centre them.", DataWarning, stacklevel=5
        )
