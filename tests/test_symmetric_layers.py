"""The theory of class-symmetric data with several layers, and what counts as class-symmetric."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from symmetric_problems import posterior, random_law, toy

import nonlazy as nl
from nonlazy.theory.symmetric import solve_symmetric, symmetric_data
from nonlazy.theory.symmetric.data import SymmetricKernel, project
from nonlazy.theory.symmetric.ensemble import propose, weigh
from nonlazy.theory.symmetric.modes import code_starts, find_modes
from nonlazy.theory.symmetric.passes import Nodes, Passes
from nonlazy.theory.symmetric.saddle import _path

pytestmark = [pytest.mark.filterwarnings("ignore::nonlazy.DataWarning"), pytest.mark.usefixtures("in_double_precision")]


# --- several layers -------------------------------------------------------------------------------


def test_the_free_energy_of_two_layers_has_the_passes_as_its_gradient():
    r"""dF / dx = tr (K~ - K~_new) dK / dx / 2: the forward pass, Stein's identity, and the dual as one function."""
    data = toy(counts=(4, 4), common=0.0, variance=0.3, width_temperature=0.5, depth=2)
    passes = Passes(data, 2**11, 0)
    x = passes.coordinates.pack((SymmetricKernel(np.array([[0.5, 0.1], [0.1, 0.4]]), np.array([0.2, -0.3])),))
    _, saddle = passes(x)
    nodes = Nodes(tuple(layer.ensemble.proposal for layer in saddle.layers), saddle.dual.point.ensemble.proposal)
    new, _ = passes(x, nodes)
    (excess,) = passes.coordinates.unpack(-new)
    labels = data.labels
    for i in range(len(x)):
        step = 1e-3 * (1 + abs(x[i])) * np.eye(len(x))[i]
        above, below = (passes(x + sign * step, nodes)[1] for sign in (1, -1))
        change = above.layers[0].kernel.matrix(labels) - below.layers[0].kernel.matrix(labels)
        expected = np.sum(excess.matrix(labels) * change) / 2
        assert above.free_energy - below.free_energy == pytest.approx(expected, rel=0.03, abs=1e-6)


@pytest.mark.slow
def test_two_layers_solve_their_equations():
    data = symmetric_data(posterior(n_inputs=16, ratios=(0.5, 0.5), depth=2))
    solution = solve_symmetric(data)
    np.testing.assert_allclose(solution.kernels[0][0, 8:], solution.kernels[0][8, :8], atol=1e-12)
    other = solve_symmetric(data, seed=1)
    assert other.free_energy == pytest.approx(solution.free_energy, rel=1e-3)
    np.testing.assert_allclose(other.kernels, solution.kernels, rtol=0.02, atol=2e-3)


@pytest.mark.slow
def test_two_layers_agree_with_an_earlier_solution():
    """Newton on the class-symmetric unknowns with other quadratures, P = 64: S / P, kernels, codes."""
    theory = nl.solve(posterior(n_inputs=64, depth=2))
    assert theory.free_energy / 64 == pytest.approx(4.504, abs=2e-3)
    index = ([0, 1, 0, 1], [0, 1, 1, 2])
    np.testing.assert_allclose(theory.kernel_blocks[0][index], [0.3265, 0.3375, 0.2102, 0.2003], rtol=0.015)
    np.testing.assert_allclose(theory.kernel_blocks[1][index], [0.6462, 0.6474, 0.3344, 0.3319], rtol=0.015)
    first = theory.kernels[0]
    excess = [
        np.mean(np.diag(first)[theory.posterior.task.labels == c]) - theory.kernel_blocks[0][c, c] for c in (0, 1)
    ]
    np.testing.assert_allclose(excess, [0.0712, 0.0364], rtol=0.03)
    codes = {"".join(map(str, b.code)): b for b in theory.codes if b.probability > 0.005}
    assert set(codes) == {"011", "101", "110"}
    for code, fraction in {"011": 0.3325, "101": 0.334, "110": 0.334}.items():
        assert codes[code].probability == pytest.approx(fraction, abs=0.003)
    np.testing.assert_allclose(codes["011"].readout, [-1.551, 1.527, 1.530], atol=0.02)
    expected = {"100": 0.242, "011": 0.176, "110": 0.153, "101": 0.153, "010": 0.138, "001": 0.138}
    for code, fraction in expected.items():
        assert theory.code_fractions[0][code] == pytest.approx(fraction, abs=0.015)


@pytest.mark.slow
def test_three_layers_agree_with_an_earlier_solution():
    """As above at L = 3; nodes of two seeds differ by 1 % in the kernels."""
    theory = nl.solve(posterior(n_inputs=64, depth=3))
    assert theory.free_energy / 64 == pytest.approx(4.350, abs=1e-3)
    index = ([0, 1, 0, 1], [0, 1, 1, 2])
    expected = [[0.2861, 0.2951, 0.2240, 0.2167], [0.3877, 0.3936, 0.2178, 0.2097], [0.6525, 0.6517, 0.3337, 0.3319]]
    for blocks, values in zip(theory.kernel_blocks, expected, strict=True):
        np.testing.assert_allclose(blocks[index], values, rtol=0.03)


@pytest.mark.slow
def test_three_layers_of_tanh_are_symmetric_under_a_change_of_sign():
    """phi and targets up to the last layer allow z -> -z class by class: lower kernels have no blocks between classes."""
    theory = nl.solve(posterior(n_inputs=32, depth=3, activation="tanh"))
    assert theory.residual < 1e-4
    for blocks in theory.kernel_blocks[:2]:
        assert np.abs(blocks - np.diag(np.diag(blocks))).max() < 0.01 * blocks.max()
    # The lower layers learn less than the upper.
    assert np.all(np.diff([np.diag(blocks) for blocks in theory.kernel_blocks], axis=0) > 0)


def test_solutions_are_carried_to_more_inputs_in_units_of_their_number():
    data = toy(counts=(4, 4), common=0.0, variance=0.3, width_temperature=0.5, depth=3)
    few, all_ = _path(data._replace(counts=4 * data.counts))[:2]
    assert few.counts.sum() * few.readout_variance == pytest.approx(all_.counts.sum() * all_.readout_variance)
    kernel = SymmetricKernel(np.array([[0.5, 0.1], [0.1, 0.4]]), np.array([0.2, -0.3]))
    x = Passes(few, 2**6, 0).coordinates.pack((kernel,))
    (carried,) = Passes(all_, 2**6, 0).coordinates.unpack(x)
    np.testing.assert_allclose(carried.blocks, kernel.blocks / 4)
    np.testing.assert_allclose(carried.excess, kernel.excess)


# --- what counts as class-symmetric ---------------------------------------------------------------


def test_projection_gives_back_what_has_the_form():
    labels = np.array([0, 0, 1, 1, 1, 2])
    b = np.random.default_rng(0).standard_normal((3, 3))
    kernel = SymmetricKernel(b @ b.T, np.array([0.3, 0.2, 0.4]))
    found = project(kernel.matrix(labels), labels, 3)
    np.testing.assert_allclose(found.matrix(labels), kernel.matrix(labels), atol=1e-14)
    np.testing.assert_allclose(found.blocks[:2, :2], kernel.blocks[:2, :2], atol=1e-14)
    assert found.excess.min() > 0


def test_data_of_another_form_are_left_to_particles():
    task = nl.tasks.orthogonal(8)
    assert symmetric_data(nl.Posterior(nl.Model(), task)) is not None
    noisy = nl.tasks.from_arrays(task.inputs + 1e-3 * np.eye(8)[::-1], task.labels)
    assert symmetric_data(nl.Posterior(nl.Model(), noisy)) is None
    uneven = nl.tasks.from_arrays(task.inputs, task.labels, targets=task.targets * np.linspace(1, 2, 8)[:, None])
    assert symmetric_data(nl.Posterior(nl.Model(), uneven)) is None
    many = nl.tasks.from_arrays(np.eye(12) * 12**0.5, np.arange(12) % 11)
    assert symmetric_data(nl.Posterior(nl.Model(), many)) is None


def test_the_projection_of_a_standard_normal_is_its_density():
    """Guards the normal nodes: quasi-random, in pairs, with unit covariance."""
    law = random_law("erf", tilt=0.0, spread=0.0, quadratic=0.0)
    ensemble = weigh(law, propose(law.n_fields, find_modes(law, code_starts(law)), 2**12, 0))
    assert ensemble.log_norm == pytest.approx(0, abs=2e-3)
    np.testing.assert_allclose(ensemble.mean(ensemble.x), 0, atol=1e-12)
    np.testing.assert_allclose(ensemble.x.T @ (ensemble.weights[:, None] * ensemble.x), np.eye(4), atol=0.01)
    assert norm.cdf(0) == 0.5
