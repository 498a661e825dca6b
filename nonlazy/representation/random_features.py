r"""How much of the variance of responses do classes make in a layer with random weights, because inputs of a class are alike?

\[ x_i(\mu) = \phi(z_i(\mu)), \qquad z_i \sim N(0, X X^T / N_0) \text{ independent}, \qquad
   \text{share} = \frac{\sum_i s_i}{\sum_i (s_i + w_i)} \]

with signal variance \(s_i\) and variance within classes \(w_i\), for linear, sigmoidal and rectified units, and inputs
scaled to \(|x|^2 / N_0 = 1\) on average.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from nonlazy.representation.population import Population, measure

SIMULATIONS = 199
# Enough of each; larger populations are thinned to keep the simulations in seconds.
MOST_INPUTS, MOST_NEURONS = 500, 300
ACTIVATIONS = (lambda z: z, lambda z: ndtr(np.sqrt(np.pi / 2) * z), lambda z: np.maximum(z, 0))


def class_share(population: Population, counts: Int[np.ndarray, " label"]) -> float:
    """Share of the classes in the variance of single responses."""
    signal, within = population.signal_variance.sum(), (population.noise * counts).mean(axis=1).sum()
    return float(signal / max(signal + within, 1e-300))


def random_class_share(
    inputs: Float[np.ndarray, "P N0"], labels: Int[np.ndarray, " P"], n_neurons: int, generator: np.random.Generator
) -> Float[np.ndarray, "activation simulation"]:
    """Class shares of random layers of as many neurons."""
    chosen = generator.permutation(len(labels))[:MOST_INPUTS]
    if np.bincount(labels[chosen], minlength=labels.max() + 1).min() < 2:
        chosen = np.arange(len(labels))
    inputs, labels = inputs[chosen], labels[chosen]
    left, values, _ = np.linalg.svd(
        inputs / np.sqrt(max(np.mean(inputs**2), 1e-300) * inputs.shape[1]), full_matrices=False
    )
    root, counts = left * values, np.bincount(labels)
    shape = (root.shape[1], min(n_neurons, MOST_NEURONS))
    drawn = (root @ generator.standard_normal(shape) for _ in range(SIMULATIONS))
    return np.array([[class_share(measure(phi(z), labels), counts) for phi in ACTIVATIONS] for z in drawn]).T
