"""Every sampler on networks of three neurons, against long runs of another program over all weights.

The reference, reference/tiny_networks.json, holds means and variances with their errors, by NumPyro's NUTS on the
network written out in reference/tiny_networks.py (100 000 draws, effective draws above 45 000).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import assert_close, z_score
from reference.tiny_networks import CASES, PHI, case_name, summaries

import nonlazy as nl

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")

REFERENCE = json.loads((Path(__file__).parent / "reference" / "tiny_networks.json").read_text())
SETTINGS = REFERENCE["settings"]
KEEP = ("readout", "kernels", "preactivations", "predictions")


def swish(z):
    return z * jax.nn.sigmoid(z)


@cache
def run(activation, regime, depth, n_features, **settings):
    """Draws of one of the networks; shared by the tests that look at the same run."""
    inputs = REFERENCE["inputs"][str(n_features)]
    task = nl.tasks.from_arrays(inputs["train"], SETTINGS["labels"], inputs["test"], [0, 1, 0])
    model = nl.Model(
        depth=depth,
        width=SETTINGS["N"],
        activation=swish if activation == "swish" else activation,
        regime=regime,
        readout_std=SETTINGS["readout_std"],
        weight_std=SETTINGS["weight_stds"][:depth],
    )
    posterior = nl.Posterior(model, task, SETTINGS["temperature"])
    return nl.sample(posterior, progress=False, keep=KEEP, **{"warmup": 500, "draws": 4000} | settings)


def outputs(tree, activation, regime):
    """f on the training inputs, (chain, draw, input, output)."""
    posterior = tree["posterior"]
    with jax.enable_x64(True):
        features = np.asarray(PHI[activation](posterior["preactivations"].values[:, :, -1]))
    scale = 1 / SETTINGS["N"] if regime == "nonlazy" else SETTINGS["N"] ** -0.5
    return scale * features.swapaxes(-1, -2) @ posterior["readout"].values


def scores(tree, activation, regime, depth, n_features):
    """Means and variances in combined standard errors."""
    posterior, found = tree["posterior"], {}
    kernel = posterior["kernels"].values[:, :, -1]
    draws = summaries(outputs(tree, activation, regime), posterior["predictions"].values, kernel)
    for name, reference in REFERENCE["cases"][case_name(activation, regime, depth, n_features)].items():
        found[name] = z_score(draws[name], reference["mean"], reference["mean_mcse"])
        squares = (draws[name] - reference["mean"]) ** 2
        found[f"{name}, variance"] = z_score(squares, reference["variance"], reference["variance_mcse"])
    return found


def test_reference_converged():
    for name, case in REFERENCE["cases"].items():
        assert max(row["rhat"] for row in case.values()) < 1.001, name
        assert min(row["ess"] for row in case.values()) > 40_000, name
    assert set(REFERENCE["cases"]) == {case_name(*case) for case in CASES}


@pytest.mark.parametrize(
    "case",
    [
        ("relu", "nonlazy", 1, 6),
        ("tanh", "nonlazy", 2, 6),
    ],
    ids=lambda case: case_name(*case),
)
def test_hmc(case):
    assert_close(scores(run(*case), *case))


METHODS = {
    "hmc": {"method": "hmc"},
    "nuts": {"method": "nuts"},
    "mala": {"method": "mala", "thin": 20, "warmup": 1000},
    "mclmc": {"method": "mclmc"},
    "langevin": {"method": "langevin", "thin": 50, "warmup": 1000},
    "plain": {"method": "hmc", "parametrization": "plain", "thin": 2},
}
ERF = ("erf", "nonlazy", 1, 6)


# "langevin" makes the transitions of "mala", only shorter.
@pytest.mark.parametrize("method", [name for name in METHODS if name != "langevin"])
def test_every_method(method):
    assert_close(scores(run(*ERF, **METHODS[method]), *ERF))


def test_targets_of_the_posterior_predictive_are_outputs_with_noise_of_the_temperature():
    tree = run(*ERF, **METHODS["hmc"])
    found = outputs(tree, *ERF[:2])
    noise = (tree["posterior_predictive"]["targets"].values - found) / SETTINGS["temperature"] ** 0.5
    n = noise.size
    assert abs(noise.mean()) < 4 / np.sqrt(n)
    assert abs(np.mean(noise**2) - 1) < 4 * np.sqrt(2 / n)
    errors = np.mean((np.eye(2)[SETTINGS["labels"]] - found) ** 2, axis=(-1, -2))
    np.testing.assert_allclose(tree["sample_stats"]["training_error"].values, errors, rtol=1e-9)


@pytest.mark.parametrize("wrong", [{"regime": "lazy"}, {"activation": "relu"}, {"n_features": 3}])
def test_comparison_notices_another_posterior(wrong):
    """The draws of one network against the reference of another are told apart."""
    case = dict(zip(("activation", "regime", "depth", "n_features"), ERF, strict=True))
    found = scores(run(*ERF, **METHODS["hmc"]), **case | wrong)
    assert max(map(abs, found.values())) > 20


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case_name(*case))
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_network(method, case):
    assert_close(scores(run(*case, seed=2, **METHODS[method]), *case))
