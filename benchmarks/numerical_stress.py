"""Samples and theory where numbers get difficult: does every run meet its accuracy, or say why it does not?

Writes numerical_stress.json beside this file and docs/reliability/numerical-stress.md; a quarter of an hour on one core.

    python benchmarks/numerical_stress.py
    python benchmarks/numerical_stress.py --page      # only the page, from the JSON
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import nonlazy as nl

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "numerical-stress.md"
SAMPLING = {"chains": 2, "warmup": 200, "draws": 100, "progress": False}
ACTIVATIONS = ("linear", "erf", "relu")
Case = tuple[str, Callable[[], nl.Posterior]]


def toy(
    activation: str,
    width: int = 30,
    n_inputs: int = 24,
    temperature: float = 1e-4,
    ratios: tuple[float, ...] = (0.5, 0.25, 0.25),
    **model: Any,
) -> nl.Posterior:
    task = nl.tasks.orthogonal(n_inputs, ratios)
    return nl.Posterior(nl.Model(width=width, activation=activation, **model), task, temperature)


def nearly_equal(activation: str, distance: float) -> nl.Posterior:
    """Pairs of inputs of the same class this far apart, in units of their length."""
    rng = np.random.default_rng(0)
    inputs = np.repeat(rng.standard_normal((12, 40)), 2, axis=0)
    inputs[1::2] += distance * rng.standard_normal((12, 40))
    return nl.Posterior(
        nl.Model(width=30, activation=activation), nl.tasks.from_arrays(inputs, np.repeat([0, 1, 2], 8)), 1e-4
    )


def cases() -> Iterator[Case]:
    for activation in ACTIVATIONS:
        for exponent in (-1, -2, -4, -6, -8, -10, -12):
            yield f"{activation}, T = 1e{exponent}", lambda a=activation, e=exponent: toy(a, temperature=10.0**e)
        for width in (2, 10, 240, 2000):
            yield (
                f"{activation}, N = {width}, P = 24",
                lambda a=activation, n=width: toy(a, width=n, temperature=1e-3 / n),
            )
        yield f"{activation}, P / N = 2", lambda a=activation: toy(a, width=20, n_inputs=40)
        yield f"{activation}, P / N = 0.1", lambda a=activation: toy(a, width=200, n_inputs=20)
        for distance in (1e-2, 1e-5, 1e-8):
            yield (
                f"{activation}, pairs of inputs {distance:g} apart",
                lambda a=activation, d=distance: nearly_equal(a, d),
            )
        yield f"{activation}, classes 1:50", lambda a=activation: toy(a, n_inputs=102, ratios=(1 / 51, 50 / 51))
        yield f"{activation}, m = 20", lambda a=activation: toy(a, width=40, n_inputs=40, ratios=(0.05,) * 20)
        yield f"{activation}, L = 3", lambda a=activation: toy(a, depth=3)
        yield f"{activation}, lazy", lambda a=activation: toy(a, regime="lazy", temperature=1e-6)


def not_finite(tree: xr.DataTree) -> list[str]:
    """Variables that hold NaN or infinity; blocks of classes with one input are undefined by their definition."""
    found = []
    for group in tree.groups:
        for name, variable in tree[group].to_dataset(inherit=False).data_vars.items():
            values = variable.values
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all() and name != "kernel_blocks":
                found.append(f"{group}/{name}")
    return found


def sampled(posterior: nl.Posterior) -> dict[str, Any]:
    """Training error over what temperature and width explain, warnings, and values that are not finite."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Long enough to be judged where chains do not freeze.
        draws = {"draws": 2000} if posterior.model.activation == "linear" else {}
        tree = nl.sample(posterior, **SAMPLING | draws)
    said = [
        str(w.message).split(":")[0] for w in caught if issubclass(w.category, (nl.DataWarning, nl.SamplingWarning))
    ]
    error = float(tree["sample_stats"]["training_error"].mean())
    return {"said": said, "not finite": not_finite(tree), "training error": error, "tree": tree}


def solved(posterior: nl.Posterior) -> dict[str, Any]:
    """Whether the theory converged, and its kernel blocks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theory = nl.solve(posterior, progress=False, throw=False)
    return {"converged": theory.converged, "kernel blocks": theory.kernel_blocks, "notes": list(theory.notes)}


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A refusal is one sentence; anything else that is raised is a defect."""
    try:
        return work()
    except nl.NonlazyError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"defect": f"{type(error).__name__}: {error}"}


def judge(posterior: nl.Posterior, found: dict[str, Any], theory: dict[str, Any]) -> tuple[str, str]:
    """Verdicts on samples and theory: accurate, said or refused with the reason, or a defect."""
    return judge_samples(posterior, found, theory), judge_theory(theory)


def judge_samples(posterior: nl.Posterior, found: dict[str, Any], theory: dict[str, Any]) -> str:
    if "defect" in found:
        return f"DEFECT: {found['defect']}"
    if "refused" in found:
        return f"refused: {found['refused']}"
    if found["not finite"]:
        return f"DEFECT: not finite: {', '.join(found['not finite'])}"
    if found["said"]:
        return "said: " + "; ".join(found["said"])
    if posterior.model.activation == "linear" and "kernel blocks" in theory:
        # The only theory that is exact up to 1 / N, and whose chains do not freeze.
        blocks = found["tree"]["posterior"]["kernel_blocks"].values
        off = np.abs(np.nanmean(blocks, axis=(0, 1)) - theory["kernel blocks"]) / np.nanmax(theory["kernel blocks"])
        allowed = 3 / posterior.model.width + 0.05
        if np.nanmax(off) > allowed:
            return f"SILENT: kernel blocks {np.nanmax(off):.2f} off"
        return f"accurate: kernel blocks within {np.nanmax(off):.3f}"
    return "no warning"


def judge_theory(theory: dict[str, Any]) -> str:
    if "defect" in theory:
        return f"DEFECT: {theory['defect']}"
    if "refused" in theory:
        return f"refused: {theory['refused']}"
    if not np.isfinite(theory["kernel blocks"]).all() and not theory["notes"]:
        return "DEFECT: kernel blocks that are not finite"
    return "converged" if theory["converged"] else "said: not converged"


def measure() -> list[dict[str, Any]]:
    rows = []
    for name, make in cases():
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                posterior = make()
        except nl.NonlazyError as error:
            rows.append({"case": name, "samples": f"refused: {error}", "theory": "refused", "seconds": 0.0})
            continue
        data = ["; ".join(str(w.message).split(":")[0] for w in caught)] if caught else []
        theory = attempt(lambda p=posterior: solved(p))
        found = attempt(lambda p=posterior: sampled(p))
        if "said" in found:
            found["said"] = data + found["said"]
        samples, theory_verdict = judge(posterior, found, theory)
        row = {"case": name, "samples": samples, "theory": theory_verdict, "seconds": time.perf_counter() - began}
        row["training error"] = found.get("training error")
        print(row, flush=True)
        rows.append(row)
        jax.clear_caches()  # each case has shapes of its own
    return rows


INTRODUCTION = """# Where numbers get difficult

Made by `benchmarks/numerical_stress.py`. Each case is a toy network (P = 24 inputs in three classes, N = 30, T = 1e-4, L = 1,
two chains of 200 + 100 transitions, of linear networks 200 + 2000) with one thing changed. *Accurate* means that the library
raised no warning and, where the theory is exact (linear networks), that kernel blocks agree within 3/N and 5 %; *said*
quotes the beginning of its warnings, *refused* its error. A value that is not finite, an unclear error, or a wrong result
without a warning would be a defect.
"""


def page(rows: list[dict[str, Any]]) -> str:
    bad = [row for row in rows for key in ("samples", "theory") if row[key].startswith(("DEFECT", "SILENT"))]
    table = ["| case | training error | samples | theory |", "|---|---|---|---|"]
    for row in rows:
        error = "" if row.get("training error") is None else f"{row['training error']:.2g}"
        cells = (text.replace("|", "\\|") for text in (row["case"], error, row["samples"], row["theory"]))
        table.append("| " + " | ".join(cells) + " |")
    verdict = f"\n**{len(rows)} cases, {len(bad)} defects.**\n"
    return "\n".join([INTRODUCTION, verdict, *table]) + "\n"


if __name__ == "__main__":
    if "--page" not in sys.argv:
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
