r"""How the task-related kernel is divided among neurons, from the strongest to the weakest.

Neuron i carries the signal variance \(s_i\), and the k strongest neurons the share
\(\sum_{i \le k} s_i / \sum_i s_i\). If class activities lie on one contrast and their sizes have an
exponential distribution, the null of the test for sparse coding, the
strongest fraction q of neurons carries

\[ \tfrac12 \int_{-\ln q}^\infty x^2 e^{-x} dx = \tfrac{q}{2} \big( \ln^2 q - 2 \ln q + 2 \big) . \]

Under sparse coding a few neurons carry all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Shares(NamedTuple):
    """Share of the task-related kernel in the k strongest neurons, k = 1, 2, ..., and that of exponential coding."""

    observed: Float[np.ndarray, " neuron"]
    exponential: Float[np.ndarray, " neuron"]


def cumulative_shares(signal: Float[np.ndarray, " neuron"]) -> Shares:
    """From signal variances; their estimates may be negative for neurons without signal, and the share then passes 1."""
    strongest = np.sort(signal)[::-1]
    fraction = np.arange(1, len(signal) + 1) / len(signal)
    return Shares(
        np.cumsum(strongest) / signal.sum(), fraction / 2 * (np.log(fraction) ** 2 - 2 * np.log(fraction) + 2)
    )
