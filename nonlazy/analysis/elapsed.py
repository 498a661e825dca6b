"""The time of each draw."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from jaxtyping import Float


def times(tree: xr.DataTree) -> Float[np.ndarray, "chain draw"]:
    """Time of each draw, in `unit_of_time`."""
    stats = tree["sample_stats"]
    if "time" in stats:
        return stats["time"].transpose("chain", "draw").values
    thin = json.loads(tree.attrs["configuration"])["sampling"]["thin"]
    return np.broadcast_to(thin * np.arange(stats.sizes["draw"], dtype=float), stats["lp"].shape)


def unit_of_time(tree: xr.DataTree) -> str:
    """What the time of the draws counts."""
    return "Langevin time" if "time" in tree["sample_stats"] else "transitions"
