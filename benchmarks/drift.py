"""Drift of single neurons in three-layer networks, along Langevin and Hamiltonian dynamics: is what was published seen here?

Makes drift.json, and docs/theory/drift.md and its figure from it. Takes half an hour; cases that are in the JSON are not
run again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from drift_page import write_page

import nonlazy as nl

RESULTS = Path(__file__).with_suffix(".json")
WIDTH, DRAWS, CHAINS, WARMUP = 64, 100, 4, 500


class Case(NamedTuple):
    """A network, and how long its Langevin dynamics runs: `thin` transitions for each of the draws."""

    activation: str
    depth: int
    temperature: float
    thin: int
    start: str = "prior"

    @property
    def name(self) -> str:
        return f"{self.activation}, L = {self.depth}, T = {self.temperature:g}, {self.start}"


CASES = (
    Case("linear", 3, 1e-3, 600),
    Case("erf", 3, 1e-4, 300),
    Case("relu", 3, 1e-3, 500),
    Case("relu", 3, 1e-4, 400),
    Case("relu", 1, 1e-4, 500),
)


def posterior_of(case: Case) -> nl.Posterior:
    """The toy task of the source."""
    task = nl.tasks.orthogonal(WIDTH, (0.5, 0.25, 0.25))
    return nl.Posterior(nl.Model(depth=case.depth, width=WIDTH, activation=case.activation), task, case.temperature)


def all_weights(posterior: nl.Posterior, tree: xr.DataTree) -> list[np.ndarray]:
    """All weights of the last draws, in units of their prior standard deviations: where Langevin chains can start."""
    last = tree["posterior"].to_dataset().isel(draw=-1)
    deeper = []
    if "deeper_weights" in last:
        deeper = list(last["deeper_weights"].transpose("layer_above", "chain", "neuron_below", "neuron").values)
    return [last["first_weights"].values, *deeper, last["readout"].values / posterior.readout_variance**0.5]


def measure(case: Case) -> dict[str, Any]:
    """Equilibrate by Hamiltonian Monte Carlo, whose draws drift too, and go on by Langevin dynamics."""
    posterior = posterior_of(case)
    began = time.perf_counter()
    keep = ("readout", "weights", "class_activity")
    hmc = nl.sample(posterior, CHAINS, WARMUP, DRAWS, start=case.start, progress=False, keep=keep)
    start = all_weights(posterior, hmc)
    middle = time.perf_counter()
    langevin = nl.sample(posterior, CHAINS, 2000, DRAWS, method="langevin", start=start, thin=case.thin, progress=False)
    seconds = {"hmc": middle - began, "langevin": time.perf_counter() - middle}
    return case._asdict() | {"seconds": seconds, "hmc": figures(hmc), "langevin": figures(langevin)}


def figures(tree: xr.DataTree) -> dict[str, Any]:
    """Drift of each chain and layer, and its time course."""
    found, course = nl.drift(tree), nl.activity_autocorrelation(tree)
    names = ["drift_of_all", "matched_drift", "participation", "codes_kept", "codes_kept_by_chance", "code_change"]
    stats = tree["sample_stats"]
    return {
        "drift": rounded(found),
        **{name: rounded(found[name]) for name in names},
        "time": rounded(found.time),
        "times": rounded(course.time.mean("chain")),
        "correlation": rounded(course.correlation),
        "acceptance_rate": float(stats["acceptance_rate"].mean()),
        "step_size": float(stats["step_size"][0, -1]),
        "training_error": float(stats["training_error"].mean()),
        "log_density": rounded(stats["lp"][:, [0, -1]]),
    }


def rounded(values: xr.DataArray) -> list[Any]:
    """Values as JSON knows them, in four digits after the point."""
    return np.round(values.values, 4).tolist()


def main() -> None:
    """Run the cases that are missing in the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="run only cases whose name begins like this")
    options = parser.parse_args()
    warnings.simplefilter("ignore", nl.SamplingWarning)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in CASES:
        if case.name in results or not case.name.startswith(options.case or ""):
            continue
        results[case.name] = measure(case)
        print(case.name, results[case.name]["seconds"], flush=True)
        lines = (f"{json.dumps(name)}: {json.dumps(result)}" for name, result in results.items())
        RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    write_page({case.name: results[case.name] for case in CASES if case.name in results})


if __name__ == "__main__":
    main()
