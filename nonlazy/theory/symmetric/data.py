r"""Class-symmetric data: kernels that depend on the classes of two inputs alone, and targets on the class.

\[ K_{\mu\nu} = B_{c(\mu) c(\nu)} + \delta_{\mu\nu}\, d_{c(\mu)} \]

Orthogonal inputs with any class ratios are of this kind. Every P x P matrix of the theory then has this form too, and all
integrals over a neuron's P preactivations reduce to a few dimensions (fields common to a class) and one-dimensional ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nonlazy.activations import Activation
from nonlazy.posterior import Posterior

# Relative deviation from the symmetric form that counts as rounding.
TOLERANCE = 1e-9
# Beyond this the number of candidate codes, 2^C, is out of reach.
MAX_CLASSES = 10


class SymmetricKernel(NamedTuple):
    """Class blocks B (C, C) and what the diagonal has in excess of them, d (C,)."""

    blocks: Float[np.ndarray, "C C"]
    excess: Float[np.ndarray, " C"]

    def matrix(self, labels: Int[np.ndarray, " P"]) -> Float[np.ndarray, "P P"]:
        """The kernel of inputs of these classes."""
        return self.blocks[np.ix_(labels, labels)] + np.diag(self.excess[labels])

    def scaled(self, factor: float) -> SymmetricKernel:
        return SymmetricKernel(factor * self.blocks, factor * self.excess)


class SymmetricData(NamedTuple):
    """All that the theory needs to know: inputs per class, K_0, targets per class, prior variances, N T, activation."""

    counts: Float[np.ndarray, " C"]
    labels: Int[np.ndarray, " P"]
    kernel: SymmetricKernel
    targets: Float[np.ndarray, "C m"]
    readout_variance: float
    weight_variances: tuple[float, ...]
    width_temperature: float
    phi: Activation

    def with_fewer_inputs(self, fraction: float) -> SymmetricData:
        """The same classes with a fraction of their inputs, not necessarily whole ones, and readouts as much wider.

        Outputs and the asymptotic growth of a neuron's activity then keep their size.
        """
        return self._replace(counts=fraction * self.counts, readout_variance=self.readout_variance / fraction)

    def with_depth(self, depth: int) -> SymmetricData:
        """The same data for a network of the first layers only."""
        return self._replace(weight_variances=self.weight_variances[:depth])


def fractions_of_inputs(first: float) -> list[float]:
    """From a first fraction of the inputs, four times as many at each step, to all of them."""
    fractions = [min(first, 1.0)]
    while fractions[-1] < 1:
        fractions.append(min(4 * fractions[-1], 1.0))
    return fractions


def symmetric_data(posterior: Posterior) -> SymmetricData | None:
    """The class-symmetric form of a posterior's data, or None if they do not have it."""
    task, model = posterior.task, posterior.model
    labels, n_classes = task.labels, len(task.class_names)
    if n_classes > MAX_CLASSES:
        return None
    targets = np.stack([task.targets[labels == c][0] for c in range(n_classes)])
    if np.abs(task.targets - targets[labels]).max() > TOLERANCE * max(np.abs(targets).max(), 1):
        return None
    kernel = model.weight_stds[0] ** 2 * task.inputs @ task.inputs.T / task.n_features
    projected = project(kernel, labels, n_classes)
    # Rounding would count as fields common to a class, dimensions of all integrals.
    rounded = np.where(np.abs(projected.blocks) > TOLERANCE * np.abs(kernel).max(), projected.blocks, 0)
    projected = SymmetricKernel(rounded, projected.excess)
    if (
        np.abs(kernel - projected.matrix(labels)).max() > TOLERANCE * np.abs(kernel).max()
        or projected.excess.min() <= 0
    ):
        return None
    return SymmetricData(
        np.bincount(labels).astype(float),
        labels,
        projected,
        targets,
        posterior.readout_variance,
        tuple(std**2 for std in model.weight_stds),
        posterior.temperature * model.width,
        model.phi,
    )


def project(kernel: Float[np.ndarray, "P P"], labels: Int[np.ndarray, " P"], n_classes: int) -> SymmetricKernel:
    """The nearest class-symmetric kernel; a class with one input has its diagonal as its block, up to a positive excess."""
    indicator = np.eye(n_classes)[labels]
    counts = indicator.sum(axis=0)
    diagonal = indicator.T @ np.diag(kernel) / counts
    sums = indicator.T @ kernel @ indicator
    pairs = np.outer(counts, counts) - np.diag(counts)
    # The share of a lone input's diagonal that counts as block is free; the smallest other block keeps the rest positive.
    blocks = (sums - np.diag(counts * diagonal)) / np.where(pairs > 0, pairs, 1)
    lone = counts == 1
    if lone.any():
        others = np.abs(blocks).max(axis=1)
        blocks[lone, lone] = np.minimum(others[lone], diagonal[lone] / 2)
    blocks = (blocks + blocks.T) / 2
    return SymmetricKernel(blocks, diagonal - np.diag(blocks))
