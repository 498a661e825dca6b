"""Monte Carlo means, their standard errors, and bounds that a right answer exceeds with probability 6e-5."""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

SIGMAS = 4.0
AXES = {"chain_axis": 0, "draw_axis": 1}


def mean_and_error(values):
    """Mean of draws (chain, draw) and its Monte Carlo standard error; refuses chains too short for an honest error."""
    values = np.asarray(values, dtype=float)
    assert array_stats.ess(values, method="mean", **AXES) > 100
    assert array_stats.rhat(values, **AXES) < 1.05
    return values.mean(), float(array_stats.mcse(values, **AXES))


def z_score(values, expected, expected_error=0.0):
    """(mean of draws - expected) in combined standard errors."""
    mean, error = mean_and_error(values)
    return (mean - expected) / np.hypot(error, expected_error)


def z_scores(draws, expected):
    """By name, for draws (chain, draw) and expected values by name."""
    return {name: z_score(draws[name], value) for name, value in expected.items()}


def largest_bound(n):
    """What the largest of n z-scores exceeds as rarely as a single one exceeds four."""
    return stats.norm.isf(stats.norm.sf(SIGMAS) / n)


def assert_close(scores):
    """No z-score too large for the number of them; the message holds them all."""
    values = np.abs(list(scores.values()))
    print(f"largest |z| {values.max():.2f} of {len(values)}, mean square {np.mean(values**2):.2f}")
    assert values.max() < largest_bound(len(values)), ", ".join(f"{name} {z:+.1f}" for name, z in scores.items())


def chi_square_bound(n):
    """What a sum of n squared standard normals exceeds as rarely as one of them exceeds four standard deviations."""
    return stats.chi2.isf(2 * stats.norm.sf(SIGMAS), n)


def assert_moments(draws, mean, covariance):
    """Independent draws (n, d) have this mean and this covariance, all entries tested together."""
    n, d = draws.shape
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T)
    assert n * np.sum(white.mean(axis=1) ** 2) < chi_square_bound(d)
    second = white @ white.T / n
    rows, columns = np.triu_indices(d)
    deviations = np.sqrt(n) * (second - np.eye(d))[rows, columns] / np.where(rows == columns, np.sqrt(2), 1)
    assert np.sum(deviations**2) < chi_square_bound(len(rows))
