"""Linear networks on orthogonal inputs: exact posterior means at finite width, and the theory's limit of large width.

reference/linear.py derives the exact answers; here they are first checked by brute force, then the theory of large
width and the samplers are checked against them.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, z_scores
from reference.linear import Linear, by_importance_sampling, by_quadrature, large_width

import nonlazy as nl

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")

regimes = pytest.mark.parametrize("regime", ["nonlazy", "lazy"])
depths = pytest.mark.parametrize("depth", [1, 2])


# --- the exact answers --------------------------------------------------------------------------


@regimes
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_formulas_agree_with_weighted_draws_from_the_prior(n_outputs, regime):
    """No formula at all: networks of two layers from the prior, weighted by the likelihood of their outputs."""
    rng = np.random.default_rng(11)
    targets = np.array([[1.6, -0.4], [-0.8, 0.4], [0.2, 1.2]])[:, :n_outputs]
    net = Linear(targets, width=6, variance=1.5, temperature=1.0, stds=(1.2, 0.8), regime=regime)
    n = 100_000
    z1 = 1.2 * rng.standard_normal((n, 3, 6))
    z2 = 0.8 / 6**0.5 * z1 @ rng.standard_normal((n, 6, 6))
    a = np.sqrt(1.5) * rng.standard_normal((n, 6, n_outputs))
    outputs = z2 @ a / (6 if regime == "nonlazy" else 6**0.5)
    p = np.exp(-np.sum((targets - outputs) ** 2, axis=(1, 2)) / 2)  # T = 1
    p /= p.sum()
    exact, errors, _ = by_importance_sampling(net, 30_000)
    scores = {}
    for layer, z in enumerate((z1, z2)):
        kernels = z @ z.swapaxes(1, 2) / 6
        mean = np.tensordot(p, kernels, 1)
        error = np.sqrt(np.tensordot(p**2, (kernels - mean) ** 2, 1))
        exact_error = np.abs(targets) @ errors.by_targets[layer] @ np.abs(targets.T) + errors.excess[layer] * np.eye(3)
        z_layer = (mean - exact.kernel(layer, targets)) / np.hypot(error, exact_error)
        scores |= {f"kernel {layer + 1} {i},{j}": z_layer[i, j] for i in range(3) for j in range(i + 1)}
    assert_close(scores)


@regimes
@depths
def test_quadrature_agrees_with_importance_sampling(depth, regime):
    targets = np.array([[1.0], [1.0], [-0.5], [-0.5], [-0.5]])
    net = Linear(targets, 4, 0.7, 0.1, (1.2, 0.8)[:depth], regime)
    exact, coarse = by_quadrature(net), by_quadrature(net, 300)
    sampled, errors, _ = by_importance_sampling(net, 30_000)
    assert exact.readout == pytest.approx(coarse.readout, rel=1e-6)
    scores = {"readout": (exact.readout - sampled.readout) / errors.readout}
    for layer in range(depth):
        scores[f"targets {layer}"] = (exact.by_targets[layer] - sampled.by_targets[layer]) / errors.by_targets[layer]
        scores[f"excess {layer}"] = (exact.excess[layer] - sampled.excess[layer]) / errors.excess[layer]
    assert_close({name: float(np.squeeze(value)) for name, value in scores.items()})


def toy(n, depth, temperature):
    """The source's toy task as (targets, network): P = N = n, three classes, 1/2, 1/4, 1/4."""
    targets = np.eye(3)[np.repeat([0, 1, 2], [n // 2, n // 4, n // 4])]
    return targets, Linear(targets, n, n ** (-1 / depth), temperature, (1.0,) * depth)


@depths
def test_theory_of_large_width_is_approached_at_least_as_fast_as_one_over_width(depth):
    """At P = N the distance to the exact kernels at least halves when N doubles, within sampling errors."""
    distances, errors = [], []
    for n in (100, 200):
        _, net = toy(n, depth, 1e-9)
        exact, error, _ = by_importance_sampling(net, 30_000)
        theory, readout = large_width(net)
        distances.append([np.abs(np.diag(a - b)) for a, b in zip(exact.by_targets, theory, strict=True)])
        errors.append([np.diag(e) for e in error.by_targets])
        assert np.allclose(np.diag(exact.readout), readout, rtol=1 / n)
        assert np.max(np.array(distances[-1]) / np.array([np.diag(k) for k in theory])) < 1 / n
    assert np.all(
        np.array(distances[1]) < np.array(distances[0]) / 2 + 4 * np.hypot(errors[1], np.array(errors[0]) / 2)
    )


def test_theory_of_large_width_reproduces_the_reference_values():
    """The large-width limit: U = .707, .5, .5 and blocks 1.414, 2, 2 for L = 1, alpha = 1."""
    (blocks,), readout = large_width(toy(100, 1, 0)[1])
    np.testing.assert_allclose(readout, [0.5**0.5, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(np.diag(blocks), [2**0.5, 2, 2], rtol=1e-6)


# --- the samplers -------------------------------------------------------------------------------


def run(net, labels, **settings):
    inputs = nl.tasks.orthogonal(len(labels), (0.5, 0.5)).inputs
    task = nl.tasks.from_arrays(inputs, labels, targets=net.targets)
    model = nl.Model(
        depth=len(net.stds), width=net.width, activation="linear", regime=net.regime, weight_std=net.stds,
        readout_std=net.variance**0.5, readout_scaling=0.0,
    )  # fmt: skip
    settings = {"keep": ("kernel_blocks", "kernels", "readout"), "progress": False} | settings
    return nl.sample(nl.Posterior(model, task, net.temperature), **settings)


def compare(tree, net, labels, exact):
    """Block means and mean diagonals of the kernels, and the squared norm of the readout, in Monte Carlo errors."""
    draws, expected = {}, {}
    posterior = tree["posterior"]
    means = np.array([net.targets[labels == c].mean(0) for c in np.unique(labels)])  # targets are equal within a class
    for layer in range(len(net.stds)):
        blocks = means @ exact.by_targets[layer] @ means.T
        for a, b in zip(*np.tril_indices(len(means)), strict=True):
            draws[f"block {layer + 1} {a},{b}"] = posterior["kernel_blocks"].values[:, :, layer, a, b]
            expected[f"block {layer + 1} {a},{b}"] = blocks[a, b]
        if "kernels" in posterior:
            diagonal = np.diagonal(posterior["kernels"].values[:, :, layer], axis1=-2, axis2=-1)
            draws[f"diagonal {layer + 1}"] = diagonal.mean(-1)
            expected[f"diagonal {layer + 1}"] = np.diag(exact.kernel(layer, net.targets)).mean()
    for r in range(net.targets.shape[1]):
        draws[f"readout {r}"] = (posterior["readout"].values[..., r] ** 2).mean(-1)
        expected[f"readout {r}"] = exact.readout[r, r]
    assert_close(z_scores(draws, expected))


LABELS = np.repeat([0, 1], 8)
TARGETS = np.where(LABELS == 0, 1.0, -0.5)[:, None]


def one_output(depth, regime="nonlazy", temperature=1e-3):
    variance = 1.0 if regime == "lazy" else 1 / 16 ** (1 / depth)
    return Linear(TARGETS, 14, variance, temperature, (1.2, 0.8)[:depth], regime)


def test_hmc():
    net = one_output(1)
    compare(run(net, LABELS, warmup=400, draws=1500), net, LABELS, by_quadrature(net))


@pytest.mark.slow
def test_tempered():
    net = one_output(1)
    compare(run(net, LABELS, method="tempered", warmup=300, draws=1500), net, LABELS, by_quadrature(net))


@pytest.mark.slow
@regimes
@depths
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("hmc", {}),
        ("hmc", {"features": "float32"}),
        ("nuts", {}),
        ("mala", {"warmup": 4000, "thin": 100}),
        ("mclmc", {}),
        ("langevin", {"warmup": 4000, "thin": 200}),
        ("hmc", {"parametrization": "plain", "thin": 4}),
        ("nuts", {"parametrization": "plain"}),
    ],
)
def test_every_method(method, settings, depth, regime):
    # All weights at low temperature are stiff; the exact answer holds at any temperature.
    net = one_output(depth, regime, 0.02 if method == "langevin" or "parametrization" in settings else 1e-3)
    settings = {"warmup": 1000, "draws": 1500, "seed": 1} | settings
    compare(run(net, LABELS, method=method, **settings), net, LABELS, by_quadrature(net))


@pytest.mark.slow
@depths
def test_toy_task_of_the_source(depth):
    """Three classes, N = P = 60: the sampler against the exact answer for this N."""
    targets, net = toy(60, depth, 1e-4)
    exact, _, _ = by_importance_sampling(net)
    tree = run(net, targets.argmax(1), warmup=300, draws=1500, keep=("kernel_blocks", "readout"))
    compare(tree, net, targets.argmax(1), exact)
