"""What the sliders say, and the posterior that they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
from jaxtyping import Array, Float

from nonlazy import tasks
from nonlazy.activations import Activation, resolve
from nonlazy.errors import InputError
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.validation import finite, fraction, one_of

# Slope of the leaky ReLU below zero.
LEAK = 0.1


def softplus(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.softplus(z)


def leaky_relu(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.leaky_relu(z, LEAK)


ACTIVATIONS: dict[str, str | Callable[[Array], Array]] = {
    "linear": "linear",
    "erf": "erf",
    "tanh": "tanh",
    "relu": "relu",
    "softplus": softplus,
    "leaky relu": leaky_relu,
}


@lru_cache(maxsize=len(ACTIVATIONS))
def _activation(name: str) -> Activation:
    return resolve(ACTIVATIONS[name])


@dataclass(frozen=True)
class Settings:
    r"""A network with one hidden layer on orthogonal inputs.

    Attributes:
        first: fraction of the inputs in the first class.
        second: fraction of the others in the second class; None for two classes. So the classes always share all inputs.
        activation: a key of `ACTIVATIONS`.
        gain: g of \(\phi(g z)\).
        readout_std: \(s_a\).
        log_temperature: \(\log_{10} T\).
        n_inputs: P.
        width: N.
        regime: "nonlazy" or "lazy".
    """

    first: float = 0.5
    second: float | None = 0.5
    activation: str = "erf"
    gain: float = 1.0
    readout_std: float = 1.0
    log_temperature: float = -5.0
    n_inputs: int = 100
    width: int = 100
    regime: str = "nonlazy"

    @property
    def class_ratios(self) -> tuple[float, ...]:
        """Fractions of the inputs in each class; they sum to 1."""
        first, rest = fraction("first", self.first), 1 - self.first
        if self.second is None:
            return first, rest
        return first, rest * fraction("second", self.second), rest * (1 - self.second)

    def posterior(self) -> Posterior:
        """The posterior of this network.

        Raises:
            InputError: values outside their ranges, or a class without inputs.
        """
        one_of("activation", self.activation, ACTIVATIONS)
        if not -300 < finite("log_temperature", self.log_temperature) < 300:
            raise InputError(f"log_temperature must lie between -300 and 300, got {self.log_temperature!r}.")
        # phi(g z) with z of variance 1 is phi(z) with z of variance g^2: compiled once for all gains.
        model = Model(
            width=self.width,
            activation=_activation(self.activation),
            regime=self.regime,
            readout_std=self.readout_std,
            weight_std=self.gain,
        )
        task = tasks.orthogonal(n_inputs=self.n_inputs, class_ratios=self.class_ratios)
        return Posterior(model, task, temperature=10**self.log_temperature)
