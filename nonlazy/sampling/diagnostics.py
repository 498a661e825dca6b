"""Whether the draws can be trusted, from quantities that do not depend on the order of neurons.

Neurons are exchangeable and weights therefore have no meaning by themselves; kernel block means, predictions, errors and
the log density do. Code fractions are compared between chains, because neurons keep the codes of their first moments.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from jaxtyping import Float

from nonlazy.codes import activation_of, activity_threshold, class_activity_of_layer, code_fractions, neuron_codes
from nonlazy.validation import run_of

MAX_RHAT = 1.05
MIN_ESS = 100
MIN_ACCEPTANCE = 0.4
# Training error in units of T + (N T t)^2 above which the targets are not fitted as well as the temperature allows.
MAX_ERROR_OVER_EXPECTED = 10
MAX_WIDTH_TEMPERATURE = 0.01
# The outputs miss the targets by N T t; t was between 4 and 6 in sigmoidal toy networks.
TYPICAL_T = 5
# Of the log density, in nats.
MAX_ROUNDING_ERROR = 0.1
N_PREDICTIONS = 30
FROZEN_FRACTION = 0.02
# Of Langevin dynamics: the time in which directions that the data leave free relax.
MIN_TIME = 1


class Row(NamedTuple):
    """Summary of one scalar quantity over all chains."""

    name: str
    mean: float
    std: float
    mcse: float
    r_hat: float
    ess_bulk: float
    ess_tail: float


@dataclass(frozen=True)
class Diagnostics:
    """Convergence figures of a run.

    Attributes:
        rows: mean, standard deviation, Monte Carlo error, rank-normalized R-hat, bulk and tail effective draws.
        warnings: what speaks against trusting the draws, in plain words.
        notes: what to keep in mind.
        statistics: acceptance rate, divergences, gradients a draw, training error over temperature.
    """

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    statistics: dict[str, float]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.warnings:
            count = "One thing speaks" if len(self.warnings) == 1 else f"{len(self.warnings)} things speak"
            return f"{count} against trusting these draws as they are."
        return "Nothing in these diagnostics speaks against the draws."

    def __str__(self) -> str:
        lines = [self.verdict, *(f"! {text}" for text in self.warnings), *(f"  {text}" for text in self.notes), ""]
        lines.append(f"{'':28}{'mean':>11}{'std':>10}{'mcse':>10}{'R-hat':>8}{'ESS':>7}{'tail':>7}")
        for row in self.rows:
            figures = (
                f"{row.mean:11.4g}{row.std:10.2g}{row.mcse:10.2g}{row.r_hat:8.3f}{row.ess_bulk:7.0f}{row.ess_tail:7.0f}"
            )
            lines.append(f"{row.name:28}{figures}")
        return "\n".join(lines)


def diagnose(tree: xr.DataTree) -> Diagnostics:
    """Convergence diagnostics of a run, with warnings in plain words.

    Args:
        tree: result of `nonlazy.sample`.

    Returns:
        R-hat and effective draws of kernel blocks, predictions, errors and the log density; warnings; notes.
    """
    rows = tuple(_row(name, values) for name, values in scalars(tree).items())
    statistics = _statistics(tree)
    code_warnings, notes = _compare_codes(tree)
    warnings = (*_warn_rows(rows, tree), *_warn_statistics(statistics), *code_warnings)
    return Diagnostics(rows, warnings, tuple(notes), statistics)


def scalars(tree: xr.DataTree) -> dict[str, Float[np.ndarray, "chain draw"]]:
    """The permutation-invariant quantities that are watched, by name."""
    run_of("tree", tree, "posterior", "sample_stats")
    posterior, stats = tree["posterior"], tree["sample_stats"]
    found = {name: stats[name].values for name in ("lp", "training_error", "test_error") if name in stats}
    if "kernel_blocks" in posterior:
        blocks = posterior["kernel_blocks"]
        for layer in blocks.layer.values:
            for a, b in zip(*np.triu_indices(blocks.sizes["label"]), strict=True):
                values = blocks.sel(layer=layer).values[..., a, b]
                if np.isfinite(values).all():
                    found[f"kernel {layer} block {blocks.label.values[a]},{blocks.label_.values[b]}"] = values
    if "predictions" in posterior:
        predictions = posterior["predictions"].values
        for i in np.linspace(0, predictions.shape[2] - 1, min(N_PREDICTIONS, predictions.shape[2])).astype(int):
            found[f"prediction {i},{i % predictions.shape[3]}"] = predictions[:, :, i, i % predictions.shape[3]]
    return found


def _row(name: str, values: Float[np.ndarray, "chain draw"]) -> Row:
    n_chains, n_draws = values.shape
    spread = float(values.std())
    if n_draws < 4 or spread == 0:
        return Row(name, float(values.mean()), spread, *(np.nan,) * 4)
    axes = {"chain_axis": 0, "draw_axis": 1}
    return Row(
        name,
        float(values.mean()),
        spread,
        float(array_stats.mcse(values, **axes)),
        float(array_stats.rhat(values, **axes)) if n_chains > 1 else np.nan,
        float(array_stats.ess(values, method="bulk", **axes)),
        float(array_stats.ess(values, method="tail", prob=(0.05, 0.95), **axes)),
    )


def _statistics(tree: xr.DataTree) -> dict[str, float]:
    stats = tree["sample_stats"]
    configuration = json.loads(tree.attrs["configuration"])
    temperature = configuration["temperature"]
    error = float(stats["training_error"].mean())
    own = {name: float(stats[name].mean()) for name in ("exchange_rate", "replacement_rate") if name in stats}
    if "round_trips" in stats:
        own["round_trips"] = float(stats["round_trips"][:, -1].min())
    if "time" in stats:
        own["time"] = float((stats["time"][:, -1] - stats["time"][:, 0]).min())
    if "rounding_error" in tree.attrs:
        own["rounding_error"] = float(tree.attrs["rounding_error"])
    return own | {
        "acceptance_rate": float(stats["acceptance_rate"].mean()),
        "divergences": int(stats["diverging"].sum()),
        "gradients_per_draw": float(stats["n_gradients"].mean()) * configuration["sampling"]["thin"],
        "step_size": float(stats["step_size"][0, -1]),
        "training_error": error,
        "training_error_over_temperature": error / temperature,
        # The mean outputs miss the targets by N T t (non-lazy), T t (lazy).
        "width_times_temperature": temperature
        * (configuration["model"]["width"] if configuration["model"]["regime"] == "nonlazy" else 1),
    }


def _warn_rows(rows: tuple[Row, ...], tree: xr.DataTree) -> list[str]:
    found = []
    if tree["sample_stats"].sizes["chain"] == 1:
        found.append("There is one chain: nothing can be compared, run at least two.")
    unequal = [row for row in rows if row.r_hat > MAX_RHAT]
    if unequal:
        worst = max(unequal, key=lambda row: row.r_hat)
        found.append(
            f"Chains disagree: R-hat exceeds {MAX_RHAT} for {len(unequal)} of {len(rows)} quantities, most for {worst.name} "
            f"({worst.r_hat:.2f}). Their differences are larger than their fluctuations: draw more, or start elsewhere."
        )
    few = [row for row in rows if row.ess_bulk < MIN_ESS]
    if few:
        worst = min(few, key=lambda row: row.ess_bulk)
        found.append(
            f"Few independent draws: {len(few)} of {len(rows)} quantities have less than {MIN_ESS}, least {worst.name} "
            f"({worst.ess_bulk:.0f}). Draw more."
        )
    return found


def _warn_statistics(statistics: dict[str, float]) -> list[str]:
    found = []
    if statistics["divergences"]:
        found.append(f"{statistics['divergences']} transitions diverged: the step size is too long somewhere.")
    if statistics["acceptance_rate"] < MIN_ACCEPTANCE:
        found.append(
            f"The mean acceptance rate is {statistics['acceptance_rate']:.2f}: the step size was tuned elsewhere. "
            "Lengthen the warm-up."
        )
    if statistics.get("round_trips") == 0:
        found.append(
            "In a chain no replica went from the coldest to the hottest rung and back: codes at equilibrium rest on the "
            "annealing in warm-up alone. Draw more."
        )
    if statistics.get("time", MIN_TIME) < MIN_TIME:
        found.append(
            f"The dynamics covered a time of {statistics['time']:.2g} from the first draw to the last; directions that the "
            f"data leave free need a time of {MIN_TIME} to relax. Draw more, or raise thin."
        )
    if not statistics.get("rounding_error", 0) <= MAX_ROUNDING_ERROR:
        found.append(
            f"Features in single precision change the log density by {statistics['rounding_error']:.2g} where the chains "
            "ended: draws may be biased. Take features 'float64'."
        )
    error, width_temperature = statistics["training_error"], statistics["width_times_temperature"]
    temperature = error / statistics["training_error_over_temperature"]
    expected = temperature + (TYPICAL_T * width_temperature) ** 2
    if width_temperature > MAX_WIDTH_TEMPERATURE:
        found.append(
            f"The temperature is not low: N T = {width_temperature:.2g} (lazy: T) should be far below 1 for training error "
            f"zero; the training error is {error:.2g} per element."
        )
    if error > MAX_ERROR_OVER_EXPECTED * expected:
        found.append(
            f"The training error, {error:.2g} per element, is far above what the temperature explains, about {expected:.2g}: "
            "the chains have not reached the posterior, or the targets cannot be fitted."
        )
    return found


def _compare_codes(tree: xr.DataTree) -> tuple[list[str], list[str]]:
    """Warnings and notes on code fractions of the last layer."""
    if "class_activity" not in tree["posterior"]:
        return [], ["Codes were not compared: class_activity was not kept."]
    fractions = code_fractions(tree)
    moved = fraction_moved(tree)
    if fractions.sizes["code"] < 2 or moved > FROZEN_FRACTION:
        return [], []
    frozen = f"Codes are frozen: {100 * moved:.1f} % of the neurons changed theirs between the first and the last draw."
    width = tree["posterior"].sizes["neuron"]
    distances = [float(abs(p - q).sum()) / 2 for p, q in combinations(fractions.values, 2)]
    chance = _chance_distance(fractions.values.mean(axis=0), width)
    if distances and max(distances) > 2 * chance:
        return [
            f"{frozen} Chains hold different code fractions (total variation up to {max(distances):.2f}, {chance:.2f} by "
            "chance). None of them is an equilibrium value."
        ], []
    return [], [f"{frozen} Chains agreeing from one kind of start do not show that code fractions are at equilibrium."]


def fraction_moved(tree: xr.DataTree, layer: int = -1) -> float:
    """Fraction of neurons whose code differs between the first and the last draw."""
    activity = class_activity_of_layer(tree, layer).transpose("chain", "draw", "neuron", "label")
    codes = neuron_codes(activity.isel(draw=[0, -1]), activity_threshold(activity, activation_of(tree)))
    return float(np.mean(np.any(codes[:, 0] != codes[:, 1], axis=-1)))


def _chance_distance(fractions: Float[np.ndarray, " code"], width: int) -> float:
    """Mean total variation between the code fractions of two sets of independent neurons."""
    return float(np.sum(np.sqrt(fractions * (1 - fractions) / (np.pi * width))))
