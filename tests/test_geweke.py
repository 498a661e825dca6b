"""Geweke's joint-distribution test: alternate transitions of the sampler with new targets, and stay at the prior.

Hidden coordinates h and targets Y have a joint law p(h) p(Y | h) that can be drawn directly. A transition that leaves
p(h | Y) invariant, followed by a new Y ~ p(Y | h), leaves the joint law invariant. All chains start in it, so they
are independent and in equilibrium from the first step on if and only if the transition is right, and the standard
error comes from the spread between chains, without any assumption about autocorrelation.

A wrong force alone would pass, because leapfrog with any force is reversible and keeps volume: the gradient is
tested in test_posterior.py.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import nonlazy as nl
from nonlazy.compilation import COMPILER_OPTIONS
from nonlazy.posterior import Plain
from nonlazy.sampling.hmc import HMC
from nonlazy.sampling.langevin import LANGEVIN
from nonlazy.sampling.mala import MALA
from nonlazy.sampling.mclmc import MCLMC
from nonlazy.sampling.nuts import NUTS

CHAINS, SWEEPS = 500, 60
TRANSITIONS = 2  # before each new Y


def posterior(depth):
    rng = np.random.default_rng(0)
    task = nl.tasks.from_arrays(1.5 * rng.standard_normal((3, 4)), [0, 1, 1])
    return nl.Posterior(nl.Model(depth=depth, width=2, readout_std=4.0, weight_std=1.2), task, temperature=0.1)


def features(density, position):
    if isinstance(density, Plain):
        return density.model.phi(density.network(jax.random.key(0), position).preactivations[-1])
    return density.model.phi(density.preactivations(position)[-1])


def draw_targets(key, density, position):
    """Y given the coordinates: outputs and noise, with a readout from its prior where it was integrated out."""
    key_readout, key_noise = jax.random.split(key)
    phi = features(density, position)
    readout = position[-1] if isinstance(density, Plain) else jax.random.normal(key_readout, (2, 2))
    # s_a^2 / P = 16 / 3 for erf, outputs divided by N = 2.
    return (16 / 3) ** 0.5 * phi @ readout / 2 + 0.1**0.5 * jax.random.normal(key_noise, (3, 2))


def draw_jointly(key, density):
    key_prior, key_targets = jax.random.split(key)
    keys = jax.random.split(key_prior, len(density.shapes))
    position = tuple(jax.random.normal(k, shape) for k, shape in zip(keys, density.shapes, strict=True))
    return position, draw_targets(key_targets, density, position)


def moments(density, position, targets):
    """Functions of the hidden coordinates, whose prior moments are known, and of both."""
    phi = features(density, position)
    found = {
        "first coordinate": position[0][0, 0],
        "first coordinate, squared": position[0][0, 0] ** 2,
        "mean square": jnp.mean(jnp.concatenate([x.ravel() for x in position]) ** 2),
        "mean fourth power": jnp.mean(jnp.concatenate([x.ravel() for x in position]) ** 4),
        "kernel": phi[0] @ phi[1],
        "kernel, squared": (phi[0] @ phi[1]) ** 2,
        "targets": targets[0, 0],
        "targets, squared": jnp.sum(targets**2),
        "targets, fourth power": jnp.sum(targets**4),
        "targets times targets": targets[0, 0] * targets[1, 0],
        "alignment": jnp.sum((phi.T @ targets) ** 2),
    }
    return found | {"last coordinate times target": position[-1][0, 0] * targets[1, 1]}


EXACT = {
    "first coordinate": 0.0,
    "first coordinate, squared": 1.0,
    "mean square": 1.0,
    "mean fourth power": 3.0,
    "targets": 0.0,
}


def run(density, method=HMC, step_size=0.25, n_steps=5, used=lambda log_density: log_density):
    """z-scores of all moments; `used` changes the density that the sampler is given."""

    def sweep(carry, key):
        position, targets = carry
        key_targets, *keys = jax.random.split(key, 1 + TRANSITIONS)
        given = SimpleNamespace(targets=targets, inputs=density.task.inputs, n_features=4, test_inputs=None)
        log_density = used(density._replace(task=given).log_density)
        state = method.start(key_targets, SimpleNamespace(log_density=log_density), position)
        for key in keys:
            state, _ = method.step(
                key, state, SimpleNamespace(log_density=log_density), jnp.asarray(step_size), jnp.asarray(n_steps)
            )
        targets = draw_targets(key_targets, density, state.position)
        return (state.position, targets), moments(density, state.position, targets)

    def chain(key):
        key_start, key = jax.random.split(key)
        _, found = jax.lax.scan(sweep, draw_jointly(key_start, density), jax.random.split(key, SWEEPS))
        return jax.tree.map(jnp.mean, found)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), CHAINS)
        means = jax.jit(jax.vmap(chain), compiler_options=COMPILER_OPTIONS)(keys)
        # Independent draws of the joint law, for the moments that have no closed form.
        direct = jax.jit(jax.vmap(lambda key: moments(density, *draw_jointly(key, density))))
        expected = direct(jax.random.split(jax.random.key(2), 300_000))
    scores = {}
    for name, values in means.items():
        mean, error = mean_of_independent(values)
        other, other_error = (EXACT[name], 0.0) if name in EXACT else mean_of_independent(expected[name])
        scores[name] = float((mean - other) / np.hypot(error, other_error))
    return scores


def mean_of_independent(values):
    values = np.asarray(values)
    return values.mean(), values.std() / np.sqrt(len(values))


def test_hmc_on_the_reduced_density():
    assert_close(run(posterior(2).reduced))


WRONG = {
    # The acceptance sees half the potential that the trajectory follows.
    "acceptance": lambda f: lambda x: f(x) - jax.lax.stop_gradient(f(x)) / 2,
    "temperature": lambda f: f.__self__._replace(temperature=0.3).log_density,
    "readout variance": lambda f: f.__self__._replace(readout_variance=8.0).log_density,
}


@pytest.mark.parametrize(
    "wrong",
    ["acceptance", *(pytest.param(name, marks=pytest.mark.slow) for name in ("temperature", "readout variance"))],
)
def test_mistakes_are_found(wrong):
    scores = run(posterior(1).reduced, used=WRONG[wrong])
    print({name: round(value, 1) for name, value in scores.items()})
    assert max(map(abs, scores.values())) > 8


@pytest.mark.slow
@pytest.mark.parametrize("parametrization", ["reduced", "plain"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("method", "step_size"), [(HMC, 0.25), (NUTS, 0.3), (MALA, 0.3), (LANGEVIN, 0.3), (MCLMC, 0.3)]
)
def test_every_method(method, step_size, depth, parametrization):
    assert_close(run(posterior(depth).density(parametrization), method, step_size))
