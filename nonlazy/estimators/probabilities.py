r"""Class probabilities from the mean and the variance of each output.

\[ p_r = P(Y_r > Y_s \; \forall s \neq r), \quad Y_r \sim N(f_r, v_r + T) \text{ independent}, \qquad
   p_r = \int Dg \prod_{s \neq r} \Phi\Big( \frac{f_r + \sigma_r g - f_s}{\sigma_s} \Big) \]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

# The integrand is smooth, or a step where one output is much less certain than another: an even grid serves both.
NODES = np.linspace(-6, 6, 121)
WEIGHTS = np.exp(-(NODES**2) / 2)


def largest_output(mean: Float[np.ndarray, "n m"], variance: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Probability that each output is the largest, for independent Gaussian outputs; rows sum to one."""
    std = np.sqrt(variance)
    columns = [_probability(r, mean, std) for r in range(mean.shape[1])]
    probability = np.stack(columns, axis=1)
    return probability / probability.sum(axis=1, keepdims=True)


def _probability(r: int, mean: Float[np.ndarray, "n m"], std: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    values = mean[:, [r]] + std[:, [r]] * NODES
    product = np.ones_like(values)
    for s in range(mean.shape[1]):
        if s != r:
            product *= ndtr((values - mean[:, [s]]) / std[:, [s]])
    return product @ WEIGHTS
