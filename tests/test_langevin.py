"""Langevin dynamics: its time, its step size, and where it starts. That it samples the posterior: with the other methods."""

from __future__ import annotations

import numpy as np
import pytest

import nonlazy as nl
from nonlazy.sampling.driver import choose_method

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")


@pytest.fixture(scope="module")
def free():
    """All weights of a network that the data leave free: at this temperature the posterior is the prior."""
    posterior = nl.Posterior(nl.Model(width=10, activation="linear"), nl.tasks.orthogonal(8), temperature=1e9)
    keep = ("weights", "class_activity")
    return nl.sample(posterior, 60, 600, 300, method="langevin", thin=4, keep=keep, progress=False)


def test_free_weights_forget_like_an_ornstein_uhlenbeck_process(free):
    """Correlation exp(-t); accepted Euler steps of the time h give (1 - h)^(t / h), which differs by t h / 2."""
    weights = free["posterior"]["first_weights"].values.reshape(60, 300, -1)
    time, h = free["sample_stats"]["time"].values, free["sample_stats"]["step_size"].values[0, 0] ** 2 / 2
    assert h < 0.1
    for lag in (2, 5, 10):
        t = (time[:, lag:] - time[:, :-lag]).mean()
        assert 0.2 < t < 3
        # Independent: chains. The variance is that of the prior, 1.
        by_chain = (weights[:, lag:] * weights[:, :-lag]).mean(axis=(1, 2))
        error = by_chain.std(ddof=1) / np.sqrt(60)
        assert error < 0.01
        assert abs(by_chain.mean() - np.exp(-t)) < t * h / 2 * np.exp(-t) + 4 * error


def test_class_activity_of_free_weights_forgets_at_the_same_rate(free):
    """Of a linear first layer it is linear in the weights."""
    found = nl.activity_autocorrelation(free)
    correlation, time = found.correlation.isel(layer=0, lag=5), found.time.isel(lag=5)
    error = correlation.std(ddof=1) / np.sqrt(60)
    h = free["sample_stats"]["step_size"].values[0, 0] ** 2 / 2
    t = float(time.mean())
    # Centring takes one of ten neurons' freedom from both sides of the ratio, not from its value.
    assert abs(correlation.mean() - np.exp(-t)) < t * h / 2 * np.exp(-t) + 4 * error


def test_steps_are_short_and_tuned_in_warm_up_only(free):
    stats = free["sample_stats"]
    assert np.ptp(stats["step_size"].values) == 0
    assert stats["acceptance_rate"].mean() > 0.95


def test_time_counts_accepted_steps(free):
    time, h = free["sample_stats"]["time"].values, free["sample_stats"]["step_size"].values[0, 0] ** 2 / 2
    steps = np.diff(time, axis=1) / h
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert set(np.round(steps).astype(int).ravel()) <= {0, 1, 2, 3, 4}
    # Of the 4 proposals between two draws the kept acceptance rates see the last.
    assert steps.mean() / 4 == pytest.approx(float(free["sample_stats"]["acceptance_rate"].mean()), abs=0.01)


@pytest.mark.parametrize("given", [None, "plain", "reduced"])
def test_all_weights_move_unless_told_otherwise(given):
    assert choose_method("langevin", given)[1] == (given or "plain")
    assert choose_method("mala", given)[1] == (given or "reduced")


@pytest.mark.slow
def test_all_weights_start_from_theory():
    """Networks that fit the targets, with the activities that the theory draws."""
    posterior = nl.Posterior(nl.Model(width=40), nl.tasks.orthogonal(20), temperature=1e-4)
    options = {"chains": 2, "warmup": 0, "draws": 1, "progress": False, "start": "theory"}
    plain = nl.sample(posterior, **options, method="langevin")
    reduced = nl.sample(posterior, **options, method="mala")
    assert plain["sample_stats"]["training_error"].max() < 3 * float(reduced["sample_stats"]["training_error"].max())
    # One step of 0.01 in each of them.
    activity = [tree["posterior"]["class_activity"].values for tree in (plain, reduced)]
    np.testing.assert_allclose(*activity, atol=0.1)


def test_too_short_a_time_is_said(free):
    def said(tree):
        return any("covered a time of" in text for text in nl.diagnose(tree).warnings)

    short = free.isel(draw=slice(0, 4))
    short.attrs = free.attrs
    assert said(short)
    assert not said(free)
