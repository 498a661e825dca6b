r"""Every scaling with the width N, the number of inputs P and the fan-in, in one place.

=======================================  ===========================================================
weights of layer l                       \(z^l = \sigma_l\, \phi(z^{l-1}) W / \sqrt{\text{fan-in}}\)
output, non-lazy                         \(f = \phi(z^L) a / N\)
output, lazy                             \(f = \phi(z^L) a / \sqrt{N}\)
readout variance                         \(\sigma_a^2 = s_a^2 P^{-e}\)
e, homogeneous of degree one             \(1/L\)
e, saturating                            1
e, lazy                                  0
=======================================  ===========================================================

The readout's variance shrinks with P in the non-lazy regime so that learned kernel entries stay O(1)
(van Meegen and Sompolinsky 2025).
"""

from __future__ import annotations

import math

from nonlazy.errors import InputError


def layer_scale(weight_std: float, fan_in: int) -> float:
    """Factor between the sum over a layer's inputs and the preactivation."""
    return weight_std / math.sqrt(fan_in)


def output_scale(regime: str, width: int) -> float:
    """Factor between the sum over neurons and the output."""
    return 1 / width if regime == "nonlazy" else 1 / math.sqrt(width)


def readout_variance(readout_std: float, scaling: float, n_inputs: int) -> float:
    """Prior variance of a readout weight."""
    return readout_std**2 * n_inputs**-scaling


def readout_scaling(regime: str, depth: int, growth: int | None, activation: str) -> float:
    """The exponent e for an activation that grows like |z|^growth.

    Raises:
        InputError: growth is neither 0 nor 1 and the network is deep, so that no exponent is known.
    """
    if regime == "lazy":
        return 0.0
    if depth == 1 or growth == 0:
        return 1.0
    if growth == 1:
        return 1.0 / depth
    raise InputError(
        f"readout_scaling must be given for activation {activation}, which neither saturates nor grows linearly at "
        "large arguments; the readout's prior variance is readout_std^2 * P^-readout_scaling."
    )
