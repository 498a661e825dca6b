"""Chains on one device against two of the processor's: seconds of a transition, compiling left out. Wants an idle machine.

Writes sharding.json beside this file and docs/reliability/sharding.md.

    python benchmarks/sharding.py
    python benchmarks/sharding.py --page         # only the page, from the JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "sharding.md"
SIZES = (50, 100)
ROUNDS = 2
PROGRAM = """
import json, sys, time, warnings
import nonlazy as nl
warnings.simplefilter("ignore")
n = int(sys.argv[1])
posterior = nl.Posterior(nl.Model(width=n), nl.tasks.orthogonal(n_inputs=n), temperature=1e-3 / n)
options = {"chains": 4, "warmup": 40, "draws": 10, "progress": False, "keep": ("kernel_blocks",)}
nl.sample(posterior, **options)
began = time.perf_counter()
tree = nl.sample(posterior, **options, seed=1)
print((time.perf_counter() - began) / 50)
"""


def seconds(n: int, devices: int) -> float:
    # More threads than devices, without which the chains stay on one.
    settings = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "NPROC": str(devices + 1)}
    command = [sys.executable, "-c", PROGRAM, str(n)]
    done = subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure() -> list[dict[str, float]]:
    rows = []
    for n in SIZES:
        # One after the other, so that a change of the machine's speed meets both.
        pairs = [(seconds(n, 1), seconds(n, 2)) for _ in range(ROUNDS)]
        one, two = (min(values) for values in zip(*pairs, strict=True))
        rows.append({"n": n, "one": one, "two": two, "load": os.getloadavg()[0]})
        print(rows[-1], flush=True)
    return rows


def page(rows: list[dict[str, float]]) -> str:
    lines = [
        "# Chains on two devices\n",
        f"Made by `benchmarks/sharding.py` on {os.cpu_count()} cores: four chains, N = P, one hidden layer, N T = 1e-3, on one",
        f"device (whose matrix products use all cores) and on two (one core each); best of {ROUNDS}.\n",
        "| N = P | ms per transition, one device | two devices | gain |",
        "|---|---|---|---|",
        *(f"| {r['n']} | {1e3 * r['one']:.1f} | {1e3 * r['two']:.1f} | {r['one'] / r['two']:.2f} |" for r in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--page" not in sys.argv:
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
