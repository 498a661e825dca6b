"""A run in a few numbers, as plain values for a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from nonlazy.analysis.comparison import summarize_theory
from nonlazy.analysis.predictor import predictor
from nonlazy.analysis.schemes import LayerScheme, summarize_schemes
from nonlazy.codes import code_fractions
from nonlazy.sampling import diagnose
from nonlazy.theory import Theory


def summarize(tree: xr.DataTree, theory: Theory | None = None, schemes: Sequence[LayerScheme] = ()) -> dict[str, Any]:
    """Configuration, verdict, diagnostics, kernel blocks, code fractions and errors of a run, and the theory beside them.

    The coding schemes are those given.

    Values that cannot be computed (R-hat of one chain, say) are None.
    """
    diagnostics = diagnose(tree)
    summary: dict[str, Any] = {
        "configuration": json.loads(tree.attrs["configuration"]),
        "complete": bool(tree.attrs["complete"]),
        "wall_time": float(tree.attrs["wall_time"]),
        "verdict": diagnostics.verdict,
        "warnings": list(diagnostics.warnings),
        "notes": list(diagnostics.notes),
        "statistics": diagnostics.statistics,
        "diagnostics": [row._asdict() for row in diagnostics.rows],
    }
    if schemes:
        summary["coding_schemes"] = summarize_schemes(schemes)
    posterior = tree["posterior"]
    if "kernel_blocks" in posterior:
        summary["kernel_blocks"] = posterior["kernel_blocks"].mean(["chain", "draw"]).values
    if "class_activity" in posterior:
        fractions = code_fractions(tree)
        summary["code_fractions"] = {str(code): fractions.sel(code=code).values for code in fractions.code.values}
    if "predictions" in posterior:
        _, _, bias, variance, misclassified = predictor(tree)
        summary["test_error"] = {
            "mean_square": bias + variance,
            "bias_squared": bias,
            "variance": variance,
            "misclassified": misclassified,
        }
    if theory is not None:
        summary["theory"] = summarize_theory(tree, theory)
    return plain(summary)


def plain(value: Any) -> Any:
    """Nested values as JSON knows them, NaN as None."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
