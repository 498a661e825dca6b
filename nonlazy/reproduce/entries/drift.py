"""Drift of single neurons in three-layer networks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from nonlazy import plot
from nonlazy.analysis import drift, matched_activities
from nonlazy.errors import DataWarning
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce.claims import Claim, above, below
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import NAMES, draw, toy_posterior

DEPTH = 3
# Drift is 0 where no neuron moved, 1 where neurons have forgotten.
STILL, DRIFTED = 0.1, 0.3


def compute(job: Job) -> Outcome:
    s, outcome = job.settings, Outcome()
    for activation, name in NAMES.items():
        job.announce(f"sampling the {name} network")
        posterior = toy_posterior(activation, DEPTH, s["width"], s["n_inputs"], s["temperature"][activation])
        tree = along_dynamics(posterior, s, job.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            found = drift(tree)
        outcome.claims += claims(activation, found, covered(tree))
        outcome.pictures.append(picture(activation, posterior, tree))
        names = ("matched_drift", "participation", "codes_kept", "codes_kept_by_chance", "code_change")
        outcome.numbers[activation] = {"drift": found.values} | {key: found[key].values for key in names}
    return outcome


def along_dynamics(posterior: Posterior, s: dict[str, Any], seed: int) -> xr.DataTree:
    """Draws along Hamiltonian Monte Carlo, or along the Langevin dynamics that goes on from its end."""
    if not s["langevin"]:
        return draw(posterior, s["sampling"], seed, keep=("class_activity",))
    hmc = draw(posterior, s["sampling"], seed, keep=("readout", "weights"))
    start = all_weights(posterior, hmc)
    return draw(posterior, s["langevin"], seed, keep=("class_activity",), method="langevin", start=start)


def all_weights(posterior: Posterior, tree: xr.DataTree) -> list[np.ndarray]:
    """All weights of the last draws, in units of their prior standard deviations: where Langevin chains can start."""
    last = tree["posterior"].to_dataset().isel(draw=-1)
    deeper = list(last["deeper_weights"].transpose("layer_above", "chain", "neuron_below", "neuron").values)
    return [last["first_weights"].values, *deeper, last["readout"].values / posterior.readout_variance**0.5]


def covered(tree: xr.DataTree) -> str:
    """How long neurons had to drift."""
    stats = tree["sample_stats"]
    if "time" in stats:
        return f"a Langevin time of {float((stats['time'][:, -1] - stats['time'][:, 0]).mean()):.2g}"
    return f"{stats.sizes['draw'] - 1} transitions"


def claims(activation: str, found: xr.DataArray, time: str) -> list[Claim]:
    """What was published, layer by layer: means over chains with their standard error."""
    claims = []
    for layer in range(DEPTH):
        mean, error = over_chains(found.values[:, layer])
        where = f"{NAMES[activation]}, layer {layer + 1}"
        if activation == "linear" or (activation == "erf" and layer < DEPTH - 1):
            statement = f"{where}: neurons drift over {time} (0: none moved, 1: all forgot)."
            claims.append(above(DRIFTED, statement, mean, error))
        else:
            carriers = float(found["participation"].values[:, layer].mean())
            words = (
                f"Measured: {carriers:.0f} neurons carry the class structure of this layer (participation ratio); the "
                "published sparse code has three."
            )
            explanation = words if activation == "relu" else ""
            claims.append(below(STILL, f"{where}: neurons do not drift over {time}.", mean, error, explanation))
        if activation == "erf" and layer < DEPTH - 1:
            change, error = over_chains(found["code_change"].values[:, layer])
            statement = f"{where}: code fractions persist while neurons drift (total variation between both ends)."
            claims.append(below(0.2, statement, change, error))
    return claims


def over_chains(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def picture(activation: str, posterior: Posterior, tree: xr.DataTree) -> Picture:
    figure, axes = plot.subplots(1, DEPTH, 3.4, 3.0)
    for layer, ax in enumerate(axes[0], start=1):
        plot.drift(*matched_activities(tree, layer=layer), posterior.task.class_names, ax)
        ax.set_title(f"{NAMES[activation]}, layer {layer}", pad=24)
    caption = (
        f"{NAMES[activation]} network: class activities of all neurons in the first draw of a chain, in the last, and "
        "in the last with the neurons in the order that matches the first best."
    )
    return Picture(f"drift-{activation}", f"Drift in {NAMES[activation]} networks", caption, figure)


ENTRY = Entry(
    "drift",
    "Drift of single neurons",
    "Neurons of all layers drift in linear networks, none in ReLU networks; in sigmoidal ones those of the last layer "
    "stand still, while lower ones exchange codes whose fractions persist.",
    "Nature Communications 16, 3354 (2025), on representational drift; poster (Bernstein Conference 2025), drift panel",
    compute,
)
