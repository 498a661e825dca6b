r"""Are class activities of neurons discrete (a few codes) or continuous (graded)?

\[ w_k = \frac{\text{variance within the best } k \text{ clusters}}{\text{variance}}, \qquad k = 2, 3, 4, 6, 8 \]

against the same number of points drawn uniformly from a box with the same covariance (the reference of the gap
statistic: Tibshirani, Walther & Hastie, J. R. Stat. Soc. B 63, 411 (2001)), the most clustered of the usual unimodal
populations: a Gaussian one has larger \(w_k\).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from nonlazy.representation.population import Population

SIMULATIONS = 99
SURROGATES = 20
CLUSTERS = (2, 3, 4, 6, 8)
MOST_NEURONS = 500
# Neurons farthest out are left alone, in the data as in the reference: one of them would make a cluster of its own.
OUTLYING = 0.05


class Discreteness(NamedTuple):
    """p_value: probability of class activities as clustered as these if they were uniform in a box.

    power: how often activities with two levels only, the same sampling errors and as many neurons would be seen as discrete
    at the given false-alarm rate. NaN where the neurons do not differ.
    """

    p_value: float
    power: float


def measure_discreteness(
    population: Population, two_levels: Population, false_alarms: float, generator: np.random.Generator
) -> Discreteness:
    """Test whether class activities are discrete, and whether the test could have seen it if they were."""
    points = _principal_coordinates(population.contrast, generator)
    if points.shape[1] == 0:
        return Discreteness(np.nan, np.nan)
    width = np.sqrt(12) * points.std(axis=0)
    null = np.array([_within(width * (generator.random(points.shape) - 0.5), generator) for _ in range(SIMULATIONS)])
    # The smallest ratio to the reference over k, for the data and for each member of the reference.
    smallest = (null - null.mean(axis=0)).min(axis=1)

    def p_value(points: Float[np.ndarray, "neuron axis"]) -> float:
        return float(
            (1 + np.sum(smallest <= (_within(points, generator) - null.mean(axis=0)).min())) / (1 + SIMULATIONS)
        )

    surrogates = [two_levels.with_errors(generator).contrast for _ in range(SURROGATES)]
    seen = [p_value(_principal_coordinates(surrogate, generator)) <= false_alarms for surrogate in surrogates]
    return Discreteness(p_value(points), float(np.mean(seen)))


def _principal_coordinates(
    contrast: Float[np.ndarray, "neuron label"], generator: np.random.Generator
) -> Float[np.ndarray, "neuron axis"]:
    points = contrast - contrast.mean(axis=0)
    points = points[np.argsort((points**2).sum(axis=1))[: int(np.ceil((1 - OUTLYING) * len(points)))]]
    if len(points) > MOST_NEURONS:
        points = points[generator.choice(len(points), MOST_NEURONS, replace=False)]
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return (left * values)[:, values > 1e-9 * max(values[0], 1e-300)]


def _within(points: Float[np.ndarray, "neuron axis"], generator: np.random.Generator) -> Float[np.ndarray, " k"]:
    """log w_k for each number of clusters that leaves three points to each."""
    from sklearn.cluster import KMeans  # takes seconds to import

    total = max(((points - points.mean(axis=0)) ** 2).sum(), 1e-300)
    seed = int(generator.integers(2**31))
    sizes = [k for k in CLUSTERS if k <= len(points) // 3]
    # One thread: on populations of hundreds of neurons more only wait for each other.
    with threadpool_limits(1):
        found = [KMeans(k, n_init=1, random_state=seed).fit(points).inertia_ for k in sizes]
    return np.log(np.maximum(found, 1e-12 * total) / total)
