"""Half an hour of work in one process: does memory stay flat, and is everything given back?

Samples, theory, coding schemes, files and figures of six posteriors, again and again with other seeds. Writes soak.json
beside this file and docs/reliability/soak.md.

    python benchmarks/soak.py                # 30 minutes on one core
    python benchmarks/soak.py --page         # only the page, from the JSON
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import psutil

import nonlazy as nl

MINUTES = 30
RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "soak.md"
# Of the first rounds, in which programs are compiled and allocators find their size.
SETTLING = 0.2


def posteriors(seed: int) -> list[nl.Posterior]:
    toy = nl.tasks.orthogonal(n_inputs=24)
    given = nl.tasks.gaussian(n_inputs=20, n_features=30, n_test=10, separation=0.6, seed=seed)
    return [
        nl.Posterior(nl.Model(width=24), toy, 1e-4),
        nl.Posterior(nl.Model(width=24, activation="relu"), toy, 1e-4),
        nl.Posterior(nl.Model(width=24, activation="linear", depth=2), toy, 1e-4),
        nl.Posterior(nl.Model(width=24, depth=3), toy, 1e-4),
        nl.Posterior(nl.Model(width=24, activation="linear"), given, 1e-3),
        nl.Posterior(nl.Model(width=24, activation="tanh", regime="lazy"), given, 1e-3),
    ]


def one_round(seed: int, folder: Path) -> None:
    """All that a user does with a posterior."""
    for number, posterior in enumerate(posteriors(seed)):
        tree = nl.sample(
            posterior, chains=2, warmup=50, draws=50, seed=seed, progress=False, checkpoint=folder / f"{seed}-{number}"
        )
        nl.save(tree, folder / "tree.nc")
        activations = posterior.model.phi(nl.load(folder / "tree.nc")["last_draw"]["preactivations"].values[0, -1].T)
        nl.coding_scheme(np.asarray(activations), posterior.task.labels, seed=seed)
        if posterior.model.depth == 1 or posterior.model.activation == "linear":
            nl.solve(posterior, seed=seed, progress=False, throw=False)
        figure, ax = plt.subplots()
        nl.plot.kernel(
            tree["posterior_mean"]["kernel"].values[0, -1], posterior.task.labels, posterior.task.class_names, ax
        )
        figure.savefig(folder / "kernel.png")
        plt.close(figure)


def state(began: float) -> dict[str, float]:
    process = psutil.Process()
    return {
        "minutes": (time.monotonic() - began) / 60,
        "resident memory, MiB": process.memory_info().rss / 2**20,
        "open files": process.num_fds(),
        "threads": process.num_threads(),
        "child processes": len(process.children(recursive=True)),
        "memory maps": len(process.memory_maps(grouped=False)),
    }


def measure() -> list[dict[str, float]]:
    rows, began = [], time.monotonic()
    while not rows or rows[-1]["minutes"] < MINUTES:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one_round(len(rows), Path(folder))
        rows.append(state(began))
        print(rows[-1], flush=True)
    return rows


def page(rows: list[dict[str, float]]) -> str:
    settled = [row for row in rows if row["minutes"] > SETTLING * rows[-1]["minutes"]]
    lines = [
        "# Half an hour in one process\n",
        "Made by `benchmarks/soak.py`: six posteriors (erf, ReLU, linear, tanh; one to three layers; both regimes) are",
        "sampled with checkpoints, saved, loaded, read, solved and drawn, again and again with other seeds.",
        f"{len(rows)} rounds in {rows[-1]['minutes']:.0f} minutes; the first fifth, with its compiling, is left out below.\n",
        "| | first | last | smallest | largest |",
        "|---|---|---|---|---|",
    ]
    for name in rows[0]:
        if name != "minutes":
            values = [row[name] for row in settled]
            cells = (f"{value:.0f}" for value in (values[0], values[-1], min(values), max(values)))
            lines.append(f"| {name} | {' | '.join(cells)} |")
    memory = [row["resident memory, MiB"] for row in settled]
    minutes = [row["minutes"] for row in settled]
    growth = np.polyfit(minutes, memory, 1)[0] * (minutes[-1] - minutes[0]) / np.mean(memory)
    lines.append(f"\nA straight line through the memory grows by {100 * growth:.1f} % (at most 5 % is wanted).\n")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--page" not in sys.argv:
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
