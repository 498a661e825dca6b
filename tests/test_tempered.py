"""Replica exchange and neuron replacement against weighted draws from the prior, the theory's quadrature, and each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, z_score
from jax.scipy.special import logsumexp

import nonlazy as nl
import nonlazy.sampling.run as run_module
from nonlazy.sampling.replacement import (
    Neuron,
    draw_field,
    draw_preactivations,
    log_weight,
    neuron_law,
    replace,
)
from nonlazy.sampling.tempered import TEMPERED, _start, _tune, exchange, make_path, neighbours
from nonlazy.theory.symmetric import solve_symmetric, symmetric_data
from nonlazy.theory.symmetric.dual import LastLayer

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")


def posterior(activation="erf", n_inputs=4, width=3, temperature=0.05, ratios=(0.5, 0.5), **model):
    return nl.Posterior(
        nl.Model(activation=activation, width=width, **model), nl.tasks.orthogonal(n_inputs, ratios), temperature
    )


def in_code(labels, code, width):
    """Coordinates of a network whose neurons all have one code."""
    return np.where(np.array(code)[labels] == 1, 1.0, -1.0)[:, None] * np.ones((len(labels), width))


def path_of(posterior):
    return make_path(posterior, posterior.reduced)


def mean_kernel_by_weighted_draws(rung, width, n=200_000):
    """Kernel of the posterior on a rung from draws of the prior, with standard errors."""

    def one(key):
        z = jax.random.normal(key, (len(rung.t), width))
        phi = rung.features(z)
        return rung.log_likelihood((z,)), phi @ phi.T / width

    log_weights, kernels = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), n))
    return weighted_mean(log_weights, kernels)


def weighted_mean(log_weights, values):
    """Mean and its standard error; refuses weights that too few draws dominate."""
    log_weights, values = np.asarray(log_weights), np.asarray(values)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    assert 1 / np.sum(weights**2) > 300
    mean = np.tensordot(weights, values, 1)
    return mean, np.sqrt(np.tensordot(weights**2, (values - mean) ** 2, 1))


def scores(mean, error, reference, reference_error):
    z = (mean - reference) / np.hypot(error, reference_error)
    return {f"kernel {i},{j}": z[i, j] for i in range(len(z)) for j in range(i + 1)}


@pytest.mark.parametrize("activation", ["erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_weighted_proposals_follow_the_theory(activation):
    with jax.enable_x64(True):
        solution = solve_symmetric(symmetric_data(posterior(activation, 24, 50, 2e-5, (0.5, 0.25, 0.25))))
        data, point = solution.data, solution.saddle.dual.point
        law = neuron_law(LastLayer(data, data.kernel, 0), point.t)

        def one(key):
            key_field, key_z = jax.random.split(key)
            field = draw_field(key_field, law)
            log_cells = law.log_cells(field)
            z = draw_preactivations(key_z, law, log_cells)
            neuron = Neuron(z, data.phi(z), field, log_cells)
            return log_weight(law, neuron) + jnp.sum(law.features(neuron.phi) ** 2) / 2, neuron.phi, field

        log_weights, phi, field = jax.vmap(one)(jax.random.split(jax.random.key(0), 40_000))
    weights = np.exp(np.asarray(log_weights) - np.asarray(log_weights).max())
    assert np.sum(weights) ** 2 / np.sum(weights**2) > 0.5 * len(weights)
    ensemble = point.ensemble
    expected = ensemble.mean(ensemble.moments.phi[:, :, None] * ensemble.x[:, None, :])[data.labels]
    mean, error = weighted_mean(log_weights, np.asarray(phi)[:, :, None] * np.asarray(field)[:, None, :])
    assert_close({f"{i},{j}": ((mean - expected) / error)[i, j] for i in range(24) for j in range(3)})


def test_a_neuron_that_cannot_be_proposed_is_not_replaced():
    with jax.enable_x64(True):
        path = path_of(posterior("relu"))
        z = jnp.full((4, 3), 0.5).at[:, 1].set(1e3)
        after, _ = replace(jax.random.key(0), path.law, path.rung(jnp.asarray(1e6)), z, 200)
        moved = np.asarray(jnp.any(after != z, axis=0))
    np.testing.assert_array_equal(moved, [True, False, True])


@pytest.mark.parametrize("hotter", [1.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_replacement_alone_samples_each_rung(hotter):
    with jax.enable_x64(True):
        path = path_of(posterior())
        rung = path.rung(jnp.asarray(hotter * 0.05))

        def chain(key):
            key_start, key = jax.random.split(key)
            z = jax.random.normal(key_start, (4, 3))
            z, _ = replace(key, path.law, rung, z, 400)

            def sweep(z, key):
                z, accepted = replace(key, path.law, rung, z, 6)
                phi = rung.features(z)
                return z, (phi @ phi.T / 3, accepted)

            return jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.lax.scan(sweep, z, jax.random.split(key, 300))[1])

        kernels, accepted = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(1), 200))
        reference = mean_kernel_by_weighted_draws(rung, 3)
    kernels = np.asarray(kernels)
    assert 0.05 < np.asarray(accepted).mean() < 1
    assert_close(scores(np.mean(kernels, 0), np.std(kernels, 0) / np.sqrt(200), *reference))


@pytest.mark.parametrize("activation", ["erf", pytest.param("relu", marks=pytest.mark.slow)])
def test_tiny_networks(activation):
    tiny = posterior(activation, temperature=0.15)
    tree = nl.sample(tiny, chains=4, warmup=200, draws=600, method="tempered", progress=False, keep=("kernels",))
    kernels = tree["posterior"]["kernels"].values[:, :, 0]
    with jax.enable_x64(True):
        path = path_of(tiny)
        mean, error = mean_kernel_by_weighted_draws(path.rung(jnp.asarray(0.15)), 3)
    assert_close(
        {f"{i},{j}": z_score(kernels[..., i, j], mean[i, j], error[i, j]) for i in range(4) for j in range(i + 1)}
    )


def test_exchange_keeps_the_law_on_each_rung():
    """Pairs of networks drawn from two rungs that differ much: their laws are the same after an exchange."""
    temperatures, n = (0.1, 3.0), 20_000
    with jax.enable_x64(True):
        # Any t is valid, and without the theory's the targets stay, so that the rungs' kernels differ.
        path = path_of(posterior(temperature=temperatures[0]))
        path = path._replace(t=jnp.zeros_like(path.t))
        pool = jax.random.normal(jax.random.key(3), (400_000, 4, 3))
        pairs = []
        for i, temperature in enumerate(temperatures):
            rung = path.rung(jnp.asarray(temperature))
            log_weights = jax.vmap(lambda z, rung=rung: rung.log_likelihood((z,)))(pool)
            assert float(jnp.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights))) > 10_000
            weights = jnp.exp(log_weights - logsumexp(log_weights))
            pairs.append(pool[jax.random.choice(jax.random.key(i), len(pool), (n,), p=weights)])
        before = jnp.stack(pairs, axis=1)

        def exchanged(key, pair):
            source, probability = exchange(key, neighbours(path, pair, jnp.asarray(temperatures)), 0)
            return pair[source], probability

        after, probability = jax.vmap(exchanged)(jax.random.split(jax.random.key(9), n), before)
        kernels = [np.asarray(jnp.einsum("nkia,nkja->nkij", *(2 * [path.model.phi(z)]))) for z in (before, after)]
    assert 0.05 < np.asarray(probability).mean() < 0.95
    change = kernels[1] - kernels[0]
    z = change.mean(axis=0) / (change.std(axis=0) / np.sqrt(n))
    assert_close({f"rung {k} {i},{j}": z[k, i, j] for k in range(2) for i in range(4) for j in range(i + 1)})
    # The two rungs could be told apart.
    apart = np.abs(kernels[0][:, 0].mean(0) - kernels[0][:, 1].mean(0)) / (kernels[0].std(axis=(0, 1)) / np.sqrt(n))
    assert apart.max() > 20


@pytest.mark.slow
def test_chains_forget_the_code_they_began_in():
    """From all neurons in one code, one that the theory lacks and one that it has, to the theory's codes."""
    frozen = posterior(n_inputs=24, width=40, temperature=1e-4, ratios=(0.5, 0.25, 0.25))
    one, other = (in_code(frozen.task.labels, code, 40) for code in ([0, 0, 1], [0, 1, 1]))
    start = (np.stack([one, other]),)
    tree = nl.sample(frozen, chains=2, warmup=80, draws=160, method="tempered", start=start, progress=False)
    expected = {"".join(map(str, branch.code)): branch.probability for branch in nl.solve(frozen).codes}
    fractions = nl.code_fractions(tree)
    fractions = fractions.reindex(code=sorted({*expected, *fractions.code.values}), fill_value=0)
    assert np.abs(fractions.sel(chain=0) - fractions.sel(chain=1)).sum() / 2 < 0.1
    for code, fraction in expected.items():
        assert float(fractions.sel(code=code).mean()) == pytest.approx(fraction, abs=0.08)
    assert float(tree["sample_stats"]["round_trips"][:, -1].min()) > 0


@pytest.mark.slow
def test_draws_do_not_depend_on_how_the_run_is_cut(tmp_path, monkeypatch):
    options = {"chains": 2, "warmup": 30, "draws": 10, "method": "tempered", "progress": False, "seed": 2}
    whole = nl.sample(posterior(), **options)
    monkeypatch.setattr(run_module, "SECONDS_PER_PIECE", 0.0)
    monkeypatch.setattr(run_module, "BLOCK_BYTES", 2_000)
    cut = nl.sample(posterior(), **options, checkpoint=tmp_path)
    resumed = nl.sample(posterior(), **options, checkpoint=tmp_path)
    for tree in (cut, resumed):
        for name in ("lp", "round_trips", "exchange_rate"):
            np.testing.assert_array_equal(tree["sample_stats"][name], whole["sample_stats"][name])
        np.testing.assert_array_equal(tree["posterior"]["readout"], whole["posterior"]["readout"])


def test_rungs_are_spaced_by_their_rejections():
    with jax.enable_x64(True):
        path = path_of(posterior())
        path = path._replace(temperatures=jnp.geomspace(0.05, 5.0, 5))
        shapes = jax.eval_shape(_start, jax.random.key(0), path, (jnp.zeros((4, 3)),))
        ladder = jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), shapes)
        rejections, transitions = jnp.array([3.0, 1.0, 1.0, 1.0]), jnp.asarray(10)
        ladder = ladder._replace(temperatures=path.temperatures, rejections=rejections, transitions=transitions)
        spaced = _tune(ladder, jnp.asarray(20), jnp.asarray(100))
        untouched = _tune(ladder, jnp.asarray(21), jnp.asarray(100))
    before, after = np.asarray(ladder.temperatures), np.asarray(spaced.temperatures)
    np.testing.assert_array_equal(untouched.temperatures, before)
    np.testing.assert_array_equal(after[[0, -1]], before[[0, -1]])
    # Half of all rejections lie between the first two rungs, hence two of the four new distances.
    assert after[2] == pytest.approx(before[1])
    assert int(spaced.transitions) == 0
    np.testing.assert_array_equal(np.asarray(untouched.rejections), np.asarray(ladder.rejections))


@pytest.mark.slow
def test_annealing_forgets_the_start():
    """Neurons in a code that the theory lacks are all replaced on the hottest rung, and every rung has a replica of its own."""
    with jax.enable_x64(True):
        path = path_of(posterior(n_inputs=60, width=40, temperature=1e-5, ratios=(0.5, 0.25, 0.25)))
        # The heavy branches alone, as at large P, and the broad proposals, which are the last.
        law, kept = path.law, jnp.append(jnp.flatnonzero(path.law.log_weights[:-1] > np.log(0.1)), -1)
        fields = ("places", "log_weights", "roots", "whitening")
        path = path._replace(law=law._replace(**{name: getattr(law, name)[kept] for name in fields}))
        start = jnp.asarray(in_code(path.task.labels, [0, 0, 1], 40))
        positions = np.asarray(_start(jax.random.key(0), path, (start,)).positions)
    classes = np.eye(3)[path.task.labels]
    codes = np.einsum("pc,kpn->knc", classes / classes.sum(axis=0), positions > 0) > 0.5
    assert np.mean(np.all(codes == [False, False, True], axis=-1)) < 0.1
    assert np.abs(np.diff(positions, axis=0)).max(axis=(1, 2)).min() > 0


def test_number_of_rungs_grows_with_outputs_and_cold():
    few, more, colder = (
        TEMPERED.replicas(path_of(p)) for p in (posterior(), posterior(n_inputs=16), posterior(temperature=1e-4))
    )
    assert more > few
    assert colder > few


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"depth": 2}, "method 'tempered' needs a nonlazy network with one hidden layer, got depth 2"),
        (
            {"regime": "lazy"},
            "method 'tempered' needs a nonlazy network with one hidden layer, got depth 1, regime 'lazy'",
        ),
    ],
)
def test_networks_without_a_path(case, message):
    with pytest.raises(nl.InputError, match=message):
        nl.sample(posterior(**case), method="tempered", progress=False)


def test_data_without_a_path():
    task = nl.tasks.gaussian(6, seed=0)
    with pytest.raises(nl.InputError, match="method 'tempered' needs orthogonal inputs"):
        nl.sample(nl.Posterior(nl.Model(width=4), task, 0.1), method="tempered", progress=False)
    with pytest.raises(nl.InputError, match="method 'tempered' needs parametrization 'reduced', got 'plain'"):
        nl.sample(posterior(), method="tempered", parametrization="plain", progress=False)
