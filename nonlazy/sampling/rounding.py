"""Whether features in single precision are accurate enough, measured where the chains ended."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from nonlazy.compilation import compiled
from nonlazy.posterior import Position, SinglePrecision


@compiled
def rounding_errors(density: SinglePrecision, positions: Position) -> Float[Array, " chains"]:
    """Log density with rounded features minus the one in double precision, at the position of each chain."""
    return jax.vmap(lambda x: density.log_density(x) - density.reduced.log_density(x))(positions)
