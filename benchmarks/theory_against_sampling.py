"""Mean-field theory against sampled networks: makes theory_against_sampling.json, docs/theory/comparison.md and its figure.

Runs go from the most to the least important. Each is stored as it comes: a killed script goes on where it stopped.

    python benchmarks/theory_against_sampling.py --minutes 30    # sample what is missing, then write page and figure
    python benchmarks/theory_against_sampling.py --minutes 0 --solve-again    # after changes in the solver
    python benchmarks/theory_against_sampling.py --minutes 0     # write page and figure from what is there
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from comparison_page import write_page

import nonlazy as nl
from nonlazy.sampling.diagnostics import fraction_moved

HERE = Path(__file__).parent
RESULTS = HERE / "theory_against_sampling.json"
ALPHA = 0.5  # P / N, unless said otherwise
WIDTH_TEMPERATURE = 1e-3  # N T in the non-lazy regime, T in the lazy one: what the outputs miss the targets by, over t
UNEQUAL = (0.5, 0.25, 0.25)
OTHERS = ((0.4, 0.35, 0.25), (0.5, 0.5))
MAX_RHAT = 1.1
AXES = {"chain_axis": 0, "draw_axis": 1}


class Case(NamedTuple):
    """One posterior, sampled from one start."""

    activation: str
    depth: int
    width: int
    start: str = "theory"
    regime: str = "nonlazy"
    ratios: tuple[float, ...] = UNEQUAL
    alpha: float = ALPHA

    @property
    def key(self) -> str:
        ratios = "/".join(f"{r:g}" for r in self.ratios)
        alpha = "" if self.alpha == ALPHA else f" P/N={self.alpha:g}"
        return f"{self.regime} {self.activation} L={self.depth} N={self.width} {ratios} {self.start}{alpha}"


def cases() -> list[Case]:
    """All runs, the most important first."""
    networks = [("linear", 1), ("erf", 1), ("relu", 1), ("linear", 3)]
    found = [Case(*network, width) for width in (50, 100) for network in networks]
    found += [Case("erf", depth, width, regime="lazy") for width in (50, 100) for depth in (1, 2)]
    found += [Case("erf", 1, 100, "prior"), Case("relu", 1, 100, "prior"), Case("linear", 1, 100, "prior")]
    found += [Case("erf", 1, 200), Case("erf", 2, 200, regime="lazy")]
    found += [Case(activation, 1, 100, ratios=r) for r in OTHERS for activation in ("erf", "relu", "linear")]
    found += [Case("relu", 1, 200), Case("linear", 2, 50), Case("linear", 2, 100), Case("erf", 1, 200, regime="lazy")]
    found += [Case("linear", 1, 200), Case("linear", 3, 100, "prior")]
    found += [Case("erf", depth, 100, "prior", "lazy") for depth in (1, 2)] + [Case("linear", 2, 100, "prior")]
    found += [Case("linear", 2, 200), Case("linear", 3, 200)]
    found += [Case("erf", 1, 100, "prior", ratios=r) for r in OTHERS] + [Case("erf", 1, 200, "prior")]
    found += [Case(activation, 1, 400) for activation in ("relu", "erf", "linear")]
    found += [Case("erf", depth, 400, regime="lazy") for depth in (2, 1)]
    found += [Case("erf", 2, 400, regime="lazy", alpha=alpha) for alpha in (0.125, 0.02)]
    found += [Case("erf", 2, 800, regime="lazy", alpha=0.01)]
    return found + [Case("erf", 2, width, start) for width in (50, 100) for start in ("theory", "prior")]


def posterior_of(case: Case) -> nl.Posterior:
    """The posterior on orthogonal inputs."""
    model = nl.Model(depth=case.depth, width=case.width, activation=case.activation, regime=case.regime)
    task = nl.tasks.orthogonal(n_inputs=round(case.alpha * case.width), class_ratios=case.ratios)
    temperature = WIDTH_TEMPERATURE / (case.width if case.regime == "nonlazy" else 1)
    return nl.Posterior(model, task, temperature=temperature)


def schedule(case: Case) -> dict[str, int]:
    """Chains, warm-up and draws that the width allows. Frozen codes need chains rather than draws."""
    if case.width >= 400 and case.alpha == ALPHA:
        return {"chains": 2 if case.regime == "lazy" else 4, "warmup": 80, "draws": 80}
    if case.activation == "erf" and case.regime == "nonlazy":
        return {"chains": 8, "warmup": 80, "draws": 80}
    if case.width >= 200 and case.alpha == ALPHA:
        return {"chains": 4 if case.depth == 1 and case.regime == "nonlazy" else 2, "warmup": 100, "draws": 120}
    return {"chains": 4, "warmup": 150, "draws": 250}


def first_coordinates(theory: nl.Theory, chains: int) -> tuple[np.ndarray, ...]:
    """A different draw from the theory for each chain."""
    draws = [theory.draw(seed=seed).position for seed in range(chains)]
    return tuple(np.stack(parts) for parts in zip(*draws, strict=True))


def class_means(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """Means of kernel blocks (..., C, C) within and between classes, each class or pair with the same weight."""
    within = np.eye(blocks.shape[-1], dtype=bool)
    return {"within": blocks[..., within].mean(-1), "between": blocks[..., ~within].mean(-1)}


def standard_error(values: np.ndarray) -> float:
    """Monte Carlo error of the mean of draws (chain, draw), from the spread of the chains' means where these disagree."""
    if array_stats.rhat(values, **AXES) > MAX_RHAT:
        return float(values.mean(axis=1).std(ddof=1) / np.sqrt(len(values)))
    return float(array_stats.mcse(values, **AXES))


def compare(theory: np.ndarray, sampled: np.ndarray) -> list[dict[str, Any]]:
    """Theory (L, C, C) beside draws (chain, draw, L, C, C), layer by layer."""
    rows = []
    for layer in range(len(theory)):
        expected, found = class_means(theory[layer]), class_means(sampled[:, :, layer])
        for name, values in found.items():
            mean, error = float(values.mean()), standard_error(values)
            r_hat = float(array_stats.rhat(values, **AXES))
            row = {"layer": layer + 1, "blocks": name, "sampled": mean, "error": error, "r_hat": r_hat}
            rows.append(row | deviation_of(row, expected))
    return rows


def deviation_of(row: dict[str, Any], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Theory, z and the relative deviation, in units of the within-class blocks because the others may vanish."""
    theory = float(expected[row["blocks"]])
    deviation = row["sampled"] - theory
    return {"theory": theory, "z": deviation / row["error"], "relative": deviation / float(expected["within"])}


def solve_again(case: Case, result: dict[str, Any]) -> None:
    """Put the theory's present values beside stored samples."""
    theory = theory_of(case)
    if theory is not None:
        for row in result["rows"]:
            row |= deviation_of(row, class_means(theory.kernel_blocks[row["layer"] - 1]))
        result |= {"theory_codes": theory.code_fractions[-1], "theory_blocks": theory.kernel_blocks.tolist()}


def run(case: Case, theory: nl.Theory) -> dict[str, Any]:
    """Sample one case and compare it with its theory."""
    options = schedule(case)
    start = first_coordinates(theory, options["chains"]) if case.start == "theory" else "prior"
    began = time.perf_counter()
    tree = nl.sample(theory.posterior, start=start, seed=1, progress=False, **options)
    blocks = tree["posterior"]["kernel_blocks"].values
    codes = nl.code_fractions(tree).mean("chain") if case.activation == "erf" and case.regime == "nonlazy" else None
    return case._asdict() | options | {
        "n_inputs": theory.posterior.task.n_inputs,
        "method": theory.method,
        "scheme": theory.scheme,
        "seconds": time.perf_counter() - began,
        "log_density": float(tree["sample_stats"]["lp"].mean()),
        "moved": fraction_moved(tree),
        "codes": {} if codes is None else dict(zip(codes["code"].values.tolist(), codes.values.tolist(), strict=True)),
        "theory_codes": theory.code_fractions[-1],
        "rows": compare(theory.kernel_blocks, blocks),
        "theory_blocks": theory.kernel_blocks.tolist(),
        "sampled_blocks": blocks.mean((0, 1)).tolist(),
    }  # fmt: skip


def theory_of(case: Case) -> nl.Theory | None:
    """The theory, or None where its solver fails, which is said."""
    try:
        return nl.solve(posterior_of(case), progress=False)
    except (nl.ConvergenceError, ValueError) as error:
        print(f"{case.key}: no theory. {error}", flush=True)
        return None


def load() -> dict[str, Any]:
    """Results so far, by case."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def store(results: dict[str, Any]) -> None:
    """Write all results, or leave the old file as it is."""
    part = RESULTS.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(RESULTS)


def main() -> None:
    """Run the missing cases while there is time, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="start no further case after this time")
    parser.add_argument("--solve-again", action="store_true", help="first solve the theory of stored runs again")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    warnings.simplefilter("ignore", nl.SamplingWarning)
    results, theories = load(), {}
    if options.solve_again:
        for case in cases():
            if case.key in results:
                solve_again(case, results[case.key])
        store(results)
    for case in cases():
        if case.key in results or time.monotonic() > end:
            continue
        posterior = case._replace(start="")
        if posterior not in theories:
            theories[posterior] = theory_of(case)
        if theories[posterior] is None:
            continue
        results[case.key] = run(case, theories[posterior])
        store(results)
        print(f"{case.key}: {results[case.key]['seconds']:.0f} s", flush=True)
    write_page(results)


if __name__ == "__main__":
    main()
