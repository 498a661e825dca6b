"""What theory says of single neurons: branches of their law, outliers, and drawn networks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Branch(NamedTuple):
    """A peak of the single-neuron law of the last layer.

    Attributes:
        code: the classes that activate its neurons, 1 or 0 per class.
        probability: fraction of the neurons on it.
        readout: readout weights at the peak, (m,).
        activity: mean activity on each class at the peak, (C,).
    """

    code: tuple[int, ...]
    probability: float
    readout: Float[np.ndarray, " m"]
    activity: Float[np.ndarray, " C"]


class OutlierNeurons(NamedTuple):
    r"""Neurons whose activity grows like the square root of the width, one for each ray.

    Attributes:
        readout: \(\tilde{a} = a / \sqrt{N}\), (k, m).
        preactivations: \(\tilde{z} = z / \sqrt{N}\), (k, P).
        activity: \(\phi_\infty(\tilde{z})\), (k, P); it adds \(\sum_k \tilde{\phi}_k \tilde{\phi}_k^T\) to the kernel.
    """

    readout: Float[np.ndarray, "k m"]
    preactivations: Float[np.ndarray, "k P"]
    activity: Float[np.ndarray, "k P"]

    @property
    def strength(self) -> Float[np.ndarray, " k"]:
        """Squared activity, averaged over inputs."""
        return np.mean(self.activity**2, axis=1)
