"""`nonlazy.solve` and what it returns: summary, saving, drawn networks, predictions, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers import SIGMAS

import nonlazy as nl


def posterior(activation="erf", n_inputs=24, width=24, **model):
    task = nl.tasks.orthogonal(n_inputs=n_inputs, class_ratios=(0.5, 0.25, 0.25))
    return nl.Posterior(nl.Model(activation=activation, width=width, **model), task, 1e-3 / width)


@pytest.fixture(scope="module", params=["erf", "relu", "linear"])
def theory(request):
    return nl.solve(posterior(request.param))


def test_summary_names_what_matters(theory):
    text = str(theory)
    assert theory.scheme in text
    assert "kernel blocks, layer 1" in text
    assert ("outlier neurons" in text) == (theory.scheme == "sparse")
    assert (theory.bulk is not None) == (theory.scheme == "sparse")


def test_dataset_survives_a_file(theory, tmp_path):
    theory.to_dataset().to_netcdf(tmp_path / "theory.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "theory.nc", engine="h5netcdf") as saved:
        np.testing.assert_array_equal(saved["kernels"], theory.kernels)
        np.testing.assert_array_equal(saved["t"], theory.t)
        assert saved.attrs["scheme"] == theory.scheme


def test_drawn_networks_have_the_kernel_and_fit_the_targets(theory):
    """Over wide networks, within Monte Carlo errors: the diagonal, one entry within a class, and the outputs."""
    p, n = theory.posterior, 20_000
    network = theory.draw(width=n, seed=1)
    with jax.enable_x64(True):
        features = np.asarray(p.model.phi(jnp.asarray(network.preactivations[0])))
    for mu, nu in ((0, 0), (0, 1), (0, 20)):
        products = features[:, mu] * features[:, nu]
        assert abs(products.mean() - theory.kernels[0, mu, nu]) < SIGMAS * products.std() / n**0.5 + 2e-3
    expected = p.task.targets - 1e-3 * theory.t
    for r in range(3):
        values = network.readout[:, r] * features[:, 0]
        assert abs(values.mean() - expected[0, r]) < SIGMAS * values.std() / n**0.5 + 2e-3
    again, other = theory.draw(seed=1), theory.draw(seed=2)
    np.testing.assert_array_equal(theory.draw(seed=1).readout, again.readout)
    assert not np.array_equal(again.readout, other.readout)


def test_position_of_a_drawn_network_gives_its_preactivations(theory):
    network = theory.draw(seed=3)
    with jax.enable_x64(True):
        (layer,) = theory.posterior.reduced.preactivations(tuple(map(jnp.asarray, network.position)))
    np.testing.assert_allclose(np.asarray(layer).T, network.preactivations[0], atol=1e-9)


def test_predictions_on_training_inputs_are_the_fit(theory):
    p = theory.posterior
    mean, variance, error = theory.predict(p.task.inputs[:4])
    np.testing.assert_allclose(mean, (p.task.targets - 1e-3 * theory.t)[:4], atol=4 * error.max() + 2e-3)
    assert np.all(variance < 3 * p.temperature)


@pytest.mark.slow
def test_predictions_against_sampled_networks():
    """Mean and variance on new inputs at N = 60, chains started in the theory's codes; O(1/N) of the mean is left to width."""
    task = nl.tasks.orthogonal(n_inputs=24, class_ratios=(0.5, 0.5))
    noise = np.random.default_rng(0).standard_normal((4, 24))
    test = 0.8 * task.inputs[[0, 5, 12, 20]] + 0.6 * noise
    task = nl.tasks.Task(
        task.inputs, task.targets, task.labels, test, task.targets[[0, 5, 12, 20]], np.array([0, 0, 1, 1])
    )
    p = nl.Posterior(nl.Model(activation="tanh", width=60), task, 1e-3 / 60)
    mean, variance, _ = nl.solve(p).predict(test)
    with pytest.warns(nl.SamplingWarning):
        tree = nl.sample(p, chains=4, warmup=200, draws=300, start="theory", progress=False)
    draws = tree["posterior"]["predictions"]
    spread = np.sqrt(variance)
    assert np.abs(draws.mean(["chain", "draw"]).values - mean).max() < 3 * spread.max()
    ratio = draws.var("draw").mean("chain").values / variance
    assert 0.4 < np.median(ratio) < 1.6


def test_user_functions_of_any_growth_are_judged():
    with pytest.raises(nl.InputError, match="readout_scaling"):
        nl.Model(depth=2, activation=jnp.exp)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: nl.solve("posterior"), "posterior must be a nonlazy.Posterior, got str"),
        (lambda t: nl.solve(t.posterior, seed=-1), "seed must be an integer of at least 0"),
        (lambda t: nl.solve(posterior("relu", depth=2)), "needs an activation that saturates, got relu"),
        (lambda t: t.predict(np.zeros((2, 5))), "inputs must have the 24 features"),
        (lambda t: t.predict(np.full((2, 24), np.nan)), "inputs must hold finite numbers"),
        (lambda t: t.draw(width=0), "width must be an integer of at least"),
        (lambda t: t.draw(seed=-1), "seed must be an integer of at least 0"),
    ],
)
def test_bad_input(theory, call, message):
    with pytest.raises(nl.InputError, match=message):
        call(theory)


def test_a_solver_that_stops_short_says_so(monkeypatch):
    from nonlazy.theory.symmetric import newton

    monkeypatch.setattr(newton, "MAX_STEPS", 3)
    with pytest.raises(nl.ConvergenceError, match="did not converge: after 3 Newton steps"):
        nl.solve(posterior())
