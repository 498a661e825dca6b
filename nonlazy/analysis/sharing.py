r"""How the task-related kernel is divided among neurons, from the strongest to the weakest.

Neuron i carries the signal variance \(s_i\), and the k strongest neurons the share \(\sum_{i \le k} s_i / \sum_i s_i\). In the
most uneven Gaussian population, class activities on one contrast, \(s_i\) has a \(\chi^2_1\) distribution and the strongest
fraction q of neurons carries

\[ 1 - F_3\big(F_1^{-1}(1 - q)\big), \]

with the distribution functions \(F_k\) of \(\chi^2_k\). Under sparse coding a few neurons carry all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats


class Shares(NamedTuple):
    """Share of the task-related kernel in the k strongest neurons, k = 1, 2, ..., and that in a Gaussian population."""

    observed: Float[np.ndarray, " neuron"]
    gaussian: Float[np.ndarray, " neuron"]


def cumulative_shares(signal: Float[np.ndarray, " neuron"]) -> Shares:
    """From signal variances; their estimates may be negative for neurons without signal, and the share then passes 1."""
    strongest = np.sort(signal)[::-1]
    fraction = np.arange(1, len(signal) + 1) / len(signal)
    return Shares(np.cumsum(strongest) / signal.sum(), stats.chi2.sf(stats.chi2.isf(fraction, 1), 3))
