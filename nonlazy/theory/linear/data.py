"""The problem of a linear network in the eigenbasis of K_0, and its free energy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy import prior
from nonlazy.posterior import Posterior


class Data(NamedTuple):
    """K_0 = root root^T with its positive eigenvalues, and the targets along their eigenvectors.

    `directions` are the matching unit vectors in the space of the inputs. `unseen` is the free energy of the targets
    outside the range of K_0, which no network fits.
    """

    kappa: Float[np.ndarray, " R"]
    targets: Float[np.ndarray, "R m"]
    root: Float[np.ndarray, "P R"]
    directions: Float[np.ndarray, "R N0"]
    factors: tuple[float, ...]  # of K_{l-1} before layer l: 1, sigma_2^2, ...
    readout_variance: float
    width: int
    nt: float  # N T
    unseen: float

    @property
    def depth(self) -> int:
        return len(self.factors)

    @property
    def prior_q(self) -> float:
        """Q_1 of the prior, where r = 1."""
        return self.readout_variance * math.prod(self.factors)

    def ratio(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Eigenvalues of r from those of Q_1."""
        return (q / self.prior_q) ** (1 / self.depth)

    def layer_powers(self, q: Float[np.ndarray, " m"]) -> list[Float[np.ndarray, " m"]]:
        """Eigenvalues of Q_1 ... Q_L."""
        after = [math.prod(self.factors[layer:]) for layer in range(1, self.depth + 1)]
        return [self.readout_variance * f * self.ratio(q) ** (self.depth - i) for i, f in enumerate(after)]

    def denominators(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "R m"]:
        return self.kappa[:, None] * q + self.nt

    def gains(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "R m"]:
        """Fraction of each target component that is fitted, kappa q / (kappa q + N T)."""
        return self.kappa[:, None] * q / self.denominators(q)

    def weights(self, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, "R m"]:
        """W with W^T W = Q_1^{1/2} t^T K_0 t Q_1^{1/2}."""
        return np.sqrt(self.kappa[:, None] * q) / self.denominators(q) * targets

    def free_energies(self, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, " m"]:
        """F of each output, in the eigenbasis of Q_1 where they add up, without the unseen part."""
        r, d = self.ratio(q), self.denominators(q)
        fit = np.sum(targets**2 / d + np.log(2 * math.pi * d / self.width) / self.width, axis=0)
        return (self.depth * (r - np.log(r) - 1) + fit) / 2


class Spectrum(NamedTuple):
    """Q_1 = basis diag(q) basis^T."""

    q: Float[np.ndarray, " m"]
    basis: Float[np.ndarray, "m m"]


def data_of(posterior: Posterior) -> Data:
    model, task = posterior.model, posterior.task
    scaled = prior.layer_scale(model.weight_stds[0], task.n_features) * task.inputs
    vectors, singular, directions = np.linalg.svd(scaled, full_matrices=False)
    rank = int(np.sum(singular > singular[0] * max(scaled.shape) * np.finfo(float).eps))
    vectors, singular, directions = vectors[:, :rank], singular[:rank], directions[:rank]
    targets = vectors.T @ task.targets
    missed = np.sum(task.targets**2) - np.sum(targets**2) if rank < task.n_inputs else 0.0
    n_missed = (task.n_inputs - rank) * task.n_outputs
    unseen = (missed / posterior.temperature + n_missed * math.log(2 * math.pi * posterior.temperature)) / 2
    return Data(
        kappa=singular**2,
        targets=targets,
        root=vectors * singular,
        directions=directions,
        factors=(1.0, *(std**2 for std in model.weight_stds[1:])),
        readout_variance=posterior.readout_variance,
        width=model.width,
        nt=model.width * posterior.temperature,
        unseen=unseen / model.width,
    )
