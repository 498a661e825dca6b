"""Lazy against non-lazy networks on MNIST: makes generalization.json and prints its tables.

Classes 0, 1, 2, P = 99, N = 100, L = 1, 999 test images. For each activation and choice of images: errors of both regimes by
theory and by sampling, and the distance between their mean predictors. Each case is stored as it comes: a killed script goes
on where it stopped.

    python benchmarks/generalization.py --minutes 30    # run what is missing, then print
    python benchmarks/generalization.py --minutes 0     # print
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

import nonlazy as nl
from nonlazy.analysis import plain
from nonlazy.analysis.predictor import moments_of

RESULTS = Path(__file__).parent / "generalization.json"
CHECKPOINTS = Path(tempfile.gettempdir()) / "nonlazy-generalization"
# N T = 1e-3 in the non-lazy regime, T = 1e-3 in the lazy one: what the outputs miss the targets by, over t.
TEMPERATURES = {"nonlazy": 1e-5, "lazy": 1e-3}
ACTIVATIONS = ("linear", "erf", "relu")
SCHEDULE = {"chains": 4, "warmup": 120, "draws": 100}
KEPT = (
    "error",
    "bias_squared",
    "variance",
    "misclassified",
    "misclassified_draws",
    "standardized_error",
    "error_r_hat",
)


class Case(NamedTuple):
    """Both regimes on one choice of images."""

    activation: str
    seed: int
    method: str  # "theory", or where chains start: "prior", "theory start"

    @property
    def key(self) -> str:
        return f"{self.activation} {self.method} {self.seed}"


def cases() -> list[Case]:
    """All, the most important first."""
    found = [Case("linear", seed, "theory") for seed in range(5)]
    found += [Case(activation, seed, "prior") for seed in range(3) for activation in ACTIVATIONS]
    return found + [
        Case(activation, 0, method) for method in ("theory", "theory start") for activation in ("relu", "erf")
    ]


def run(case: Case) -> dict[str, Any]:
    """Errors of each regime, and how far the mean predictors are apart."""
    task = nl.tasks.mnist(classes=(0, 1, 2), n_train=99, n_test=999, seed=case.seed)
    found: dict[str, Any] = {"case": case._asdict()}
    moments = []
    for regime, temperature in TEMPERATURES.items():
        model = nl.Model(width=100, activation=case.activation, regime=regime)
        posterior = nl.Posterior(model, task, temperature=temperature)
        source: nl.Theory | xr.DataTree
        if case.method == "theory":
            source = nl.solve(posterior, progress=False, throw=False)
        else:
            start = "prior" if case.method == "prior" else "theory"
            checkpoint = CHECKPOINTS / f"{case.key} {regime}"
            source = nl.sample(
                posterior, **SCHEDULE, seed=case.seed, start=start, keep=("predictions",), checkpoint=checkpoint, progress=False
            )  # fmt: skip
        errors = nl.generalization(source)
        names = [name for name in errors.data_vars if str(name).removesuffix("_mcse") in KEPT]
        found[regime] = {str(name): float(errors[name]) for name in names}
        found[regime] |= {"coverage 0.9": float(errors.coverage.sel(level=0.9))}
        found[regime] |= {f"class_{part}": errors[f"class_{part}"].values for part in ("bias_squared", "variance")}
        if isinstance(source, nl.Theory):
            found[regime] |= {"converged": source.converged, "notes": list(source.notes)}
        moments.append(moments_of(source))
    one, two = moments
    # Monte Carlo errors of the means add to the distance between them.
    difference = (one.mean - two.mean) ** 2 - one.noise - two.noise
    found["mean_predictors"] = {
        "rms_difference": float(np.sqrt(max(difference.mean(), 0))),
        "largest_difference": float(np.abs(one.mean - two.mean).max()),
        "rms_monte_carlo": float(np.sqrt((one.noise + two.noise).mean())),
    }
    return plain(found)


def with_error(values: list[float]) -> str:
    """Mean over choices of images and its standard error."""
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):8.4f} ± {spread:.4f}"


def print_tables(results: dict[str, Any]) -> None:
    """Means over choices of images, with their standard errors; differences are paired."""
    for method in ("theory", "prior", "theory start"):
        for activation in ACTIVATIONS:
            rows = [
                r for r in results.values() if (r["case"]["activation"], r["case"]["method"]) == (activation, method)
            ]
            if not rows:
                continue
            print(f"\n{activation}, {method}, {len(rows)} choices of images")
            for name in (
                "error",
                "bias_squared",
                "variance",
                "misclassified",
                "misclassified_draws",
                "standardized_error",
                "coverage 0.9",
            ):
                if name not in rows[0]["lazy"]:
                    continue
                parts = {regime: [row[regime][name] for row in rows] for regime in TEMPERATURES}
                parts["lazy - nonlazy"] = [b - a for a, b in zip(parts["nonlazy"], parts["lazy"], strict=True)]
                print(f"  {name:20}" + "".join(f"  {k} {with_error(values)}" for k, values in parts.items()))
            shares = [
                (row["lazy"]["variance"] - row["nonlazy"]["variance"])
                / (row["lazy"]["error"] - row["nonlazy"]["error"])
                for row in rows
            ]
            print(f"  share of variance in the difference {with_error(shares)}")
            for name in rows[0]["mean_predictors"]:
                print(f"  mean predictors, {name:20} {with_error([row['mean_predictors'][name] for row in rows])}")
            for regime in TEMPERATURES:
                if "error_mcse" in rows[0][regime]:
                    errors = {n: np.sqrt(np.mean([row[regime][n] ** 2 for row in rows])) if all(
                        row[regime][n] is not None for row in rows) else np.nan
                        for n in ("error_mcse", "bias_squared_mcse", "variance_mcse")}  # fmt: skip
                    print(f"  {regime} Monte Carlo errors " + ", ".join(f"{n} {v:.1e}" for n, v in errors.items()))
                for note in rows[0][regime].get("notes", ()):
                    print(f"  {regime}: {note}")
                if rows[0][regime].get("error_r_hat"):
                    print(f"  {regime} largest R-hat {max(row[regime]['error_r_hat'] for row in rows):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    warnings.simplefilter("ignore", nl.SamplingWarning)
    began = time.monotonic()
    for case in cases():
        if case.key in results or time.monotonic() - began > 60 * minutes:
            continue
        started = time.monotonic()
        results[case.key] = run(case)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        shutil.rmtree(CHECKPOINTS, ignore_errors=True)
        print(f"{case.key}: {time.monotonic() - started:.0f} s", flush=True)
    print_tables(results)


if __name__ == "__main__":
    main()
