"""Networks drawn from the theory: coordinates of the posterior whose neurons are independent draws."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nonlazy.compilation import double_precision
from nonlazy.posterior import Posterior


@double_precision
def coordinates(
    posterior: Posterior, layers: list[Float[np.ndarray, "P N"]], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "..."], ...]:
    r"""Coordinates \((\epsilon, W^2, \ldots, W^L)\) of `posterior.reduced` that give these preactivations.

    The weights are those of the prior given the preactivations,
    \(W = W_0 + \Phi^T (\Phi \Phi^T)^{-1} (\sqrt{N} z / \sigma - \Phi W_0)\) with W_0 from the prior; where a layer has fewer
    neurons than inputs they come as close as they can.
    """
    model, factor = posterior.model, np.asarray(posterior.reduced.first_layer.factor)
    first = layers[0] / factor[:, None] if factor.ndim == 1 else np.linalg.lstsq(factor, layers[0], rcond=None)[0]
    found = [first]
    for std, below, above in zip(model.weight_stds[1:], layers[:-1], layers[1:], strict=True):
        features = np.asarray(model.phi(jnp.asarray(below)))
        prior_draw = rng.standard_normal((model.width, model.width))
        missing = np.sqrt(model.width) / std * above - features @ prior_draw
        found.append(prior_draw + np.linalg.lstsq(features, missing, rcond=1e-10)[0])
    return tuple(found)
