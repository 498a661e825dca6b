"""Kernels of one- and two-layer networks, theory against sampling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from nonlazy import plot
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import Claim, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, draw, first_coordinates, mean_and_error, toy_posterior
from nonlazy.theory import Theory, solve


class Case(NamedTuple):
    """A network and where its chains start."""

    activation: str
    depth: int
    start: str

    @property
    def name(self) -> str:
        return f"{NAMES[self.activation]}, L = {self.depth}, chains from the {self.start}"


CASES = (
    Case("linear", 1, "prior"),
    Case("erf", 1, "theory"),
    Case("erf", 1, "prior"),
    Case("relu", 1, "prior"),
    Case("linear", 2, "prior"),
    Case("erf", 2, "theory"),
)
STATIONARY = "Codes freeze: the theory's codes, activities and readouts are stationary, not what any chain would find."


def compute(job: Job) -> Outcome:
    outcome, theories = Outcome(), {}
    for case in CASES:
        if case[:2] not in theories:
            job.announce(f"theory, {case.name}")
            theories[case[:2]] = solve(posterior_of(case, job.settings), seed=job.seed, progress=False)
        theory = theories[case[:2]]
        job.announce(f"sampling, {case.name}")
        sampling = job.settings["deep_sampling" if case.depth > 1 else "sampling"]
        start: Any = first_coordinates(theory, sampling["chains"]) if case.start == "theory" else "prior"
        tree = draw(theory.posterior, sampling, job.seed, start=start, keep=("kernel_blocks",))
        tolerance = job.settings["deep_tolerance" if case.depth > 1 else "tolerance"]
        outcome.pictures.append(picture(case, theory, tree))
        outcome.numbers[case.name] = {
            "theory": theory.kernel_blocks,
            "sampled": tree["posterior"]["kernel_blocks"].mean(["chain", "draw"]).values,
            "log_density": float(tree["sample_stats"]["lp"].mean()),
            "free_energy": theory.free_energy,
            "method": theory.method,
        }
        outcome.claims.append(claim(case, theory, tree, tolerance, explanation(case, outcome.numbers)))
    return outcome


def posterior_of(case: Case, s: dict[str, Any]) -> Any:
    prefix = "deep_" if case.depth > 1 else ""
    width, n_inputs = s[f"{prefix}width"], s[f"{prefix}n_inputs"]
    return toy_posterior(case.activation, case.depth, width, n_inputs, s["width_temperature"] / width)


def explanation(case: Case, numbers: dict[str, Any]) -> str:
    """Of codes that freeze: what the start has to do with the deviation, from the densities that chains reached."""
    if case.activation != "erf":
        return ""
    if case.start == "theory":
        return STATIONARY
    from_theory, here = (numbers[case._replace(start=start).name]["log_density"] for start in ("theory", "prior"))
    return (
        f"The same network from the theory's codes reaches a log density of {from_theory:.0f}, from the prior one of "
        f"{here:.0f}: codes freeze where chains start."
    )


def claim(case: Case, theory: Theory, tree: xr.DataTree, tolerance: float, words: str) -> Claim:
    """The block that deviates most, in units of the mean within-class block of its layer."""
    sampled, expected = tree["posterior"]["kernel_blocks"].values, theory.kernel_blocks
    deviations = {}
    for layer, a, b in np.ndindex(expected.shape):
        if a <= b:
            unit = np.diagonal(expected[layer]).mean()
            mean, error = mean_and_error(sampled[:, :, layer, a, b])
            deviations[f"block {a},{b} of layer {layer + 1}"] = (mean - expected[layer, a, b]) / unit, error / unit
    where = max(deviations, key=lambda name: abs(deviations[name][0]))
    statement = f"{case.name}: kernel blocks are the theory's (largest relative deviation, {where})."
    return close_to(0.0, tolerance, statement, *deviations[where], explanation=words)


def picture(case: Case, theory: Theory, tree: xr.DataTree) -> Picture:
    """For each layer the theory's kernel, the sampled one, and their blocks."""
    mean = tree["posterior_mean"]["kernel"].mean("chain").values
    figure, axes = plot.subplots(case.depth, 3, 3.3, 2.8)
    names = theory.posterior.task.class_names
    pairs = list(zip(*np.triu_indices(len(names)), strict=True))
    for layer, (left, middle, right) in enumerate(axes):
        drawing.kernel(theory.kernels[layer], theory.posterior, left, mean[layer]).set_title(
            f"layer {layer + 1}, theory"
        )
        drawing.kernel(mean[layer], theory.posterior, middle, theory.kernels[layer]).set_title("sampled")
        blocks = tree["posterior"]["kernel_blocks"].values[:, :, layer]
        found = np.array([mean_and_error(blocks[:, :, a, b]) for a, b in pairs])
        expected = np.array([theory.kernel_blocks[layer, a, b] for a, b in pairs])
        labels = [f"{names[a]},{names[b]}" for a, b in pairs]
        plot.compare(expected, found[:, 0], found[:, 1], labels, right)
    caption = (
        f"{case.name}. Kernel in theory and averaged over draws on one colour scale; block means ± two standard errors."
    )
    name = f"kernels-{case.activation}-{case.depth}-{case.start}"
    return Picture(name, case.name, caption, figure)


ENTRY = Entry(
    "single-layer-kernels",
    "Kernels: theory against sampling",
    "The kernels of sampled networks are those of the theory of wide networks, for all three nonlinearities.",
    "Nature Communications 16, 3354 (2025), figures on single-hidden-layer networks; two layers: extension",
    compute,
)
