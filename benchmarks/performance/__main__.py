"""`python -m benchmarks.performance`: measures what results.json lacks and writes docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from typing import Any

from benchmarks.performance import comparison, gradient_cost, growth, page, results
from benchmarks.performance.cases import ACTIVATIONS, Case, grid

PARTS = ("gradient", "comparison", "growth")


def machine() -> dict[str, Any]:
    packages = ("jax", "jaxlib", "numpyro", "blackjax", "numpy", "scipy")
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def gradient(found: dict[str, Any]) -> None:
    part = found.setdefault("gradient", {})
    for case in gradient_cost.cases():
        if case.name not in part:
            part[case.name] = case._asdict() | {"seconds": gradient_cost.measure(case)}
            print(case.name, part[case.name]["seconds"], flush=True)
            results.save(found)


def compare(found: dict[str, Any], options: argparse.Namespace) -> None:
    part = found.setdefault("comparison", {})
    chosen = tuple(m for m in comparison.methods(Case("erf")) if any(name in m for name in options.methods))
    for case in grid()[options.skip :][: options.cases]:
        if case.activation in options.activations:
            of_case = part.setdefault(case.name, case._asdict() | {"methods": {}})
            comparison.measure(case, chosen, options.budget, of_case["methods"], lambda: results.save(found))


def grow(found: dict[str, Any]) -> None:
    part = found.setdefault("growth", {})
    for name, series in growth.SERIES.items():
        if name not in part:
            part[name] = growth.measure(series)
            print(name, part[name], flush=True)
            results.save(found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="none: only the page")
    parser.add_argument("--budget", type=float, default=60, help="processor seconds of a method on a case")
    parser.add_argument("--skip", type=int, default=0, help="cases to leave out at the beginning of the grid")
    parser.add_argument("--cases", type=int, default=len(grid()), help="how many cases of the grid")
    parser.add_argument("--activations", nargs="*", choices=ACTIVATIONS, default=list(ACTIVATIONS))
    parser.add_argument("--methods", nargs="*", default=[""], help="parts of the names of methods")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    found = results.load()
    if options.parts:
        found["machine"] = machine()
    if "gradient" in options.parts:
        gradient(found)
    if "comparison" in options.parts:
        compare(found, options)
    if "growth" in options.parts:
        grow(found)
    page.write(results.load())


if __name__ == "__main__":
    main()
