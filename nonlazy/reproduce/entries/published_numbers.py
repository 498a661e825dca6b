"""Numbers measured from the poster's figures beside sampled networks and the theory."""

from __future__ import annotations

import json
import math
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from nonlazy import plot
from nonlazy.kernels import kernel_blocks
from nonlazy.plot.style import THEORY_COLOUR
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce.claims import Claim, below, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import class_means, codes_of, draw, last_features, toy_posterior
from nonlazy.theory import solve

DEPTH = 3
# Neurons in each layer of the published sigmoidal network.
PUBLISHED_WIDTH = 200
# A published number further away disagrees.
MAX_Z = 3.0
GROUPS = {
    "prior": "sigmoidal, chains from the prior",
    "theory": "sigmoidal, chains from the theory",
    "relu": "ReLU, chains from the prior",
}
EXPLANATIONS = {
    "prior": (
        "What disagrees is the fraction of code 1-0-0 in the last layer, and the kernel blocks, which follow from the codes "
        "(next claim). Tested: two chains of N = P = 200, as published, froze with .14 and .18 of the neurons in this code, so "
        "width is not the reason. Fractions freeze and depend on the start: at L = 1 chains from the theory have almost none."
    ),
    "theory": (
        "Tested: the same sampler started at the theory's codes keeps its three codes at a third each, started at the "
        "prior all six. The published fractions are those of a start, not of equilibrium."
    ),
    "relu": "",
}


class Row(NamedTuple):
    """A published number, and the mean and spread of the same quantity over single sampled networks.

    `error` is that of the published number: from counting neurons of one network, or from reading a figure.
    """

    group: str
    name: str
    published: float
    error: float
    mean: float
    spread: float
    n: int

    @property
    def z(self) -> float:
        """The poster shows one network, which differs from the mean by the spread; the mean has an error, too."""
        return (self.mean - self.published) / math.sqrt(self.error**2 + self.spread**2 * (1 + 1 / self.n))


def published() -> dict[str, Any]:
    """The poster's numbers, with their source."""
    return json.loads((resources.files("nonlazy.reproduce") / "poster.json").read_text(encoding="utf-8"))


def compute(job: Job) -> Outcome:
    s, numbers = job.settings, published()
    rows: list[Row] = []
    for start in s["starts"]:
        job.announce(GROUPS[start])
        posterior, networks = sampled("erf", start, job)
        rows += erf_rows(start, numbers["erf"], posterior, networks, s["reading_error"])
    job.announce(GROUPS["relu"])
    posterior, networks = sampled("relu", "prior", job)
    rows += relu_rows(numbers["relu"], posterior, networks, s["reading_error"])
    job.announce("fitting the width of the linear network's prior")
    fit = fit_readout_std(numbers["linear"], s["theory_n_inputs"], tuple(s["readout_stds"]))
    outcome = Outcome(claims=[agreement(group, rows) for group in dict.fromkeys(row.group for row in rows)])
    outcome.claims.append(consistency(numbers["erf"], s["reading_error"]))
    outcome.claims += linear_claims(fit, s["reading_error"])
    outcome.pictures = [rows_picture(rows), linear_picture(numbers["linear"], fit)]
    outcome.numbers = {
        "source": numbers["source"],
        "rows": [row._asdict() | {"z": row.z} for row in rows],
        "linear": fit,
    }
    return outcome


def sampled(activation: str, start: str, job: Job) -> tuple[Posterior, Float[np.ndarray, "chain layer P N"]]:
    """Activities of single networks, one of each chain."""
    s = job.settings
    posterior = toy_posterior(activation, DEPTH, s["width"], s["n_inputs"], s["temperature"])
    tree = draw(posterior, s["sampling"], job.seed, keep=(), start=start)
    return posterior, last_features(tree, posterior)


def row(group: str, name: str, value: float, error: float, values: list[float]) -> Row:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Row(group, name, value, error, float(np.mean(values)), spread, len(values))


def erf_rows(
    group: str, numbers: dict[str, Any], posterior: Posterior, networks: np.ndarray, reading: float
) -> list[Row]:
    """Code fractions of layers 2 and 3, activities of layer 2, and blocks of the last kernel."""
    rows = []
    for layer in (2, 3):
        codes = [codes_of(network[layer - 1], posterior) for network in networks]
        for code, value in numbers[f"layer_{layer}_code_fractions"].items():
            counting = math.sqrt(value * (1 - value) / PUBLISHED_WIDTH)
            fractions = [float(np.mean(found == code)) for found in codes]
            rows.append(row(group, f"layer {layer}, code {'-'.join(code)}", value, counting, fractions))
        missing = [float(np.mean((found == "000") | (found == "111"))) for found in codes]
        rows.append(row(group, f"layer {layer}, codes 0-0-0, 1-1-1", 0.0, 1 / PUBLISHED_WIDTH, missing))
    activities = [class_means(network[1], posterior.task) for network in networks]
    on, off = numbers["layer_2_activity_on_off"]
    rows.append(row(group, "layer 2, activity on", on, reading, [float(a[a > 0.5].mean()) for a in activities]))
    rows.append(row(group, "layer 2, activity off", off, reading, [float(a[a <= 0.5].mean()) for a in activities]))
    blocks = [rescaled_blocks(network[2], posterior) for network in networks]
    for name, value in numbers["layer_3_kernel_blocks_over_block_11"].items():
        a, b = (int(digit) - 1 for digit in name)
        ratios = [float(block[a, b] / block[0, 0]) for block in blocks]
        rows.append(row(group, f"layer 3, block {name} / 11", value, reading, ratios))
    return rows


def relu_rows(numbers: dict[str, Any], posterior: Posterior, networks: np.ndarray, reading: float) -> list[Row]:
    """Coding neurons and blocks of the last kernel."""
    codes = [codes_of(network[2], posterior) for network in networks]
    rows = []
    for c, value in enumerate(numbers["layer_3_coding_neurons_per_class"]):
        counts = [float(np.sum([code[c] == "1" for code in found])) for found in codes]
        rows.append(row("relu", f"layer 3, neurons coding class {c + 1}", float(value), 0.5, counts))
    blocks = [rescaled_blocks(network[2], posterior) for network in networks]
    for c in (0, 2):
        value = numbers["layer_3_diagonal_blocks_over_block_22"][c]
        ratios = [float(block[c, c] / block[1, 1]) for block in blocks]
        rows.append(row("relu", f"layer 3, block {c + 1}{c + 1} / 22", value, reading, ratios))
    between = [float(block[np.triu_indices(3, 1)].mean() / block[1, 1]) for block in blocks]
    value = numbers["layer_3_off_diagonal_blocks"]
    return [*rows, row("relu", "layer 3, blocks between classes / 22", value, reading, between)]


def rescaled_blocks(features: Float[np.ndarray, "P N"], posterior: Posterior) -> Float[np.ndarray, "C C"]:
    """Block means of a kernel that is rescaled to [0, 1], as in the published panels."""
    kernel = features @ features.T / features.shape[1]
    return kernel_blocks((kernel - kernel.min()) / (kernel.max() - kernel.min()), posterior.task.labels)


def agreement(group: str, rows: list[Row]) -> Claim:
    """The published number that is furthest from the sampled networks."""
    worst = max((row for row in rows if row.group == group), key=lambda row: abs(row.z))
    n = sum(row.group == group for row in rows)
    statement = f"{GROUPS[group]}: {n} published numbers agree with sampled networks (largest |z|, {worst.name})."
    return below(MAX_Z, statement, abs(worst.z), explanation=EXPLANATIONS[group])


def consistency(numbers: dict[str, Any], reading: float) -> Claim:
    """Blocks of the kernel that neurons with these codes and activities 0 and 1 make: K_ab sums codes active in a and b."""
    codes = np.array([[int(digit) for digit in code] for code in numbers["layer_3_code_fractions"]])
    fractions = np.array(list(numbers["layer_3_code_fractions"].values()))
    kernel = codes.T @ (fractions[:, None] * codes)
    rescaled = (kernel - kernel.min()) / (kernel.max() - kernel.min())
    pairs = [(int(name[0]) - 1, int(name[1]) - 1) for name in numbers["layer_3_kernel_blocks_over_block_11"]]
    found = np.array([rescaled[pair] for pair in pairs]) / rescaled[0, 0]
    published = np.array(list(numbers["layer_3_kernel_blocks_over_block_11"].values()))
    statement = (
        "sigmoidal: the last layer's published kernel blocks are those of its published codes (largest deviation)."
    )
    return close_to(0.0, reading, statement, float(np.abs(found - published).max()))


def linear_ratios(readout_std: float, n_inputs: int) -> Float[np.ndarray, "layer class"]:
    """(block - between) / (diagonal - between) in theory, for the classes of half and quarter size."""
    theory = solve(
        toy_posterior("linear", DEPTH, n_inputs, n_inputs, 1e-3 / n_inputs, readout_std=readout_std), progress=False
    )
    labels = theory.posterior.task.labels
    ratios = np.empty((DEPTH, 2))
    for layer, (kernel, blocks) in enumerate(zip(theory.kernels, theory.kernel_blocks, strict=True)):
        for column, c in enumerate((0, 1)):
            between, diagonal = blocks[0, 1], np.diagonal(kernel)[labels == c].mean()
            ratios[layer, column] = (blocks[c, c] - between) / (diagonal - between)
    return ratios


def fit_readout_std(numbers: dict[str, Any], n_inputs: int, bounds: tuple[float, ...]) -> dict[str, Any]:
    """The s_a at which the theory is closest to the published ratios, by least squares."""
    target = np.stack([numbers["half_size_class"], numbers["quarter_size_classes"]], axis=1)

    def misfit(log_std: float) -> float:
        return float(np.sum((linear_ratios(math.exp(log_std), n_inputs) - target) ** 2))

    found = minimize_scalar(misfit, bounds=tuple(map(math.log, bounds)), method="bounded", options={"xatol": 1e-3})
    return {
        "readout_std": math.exp(found.x),
        "published": target,
        "fitted": linear_ratios(math.exp(found.x), n_inputs),
        "at_one": linear_ratios(1.0, n_inputs),
    }


def linear_claims(fit: dict[str, Any], reading: float) -> list[Claim]:
    """Largest deviation of the six ratios, at s_a = 1 and at the fitted s_a."""
    claims = []
    for name, value in (("at_one", 1.0), ("fitted", fit["readout_std"])):
        deviations = fit[name] - fit["published"]
        worst = deviations.flat[np.abs(deviations).argmax()]
        statement = (
            f"linear: the theory's block ratios at s_a = {value:.3g} are the published ones (largest deviation)."
        )
        words = f"The prior's width is not published. Tested: least squares over s_a gives {fit['readout_std']:.3g}."
        claims.append(close_to(0.0, 2 * reading, statement, float(worst), explanation=words))
    return claims


def rows_picture(rows: list[Row]) -> Picture:
    """Published numbers and sampled networks, side by side, a panel for each group."""
    groups = list(dict.fromkeys(row.group for row in rows))
    figure, axes = plot.subplots(1, len(groups), 4.4, 4.6)
    for group, ax in zip(groups, axes[0], strict=True):
        shown = [row for row in rows if row.group == group][::-1]
        places = np.arange(len(shown))
        ax.errorbar(
            [row.mean for row in shown], places, xerr=[row.spread for row in shown], fmt="o", ms=4, color="black",
            capsize=2, label="sampled, ± spread of networks",
        )  # fmt: skip
        ax.plot([row.published for row in shown], places, "D", ms=5, mfc="none", color=THEORY_COLOUR, label="published")
        ax.set_yticks(places, [f"{row.name}  (z = {row.z:.1f})" for row in shown])
        ax.set(title=GROUPS[group], xlabel="value")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.05))
    caption = (
        "Numbers measured from the poster's figures, one network each, beside single sampled networks; z in units of "
        "the spread between networks and the error of the published number."
    )
    return Picture("published-numbers", "Published numbers", caption, figure)


def linear_picture(numbers: dict[str, Any], fit: dict[str, Any]) -> Picture:
    """Block ratios of linear networks against the layer."""
    figure, axes = plot.subplots(1, 2, 3.2, 2.6)
    layers = np.arange(1, DEPTH + 1)
    for column, (ax, title) in enumerate(zip(axes[0], ("class of half size", "classes of quarter size"), strict=True)):
        ax.plot(layers, fit["published"][:, column], "o", color="black", label="published")
        ax.plot(
            layers, fit["fitted"][:, column], "-", color=THEORY_COLOUR, label=f"theory, s_a = {fit['readout_std']:.2f}"
        )
        ax.plot(layers, fit["at_one"][:, column], ":", color=THEORY_COLOUR, label="theory, s_a = 1")
        ax.set(title=title, xlabel="layer", ylabel="relative block strength", ylim=(0, 1), xticks=layers)
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    caption = "Linear networks: class blocks relative to the diagonal, both above the blocks between classes."
    return Picture("published-linear", "Linear block ratios", caption, figure)


ENTRY = Entry(
    "published-numbers",
    "Published numbers",
    "Code fractions, activities and kernel blocks of the published three-layer networks agree with sampling and theory.",
    "Poster 'Coding Schemes in Non-Lazy Artificial Neural Networks' (Bernstein Conference 2025), measured from its "
    "figure panels",
    compute,
)
