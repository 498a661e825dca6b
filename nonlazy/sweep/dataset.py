"""Records of a sweep's points as one labelled dataset, and as a table of their scalar figures."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nonlazy.sweep.design import Grid
from nonlazy.sweep.plan import Plan, library_version

TEXTS = ("status", "error", "worker", "verdict", "scheme", "theory_scheme", "theory_error")
MISSING = "missing"
Record = dict[str, Any]
Figures = dict[str, Any]


def scalar_figures(record: Record | None) -> Figures:
    """Numbers and words of a point by name; what it did not yield is left out."""
    if record is None:
        return {"status": MISSING}
    sampling, theory = record.get("sampling", {}), record.get("theory", {})
    found: Figures = {"status": record["status"], "error": record["error"], **record["cost"]}
    if sampling:
        rows = sampling["diagnostics"]
        found |= sampling["statistics"] | {
            "verdict": sampling["verdict"],
            "n_warnings": len(sampling["warnings"]),
            "r_hat": _extreme(max, rows, "r_hat"),
            "ess_bulk": _extreme(min, rows, "ess_bulk"),
        }
        found |= {f"test_{name}": value for name, value in sampling.get("test_error", {}).items()}
        if "coding_schemes" in sampling:
            found["scheme"] = sampling["coding_schemes"][-1]["scheme"]
    if "unavailable" in theory:
        found["theory_error"] = theory["unavailable"]
    elif theory:
        names = ("scheme", "free_energy", "gap", "residual", "converged")
        found |= {f"theory_{name}": theory[name] for name in names}
        found |= {f"theory_test_{name}": value for name, value in theory.get("test_error", {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def _extreme(choose: Any, rows: list[Figures], name: str) -> float | None:
    return choose((row[name] for row in rows if row[name] is not None), default=None)


def to_table(plan: Plan, records: dict[str, Record]) -> pd.DataFrame:
    """A row for each point: number, key, values of the axes by dotted name, scalar figures."""
    rows = [
        {"point": point.number, "key": point.key}
        | {name: _label(value) for name, value in point.values.items()}
        | scalar_figures(records.get(point.key))
        for point in plan.points
    ]
    return pd.DataFrame(rows)


def to_dataset(plan: Plan, records: dict[str, Record]) -> xr.Dataset:
    """All figures on the axes of a grid, or along `point` of a random design.

    Scalars; kernel_blocks (layer, label, label_) averaged over draws; code_fractions (chain, code) of the last layer; the
    theory's under the same names with `theory_` before them, without the chains. NaN, or "" in words, where a point has no
    value; its layers, chains and classes are the first of the dataset's.
    """
    found = [records.get(point.key) for point in plan.points]
    variables = _scalars([scalar_figures(record) for record in found])
    variables |= _blocks(found, "sampling", "") | _blocks(found, "theory", "theory_")
    variables |= _codes(found)
    variables["key"] = (("point",), np.array([point.key for point in plan.points], dtype=object))
    dataset = xr.Dataset(variables, _coordinates(variables, found))
    dataset.attrs = {
        "axes": json.dumps({short: name for name, short in short_names(list(plan.design.axes)).items()}),
        "nonlazy": library_version(),
    }
    return _on_axes(dataset, plan)


def short_names(names: list[str]) -> dict[str, str]:
    """The last part of each dotted name where it is not ambiguous, otherwise all parts joined by underscores."""
    last = Counter(name.split(".")[-1] for name in names)
    return {name: part if last[part := name.split(".")[-1]] == 1 else name.replace(".", "_") for name in names}


def _on_axes(dataset: xr.Dataset, plan: Plan) -> xr.Dataset:
    names = short_names(list(plan.design.axes))
    if not isinstance(plan.design, Grid):
        points = {
            short: ("point", _labels([point.values[name] for point in plan.points]), {"entry": name})
            for name, short in names.items()
        }
        return dataset.assign_coords(point=np.arange(len(plan.points)), **points)
    shape = plan.design.shape
    variables = {
        name: ((*names.values(), *variable.dims[1:]), variable.values.reshape(*shape, *variable.shape[1:]))
        for name, variable in dataset.data_vars.items()
    }
    axes = {names[name]: (names[name], _labels(values), {"entry": name}) for name, values in plan.design.axes.items()}
    return xr.Dataset(variables, dict(dataset.coords) | axes, dataset.attrs)


def _labels(values: Any) -> np.ndarray:
    """Values of an axis as labels: numbers or truth values where all are, otherwise their text."""
    labels = [_label(value) for value in values]
    kinds = {type(label) for label in labels}
    if kinds <= {int, float} or kinds == {bool}:
        return np.array(labels)
    return np.array([str(label) for label in labels], dtype=object)


def _label(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _scalars(figures: list[Figures]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name in dict.fromkeys(name for point in figures for name in point):
        if name in TEXTS:
            values = np.array([point.get(name, "") for point in figures], dtype=object)
        else:
            values = np.array([point.get(name, np.nan) for point in figures], dtype=float)
        variables[name] = (("point",), values)
    return variables


def _blocks(records: list[Record | None], source: str, prefix: str) -> dict[str, Any]:
    """Kernel blocks of all points in one array, NaN where a point has fewer layers or classes."""
    blocks = [(record or {}).get(source, {}).get("kernel_blocks") for record in records]
    arrays = [None if block is None else np.array(block, dtype=float) for block in blocks]
    if all(array is None for array in arrays):
        return {}
    labels = _all_labels(records)
    filled = np.full((len(records), _depth(records), len(labels), len(labels)), np.nan)
    for i, (record, array) in enumerate(zip(records, arrays, strict=True)):
        if record is not None and array is not None:
            place = [labels.index(label) for label in record["labels"]]
            filled[np.ix_([i], range(len(array)), place, place)] = array
    return {f"{prefix}kernel_blocks": (("point", "layer", "label", "label_"), filled)}


def _depth(records: list[Record | None]) -> int:
    return max(record["settings"]["model"]["depth"] for record in records if record is not None)


def _all_labels(records: list[Record | None]) -> list[str]:
    return list(dict.fromkeys(label for record in records if record for label in record.get("labels", ())))


def _sampled_codes(record: Record | None) -> dict[str, list[float]]:
    return (record or {}).get("sampling", {}).get("code_fractions") or {}


def _theory_codes(record: Record | None) -> dict[str, float]:
    fractions = (record or {}).get("theory", {}).get("code_fractions")
    return fractions[-1] if fractions else {}


def _all_codes(records: list[Record | None]) -> list[str]:
    return sorted({code for record in records for code in (*_sampled_codes(record), *_theory_codes(record))})


def _codes(records: list[Record | None]) -> dict[str, Any]:
    """Fractions of all codes that occur anywhere; 0 where a point has others."""
    codes = _all_codes(records)
    variables: dict[str, Any] = {}
    if sampled := [fractions for fractions in map(_sampled_codes, records) if fractions]:
        chains = max(len(values) for fractions in sampled for values in fractions.values())
        filled = np.full((len(records), chains, len(codes)), np.nan)
        for i, fractions in enumerate(map(_sampled_codes, records)):
            if fractions:
                filled[i, : len(next(iter(fractions.values())))] = 0.0
            for code, values in fractions.items():
                filled[i, : len(values), codes.index(code)] = values
        variables["code_fractions"] = (("point", "chain", "code"), filled)
    if any(map(_theory_codes, records)):
        filled = np.full((len(records), len(codes)), np.nan)
        for i, predicted in enumerate(map(_theory_codes, records)):
            if predicted:
                filled[i] = [predicted.get(code, 0.0) for code in codes]
        variables["theory_code_fractions"] = (("point", "code"), filled)
    return variables


def _coordinates(variables: dict[str, Any], records: list[Record | None]) -> dict[str, Any]:
    dims = {name for names, _ in variables.values() for name in names}
    coordinates: dict[str, Any] = {}
    if "label" in dims:
        labels = np.array(_all_labels(records), dtype=object)
        coordinates = {"layer": np.arange(1, _depth(records) + 1), "label": labels, "label_": labels}
    if "code" in dims:
        coordinates["code"] = np.array(_all_codes(records), dtype=object)
    return coordinates
