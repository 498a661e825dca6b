"""Drift of populations whose movement is known by construction, and of real chains."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import nonlazy as nl
from nonlazy.analysis import matched_activities

WIDTH, DRAWS = 200, 5
CODES = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]])
FAR = 4 / np.sqrt(WIDTH - 1)  # four standard deviations of a drift without memory, at most


def tree_of(activity, activation="erf", **stats):
    """A tree with these class activities (chain, draw, layer, neuron, label) and nothing else."""
    activity = np.asarray(activity, dtype=float)
    dims = ("chain", "draw", "layer", "neuron", "label")
    coords = {"layer": np.arange(1, activity.shape[2] + 1), "label": list("abc"[: activity.shape[-1]])}
    posterior = xr.Dataset({"class_activity": (dims, activity)}, coords)
    stats = {
        name: (("chain", "draw"), values) for name, values in ({"lp": np.zeros(activity.shape[:2])} | stats).items()
    }
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": xr.Dataset(stats)})
    tree.attrs["configuration"] = json.dumps({"model": {"activation": activation}, "sampling": {"thin": 3}})
    return tree


def along(first, last):
    """One chain, one layer: `first` in all draws but the last."""
    return np.stack([*[first] * (DRAWS - 1), last])[None, :, None]


def population(scheme, seed):
    """Class activities (neuron, label) of one of the three schemes; neurons in random order."""
    rng = np.random.default_rng(seed)
    if scheme == "analog":
        return rng.standard_normal((WIDTH, 3)) @ np.diag([1.0, 1.5, 1.5])
    if scheme == "redundant":
        return 0.9 * CODES[rng.integers(3, size=WIDTH)] + 0.03 * rng.standard_normal((WIDTH, 3))
    activity = 0.5 + 0.1 * rng.standard_normal((WIDTH, 3))
    activity[rng.permutation(WIDTH)[:3]] += np.sqrt(WIDTH) * np.eye(3)
    return activity


schemes = pytest.mark.parametrize("scheme", ["analog", "redundant", "sparse"])


@schemes
def test_neurons_at_rest_do_not_drift(scheme):
    """Also where all change what they do for every class alike, what all do alike, and the scale."""
    first = population(scheme, 0)
    rng = np.random.default_rng(1)
    moved = 2 * (first + rng.standard_normal((WIDTH, 1)) + rng.standard_normal((1, 3)))
    for last in (first, moved):
        found = nl.drift(tree_of(along(first, last)))
        assert abs(found.item()) < 1e-12
        assert abs(found.matched_drift.item()) < 1e-12
    assert found.dims == ("chain", "layer")


@schemes
def test_neurons_that_exchange_what_they_do(scheme):
    """Half of them, then all: drift to its full extent, and nothing left after matching."""
    first = population(scheme, 0)
    order = np.random.default_rng(2).permutation(WIDTH)
    found = nl.drift(tree_of(along(first, first[order])))
    assert abs(found.item() - 1) < FAR
    assert abs(found.drift_of_all.item() - 1) < FAR
    assert abs(found.matched_drift.item()) < 1e-12
    assert found.code_change.item() == 0


@schemes
def test_independent_redraws_have_no_memory_on_average(scheme):
    values = np.array(
        [nl.drift(tree_of(along(population(scheme, 2 * s), population(scheme, 2 * s + 1)))) for s in range(36)]
    ).ravel()
    assert abs(values.mean() - 1) < 4 * values.std() / 6
    assert values.std() < 1.5 / np.sqrt(WIDTH - 1)


def test_mixture_with_a_redraw_gives_the_correlation_it_was_made_with():
    """y(t) = r y(0) + sqrt(1 - r^2) noise: the drift is 1 - r up to sampling errors of one draw."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 800, 3))
    found = nl.drift(tree_of(along(a, 0.6 * a + 0.8 * b)))
    assert found.item() == pytest.approx(0.4, abs=4 / np.sqrt(2 * 800))


def test_few_outliers_decide_the_drift_and_the_bulk_that_of_all():
    first, last = population("sparse", 0), population("sparse", 1)
    outliers = [np.flatnonzero(a.max(axis=1) > 5) for a in (first, last)]
    last[outliers[1]], last[outliers[0]] = last[outliers[0]], first[outliers[0]]  # the same outliers in another bulk
    found = nl.drift(tree_of(along(first, last), "relu"))
    assert found.item() < 0.05
    assert found.drift_of_all.item() > 0.7
    assert found.participation.item() == pytest.approx(3, abs=0.3)
    assert found.codes_kept.item() == 1


def test_codes_that_are_kept_and_code_fractions():
    """Of 8 neurons with codes 4 x 110, 4 x 011 two change: one each way in the first layer, both the same way in the second."""
    first = np.repeat([[1.0, 1, 0], [0, 1, 1]], 4, axis=0)
    exchanged, shifted = first[[4, 1, 2, 3, 0, 5, 6, 7]], first[[4, 4, 2, 3, 4, 5, 6, 7]]
    activity = np.stack([np.stack([first, first]), np.stack([exchanged, shifted])])[None]
    found = nl.drift(tree_of(activity))
    np.testing.assert_allclose(found.codes_kept, [[0.75, 0.75]])
    np.testing.assert_allclose(found.code_change, [[0, 0.25]])
    np.testing.assert_allclose(found.codes_kept_by_chance, [[0.5, 0.5]])


def test_codes_agree_with_code_fractions_and_diagnostics(tree):
    found = nl.drift(tree)
    fractions = [nl.code_fractions(tree.isel(draw=[i])) for i in (0, -1)]
    assert float(nl.drift(tree).codes_kept.mean()) == pytest.approx(1 - nl.sampling.diagnostics.fraction_moved(tree))
    p, q = xr.align(*fractions, join="outer", fill_value=0)
    np.testing.assert_allclose(found.code_change[:, 0], abs(p - q).sum("code") / 2)


def test_dynamics_gives_the_time_or_else_transitions_are_counted():
    activity = along(population("analog", 0), population("analog", 1))
    found = nl.drift(tree_of(activity))
    assert (found.time.item(), found.attrs["unit_of_time"]) == (3 * (DRAWS - 1), "transitions")
    found = nl.drift(tree_of(activity, time=[[0.5, 1, 1, 1, 2.75]]))
    assert (found.time.item(), found.attrs["unit_of_time"]) == (2.25, "Langevin time")


def test_autocorrelation_is_the_mean_over_pairs_of_draws():
    rng = np.random.default_rng(4)
    activity, time = rng.standard_normal((2, DRAWS, 2, 30, 3)), np.cumsum(rng.random((2, DRAWS)), axis=1)
    tree = tree_of(activity, time=time)
    found = nl.activity_autocorrelation(tree)
    y = activity - activity.mean(axis=-1, keepdims=True)
    y -= y.mean(axis=-2, keepdims=True)
    for k in range(DRAWS):
        a, b = y[:, : DRAWS - k], y[:, k:]
        expected = (a * b).sum((1, 3, 4)) / np.sqrt((a**2).sum((1, 3, 4)) * (b**2).sum((1, 3, 4)))
        np.testing.assert_allclose(found.correlation.sel(lag=k), expected, atol=1e-12)
        np.testing.assert_allclose(found.time.sel(lag=k), (time[:, k:] - time[:, : DRAWS - k]).mean(axis=1))
    np.testing.assert_allclose(1 - found.correlation.isel(lag=-1), nl.drift(tree))


def test_matched_activities_are_those_of_the_draws_in_the_order_of_the_match():
    first = population("redundant", 0)
    last = first[np.random.default_rng(5).permutation(WIDTH)]
    found = matched_activities(tree_of(along(first, last)), chain=0, layer=1)
    np.testing.assert_array_equal(found.matched, found.first)
    for values, given in ((found.first, first), (found.last, last)):
        np.testing.assert_array_equal(np.sort(values, axis=0), np.sort(given, axis=0))


@pytest.mark.parametrize(
    "silent", [np.zeros((WIDTH, 3)), np.full((WIDTH, 3), 0.1), np.tile([0.1, 0.3, 0.7], (WIDTH, 1))]
)
@pytest.mark.parametrize("function", [nl.drift, nl.activity_autocorrelation])
def test_layers_without_class_structure_are_named(function, silent):
    alive = population("analog", 0)
    activity = np.stack([np.stack([alive, silent])] * 2)[None]
    with pytest.warns(nl.DataWarning, match="Neurons of layer 2 do not differ"):
        found = function(tree_of(activity))
    values = found if isinstance(found, xr.DataArray) else found.correlation
    assert np.isfinite(values.sel(layer=1)).all()
    assert np.isnan(values.sel(layer=2)).all()


@pytest.mark.parametrize("function", [nl.drift, nl.activity_autocorrelation])
def test_bad_input(function, posterior):
    with pytest.raises(nl.InputError, match="at least two draws, the tree has 1"):
        function(tree_of(along(population("analog", 0), population("analog", 0))[:, :1]))
    tree = tree_of(along(population("analog", 0), population("analog", 0)))
    tree["posterior"] = tree["posterior"].to_dataset().rename(class_activity="something")
    with pytest.raises(nl.InputError, match="needs class_activity"):
        function(tree)
