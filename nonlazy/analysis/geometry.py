"""Geometry of all layers of a run or a theory in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from nonlazy.errors import InputError
from nonlazy.representation import Geometry, kernel_geometry
from nonlazy.theory import Theory

if TYPE_CHECKING:
    import pandas as pd


def geometry_table(source: xr.DataTree | Theory) -> pd.DataFrame:
    r"""Geometry of each layer's kernel, as `nonlazy.kernel_geometry` measures it.

    For a run it is that of the posterior mean kernel, the one that a theory predicts: of \(\langle K_l \rangle\) over the
    draws of each chain, then mean and standard error over chains. The kernel of a single network of N neurons has at most
    N dimensions and more spread within classes; averages over few draws retain some of that.

    Args:
        source: result of `nonlazy.sample` or `nonlazy.solve`.

    Returns:
        A row for each layer (from 1) and measure, columns `value` and `error`; the error is NaN for one chain and for theories.

    Raises:
        InputError: another kind of source.

    Examples:
        >>> import nonlazy as nl
        >>> import pandas as pd
        >>> task = nl.tasks.orthogonal(n_inputs=20)
        >>> models = {regime: nl.Model(regime=regime, activation="linear") for regime in ("lazy", "nonlazy")}
        >>> theories = {regime: nl.solve(nl.Posterior(model, task)) for regime, model in models.items()}
        >>> tables = {name: nl.geometry_table(theory)["value"] for name, theory in theories.items()}
        >>> print(pd.DataFrame(tables).loc[1].loc[["alignment", "dimension"]].round(2).to_string(index_names=False))
                    lazy  nonlazy
        alignment   0.32     0.96
        dimension  19.00     5.60
    """
    import pandas as pd

    if isinstance(source, Theory):
        kernels, labels = source.kernels[None], source.posterior.task.labels
    elif isinstance(source, xr.DataTree) and "posterior_mean" in source.children:
        kernels, labels = source["posterior_mean"]["kernel"].values, source["constant_data"]["labels"].values
    else:
        raise InputError(f"source must be the result of nonlazy.sample or nonlazy.solve, got {type(source).__name__}.")
    values = np.array([[kernel_geometry(kernel, labels) for kernel in chain] for chain in kernels])
    n_chains, depth, _ = values.shape
    error = values.std(axis=0, ddof=1) / np.sqrt(n_chains) if n_chains > 1 else np.full(values.shape[1:], np.nan)
    rows = pd.MultiIndex.from_product([range(1, depth + 1), Geometry._fields], names=["layer", "measure"])
    return pd.DataFrame({"value": values.mean(axis=0).ravel(), "error": error.ravel()}, rows)
