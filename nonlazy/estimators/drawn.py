r"""Mean and variance of the outputs on any inputs over the networks of a run, all of whose weights were kept.

\[ \langle f(x) \rangle = \frac{1}{S} \sum_s f(x; \Theta_s), \qquad
   \mathrm{Var} f(x) = \frac{1}{S} \sum_s [f(x; \Theta_s) - \langle f(x) \rangle]^2 \]

The networks are fixed, so an input's outputs do not depend on the other inputs asked for.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from xarray import DataTree

from nonlazy.compilation import compiled, double_precision
from nonlazy.model import Model

# What a run has to keep for its networks to be evaluated anywhere, and for reading codes and geometry.
KEEP = ("readout", "kernel_blocks", "class_activity", "weights")


@double_precision
def predict(
    model: Model, tree: DataTree, inputs: Float[np.ndarray, "n N0"]
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """Mean and variance over all chains and draws."""
    draws = tree["posterior"].dataset.stack(network=("chain", "draw")).transpose("network", ...)
    readout, first = jnp.asarray(draws["readout"].values), jnp.asarray(draws["first_weights"].values)
    deeper = jnp.asarray(draws["deeper_weights"].values) if model.depth > 1 else jnp.zeros((len(first), 0))
    outputs = np.asarray(_outputs(model, jnp.asarray(inputs), first, deeper, readout))
    return outputs.mean(axis=0), outputs.var(axis=0)


@compiled
def _outputs(
    model: Model,
    inputs: Float[Array, "n N0"],
    first: Float[Array, "S N0 N"],
    deeper: Float[Array, "S L-1 N N"],
    readout: Float[Array, "S N m"],
) -> Float[Array, "S n m"]:
    """One network after the other, so that memory holds the features of one."""

    def of_one(network: tuple[Array, Array, Array]) -> Float[Array, "n m"]:
        first, deeper, readout = network
        layers = model.hidden_layers(inputs, [first, *deeper])
        return model.outputs(model.phi(layers[-1]), readout)

    return jax.lax.map(of_one, (first, deeper, readout))
