r"""Activation functions \(\phi\) and how they behave at large arguments.

=========  =============================================  ==========
name       \(\phi(z)\)                                      growth
=========  =============================================  ==========
linear     \(z\)                                            1
erf        \([1 + \mathrm{erf}(\sqrt{\pi} z / 2)] / 2\)     0
relu       \(\max(0, z)\)                                   1
tanh       \(\tanh z\)                                      0
=========  =============================================  ==========

The erf activation is the sigmoidal function of van Meegen and Sompolinsky (2025), between 0 and 1 with slope 1/2 at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.validation import shown


def linear(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return z


def erf(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return (1 + jax.lax.erf(math.sqrt(math.pi) / 2 * z)) / 2


def relu(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.maximum(z, 0)


def tanh(z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.tanh(z)


NAMED: dict[str, Callable[[Array], Array]] = {"linear": linear, "erf": erf, "relu": relu, "tanh": tanh}


@dataclass(frozen=True)
class Activation:
    """An elementwise function with its asymptotic growth.

    Attributes:
        name: "linear", "erf", "relu", "tanh", or module and name of the user's function.
        function: elementwise JAX function of the preactivations.
        growth: exponent g of phi(z) ~ |z|^g at large |z|, rounded: 0 saturating, 1 homogeneous, None otherwise.
    """

    name: str
    function: Callable[[Array], Array]
    growth: int | None

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.function(z)


@double_precision
def resolve(activation: Any) -> Activation:
    """The activation of a given name, or of a JAX function after checking shape, finiteness and gradient.

    Raises:
        InputError: unknown name; a function that is not elementwise or not traceable by JAX, or that gives NaN.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in NAMED:
            names = ", ".join(map(repr, NAMED))
            raise InputError(f"activation must be one of {names} or a JAX function, got {shown(activation)}.")
        return Activation(activation, NAMED[activation], _growth(NAMED[activation]))
    if not callable(activation):
        raise InputError(f"activation must be a name or a JAX function, got {shown(activation)}.")
    name = f"{getattr(activation, '__module__', '?')}:{getattr(activation, '__qualname__', shown(activation))}"
    _check_elementwise(activation, name)
    return Activation(name, activation, _growth(activation))


def _check_elementwise(function: Callable[[Array], Array], name: str) -> None:
    z = jnp.append(jnp.linspace(-6.0, 6.0, 98), 0.0).reshape(11, 9)
    try:
        values, gradient = jax.jit(lambda z: (function(z), jax.grad(lambda x: jnp.sum(function(x)))(z)))(z)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise InputError(
            f"activation {name} must be a JAX function of an array (use jax.numpy inside it); "
            f"calling it raised {type(error).__name__}: {reason[0]}"
        ) from error
    if getattr(values, "shape", None) != z.shape:
        raise InputError(
            f"activation {name} must return an array of the shape it receives, got {getattr(values, 'shape', values)} "
            f"for an input of shape {z.shape}."
        )
    if not (jnp.isfinite(values).all() and jnp.isfinite(gradient).all()):
        bad = z[~(jnp.isfinite(values) & jnp.isfinite(gradient))]
        raise InputError(
            f"activation {name} must be finite with a finite derivative on the real line, "
            f"got NaN or infinity near z = {float(bad[0]):.3g}."
        )


def _growth(function: Callable[[Array], Array]) -> int | None:
    scales = np.array([1e4, 1e8])
    magnitudes = [max(abs(float(function(jnp.array(sign * scale)))) for sign in (-1, 1)) for scale in scales]
    if min(magnitudes) == 0:
        return 0
    if not np.isfinite(magnitudes).all():
        return None
    exponent = math.log(magnitudes[1] / magnitudes[0]) / math.log(scales[1] / scales[0])
    nearest = round(exponent)
    return nearest if nearest in (0, 1) and abs(exponent - nearest) < 0.01 else None
