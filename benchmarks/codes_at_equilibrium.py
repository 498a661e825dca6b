"""Replicas that start in different codes: do they end in the same ones, and in the theory's?

One chain from each start. Writes codes_at_equilibrium.json beside this file, after each case, and the page
docs/reliability/codes-at-equilibrium.md; cases that the JSON has are not computed again.

    python benchmarks/codes_at_equilibrium.py
    python benchmarks/codes_at_equilibrium.py --page     # only the page, from the JSON
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

import nonlazy as nl
from nonlazy.codes import code_names, neuron_codes

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "codes-at-equilibrium.md"
# Class ratios and width; P = 100, T = 1e-5.
CASES = [((0.5, 0.25, 0.25), 100), ((0.4, 0.35, 0.25), 100), ((0.5, 0.5), 100), ((0.5, 0.25, 0.25), 200)]
WARMUP, DRAWS = 80, 160
# Middle of the range of erf, above which a class is active.
THRESHOLD = 0.5


def starts(posterior: nl.Posterior, theory: nl.Theory) -> dict[str, np.ndarray]:
    """Preactivations, which for orthogonal inputs are the sampler's coordinates."""
    task, width = posterior.task, posterior.model.width
    n_classes = len(task.class_names)
    groups = {"codes of one class": (1,), "codes of two classes": (2,), "codes of three classes": (3,)}
    if n_classes > 2:
        groups["codes of one class and of two"] = (1, 2)
    found = {"prior": np.random.default_rng(0).standard_normal((task.n_inputs, width))}
    for name, n_active in groups.items():
        if max(n_active) <= n_classes:
            codes = [code for code in product([0, 1], repeat=n_classes) if sum(code) in n_active]
            found[name] = in_codes(task.labels, codes, width)
    return found | {"theory": np.asarray(theory.draw(seed=0).position[0])}


def in_codes(labels: np.ndarray, codes: list[tuple[int, ...]], width: int) -> np.ndarray:
    """Neurons that have the codes in turn."""
    return np.where(np.resize(codes, (width, len(codes[0])))[:, labels].T == 1, 1.0, -1.0)


def measure(ratios: tuple[float, ...], width: int) -> dict[str, Any]:
    posterior = nl.Posterior(nl.Model(width=width), nl.tasks.orthogonal(100, ratios), temperature=1e-5)
    theory = nl.solve(posterior, progress=False)
    positions = starts(posterior, theory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the chains disagree in is what is measured
        tree = nl.sample(
            posterior,
            chains=len(positions),
            warmup=WARMUP,
            draws=DRAWS,
            method="tempered",
            start=(np.stack(list(positions.values())),),
            keep=("class_activity", "kernel_blocks"),
            progress=False,
        )
    fractions = fractions_of_draws(tree)
    expected = theory.code_fractions[-1]
    means = {name: as_dict(chain.mean("draw")) for name, chain in zip(positions, fractions, strict=True)}
    blocks = tree["posterior"]["kernel_blocks"].values
    return {
        "ratios": ratios,
        "width": width,
        "fractions": means,
        "theory": expected,
        "between_starts": max(distance(a, b) for a in means.values() for b in means.values()),
        "to_theory": max(distance(a, expected) for a in means.values()),
        "r_hat": largest_r_hat(fractions.values),
        "r_hat_of_blocks": largest_r_hat(blocks.reshape(*blocks.shape[:2], -1)),
        "round_trips": int(tree["sample_stats"]["round_trips"].isel(draw=-1).sum()),
    }


def fractions_of_draws(tree: xr.DataTree) -> xr.DataArray:
    """Fraction of neurons with each code, (chain, draw, code)."""
    activity = tree["posterior"]["class_activity"].isel(layer=-1).transpose("chain", "draw", "neuron", "label")
    names = code_names(neuron_codes(activity, THRESHOLD))
    present = np.unique(names)
    values = np.stack([(names == code).mean(axis=-1) for code in present], axis=-1)
    return xr.DataArray(values, {"code": present}, ("chain", "draw", "code"))


def as_dict(fractions: xr.DataArray) -> dict[str, float]:
    return dict(zip(fractions.code.values.tolist(), fractions.values.tolist(), strict=True))


def distance(a: dict[str, float], b: dict[str, float]) -> float:
    """Total variation."""
    return sum(abs(a.get(code, 0.0) - b.get(code, 0.0)) for code in {*a, *b}) / 2


def largest_r_hat(values: np.ndarray) -> float:
    """Over the quantities that change at all; one that is the same in all draws of all chains agrees."""
    changing = values[..., np.ptp(values, axis=(0, 1)) > 0]
    return float(np.max(array_stats.rhat(changing, chain_axis=0, draw_axis=1), initial=1.0))


INTRODUCTION = f"""# Codes at equilibrium, from any start

Made by `benchmarks/codes_at_equilibrium.py` on one core: erf, one hidden layer, orthogonal inputs, P = 100, T = 1e-5,
`method="tempered"`, one chain from each start, {WARMUP} transitions of warm-up, {DRAWS} draws. Wanted are at most .05 of total
variation between any two starts and to the theory, and R-hat of all fractions below 1.05; codes whose number is the same
in all draws of all chains count as 1. [How it works](../theory/sampling.md#codes-at-equilibrium).
"""


def page(results: list[dict[str, Any]]) -> str:
    missing = len(CASES) - len(results)
    last = [f"{missing} of {len(CASES)} cases were not computed.\n"] if missing else []
    return "\n".join([INTRODUCTION, *map(section, results), *last])


def section(case: dict[str, Any]) -> str:
    """Fractions by start, and the figures of agreement."""
    rows = case["fractions"] | {"**theory's law, infinite width**": case["theory"]}
    seen = {code for row in rows.values() for code, value in row.items() if value >= 5e-4}
    codes = sorted(seen, key=lambda code: (code.count("1"), code))
    lines = [
        f"## Classes {' : '.join(f'{ratio:g}' for ratio in case['ratios'])}, N = {case['width']}\n",
        f"| start | {' | '.join(codes)} |",
        "|---|" + "---|" * len(codes),
        *(f"| {name} | {' | '.join(f'{row.get(code, 0):.3f}' for code in codes)} |" for name, row in rows.items()),
        "",
        f"Largest total variation between starts {case['between_starts']:.3f}, to the theory {case['to_theory']:.3f}. R-hat",
        f"of the fractions at most {case['r_hat']:.2f}, of the kernel blocks {case['r_hat_of_blocks']:.2f};",
        f"{case['round_trips']} round trips of replicas in all chains.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = [(tuple(case["ratios"]), case["width"]) for case in results]
    for ratios, width in [] if "--page" in sys.argv else [case for case in CASES if case not in done]:
        results.append(measure(ratios, width))
        print(results[-1], flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
