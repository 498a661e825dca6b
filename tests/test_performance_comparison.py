"""The benchmark compares samplers of one posterior, and its page renders what there is."""

from __future__ import annotations

import numpy as np
import pytest
from numpyro.infer.util import log_density

import nonlazy as nl
from benchmarks.performance import comparison, draws, page, results, rivals
from benchmarks.performance.cases import Case, grid
from benchmarks.performance.gradient_cost import position


@pytest.mark.parametrize(("activation", "depth"), [("erf", 1), ("relu", 3), ("linear", 2)])
@pytest.mark.usefixtures("in_double_precision")
def test_log_density_of_the_rival_is_the_librarys(activation, depth, task):
    density = nl.Posterior(nl.Model(depth, 10, activation), task, temperature=1e-3).plain
    x = position(density)
    theirs, _ = log_density(rivals.network, (density,), {}, {f"w{i}": w for i, w in enumerate(x)})
    assert float(theirs) == pytest.approx(float(density.log_density(x)), rel=1e-12)


@pytest.mark.usefixtures("in_double_precision")
def test_outputs_of_the_librarys_density_are_those_of_plain_numpy(task):
    """So that both are not wrong in the same way: the model written out."""
    density = nl.Posterior(nl.Model(2, 10, "relu"), task, temperature=1e-3).plain
    w1, w2, a = map(np.asarray, position(density))
    z = np.maximum(task.inputs @ w1 / np.sqrt(task.n_features), 0) @ w2 / np.sqrt(10)
    outputs = np.maximum(z, 0) @ a * np.sqrt(density.readout_variance) / 10
    squares = sum(np.sum(w**2) for w in (w1, w2, a)) + np.sum((task.targets - outputs) ** 2) / 1e-3
    sizes = w1.size + w2.size + a.size
    expected = -squares / 2 - sizes / 2 * np.log(2 * np.pi) - outputs.size / 2 * np.log(2 * np.pi * 1e-3)
    assert float(density.log_density((w1, w2, a))) == pytest.approx(expected, rel=1e-10)


def test_grid_holds_each_case_once():
    names = [case.name for case in grid()]
    assert len(names) == len(set(names)) == 75
    assert {case.activation for case in grid()} == {"erf", "linear", "relu"}


def drawn(times, values):
    return draws.Drawn(values, times, 9.0, 3.0, 1000, 6.0, {"warmup": 80})


def test_time_to_solution_counts_from_where_blocks_stay_close():
    values = np.ones((2, 40))
    values[:, :10] = 1.5
    values[:, 10:20] = 0.5
    run = drawn([(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)], {"kernel 1 block 0,0": values, "training error": values})
    assert draws.time_to_solution(run, {"kernel 1 block 0,0": 1.0}) == 2.0
    assert draws.time_to_solution(run, {"kernel 1 block 0,0": 2.0}) is None


def test_a_method_without_draws_is_reported_with_its_bound():
    row = draws.summary(drawn([], {}), None)
    assert row["ess_per_second_below"] == pytest.approx(1 / 9)
    assert page.rate(row) == "< 0.11"


def test_page_renders_and_names_what_was_not_measured():
    case = Case("erf")
    values = {
        "kernel 1 block 0,0": 1 + np.random.default_rng(0).normal(size=(2, 40)),
        "training error": np.ones((2, 40)),
    }
    values["training error"] = values["kernel 1 block 0,0"]
    run = drawn([(20, 7.0), (40, 9.0)], values)
    reference = draws.reference_of(run) | {"method": "tempered"}
    rows = {comparison.REFERENCE: reference, comparison.HMC: draws.summary(run, reference)}
    rows[comparison.PEER] = draws.summary(drawn([], {}), reference)
    text = page.render(results.plain({"comparison": {case.name: case._asdict() | {"methods": rows}}}))
    assert f"| {case.name} | {comparison.HMC} |" in text
    assert "Of the 75 cases of the grid 74 were **not measured**" in text
    assert "GPU nothing was measured" in text


def test_page_is_that_of_the_results():
    assert page.PAGE.read_text(encoding="utf-8") == page.render(results.load())
