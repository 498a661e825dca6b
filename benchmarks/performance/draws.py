"""What is compared: kernel blocks, predictions and training error of each draw, and what they say about a sampler."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from arviz_stats.base import array_stats

AXES = {"chain_axis": 0, "draw_axis": 1}
KEEP = ("kernel_blocks", "predictions")
N_PREDICTIONS = 30
# Kernel blocks are right if they are this close to the reference, in units of `scales`.
CLOSE = 0.02
# Bulk ESS splits each chain in two and needs four draws of each half.
FEWEST_DRAWS = 8

Values = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """Draws of one method, axes (chain, draw), and what they cost in processor seconds.

    Attributes:
        values: the watched scalars by name; empty without draws.
        times: (rounds, 2), draws of each chain so far and seconds since the cold start.
        seconds: since the cold start, in all.
        sampling_seconds: without compilation and warm-up.
        gradients: of all chains, while sampling.
        warmup_seconds: compilation and warm-up; what there was of it if the budget ended before.
        settings: what was tuned to what.
    """

    values: Values
    times: list[tuple[int, float]]
    seconds: float
    sampling_seconds: float
    gradients: int
    warmup_seconds: float
    settings: dict[str, Any]


def scalars(recorded: dict[str, np.ndarray]) -> Values:
    """Watched scalars by name, from kernel_blocks (..., L, C, C), predictions (..., T, m) and training_error."""
    found = {"training error": recorded["training_error"]}
    blocks = recorded["kernel_blocks"]
    for layer in range(blocks.shape[-3]):
        for a, b in zip(*np.triu_indices(blocks.shape[-1]), strict=True):
            found[f"kernel {layer + 1} block {a},{b}"] = blocks[..., layer, a, b]
    if "predictions" in recorded:
        outputs = recorded["predictions"]
        for i in np.linspace(0, outputs.shape[-2] - 1, N_PREDICTIONS).astype(int):
            found[f"prediction {i}"] = outputs[..., i, i % outputs.shape[-1]]
    return found


def blocks_of(values: Values) -> Values:
    return {name: v for name, v in values.items() if name.startswith("kernel")}


def summary(drawn: Drawn, reference: dict[str, Any] | None) -> dict[str, Any]:
    """Figures of one method on one case; without an effective draw, bounds."""
    found: dict[str, Any] = {
        "seconds": drawn.seconds,
        "warmup_seconds": drawn.warmup_seconds,
        "sampling_seconds": drawn.sampling_seconds,
        "gradients": drawn.gradients,
        "draws": drawn.times[-1][0] if drawn.times else 0,
        "settings": drawn.settings,
    }
    if found["draws"] < FEWEST_DRAWS:
        # Less than one effective draw in all the time there was.
        return found | {"ess_per_second_below": 1 / drawn.seconds}
    ess = {name: float(array_stats.ess(v, method="bulk", **AXES)) for name, v in drawn.values.items()}
    r_hat = {name: float(array_stats.rhat(v, **AXES)) for name, v in drawn.values.items()}
    worst = min(ess, key=ess.__getitem__)
    found |= {
        "min_ess": ess[worst],
        "slowest": worst,
        "ess_per_second": ess[worst] / drawn.sampling_seconds,
        "gradients_per_effective_draw": drawn.gradients / ess[worst],
        "max_r_hat": max(r_hat.values()),
        "means": {name: float(v.mean()) for name, v in blocks_of(drawn.values).items()},
    }
    return found | (against(drawn, reference) if reference else {})


def scales(means: dict[str, float]) -> dict[str, float]:
    """What errors of blocks are relative to: of a block a, b the root of the blocks a, a and b, b, for its own may vanish."""
    ends = {name: name.rsplit(" ", 1)[0] for name in means}
    classes = {name: name.rsplit(" ", 1)[1].split(",") for name in means}
    own = {name: [abs(means[f"{ends[name]} {c},{c}"]) for c in classes[name]] for name in means}
    return {name: float(np.sqrt(np.prod(pair))) for name, pair in own.items()}


def against(drawn: Drawn, reference: dict[str, Any]) -> dict[str, Any]:
    """Bias of the kernel blocks, relative and in standard errors, and the time after which all stay close to the reference."""
    blocks, scale = blocks_of(drawn.values), scales(reference["means"])
    mcse = {name: float(array_stats.mcse(v, **AXES)) for name, v in blocks.items()}
    bias = {name: float(v.mean()) - reference["means"][name] for name, v in blocks.items()}
    errors = {name: np.hypot(mcse[name], reference["errors"][name]) for name in blocks}
    return {
        "bias": max(abs(bias[name]) / scale[name] for name in blocks),
        "bias_in_errors": float(max(abs(bias[name]) / errors[name] for name in blocks)),
        "time_to_solution": time_to_solution(drawn, reference["means"]),
    }


def time_to_solution(drawn: Drawn, means: dict[str, float]) -> float | None:
    """Seconds from the cold start until the means of all kernel blocks over the draws so far stay within 2 %; None if never."""
    blocks, scale = blocks_of(drawn.values), scales(means)
    far = [max(abs(v[:, :n].mean() - means[k]) / scale[k] for k, v in blocks.items()) for n, _ in drawn.times]
    outside = [i for i, distance in enumerate(far) if distance > CLOSE]
    first = outside[-1] + 1 if outside else 0
    return drawn.times[first][1] if first < len(far) else None


def reference_of(drawn: Drawn) -> dict[str, Any]:
    """Means and standard errors of a long run's kernel blocks."""
    blocks = blocks_of(drawn.values)
    return {
        "means": {name: float(v.mean()) for name, v in blocks.items()},
        "errors": {name: float(array_stats.mcse(v, **AXES)) for name, v in blocks.items()},
        "max_r_hat": max(float(array_stats.rhat(v, **AXES)) for v in blocks.values()),
        "draws": drawn.times[-1][0],
        "seconds": drawn.seconds,
        "settings": drawn.settings,
    }
