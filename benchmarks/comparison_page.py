"""The page and the figure of theory against sampling, from stored results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nonlazy import plot

DOCS = Path(__file__).parent.parent / "docs"
FIGURE = DOCS / "images" / "theory-deviation.png"
INTRODUCTION = r"""# Theory against sampling

Made by `benchmarks/theory_against_sampling.py`: orthogonal inputs, \(P / N = 1/2\), \(N T = 10^{-3}\) (lazy:
\(T = 10^{-3}\)), mean of the kernel's blocks within and between classes. Errors are Monte Carlo standard errors over chains, z
the difference in units of them. The theory holds for infinite width: once the error is small, the difference of order
\(1/N\) shows, and z grows with the length of the run. Chains start at networks drawn from the theory or from the prior.

An R-hat far above 1 in erf networks says that chains keep the code counts they started with. Their error bars then
describe the spread over starts, not equilibrium.
"""


def write_page(results: dict[str, Any]) -> None:
    """Write docs/theory/comparison.md and its figure."""
    fits = _figure(results.values())
    text = [INTRODUCTION, "![Relative deviation of kernel blocks against width](../images/theory-deviation.png)\n"]
    text += [
        "*Relative deviation of the within-class blocks of the last layer, chains from the theory.*\n",
        *fits,
        "",
        *_table(results),
    ]
    (DOCS / "theory" / "comparison.md").write_text("\n".join(text) + _discussion(results), encoding="utf-8")


def _table(results: dict[str, Any]) -> list[str]:
    lines = [
        "## Table\n",
        "| network | classes | N | start | layer | blocks | theory | sampled | error | z | R-hat |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in results.values():
        network = f"{case['activation']}, {case['regime']}, L = {case['depth']}"
        ratios = ", ".join(f"{r:g}" for r in case["ratios"])
        for row in case["rows"]:
            lines.append(
                f"| {network} | {ratios} | {case['width']} | {case['start']} | {row['layer']} | {row['blocks']} "
                f"| {row['theory']:.4f} | {row['sampled']:.4f} | {row['error']:.4f} | {row['z']:+.1f} | {row['r_hat']:.2f} |"
            )
    return lines


def _series(results: Iterable[dict[str, Any]]) -> dict[str, list[tuple[int, float, float]]]:
    """By network: width, relative deviation of the last layer's within-class blocks, and its error."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for case in results:
        if case["start"] != "theory" or case["ratios"] != [0.5, 0.25, 0.25]:
            continue
        row = next(r for r in case["rows"] if r["layer"] == case["depth"] and r["blocks"] == "within")
        deviation = (case["width"], abs(row["sampled"] / row["theory"] - 1), row["error"] / abs(row["theory"]))
        found.setdefault(f"{case['activation']}, {case['regime']}, L = {case['depth']}", []).append(deviation)
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}


def _figure(results: Iterable[dict[str, Any]]) -> list[str]:
    lines = ["| network | fitted exponent of N | from widths |", "|---|---|---|"]
    with plot.style():
        figure, ((ax,),) = plot.subplots(1, 1, 5.2, 3.4)
        for number, (name, points) in enumerate(_series(results).items()):
            width, deviation, error = np.array(points).T
            ax.errorbar(
                width * (1 + 0.02 * number), deviation, yerr=error, marker="o", ms=4, lw=1, capsize=2, label=name
            )
            slope, uncertainty = _fit(width, deviation, error)
            lines.append(f"| {name} | {slope:.1f} ± {uncertainty:.1f} | {', '.join(str(int(n)) for n in width)} |")
        grid = np.array([50, 200])
        ax.plot(grid, 0.5 / grid, "k--", lw=0.8, label="1 / (2 N)")
        ax.set(xscale="log", yscale="log", xlabel="width N", ylabel="relative deviation")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(FIGURE)
    return lines


def _fit(width: np.ndarray, deviation: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Slope of log deviation against log width, weighted by the errors, and its standard error."""
    sigma = np.maximum(error / np.maximum(deviation, error), 1e-3)
    design = np.stack([np.ones(len(width)), np.log(width)], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope = covariance @ design.T @ (np.log(np.maximum(deviation, 1e-12)) / sigma)
    return float(slope[1]), float(np.sqrt(covariance[1, 1]))


def _discussion(results: dict[str, Any]) -> str:
    text = (
        "\n\n## Codes and starts\n\n| network | N | start | code fractions, sampled | theory |\n|---|---|---|---|---|\n"
    )
    for case in results.values():
        if case["codes"]:
            sampled, theory = (
                ", ".join(f"{code} {value:.3f}" for code, value in sorted(case[key].items()) if value > 0.003)
                for key in ("codes", "theory_codes")
            )
            network = f"{case['activation']}, {case['regime']}, L = {case['depth']}"
            text += f"| {network} | {case['width']} | {case['start']} | {sampled} | {theory} |\n"
    return text
