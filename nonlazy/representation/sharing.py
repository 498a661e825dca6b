r"""How is the task-related kernel shared among neurons: by a finite fraction of them, or by a few?

\[ \mathrm{PR} = \frac{(\sum_i s_i)^2}{\sum_i s_i^2}, \qquad
   h = \frac{\sum_{i \in \text{weaker half}} s_i}{\sum_i s_i} \]

with the signal variance \(s_i\) of neuron i. Under sparse coding most neurons carry nothing and h is close to zero; under
the most uneven Gaussian coding (one contrast between classes) h is .07. The null of the test is this Gaussian population,
with the same number of neurons and the same sampling errors.
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
    """Probability of as small a share of the weaker half in a population of Gaussian class activities on one contrast."""
    observed = weaker_half(population.signal_variance)
    null = np.array([weaker_half(_gaussian(population, generator).signal_variance) for _ in range(SIMULATIONS)])
    return float((1 + (null <= observed).sum()) / (1 + SIMULATIONS))


def _gaussian(population: Population, generator: np.random.Generator) -> Population:
    n, labels = population.activity.shape
    # The contrast along which the classes differ most in the data.
    _, _, axes = np.linalg.svd(population.contrast, full_matrices=False)
    scale = np.sqrt(labels * max(population.signal_variance.mean(), 0.0))
    activity = scale * generator.standard_normal((n, 1)) * axes[0]
    # Every neuron with the mean error: errors that go with the activity would make the null uneven too.
    noise = np.broadcast_to(population.noise.mean(axis=0), (n, labels))
    return Population(activity, noise).with_errors(generator)
