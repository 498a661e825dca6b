r"""Is there class structure beyond chance? A permutation test of two statistics.

\[ \eta = \frac{\sum_i B_i}{\sum_i W_i}, \qquad F = \max_i B_i / W_i \]

with the variance \(B_i\) between and \(W_i\) within classes of neuron i: the first sees structure that many neurons
share, the second structure that a single one carries. Exchangeable inputs make the permuted labels an exact null.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

PERMUTATIONS = 999
# The test needs no more inputs and neurons than this; larger populations are thinned to keep it in seconds.
MOST_INPUTS, MOST_NEURONS = 1000, 2000


def permutation_p_values(
    activations: np.ndarray, labels: Int[np.ndarray, " P"], generator: np.random.Generator
) -> tuple[float, float]:
    """Probabilities, if labels meant nothing, of as large a shared and a largest single-neuron ratio."""
    values, labels = _thinned(activations, labels, generator)
    values = values - values.mean(axis=0)
    total = (values**2).sum(axis=0)
    observed = _statistics(values, total, labels)
    null = np.array([_statistics(values, total, generator.permutation(labels)) for _ in range(PERMUTATIONS)])
    # Relabelled classes give the same value up to rounding, which must count as a tie.
    exceed = (null >= observed * (1 - 1e-9)).sum(axis=0)
    shared, single = (1 + exceed) / (1 + PERMUTATIONS)
    return float(shared), float(single)


def _statistics(
    values: Float[np.ndarray, "P N"], total: Float[np.ndarray, " N"], labels: Int[np.ndarray, " P"]
) -> Float[np.ndarray, " 2"]:
    counts = np.bincount(labels)
    indicator = (labels == np.arange(len(counts))[:, None]) / np.sqrt(counts)[:, None]
    between = ((indicator @ values) ** 2).sum(axis=0)
    alive = total > 0
    within = np.maximum((total - between)[alive], 1e-12 * total[alive])
    return np.array([between.sum() / max(within.sum(), 1e-300), (between[alive] / within).max()])


def _thinned(
    activations: np.ndarray, labels: Int[np.ndarray, " P"], generator: np.random.Generator
) -> tuple[Float[np.ndarray, "p n"], Int[np.ndarray, " p"]]:
    inputs = np.arange(len(labels))
    if len(labels) > MOST_INPUTS:
        counts = np.bincount(labels)
        keep = np.maximum(2, counts * MOST_INPUTS // len(labels))
        inputs = np.concatenate(
            [generator.choice(np.flatnonzero(labels == c), k, replace=False) for c, k in enumerate(keep)]
        )
    n_neurons = activations.shape[1]
    neurons = np.sort(generator.choice(n_neurons, min(n_neurons, MOST_NEURONS), replace=False))
    # Rows first: they are contiguous in a memory-mapped file.
    return np.asarray(activations[np.sort(inputs)], dtype=float)[:, neurons], labels[np.sort(inputs)]
