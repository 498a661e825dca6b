"""The page and the figure of theory against sampling, from stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import curve_fit

from nonlazy import plot
from nonlazy.plot.style import class_colour

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
FIGURE = DOCS / "images" / "theory-deviation.png"
SPEED = HERE / "theory_speed.json"
CLASSES = "processor seconds by number of classes"
UNEQUAL = [0.5, 0.25, 0.25]
# Deviations below this many errors at the smallest width have no exponent to fit.
VISIBLE = 4
INTRODUCTION = r"""# Theory against sampling

Kernels of the mean-field theory beside those of sampled networks of finite width: orthogonal inputs, \(P / N = 1/2\),
\(N T = 10^{-3}\) (lazy: \(T = 10^{-3}\)). Compared are the means of kernel blocks within and between classes, each class or
pair of classes with the same weight, diagonal entries left out. `benchmarks/theory_against_sampling.py` makes this page.

z is the difference in units of the error, which is that of a Monte Carlo mean over chains, or the standard error of the
chains' means where R-hat exceeds 1.1. The theory is the limit of infinite width, so z grows with the length of a run; what
should shrink is the difference itself. Chains start at networks drawn from the theory, or from the prior.
"""
FINDINGS = r"""## What agrees, and what does not

**Linear, L = 1, 2, 3; ReLU, L = 1.** Chains lead to the theory, up to deviations of at most 2 % at N = 50, from both
starts where both were run (N = 100). For ReLU these are far beyond the Monte Carlo error and shrink like \(1/N\) from
N = 50 to 400. For linear networks they are so small, below .2 % at L = 1, that an exponent is resolved in a few
blocks of L = 3 only, with large errors. R-hat reaches 1.25 in the short chains of L = 1, N = 400.

**Sigmoidal, L = 1.** From the theory's codes the kernels stay within .5 % of the theory, but hardly any neuron ever
changes its code. Agreement then says that the codes, activities and readouts of the theory are stationary, not that
their fractions are at equilibrium. Each chain keeps the fractions that it was drawn with, R-hat is between 1.1 and
3.1, and the spread over chains hides a deviation of order \(1/N\). From the prior all six codes freeze in, 40 % of
the neurons in codes of one class; kernel blocks end 17 to 19 % of the within-class value below the theory, at a log
density lower by about 600 at N = 100 and by 3100 at N = 200. With two classes, where the theory has two codes, both
starts agree.

**Lazy, erf.** In the first layer deviations are 2 to 5 % at N = 50 and shrink like \(1/N\). **In the second layer
they are not seen to vanish**: at P / N = 1/2 all blocks stay 2 to 3 % below the Gaussian process from N = 200 to 400;
only the difference between blocks within and between classes goes like \(1/N\). Both starts agree on this at N = 100.
The Gaussian process is the limit of many neurons at fixed P, and two-layer lazy networks approach it late: at N =
400, P = 50 the mean over all blocks is still 2.3 % low, at P = 8 it is 1.1 %, at N = 800, P = 8 it is 0.9 %.

**Not compared.** Sigmoidal networks with two non-lazy layers. Widths of 400 at one layer or lazy only; class ratios other
than 1/2, 1/4, 1/4 at N = 100 only; lazy ReLU not at all.
"""
SPEED_TEXT = r"""Made by `benchmarks/theory_speed.py` on one core of a shared machine, \(N T = 10^{-3}\), sampling with N = 200
(digits: N = 100) and four chains from the prior. In parentheses: processor time, which does not count waiting for
other programs. Sampling includes compilation, about 10 s. Its error is the largest relative Monte Carlo error of a
kernel block; it was to reach 1 % and never did: chains keep their codes, so that more draws change nothing, only more
chains do, and these would average over starts far from the theory, as the last column shows. There is no ratio of
times at equal error to report. The theory's error is the scatter of its particles, not their bias; that of
quadrature is far below 1 %.
"""
CLASSES_TEXT = r"""There are 3, 10, 35 and 252 codes for 3, 5, 7 and 10 classes. P = 200, classes of equal size, second
solution, one core; another set of nodes takes 15 s for ten classes:
"""


class Series(NamedTuple):
    """Deviations from theory of one kernel block mean, in units of the within-class one, at several widths."""

    width: np.ndarray
    deviation: np.ndarray
    error: np.ndarray


def write_page(results: dict[str, Any]) -> None:
    """Write docs/theory/comparison.md and its figure."""
    series = _series(results)
    _figure(series)
    parts = [INTRODUCTION, FINDINGS, _deviations(series), _codes(results), _speed(), _table(results)]
    (DOCS / "theory" / "comparison.md").write_text("\n".join(parts), encoding="utf-8")


def network(case: dict[str, Any]) -> str:
    """Name of the network of a case."""
    return f"{case['activation']}, {'lazy, ' if case['regime'] == 'lazy' else ''}L = {case['depth']}"


def markdown(header: list[str], rows: list[list[Any]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _series(results: dict[str, Any]) -> dict[tuple[str, int, str], Series]:
    """By network, layer and blocks: chains from the theory, unequal classes, two widths or more."""
    found: dict[tuple[str, int, str], list[tuple[float, float, float]]] = {}
    for case in results.values():
        if case["start"] != "theory" or case["ratios"] != UNEQUAL or 2 * case["n_inputs"] != case["width"]:
            continue
        for row in case["rows"]:
            unit = row["relative"] / (row["sampled"] - row["theory"])
            point = (case["width"], row["relative"], row["error"] * unit)
            found.setdefault((network(case), row["layer"], row["blocks"]), []).append(point)
    return {name: Series(*np.array(sorted(points)).T) for name, points in found.items() if len(points) > 1}


def fit(series: Series) -> tuple[float, float] | None:
    """Least squares of c (100 / N)^k: k and its error; None where deviations do not stand out."""
    if abs(series.deviation[0]) < VISIBLE * series.error[0]:
        return None
    (_, exponent), covariance = curve_fit(
        lambda n, c, k: c * (100 / n) ** k,
        series.width, series.deviation, (series.deviation[0], 1.0), series.error, absolute_sigma=True,
    )  # fmt: skip
    return float(exponent), float(np.sqrt(covariance[1, 1]))


def _figure(series: dict[tuple[str, int, str], Series]) -> None:
    """Deviations of the last layer against width, for networks where one of them stands out."""
    names = list(dict.fromkeys(name for name, _, _ in series))
    with plot.style():
        figure, (axes,) = plot.subplots(1, 2, 3.6, 3.0)
        for ax, blocks in zip(axes, ("within", "between"), strict=True):
            for number, name in enumerate(names):
                points = series[name, int(name[-1]), blocks]
                if np.all(np.abs(points.deviation) < VISIBLE * points.error):
                    continue
                ax.errorbar(
                    points.width * (1 + 0.03 * (number - len(names) / 2)), np.abs(points.deviation), points.error,
                    marker="osD^vPX"[number % 7], ms=4, lw=1, capsize=2, label=name, color=class_colour(number),
                )  # fmt: skip
            grid = np.array([45, 440])
            ax.plot(grid, 0.5 / grid, "k--", lw=0.8, label="1 / 2N")
            ax.set(xscale="log", yscale="log", ylim=(1e-4, 0.1), xlabel="width N", title=f"blocks {blocks} classes")
            ax.set_xticks([50, 100, 200, 400], ["50", "100", "200", "400"])
            ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes[0].set_ylabel("relative deviation")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        figure.savefig(FIGURE)


def _deviations(series: dict[tuple[str, int, str], Series]) -> str:
    rows = []
    for (name, layer, blocks), points in series.items():
        fitted = fit(points)
        exponent = "not resolved" if fitted is None else f"{fitted[0]:.2f} ± {fitted[1]:.2f}"
        pairs = zip(points.deviation, points.error, strict=True)
        shown = ", ".join(f"{100 * d:+.2f} ± {100 * e:.2f}" for d, e in pairs)
        rows.append([name, layer, blocks, ", ".join(f"{n:.0f}" for n in points.width), shown, exponent])
    header = ["network", "layer", "blocks", "N", "deviation in % of the within-class blocks", "exponent k"]
    lines = [
        "## Deviations against width\n",
        "![Relative deviation of kernel blocks against width](../images/theory-deviation.png)\n",
        "*Deviation of the last layer's blocks in units of the within-class ones; chains from the theory.*\n",
        "Fits of \\(c\\, N^{-k}\\) by least squares. Not resolved: the",
        f"deviation at the smallest width is less than {VISIBLE} errors.\n",
        markdown(header, rows),
    ]
    return "\n".join(lines)


def _codes(results: dict[str, Any]) -> str:
    rows = []
    for case in results.values():
        if not case["codes"]:
            continue
        codes = sorted(set(case["codes"]) | set(case["theory_codes"]))
        pairs = [(code, case["codes"].get(code, 0.0), case["theory_codes"].get(code, 0.0)) for code in codes]
        shown = [pair for pair in pairs if max(pair[1:]) > 0.005]
        fractions = (", ".join(f"{pair[0]} {pair[i]:.3f}" for pair in shown) for i in (1, 2))
        moved = f"{100 * case['moved']:.1f} %"
        row = [network(case), _ratios(case), case["width"], case["start"], moved, *fractions]
        rows.append([*row, f"{case['log_density']:.0f}"])
    header = ["network", "classes", "N", "start", "neurons that changed code", "sampled", "theory", "mean log density"]
    title = "## Codes and starts\n\nFractions of the codes in the last layer, mean over chains.\n\n"
    return title + markdown(header, rows)


def _ratios(case: dict[str, Any]) -> str:
    return ", ".join(f"{r:g}" for r in case["ratios"])


def _table(results: dict[str, Any]) -> str:
    rows = []
    for case in results.values():
        for row in case["rows"]:
            theory = f"{row['theory']:.4f}".replace("-0.0000", "0.0000")
            found = f"{row['sampled']:.4f} ± {row['error']:.4f}"
            figures = [f"{row['z']:+.1f}", f"{100 * row['relative']:+.2f}", f"{row['r_hat']:.2f}"]
            labels = [network(case), _ratios(case), case["n_inputs"], case["width"], case["start"]]
            labels += [row["layer"], row["blocks"]]
            rows.append([*labels, theory, found, *figures])
    header = [
        "network",
        "classes",
        "P",
        "N",
        "start",
        "layer",
        "blocks",
        "theory",
        "sampled",
        "z",
        "deviation, %",
        "R-hat",
    ]
    return "## All runs\n\n" + markdown(header, rows)


def _speed() -> str:
    """Times of theory and sampling, where they were measured."""
    if not SPEED.exists():
        return ""
    results = json.loads(SPEED.read_text())
    classes = results.pop(CLASSES)
    rows = [_speed_row(name, part) for name, part in results.items()]
    header = ["problem", "theory, first, s", "theory, warm, s", "its error"]
    header += ["sampling, s", "its error", "R-hat", "distance from the theory"]
    by_classes = markdown(["classes", *classes], [["processor time, s", *(f"{s:.1f}" for s in classes.values())]])
    return "\n".join([f"## Speed\n\n{SPEED_TEXT}", markdown(header, rows), CLASSES_TEXT, by_classes])


def _speed_row(name: str, part: dict[str, Any]) -> list[str]:
    theory = part["theory"]
    row = [name]
    if theory is None:
        return [*row, f"stopped after {part['stopped_after']:.0f}", *[""] * 6]
    sampling = part["sampling"]
    row += [f"{theory['first_seconds']:.1f}", f"{theory['warm_seconds']:.1f} ({theory['warm_cpu_seconds']:.1f})"]
    row += [f"{100 * theory['relative_error']:.2g} %" if theory["relative_error"] else "quadrature"]
    row += [f"{sampling['seconds']:.0f} ({sampling['cpu_seconds']:.0f})", f"{100 * sampling['relative_error']:.1f} %"]
    return [*row, f"{sampling['r_hat']:.1f}", f"{100 * sampling['deviation']:.0f} %"]
