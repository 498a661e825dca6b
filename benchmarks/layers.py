"""Coding schemes layer by layer in sampled networks, as `nonlazy.coding_scheme` reads them, and codes beside published ones.

    python benchmarks/layers.py [--page]

A stopped run goes on where it was; --page only writes the section of the page again from what is stored.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np

import nonlazy as nl

HERE = Path(__file__).parent
RESULTS = HERE / "layers.json"
PAGE = HERE.parent / "docs" / "theory" / "reading.md"
RATIOS = (0.5, 0.25, 0.25)
CASES = {
    f"{activation}, {regime}, L = {depth}": (activation, regime, depth)
    for depth in (1, 3)
    for regime in ("nonlazy", "lazy")
    for activation in ("linear", "erf", "relu")
}
# van Meegen & Sompolinsky, poster "Coding Schemes in Non-Lazy Artificial Neural Networks" (2025): one weight sample.
PUBLISHED = {"100": 0.13, "010": 0.135, "001": 0.125, "110": 0.19, "101": 0.2, "011": 0.22}


def sample_and_read(activation: str, regime: str, depth: int) -> dict[str, Any]:
    size, chains, warmup, draws = (100, 4, 200, 50) if depth == 1 else (200, 2, 120, 20)
    task = nl.tasks.orthogonal(n_inputs=size, class_ratios=RATIOS)
    model = nl.Model(depth=depth, width=size, activation=activation, regime=regime)
    posterior = nl.Posterior(model, task, temperature=1e-5 if regime == "nonlazy" else 1e-3)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.SamplingWarning)
        tree = nl.sample(posterior, chains=chains, warmup=warmup, draws=draws, keep=("class_activity",))
    seconds = time.perf_counter() - began
    z = tree["last_draw"]["preactivations"].transpose("chain", "layer", "input", "neuron").values
    with jax.enable_x64(True):
        activities = np.asarray(model.phi(z))
    found = [[nl.coding_scheme(layer, task.labels) for layer in chain] for chain in activities]
    return {
        "width": size,
        "seconds": round(seconds, 1),
        "schemes": [[scheme.name for scheme in chain] for chain in found],
        "class_share": [[round(scheme.evidence.class_share, 3) for scheme in chain] for chain in found],
        "coding_neurons": [[len(scheme.coding_neurons) for scheme in chain] for chain in found],
        "codes": [[{code.name: round(code.fraction, 3) for code in s.codes} for s in chain] for chain in found],
    }


def run() -> dict[str, Any]:
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, case in CASES.items():
        if name not in done:
            print(name, flush=True)
            done[name] = sample_and_read(*case)
            RESULTS.write_text(json.dumps(done, indent=1) + "\n")
    return done


def table(results: dict[str, Any]) -> str:
    lines = ["| network | N = P | layer | scheme in each chain | class share, % | coding neurons |", "|---" * 6 + "|"]
    for name, found in results.items():
        for layer in range(len(found["schemes"][0])):
            schemes = Counter(chain[layer] for chain in found["schemes"])
            words = ", ".join(f"{scheme} {count}" for scheme, count in schemes.most_common())
            share, coding = (_mean([chain[layer] for chain in found[key]]) for key in ("class_share", "coding_neurons"))
            lines.append(f"| {name} | {found['width']} | {layer + 1} | {words} | {100 * share:.0f} | {coding:.0f} |")
    return "\n".join(lines)


def codes(results: dict[str, Any]) -> str:
    """Code fractions of the second sigmoidal layer: mean over chains, their standard error, and the published ones."""
    chains = [chain[1] for chain in results["erf, nonlazy, L = 3"]["codes"]]
    lines = ["| code | sampled | published |", "|---|---|---|"]
    for code in sorted({name for chain in chains for name in chain} | set(PUBLISHED)):
        values = [chain.get(code, 0.0) for chain in chains]
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        lines.append(f"| {code} | {np.mean(values):.3f} ± {error:.3f} | {PUBLISHED.get(code, 0):.3f} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def write_page(results: dict[str, Any]) -> None:
    head, _, rest = PAGE.read_text().partition("<!-- layers -->\n")
    tail = rest.partition("<!-- end of layers -->")[2]
    text = f"{table(results)}\n\nCodes of layer 2, sigmoidal, L = 3:\n\n{codes(results)}"
    PAGE.write_text(f"{head}<!-- layers -->\n\n{text}\n\n<!-- end of layers -->{tail}")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the page from stored results")
    write_page(json.loads(RESULTS.read_text()) if parser.parse_args().page else run())
