r"""Theory against sampling: kernel blocks with z-scores, codes, test errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from nonlazy.analysis.predictor import predictor
from nonlazy.sampling import diagnose
from nonlazy.theory import Theory


class Comparison(NamedTuple):
    """A quantity in theory, its mean over draws with the Monte Carlo error, and the difference in units of the error.

    The theory holds for infinite width: differences of order 1/N are expected, and show once the error is smaller.
    """

    name: str
    layer: int
    theory: float
    mean: float
    mcse: float
    z: float


def compare(tree: xr.DataTree, theory: Theory) -> list[Comparison]:
    """Block means of each layer's kernel, theory beside samples; empty if the run did not keep kernel blocks."""
    rows = {row.name: row for row in diagnose(tree).rows}
    if "kernel_blocks" not in tree["posterior"]:
        return []
    names, found = tree["posterior"]["label"].values, []
    blocks = theory.kernel_blocks
    for layer in range(1, len(blocks) + 1):
        for a, b in zip(*np.triu_indices(len(names)), strict=True):
            row, value = rows.get(f"kernel {layer} block {names[a]},{names[b]}"), float(blocks[layer - 1, a, b])
            if row is not None:
                found.append(
                    Comparison(
                        f"{names[a]},{names[b]}", layer, value, row.mean, row.mcse, (row.mean - value) / row.mcse
                    )
                )
    return found


def summarize_theory(tree: xr.DataTree | None, theory: Theory) -> dict[str, Any]:
    """Figures, blocks, codes and test errors of a theory as plain values; with a run, the comparison beside them."""
    task = theory.posterior.task
    summary: dict[str, Any] = theory.figures() | {
        "kernel_blocks": theory.kernel_blocks,
        "code_fractions": list(theory.code_fractions),
        "codes": [
            {
                "code": "".join(map(str, b.code)),
                "probability": b.probability,
                "readout": b.readout,
                "activity": b.activity,
            }
            for b in theory.codes
        ],
        "outlier_strengths": theory.outliers.strength,
        "summary": str(theory),
    }
    if task.n_test:
        found = predictor(theory)
        summary["test_error"] = {
            "mean_square": found.error,
            "bias_squared": found.bias,
            "variance": found.variance_part,
            "misclassified": found.misclassified,
        }
    if tree is not None:
        summary["comparison"] = [row._asdict() for row in compare(tree, theory)]
    return summary
