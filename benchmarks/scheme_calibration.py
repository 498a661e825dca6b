"""How often `nonlazy.coding_scheme` is right: 500 populations of each scheme, half from the theory, half from others.

    python benchmarks/scheme_calibration.py [--page]

A stopped run goes on where it was; --page only writes the page again from what is stored.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scheme_populations import SCHEMES, draw_case
from scipy.stats import binomtest

import nonlazy as nl

HERE = Path(__file__).parent
RESULTS = HERE / "scheme_calibration.json"
PAGE = HERE.parent / "docs" / "theory" / "reading.md"
POPULATIONS = 500
VERDICTS = ("none", "analog", "redundant", "sparse", "undecided")
# Where the reader should be right in 95 % of all populations.
ENOUGH_NEURONS, ENOUGH_SIGNAL = 50, 2.0


def source_of(scheme: str, k: int) -> str:
    """The theory's populations take turns with the others."""
    theory = [name for name in SCHEMES[scheme] if name.startswith("theory")]
    others = [name for name in SCHEMES[scheme] if name not in theory]
    return theory[k // 2 % len(theory)] if k % 2 == 0 else others[k // 2 % len(others)]


def read_population(scheme: str, k: int) -> dict[str, Any]:
    generator = np.random.default_rng([k, list(SCHEMES).index(scheme)])
    source = source_of(scheme, k)
    responses = SCHEMES[scheme][source](generator, draw_case(generator))
    began = time.perf_counter()
    found = nl.coding_scheme(responses.activations, responses.labels, seed=k)
    counts = np.bincount(responses.labels)
    return {
        "scheme": scheme, "source": source, "verdict": found.name, "reason": found.reason, "snr": responses.snr(),
        "neurons": responses.activations.shape[1], "classes": len(counts), "fewest": int(counts.min()),
        "inputs": len(responses.labels), "seconds": time.perf_counter() - began,
    }  # fmt: skip


def run() -> list[dict[str, Any]]:
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    known = {(row["scheme"], row["k"]) for row in done}
    # All schemes grow together, so that what a stopped run leaves is a smaller study.
    missing = [(scheme, k) for k in range(POPULATIONS) for scheme in SCHEMES if (scheme, k) not in known]
    for number, (scheme, k) in enumerate(track(missing, "populations", disable=not missing)):
        done.append({"k": k, **read_population(scheme, k)})
        if number % 40 == 0 or number == len(missing) - 1:
            text = ",\n".join(json.dumps(_rounded(row)) for row in done)
            RESULTS.write_text(f"[\n{text}\n]\n")
    return json.loads(RESULTS.read_text())


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if value is None or value != value else round(value, 3) if isinstance(value, float) else value
        for name, value in row.items()
    }


def strong(row: dict[str, Any]) -> bool:
    return row["neurons"] >= ENOUGH_NEURONS and (row["scheme"] == "none" or (row["snr"] or 0) >= ENOUGH_SIGNAL)


def percent(hits: int, of: int) -> str:
    """A share with its 95 % interval (Clopper and Pearson)."""
    if of == 0:
        return "-"
    low, high = binomtest(hits, of).proportion_ci(0.95)
    return f"{100 * hits / of:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def confusion(rows: list[dict[str, Any]]) -> str:
    lines = [f"| true scheme | populations | {' | '.join(VERDICTS)} | right, % |", "|---" * (len(VERDICTS) + 3) + "|"]
    for scheme in SCHEMES:
        found = Counter(row["verdict"] for row in rows if row["scheme"] == scheme)
        n = found.total()
        lines.append(
            f"| {scheme} | {n} | {' | '.join(str(found[v]) for v in VERDICTS)} | {percent(found[scheme], n)} |"
        )
    return "\n".join(lines)


def by_signal(rows: list[dict[str, Any]]) -> str:
    """Right, wrong and undecided by signal-to-noise ratio and number of neurons, of the schemes that have a signal."""
    signals = [(0, 0.5), (0.5, 1), (1, 2), (2, 4), (4, np.inf)]
    sizes = [(20, 50), (50, 200), (200, 1001)]
    lines = ["| SNR | " + " | ".join(f"N = {a} to {b - 1}" for a, b in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for low, high in signals:
        cells = [_three([row for row in rows if row["scheme"] != "none" and low <= (row["snr"] or 0) < high
                         and a <= row["neurons"] < b]) for a, b in sizes]  # fmt: skip
        lines.append(f"| {low} to {high} | ".replace("to inf", "or more") + " | ".join(cells) + " |")
    return "\n".join(lines)


def _three(rows: list[dict[str, Any]]) -> str:
    right = sum(row["verdict"] == row["scheme"] for row in rows)
    undecided = sum(row["verdict"] == "undecided" for row in rows)
    return f"{right} / {len(rows) - right - undecided} / {undecided}"


def by_source(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| scheme | populations from | all | SNR at least 2, N at least 50 | mistaken there for |",
        "|---" * 5 + "|",
    ]
    for scheme, sources in SCHEMES.items():
        for source in sources:
            here = [row for row in rows if (row["scheme"], row["source"]) == (scheme, source)]
            good = [row for row in here if strong(row)]
            wrong = Counter(row["verdict"] for row in good if row["verdict"] != scheme)
            names = ", ".join(f"{name} {count}" for name, count in wrong.items()) or "-"
            lines.append(f"| {scheme} | {source} | {_right(here)} | {_right(good)} | {names} |")
    return "\n".join(lines)


def _right(rows: Iterable[dict[str, Any]]) -> str:
    hits = [row["verdict"] == row["scheme"] for row in rows]
    return f"{sum(hits)} of {len(hits)}"


def write_page(rows: list[dict[str, Any]]) -> None:
    good = [row for row in rows if strong(row)]
    silent = [row for row in rows if row["scheme"] == "none"]
    alarms = sum(row["verdict"] not in ("none", "undecided") for row in silent)
    seconds = np.array([row["seconds"] for row in rows])
    text = PAGE.read_text()
    head, _, rest = text.partition("<!-- results -->\n")
    _, _, tail = rest.partition("<!-- end of results -->")
    results = f"""
### Enough signal and neurons

Signal-to-noise ratio of at least 2 (none: any) and at least 50 neurons; in brackets 95 % intervals.

{confusion(good)}

### All populations

{confusion(rows)}

False alarms, a scheme where there is none: {alarms} of {len(silent)}, {percent(alarms, len(silent))} %.

### By signal and size

Right / wrong / undecided, for the three schemes that have a signal.

{by_signal(rows)}

### By source

{by_source(rows)}

A reading took {np.median(seconds):.1f} s (median; {seconds.max():.0f} s at most) on one core.
"""
    PAGE.write_text(f"{head}<!-- results -->\n{results}\n<!-- end of results -->{tail}")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the page from stored results")
    write_page(json.loads(RESULTS.read_text()) if parser.parse_args().page else run())
