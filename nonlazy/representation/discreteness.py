r"""Are class activities of neurons discrete (codes) or continuous (graded)? Two looks for gaps in their distribution.

A gap between two groups of points on a line is measured by the share of the variance that the best cut leaves within them,

\[ w = \min_{\text{cut}} \frac{\text{variance within both sides}}{\text{variance}}, \]

.36 for a Gaussian, 1/4 for a uniform distribution, 0 for two levels.

- *Codes*: neurons form k clusters (Ward), and each has a gap between it and the nearest other one, along the line that joins
  their centres; the worst w counts. Neurons along a curve or in a plane can be cut into clusters too, but without gaps.
- *Levels*: the activities of each class have two levels, whatever the codes; w is that of all classes together.

The null has no gaps and is hard to tell from one that has: neurons tuned to an angle like its cosine. Class activities then
follow the arcsine law (w = .19), and lie on a ring in the plane in which they vary most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.cluster.hierarchy import fcluster, ward
from scipy.spatial.distance import cdist

from nonlazy.representation.population import Population

SIMULATIONS = 199
SURROGATES = 20
CLUSTERS = (2, 3, 4, 6, 8, 12)
MOST_NEURONS = 500
# Neurons farthest out are left alone, in the data as in the null: one of them would make a cluster of its own.
OUTLYING = 0.05


class Discreteness(NamedTuple):
    """p_value: probability of as wide gaps in a continuous population; twice the smaller value of the two looks.

    power: how often activities with two levels only, the same sampling errors and as many neurons would be seen as discrete
    at the given false-alarm rate.
    """

    p_value: float
    power: float


def measure_discreteness(
    population: Population, two_levels: Population, false_alarms: float, generator: np.random.Generator
) -> Discreteness:
    """Test whether class activities are discrete, and whether the test could have seen it if they were."""
    activity = _central(population, generator)
    coordinates = _principal_coordinates(activity)
    null = [_tuned(coordinates.std(axis=0), len(activity), generator) for _ in range(SIMULATIONS)]
    null_codes = np.array([gap_between_clusters(points) for points in null])
    null_levels = np.array([gap_between_levels(points[:, :1]) for points in null])

    def p_value(activity: Float[np.ndarray, "neuron label"]) -> float:
        codes = np.sum(null_codes <= gap_between_clusters(_principal_coordinates(activity)))
        levels = np.sum(null_levels <= gap_between_levels(activity))
        return min(1.0, 2 * (1 + int(min(codes, levels))) / (1 + SIMULATIONS))

    surrogates = [_central(two_levels.with_errors(generator), generator) for _ in range(SURROGATES)]
    return Discreteness(p_value(activity), float(np.mean([p_value(values) <= false_alarms for values in surrogates])))


def gap_between_clusters(points: Float[np.ndarray, "neuron axis"]) -> float:
    """Over numbers of clusters, the least of the worst w between a cluster and the nearest other one."""
    tree = ward(points)
    sizes = [k for k in CLUSTERS if k <= len(points) // 3]
    return min(_worst_gap(points, fcluster(tree, k, "maxclust") - 1) for k in sizes)


def gap_between_levels(activity: Float[np.ndarray, "neuron label"]) -> float:
    """w of the activities of each class, over all classes together."""
    cuts = [_best_cut(values) for values in activity.T]
    return sum(within for within, _ in cuts) / max(sum(total for _, total in cuts), 1e-300)


def _worst_gap(points: Float[np.ndarray, "neuron axis"], cluster: np.ndarray) -> float:
    n = cluster.max() + 1
    if n < 2:
        return 1.0
    centres = np.array([points[cluster == k].mean(axis=0) for k in range(n)])
    distances = cdist(centres, centres)
    np.fill_diagonal(distances, np.inf)
    worst = 0.0
    for k, nearest in enumerate(distances.argmin(axis=1)):
        within, total = _best_cut(points[(cluster == k) | (cluster == nearest)] @ (centres[nearest] - centres[k]))
        worst = max(worst, within / max(total, 1e-300))
    return worst


def _best_cut(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Sum of squares within the two sides of the best cut, and in all."""
    ordered = np.sort(values) - values.mean()
    total = float(ordered @ ordered)
    below = np.arange(1, len(ordered))
    # Between two sides with n and N - n points and sums S and -S: S^2 / n + S^2 / (N - n).
    between = np.cumsum(ordered)[:-1] ** 2 * (1 / below + 1 / (len(ordered) - below))
    return max(total - float(between.max()), 0.0), total


def _tuned(
    std: Float[np.ndarray, " axis"], n_neurons: int, generator: np.random.Generator
) -> Float[np.ndarray, "neuron axis"]:
    """Cosines of random angles, the first two axes of the same angle: a ring."""
    angles = 2 * np.pi * generator.random((n_neurons, len(std)))
    if len(std) > 1:
        angles[:, 1] = angles[:, 0] + np.pi / 2
    return np.sqrt(2) * std * np.cos(angles)


def _central(population: Population, generator: np.random.Generator) -> Float[np.ndarray, "neuron label"]:
    """Class activities without the outlying neurons, and of no more neurons than needed."""
    distance = ((population.contrast - population.contrast.mean(axis=0)) ** 2).sum(axis=1)
    chosen = np.argsort(distance)[: int(np.ceil((1 - OUTLYING) * len(distance)))]
    if len(chosen) > MOST_NEURONS:
        chosen = generator.choice(chosen, MOST_NEURONS, replace=False)
    return population.activity[chosen]


def _principal_coordinates(activity: Float[np.ndarray, "neuron label"]) -> Float[np.ndarray, "neuron axis"]:
    """Contrasts between classes, along the axes in which neurons differ."""
    points = activity - activity.mean(axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return (left * values)[:, values > 1e-9 * max(values[0], 1e-300)]
