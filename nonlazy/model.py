r"""Architecture and forward pass of one fully connected network.

\[ z^1 = \sigma_1 X W^1 / \sqrt{N_0}, \qquad z^l = \sigma_l \phi(z^{l-1}) W^l / \sqrt{N}, \qquad
   f = \phi(z^L) a / N^{\gamma}, \quad \gamma = 1 \text{ (non-lazy)}, \; 1/2 \text{ (lazy)} \]

The weights W are kept in units of their prior standard deviation, so every prior is a standard normal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nonlazy import prior
from nonlazy.activations import Activation, resolve
from nonlazy.errors import InputError
from nonlazy.validation import finite, integer, items, one_of, positive, shown

REGIMES = ("nonlazy", "lazy")


@jax.tree_util.register_static
@dataclass(frozen=True)
class Model:
    r"""A fully connected network with L hidden layers of N neurons and a linear readout.

    Args:
        depth: number of hidden layers L, at least 1.
        width: neurons in each hidden layer N, at least 1.
        activation: "linear", "erf", "relu", "tanh" or an elementwise JAX function.
        regime: "nonlazy", outputs scaled by 1/N, or "lazy", outputs scaled by 1/sqrt(N).
        readout_std: \(s_a\); the prior variance of the readout is
            \(\sigma_a^2 = s_a^2 P^{-e}\) with e = `readout_scaling`.
        weight_std: \(\sigma_l\), one number for all hidden layers or one for each.
        readout_scaling: exponent e; None picks 1/L for activations homogeneous of degree one at large arguments, 1 for
            saturating ones, and 0 in the lazy regime (docs, The model: Scalings).

    Raises:
        InputError: a value outside these ranges; an activation that is unknown, not elementwise or not finite.

    Examples:
        >>> import nonlazy as nl
        >>> nl.Model(depth=2, width=50, activation="relu").readout_scaling
        0.5
    """

    depth: int = 1
    width: int = 100
    activation: str | Callable[[Array], Array] = "erf"
    regime: str = "nonlazy"
    readout_std: float = 1.0
    weight_std: float | Sequence[float] = 1.0
    readout_scaling: float | None = None
    phi: Activation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        integer("depth", self.depth, 1)
        integer("width", self.width, 1)
        one_of("regime", self.regime, REGIMES)
        positive("readout_std", self.readout_std)
        for std in self.weight_stds:
            positive("weight_std", std)
        if not np.isscalar(self.weight_std):
            object.__setattr__(self, "weight_std", self.weight_stds)  # a tuple can be hashed
        object.__setattr__(self, "phi", resolve(self.activation))
        object.__setattr__(self, "readout_scaling", self._readout_scaling())

    def _readout_scaling(self) -> float:
        if self.readout_scaling is None:
            return prior.readout_scaling(self.regime, self.depth, self.phi.growth, self.phi.name)
        return finite("readout_scaling", self.readout_scaling)

    @property
    def weight_stds(self) -> tuple[float, ...]:
        """Prior standard deviations sigma_1 ... sigma_L."""
        if isinstance(self.weight_std, Real):
            return (self.weight_std,) * self.depth  # type: ignore[return-value]
        stds = tuple(items("weight_std", self.weight_std, "one number or one for each hidden layer"))
        if len(stds) != self.depth:
            raise InputError(
                f"weight_std must be one number or one for each of the {self.depth} hidden layers, got "
                f"{shown(self.weight_std)}."
            )
        return stds

    @property
    def output_scale(self) -> float:
        """Factor between the sum over neurons and the output."""
        return prior.output_scale(self.regime, self.width)

    def describe(self) -> dict[str, Any]:
        """The settings as plain values, for files and reports."""
        return {
            "depth": self.depth,
            "width": self.width,
            "activation": self.phi.name,
            "regime": self.regime,
            "readout_std": self.readout_std,
            "weight_std": list(self.weight_stds),
            "readout_scaling": self.readout_scaling,
        }

    def preactivations(
        self, first: Float[Array, "P N"], deeper: Sequence[Float[Array, "N N"]]
    ) -> list[Float[Array, "P N"]]:
        """Preactivations of all layers, from those of the first and the standard normal weights W^2 ... W^L."""
        layers = [first]
        for std, weights in zip(self.weight_stds[1:], deeper, strict=True):
            layers.append(self.phi(layers[-1]) @ weights * prior.layer_scale(std, self.width))
        return layers

    def hidden_layers(
        self, inputs: Float[Array, "P N0"], weights: Sequence[Float[Array, "..."]]
    ) -> list[Float[Array, "P N"]]:
        """Preactivations of all layers, from inputs and the standard normal weights W^1 ... W^L."""
        first = inputs @ weights[0] * prior.layer_scale(self.weight_stds[0], inputs.shape[1])
        return self.preactivations(first, weights[1:])

    def outputs(self, features: Float[Array, "P N"], readout: Float[Array, "N m"]) -> Float[Array, "P m"]:
        """Network outputs f from the last layer's features phi(z^L) and the readout weights."""
        return features @ readout * self.output_scale

    def kernels(self, preactivations: Sequence[Float[Array, "P N"]]) -> Float[Array, "L P P"]:
        r"""Kernels \(K_l = \phi(z^l) \phi(z^l)^T / N\) of all layers."""
        features = [self.phi(z) for z in preactivations]
        return jnp.stack([f @ f.T / self.width for f in features])
