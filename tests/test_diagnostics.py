"""The warnings appear when they should, and only then."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nonlazy as nl

RNG = np.random.default_rng(0)


@pytest.fixture
def healthy(tree):
    """The shape of a run, filled with independent draws and moving codes."""
    tree = tree.copy(deep=True)
    for group in ("posterior", "sample_stats"):
        for name, values in tree[group].data_vars.items():
            tree[group][name] = values.copy(data=RNG.normal(size=values.shape))
    stats = tree["sample_stats"]
    stats["acceptance_rate"] = stats["acceptance_rate"].copy(data=np.full((3, 60), 0.8))
    stats["diverging"] = stats["diverging"].copy(data=np.zeros((3, 60), bool))
    stats["training_error"] = stats["training_error"].copy(data=1e-3 * RNG.uniform(0.9, 1.1, size=(3, 60)))
    blocks = tree["posterior"]["kernel_blocks"]
    tree["posterior"]["kernel_blocks"] = blocks.copy(data=RNG.normal(size=blocks.shape))
    return tree


def warnings_of(tree) -> str:
    return " ".join(nl.diagnose(tree).warnings)


def test_healthy_run(healthy):
    found = nl.diagnose(healthy)
    assert found.warnings == ()
    assert found.verdict == "Nothing in these diagnostics speaks against the draws."
    assert found.statistics["training_error_over_temperature"] == pytest.approx(1, abs=0.05)


def test_figures_against_arviz(healthy):
    arviz = pytest.importorskip("arviz")
    blocks = healthy["posterior"]["kernel_blocks"].values[:, :, 0, 0, 1]
    row = next(row for row in nl.diagnose(healthy).rows if row.name == "kernel 1 block 0,1")
    assert row.r_hat == pytest.approx(float(arviz.rhat(blocks)), rel=1e-6)
    assert row.ess_bulk == pytest.approx(float(arviz.ess(blocks)), rel=1e-6)
    assert row.mean == pytest.approx(blocks.mean())


def test_chains_that_disagree(healthy):
    blocks = healthy["posterior"]["kernel_blocks"]
    blocks.values[0, :, 0, 0, 1] += 10
    blocks.values[0, :, 0, 1, 0] += 10
    assert "Chains disagree: R-hat exceeds 1.05 for 1 of" in warnings_of(healthy)
    assert "kernel 1 block 0,1" in warnings_of(healthy)


def test_few_independent_draws(healthy):
    lp = healthy["sample_stats"]["lp"]
    lp.values[:] = np.sin(np.linspace(0, 20, 60))[None] + 0.01 * RNG.normal(size=(3, 60))
    assert "Few independent draws: 1 of" in warnings_of(healthy)


def test_divergences_and_acceptance(healthy):
    healthy["sample_stats"]["diverging"].values[1, 4] = True
    healthy["sample_stats"]["acceptance_rate"].values[:] = 0.1
    assert "1 transitions diverged" in warnings_of(healthy)
    assert "mean acceptance rate is 0.10" in warnings_of(healthy)


def test_training_error_above_the_temperature(healthy):
    healthy["sample_stats"]["training_error"].values[:] *= 50
    assert "is far above what the temperature explains, about 0.0035" in warnings_of(healthy)


def test_temperature_that_is_not_low(healthy):
    configuration = json.loads(healthy.attrs["configuration"])
    configuration["temperature"] = 0.02
    healthy.attrs["configuration"] = json.dumps(configuration)
    assert "N T = 0.2" in warnings_of(healthy)


@pytest.mark.parametrize(("error", "warns"), [(0.05, False), (0.2, True), (np.nan, True)])
def test_features_in_single_precision(healthy, error, warns):
    healthy.attrs["rounding_error"] = error
    assert ("Features in single precision change the log density" in warnings_of(healthy)) == warns


def test_one_chain(healthy):
    alone = healthy.map_over_datasets(lambda data: data.isel(chain=[0]) if "chain" in data.dims else data)
    alone.attrs = healthy.attrs
    assert "There is one chain" in warnings_of(alone)


def frozen(tree, codes_of_chains):
    activity = tree["posterior"]["class_activity"]
    for chain, codes in enumerate(codes_of_chains):
        activity.values[chain] = np.asarray(codes, float)[None, None]
    return tree


def test_frozen_chains_with_different_codes(healthy):
    a, b = np.tile([1, 1, 0], (10, 1)), np.tile([0, 1, 1], (10, 1))
    mixed = np.concatenate([a[:5], b[:5]])
    tree = frozen(healthy, [a, b, mixed])
    assert "Chains hold different code fractions (total variation up to 1.00" in warnings_of(tree)
    fractions = nl.code_fractions(tree)
    assert list(fractions.code.values) == ["011", "110"]
    np.testing.assert_allclose(fractions.values, [[0, 1], [1, 0], [0.5, 0.5]])


def test_frozen_chains_that_agree_get_a_note(healthy):
    mixed = np.concatenate([np.tile([1, 1, 0], (5, 1)), np.tile([0, 1, 1], (5, 1))])
    found = nl.diagnose(frozen(healthy, [mixed] * 3))
    assert found.warnings == ()
    assert "Codes are frozen: 0.0 %" in found.notes[0]


@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
def test_warnings_are_raised_beside_the_result(posterior):
    with pytest.warns(nl.SamplingWarning, match="There is one chain"):
        tree = nl.sample(posterior, chains=1, warmup=5, draws=5, progress=False)
    assert tree["posterior"].sizes["draw"] == 5


def test_codes_of_sparse_layers_count_outliers_only(tree):
    """For an unbounded activation the threshold is half-way to the strongest activity."""
    tree = tree.copy(deep=True)
    configuration = json.loads(tree.attrs["configuration"])
    configuration["model"]["activation"] = "relu"
    tree.attrs["configuration"] = json.dumps(configuration)
    activity = tree["posterior"]["class_activity"]
    activity.values[:] = 0.3
    activity.values[..., 0, 2] = 9.0
    fractions = nl.code_fractions(tree)
    assert list(fractions.code.values) == ["000", "001"]
    np.testing.assert_allclose(fractions.sel(code="001"), 0.1)
