r"""How is the task-related kernel shared among neurons: by a finite fraction of them, or by a few?

\[ \mathrm{PR} = \frac{(\sum_i s_i)^2}{\sum_i s_i^2}, \qquad
   h = \frac{\sum_{i \in \text{weaker half}} s_i}{\sum_i s_i} \]

with the signal variance \(s_i\) of neuron i. Under sparse coding most neurons carry nothing, h is close to zero and PR a
small number. A finite fraction of neurons gives a finite h and a PR that grows with their number: with one contrast between
classes h is .07 and PR is N/3 under Gaussian coding, .03 and N/6 under exponential coding. The latter, with the same number of
neurons and the same sampling errors, is the null of the test.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nonlazy.representation.population import Population

SIMULATIONS = 500


def participation_ratio(signal: Float[np.ndarray, " neuron"]) -> float:
    """Number of neurons that share the task-related kernel."""
    return float(signal.sum() ** 2 / (signal**2).sum()) if signal.sum() > 0 else 0.0


def weaker_half(signal: Float[np.ndarray, " neuron"]) -> float:
    """Share of the task-related kernel that the weaker half of the neurons carries."""
    total = signal.sum()
    return float(np.sort(signal)[: len(signal) // 2].sum() / total) if total > 0 else 0.0


def sharing_p_value(population: Population, generator: np.random.Generator) -> float:
    """Probability of as uneven a share in the null; twice the smaller value of both statistics."""
    observed = _statistics(population)
    null = np.array([_statistics(_exponential(population, generator)) for _ in range(SIMULATIONS)])
    exceed = (null <= observed).sum(axis=0).min()
    return min(1.0, 2 * (1 + int(exceed)) / (1 + SIMULATIONS))


def _statistics(population: Population) -> Float[np.ndarray, " 2"]:
    signal = population.signal_variance
    return np.array([weaker_half(signal), participation_ratio(signal)])


def _exponential(population: Population, generator: np.random.Generator) -> Population:
    n, labels = population.activity.shape
    # The contrast along which the classes differ most in the data.
    _, _, axes = np.linalg.svd(population.contrast, full_matrices=False)
    scale = np.sqrt(labels * max(population.signal_variance.mean(), 0.0) / 2)
    activity = scale * generator.laplace(size=(n, 1)) * axes[0]
    # Every neuron with the mean error: errors that go with the activity would make the null uneven too.
    noise = np.broadcast_to(population.noise.mean(axis=0), (n, labels))
    return Population(activity, noise).with_errors(generator)
