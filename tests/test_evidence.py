"""Log evidence of replicas and of the theory, against weighted draws from the prior."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import xarray as xr
from jax.scipy.special import logsumexp

import nonlazy as nl
from nonlazy.analysis.evidence import log_ratio
from nonlazy.compilation import double_precision
from nonlazy.posterior.densities import log_standard_normal

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")


def posterior(activation="erf", width=3, temperature=0.05):
    return nl.Posterior(nl.Model(activation=activation, width=width), nl.tasks.orthogonal(4, (0.5, 0.5)), temperature)


@double_precision
def from_the_prior(target, n=1_000_000):
    """log p(Y) and its error: the mean likelihood of networks drawn from the prior."""

    def log_likelihood(key):
        position = tuple(jax.random.normal(key, shape) for shape in target.reduced.shapes)
        return target.reduced.log_density(position) - log_standard_normal(position)

    of_keys = jax.jit(jax.vmap(log_likelihood))
    values = np.concatenate([of_keys(jax.random.split(jax.random.key(i), 20_000)) for i in range(n // 20_000)])
    weights = np.exp(values - values.max())
    assert weights.sum() ** 2 / np.sum(weights**2) > 1000
    return float(logsumexp(values)) - np.log(n), weights.std() / weights.mean() / np.sqrt(n)


@pytest.mark.parametrize(("ratio", "width"), [(0.0, 0.5), (3.0, 1.5), (-700.0, 1.0)])
def test_ratio_of_normalizations(ratio, width):
    """Normal works, whose means are known: c - s^2 / 2 up, and -c - s^2 / 2 down."""
    rng, n = np.random.default_rng(0), 4000
    found = [
        log_ratio(*(sign * ratio - width**2 / 2 + width * rng.standard_normal(n) for sign in (1, -1)))
        for _ in range(50)
    ]
    assert abs(np.mean(found) - ratio) < 4 * np.std(found) / np.sqrt(50)
    assert np.std(found) < 2 * width / np.sqrt(n)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "temperature"), [("erf", 0.05), ("relu", 0.15)])
def test_replicas(activation, temperature):
    target = posterior(activation, temperature=temperature)
    tree = nl.sample(target, chains=4, warmup=100, draws=400, method="tempered", progress=False, keep=())
    found, (exact, error) = nl.log_evidence(tree), from_the_prior(target)
    assert 0 < found.error < 0.1
    assert abs(found.value - exact) < 4 * np.hypot(found.error, error)


@pytest.mark.parametrize(("width", "lacking"), [(3, 1.0), pytest.param(6, 2.5, marks=pytest.mark.slow)])
def test_theory(width, lacking):
    """What the mean field lacks of log p(Y) is in the fluctuations; what these lack does not grow with N."""
    target = posterior("erf", width, 0.15 / width)
    theory = nl.solve(target, progress=False)
    exact, error = from_the_prior(target)
    assert abs(theory.log_evidence - exact) < 0.1 + 4 * error
    assert exact + width * theory.free_energy > lacking


def test_other_runs_have_none():
    tree = xr.DataTree.from_dict({"sample_stats": xr.Dataset({"lp": (("chain", "draw"), np.zeros((2, 9)))})})
    with pytest.raises(nl.InputError, match="with method 'tempered', got one of another method"):
        nl.log_evidence(tree)
    works = {name: (("chain", "draw", "pair"), np.zeros((2, 4, 3))) for name in ("work_up", "work_down")}
    with pytest.raises(nl.InputError, match="must hold at least 5 draws of each chain, got 4"):
        nl.log_evidence(xr.DataTree.from_dict({"sample_stats": xr.Dataset(works)}))
    with pytest.raises(nl.InputError, match="tree must be a result of"):
        nl.log_evidence(3)
    gaussian = nl.Posterior(nl.Model(width=5), nl.tasks.gaussian(4, (0.5, 0.5)), 0.05)
    assert nl.solve(nl.Posterior(nl.Model(width=5, activation="linear"), gaussian.task, 0.05)).log_evidence is None
