"""Single-neuron posteriors at L = 1: densities of readout weights and preactivations, sampled and in theory."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes

from nonlazy import plot
from nonlazy.analysis import last_activities
from nonlazy.codes import activity_threshold, code_fractions, code_names, neuron_codes
from nonlazy.plot.style import class_colour
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce.claims import Claim, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import (
    NAMES,
    codes_of,
    draw,
    first_coordinates,
    last_features,
    mean_and_error,
    toy_posterior,
)
from nonlazy.theory import Theory, solve

DRAWN_NEURONS = 20_000
KEEP = ("readout", "class_activity")
# Branches lighter than this have too few neurons in a network of a hundred.
HEAVY = 0.1
# Branches lie 3 apart.
BRANCH_TOLERANCE = 0.2
OTHER_FRACTIONS = (
    "The readout of a code depends on how many neurons have it: chains from the prior froze in other fractions. From the "
    "theory's fractions the readout is the theory's."
)
CODES_DIFFER = (
    "Codes freeze where chains start: those from the theory keep its fractions, those from the prior all six codes. Chains "
    "that change codes (method tempered, in the full size) decide."
)


def compute(job: Job) -> Outcome:
    outcome, s = Outcome(), job.settings
    theories: dict[str, Theory] = {}
    trees: dict[str, xr.DataTree] = {}
    for activation in NAMES:
        job.announce(f"theory and sampling of the {NAMES[activation]} network")
        posterior = toy_posterior(activation, 1, s["width"], s["n_inputs"], s["temperature"])
        theories[activation] = solve(posterior, seed=job.seed, progress=False)
        trees[activation] = draw(posterior, s["sampling"], job.seed, keep=KEEP)
    erf = theories["erf"]
    start = first_coordinates(erf, s["sampling"]["chains"])
    by_start = {
        "prior": trees["erf"],
        "theory": draw(erf.posterior, s["sampling"], job.seed, keep=KEEP, start=start),
    }
    by_chains = {f"from the {start}": tree for start, tree in by_start.items()}
    if s["tempered"]:
        job.announce("sampling the sigmoidal network by chains that change codes")
        by_chains["that change codes"] = draw(erf.posterior, s["tempered"], job.seed, keep=KEEP, method="tempered")
    outcome.claims = [
        *gaussian_claims(theories["linear"], trees["linear"]),
        *(claim for start, tree in by_start.items() for claim in branch_claims(erf, tree, f"from the {start}")),
        *(fraction_claim(erf, tree, chains) for chains, tree in by_chains.items()),
        *outlier_claims(theories["relu"], trees["relu"]),
    ]  # fmt: skip
    outcome.numbers = {
        "theory": {name: str(theory) for name, theory in theories.items()},
        "code_fractions": {chains: _fractions(tree) for chains, tree in by_chains.items()},
    }
    shown = trees | {"erf": by_start["theory"]}
    outcome.pictures = [readout_picture(theories, shown), preactivation_picture(theories, shown)]
    return outcome


def gaussian_claims(theory: Theory, tree: xr.DataTree) -> list[Claim]:
    """Covariance and fourth moment of linear networks' readout weights."""
    a = tree["posterior"]["readout"].values
    expected = theory.readout_covariance
    assert expected is not None
    second = np.einsum("cdni,cdnj->cdij", a, a) / a.shape[2]
    claims = []
    for output in range(a.shape[-1]):
        mean, error = mean_and_error(second[:, :, output, output])
        statement = f"linear: variance of the readout weights of output {output}."
        value = expected[output, output]
        claims.append(close_to(value, 0.05 * value, statement, mean, error))
    fourth, error = mean_and_error((a**4).mean(axis=2)[..., 0])
    gaussian = 3 * second[:, :, 0, 0].mean() ** 2
    statement = "linear: readout weights are Gaussian (fourth moment of output 0 over that of a Gaussian)."
    return [*claims, close_to(1.0, 0.15, statement, fourth / gaussian, error / gaussian)]


def branch_claims(theory: Theory, tree: xr.DataTree, start: str) -> list[Claim]:
    """Mean readout weights of sigmoidal neurons with the same code, the output that deviates most."""
    words = OTHER_FRACTIONS if start == "from the prior" else ""
    activity = tree["posterior"]["class_activity"].isel(layer=0).transpose("chain", "draw", "neuron", "label").values
    codes = code_names(neuron_codes(activity, activity_threshold(activity, "erf")))
    a = tree["posterior"]["readout"].values
    claims = []
    for branch in theory.codes:
        if branch.probability < HEAVY:
            continue
        members = codes == "".join(map(str, branch.code))
        counts = members.sum(axis=2)
        chains = (counts > 0).all(axis=1)
        if chains.sum() < 2:
            continue
        means = (a * members[..., None]).sum(axis=2)[chains] / counts[chains][..., None]
        found = [mean_and_error(means[:, :, output]) for output in range(a.shape[-1])]
        worst = max(range(len(found)), key=lambda output: abs(found[output][0] - branch.readout[output]))
        statement = (
            f"sigmoidal, chains {start}: readout weights of code {'-'.join(map(str, branch.code))}, output {worst}."
        )
        claims.append(close_to(float(branch.readout[worst]), BRANCH_TOLERANCE, statement, *found[worst], words))
    return claims


def fraction_claim(theory: Theory, tree: xr.DataTree, chains: str) -> Claim:
    """Total variation between the code fractions of all chains together and those of the theory."""
    expected = theory.code_fractions[-1]

    def distance(found: dict[str, float]) -> float:
        return 0.5 * sum(abs(found.get(code, 0) - expected.get(code, 0)) for code in {*found, *expected})

    fractions = code_fractions(tree)
    names = [str(code) for code in fractions.code.values]
    # Leaving one chain out at a time gives the error of a quantity that is no mean.
    n = fractions.sizes["chain"]
    left = np.array(
        [distance(dict(zip(names, np.delete(fractions.values, k, 0).mean(0), strict=True))) for k in range(n)]
    )
    error = float(np.sqrt((n - 1) * left.var()))
    statement = f"sigmoidal, chains {chains}: fractions of the codes are the theory's (total variation)."
    return close_to(0.0, 0.15, statement, distance(_fractions(tree)), error, CODES_DIFFER)


def _fractions(tree: xr.DataTree) -> dict[str, float]:
    found = code_fractions(tree).mean("chain")
    return {str(code): float(value) for code, value in zip(found.code.values, found.values, strict=True)}


def outlier_claims(theory: Theory, tree: xr.DataTree) -> list[Claim]:
    """Bulk and outliers of ReLU networks."""
    assert theory.bulk is not None
    activity = tree["posterior"]["class_activity"].isel(layer=0).transpose("chain", "draw", "neuron", "label").values
    outlier = np.asarray(neuron_codes(activity, activity_threshold(activity, "relu")).any(axis=-1))
    a = tree["posterior"]["readout"].values
    bulk = (a * ~outlier[..., None]).sum(axis=2) / (~outlier).sum(axis=2)[..., None]
    claims = []
    for output, expected in enumerate(theory.bulk.readout):
        statement = f"ReLU: mean readout weight of the bulk, output {output}."
        claims.append(close_to(float(expected), 0.1, statement, *mean_and_error(bulk[:, :, output])))
    count, error = mean_and_error(outlier.sum(axis=2).astype(float))
    n_classes = activity.shape[-1]
    words = "Chains start at the prior. Outliers are neurons above half of the strongest activity."
    statement = "ReLU: as many outlier neurons as classes."
    return [*claims, close_to(n_classes, 0.5, statement, count, error, words)]


def readout_picture(theories: dict[str, Theory], trees: dict[str, xr.DataTree]) -> Picture:
    figure, axes = plot.subplots(3, 1, 5.2, 2.5)
    for (ax,), (activation, theory) in zip(axes, theories.items(), strict=True):
        names = [f"output {name}" for name in theory.posterior.task.class_names]
        drawn = theory.draw(width=DRAWN_NEURONS).readout[len(theory.outliers.readout) :]
        weights = trees[activation]["posterior"]["readout"].values
        plot.readout(weights, theory.posterior.readout_variance, names, ax, drawn).set_title(NAMES[activation])
    caption = (
        "Readout weights of all neurons and draws. Linear networks: one Gaussian. Sigmoidal networks: one branch for "
        "each code. ReLU networks: a narrow bulk, and outliers of the order of the square root of the width, left out "
        "of the theory's draws. Sigmoidal chains start at the theory's codes."
    )
    return Picture("posteriors-readout", "Readout weights", caption, figure)


def preactivation_picture(theories: dict[str, Theory], trees: dict[str, xr.DataTree]) -> Picture:
    """One panel for the neurons of linear networks, for each heavy code of sigmoidal ones, for the bulk of ReLU networks."""
    panels: list[tuple[str, str, str | None]] = [("linear", "linear, all neurons", None)]
    heavy = [branch for branch in theories["erf"].codes if branch.probability >= HEAVY]
    panels += [("erf", f"sigmoidal, code {'-'.join(map(str, b.code))}", "".join(map(str, b.code))) for b in heavy]
    panels.append(("relu", "ReLU, bulk", "000"))
    figure, axes = plot.subplots(2, 3, 3.2, 2.4)
    flat = [ax for row in axes for ax in row]
    drawn = {name: _drawn(theory) for name, theory in theories.items()}
    for ax, (activation, title, code) in zip(flat, panels, strict=False):
        posterior = theories[activation].posterior
        z = trees[activation]["last_draw"]["preactivations"].values[:, 0]
        codes = np.stack([codes_of(layers[0], posterior) for layers in last_features(trees[activation], posterior)])
        sampled = z.reshape(-1, z.shape[-1])
        chosen = np.ones(len(sampled), bool) if code is None else codes.ravel() == code
        expected, names = drawn[activation]
        of_code = np.ones(len(expected), bool) if code is None or activation == "relu" else names == code
        densities(sampled[chosen], expected[of_code], posterior, ax).set_title(title)
    for ax in flat[len(panels) :]:
        ax.set_axis_off()
    flat[0].plot([], ls=":", lw=1.6, color="0.3", label="theory")
    flat[0].legend(fontsize=7)
    caption = (
        "Preactivations on the inputs of each class, sampled (lines) and in theory (dotted): neurons of linear "
        "networks, of each frequent code of sigmoidal ones, and of the bulk of ReLU networks."
    )
    return Picture("posteriors-preactivations", "Preactivations", caption, figure)


def _drawn(theory: Theory) -> tuple[Float[np.ndarray, "n P"], np.ndarray]:
    """Preactivations of neurons drawn from the theory, outliers left out, and their codes."""
    z = theory.draw(width=DRAWN_NEURONS // 4).preactivations[0][len(theory.outliers.readout) :]
    if theory.posterior.model.phi.name != "erf":
        return z, np.empty(len(z), dtype="<U1")
    return z, codes_of(last_activities(z, theory.posterior.model.phi), theory.posterior)


def densities(
    sampled: Float[np.ndarray, "n P"], expected: Float[np.ndarray, "k P"], posterior: Posterior, ax: Axes
) -> Axes:
    """Densities over neurons and the inputs of each class."""
    labels, names = posterior.task.labels, posterior.task.class_names
    if not len(sampled):
        ax.set_axis_off()
        return ax
    edges = np.linspace(min(sampled.min(), expected.min()), max(sampled.max(), expected.max()), 41)
    for c, name in enumerate(names):
        for values, look in ((sampled, {"label": f"class {name}"}), (expected, {"ls": ":", "lw": 1.6})):
            density, _ = np.histogram(values[:, labels == c], bins=edges, density=True)
            options: dict[str, Any] = {"color": class_colour(c), **look}
            ax.stairs(density, edges, **options)
    ax.set(xlabel="preactivation", ylabel="density")
    return ax


ENTRY = Entry(
    "posteriors",
    "Single-neuron posteriors",
    "Readout weights are Gaussian in linear networks, fall into one branch for each code in sigmoidal ones, and form a "
    "bulk with a few outliers in ReLU networks.",
    "Nature Communications 16, 3354 (2025), figures on single-hidden-layer networks",
    compute,
)
