"""Sweeps: resuming, failures, and the dataset."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sweep_problems import AXES, BASE, SMALL, Counting, finish, stub

import nonlazy as nl
from nonlazy.sweep.computing import compute
from nonlazy.sweep.dataset import short_names
from nonlazy.sweep.engine import Serial
from nonlazy.sweep.folder import SweepFolder
from nonlazy.sweep.memory import PeakMemory
from nonlazy.sweep.plan import library_version, make_plan
from nonlazy.sweep.running import run


def test_interrupted_sweep_computes_only_what_is_missing(tmp_path):
    plan, first, second = make_plan(BASE, AXES), Counting(stop_after=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        finish(plan, tmp_path, first)
    with xr.open_dataset(tmp_path / "results.nc") as partial:
        assert (partial.status == "ok").sum() == 2
        assert (partial.status == "missing").sum() == 4
    dataset = finish(plan, tmp_path, second)
    assert sorted(first.keys + second.keys) == sorted(point.key for point in plan.points)
    assert dataset.wall_time.dims == ("width", "seed")
    np.testing.assert_array_equal(dataset.wall_time, [[4] * 3, [6] * 3])
    third = Counting()
    assert finish(plan, tmp_path, third).identical(dataset)
    assert not third.keys
    with xr.open_dataset(tmp_path / "results.nc") as saved:
        xr.testing.assert_identical(saved.load(), dataset)


def test_failed_points_are_recorded_and_tried_again_on_request(tmp_path):
    plan = make_plan(BASE, {"model.width": [4, 5, 6]})
    dataset = finish(plan, tmp_path, stub)
    assert dataset.status.values.tolist() == ["ok", "failed", "ok"]
    assert dataset.error.sel(width=5).item() == "InputError: five"
    again = Counting()
    finish(plan, tmp_path, again)
    assert not again.keys
    finish(plan, tmp_path, again, retry_failed=True)
    assert again.keys == [plan.points[1].key]


def test_errors_of_a_point_are_part_of_its_record():
    """Lazy theories of data that no chain may start from: the message is kept, nothing is raised."""
    point = make_plan(BASE, {"sampling.method": ["tempered"], "task.name": ["gaussian"]}, ["sampling"]).points[0]
    found = compute(point, library_version()).record
    assert found["status"] == "failed"
    assert found["error"].startswith("InputError: ")
    assert "the worker has nonlazy" in compute(point, "0.0.0").record["error"]


def test_changed_sweep_is_refused_unless_its_points_are_more(tmp_path):
    finish(make_plan(BASE, AXES), tmp_path, stub)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    with pytest.raises(nl.FileError, match="belongs to another sweep: 3 of its 6 points are not in this one"):
        finish(make_plan(BASE, AXES | {"model.width": [4, 8]}), tmp_path, stub)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before
    more = Counting()
    dataset = finish(make_plan(BASE, AXES | {"model.width": [4, 5, 6]}), tmp_path, more)
    assert len(more.keys) == 3
    assert dataset.sizes["width"] == 3
    manifest = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(manifest | {"version": "0.0", "points": ["0"]}))
    with pytest.raises(nl.FileError, match=r"made with nonlazy 0\.0"):
        finish(make_plan(BASE, AXES), tmp_path, stub)


def test_two_sweeps_in_one_folder_are_refused(tmp_path):
    plan = make_plan(BASE, AXES)
    with SweepFolder(tmp_path), pytest.raises(nl.FileError, match="is in use by another sweep"):
        finish(plan, tmp_path, stub)


def test_damaged_record_is_named(tmp_path):
    plan = make_plan(BASE, AXES)
    finish(plan, tmp_path, stub)
    (tmp_path / "points" / f"{plan.points[0].key}.json").write_text("{")
    with pytest.raises(nl.FileError, match=rf"{plan.points[0].key}\.json is damaged.*Delete it"):
        finish(plan, tmp_path, stub)


def test_axes_are_called_by_their_last_part_unless_ambiguous():
    names = short_names(["model.width", "task.seed", "sampling.seed", "temperature"])
    assert list(names.values()) == ["width", "task_seed", "sampling_seed", "temperature"]


def test_dataset_holds_the_figures_of_single_runs(tmp_path):
    """Of points that differ in classes and depth, in this process."""
    axes = {"task.class_ratios": [[0.5, 0.5], [0.5, 0.25, 0.25]], "model.depth": [1, 2]}
    dataset = nl.sweep(BASE, axes, ["theory"], tmp_path, n_workers=0, progress=False)
    assert dataset.theory_kernel_blocks.dims == ("class_ratios", "depth", "layer", "label", "label_")
    for ratios, depth in [(ratios, depth) for ratios in axes["task.class_ratios"] for depth in (1, 2)]:
        task = nl.tasks.orthogonal(n_inputs=12, class_ratios=ratios)
        theory = nl.solve(nl.Posterior(nl.Model(depth=depth, width=10, activation="linear"), task, 1e-3))
        here = dataset.sel(class_ratios=", ".join(map(str, ratios)), depth=depth)
        labels = list(task.class_names)
        blocks = here.theory_kernel_blocks.sel(layer=slice(1, depth), label=labels, label_=labels)
        np.testing.assert_array_equal(blocks, theory.kernel_blocks)
        assert here.theory_kernel_blocks.isnull().sum() == 2 * 9 - theory.kernel_blocks.size
        assert here.theory_free_energy == theory.free_energy
        assert here.theory_scheme == "analog"
    table = (tmp_path / "table.csv").read_text().splitlines()
    assert len(table) == 5
    assert '"0.5, 0.25, 0.25",2,ok' in table[4]


def test_random_designs_have_a_point_axis(tmp_path):
    axes = {"model.width": {"uniform": [3, 9]}, "sampling.seed": [0, 1]}
    dataset = run(make_plan(BASE, axes, points=5), SweepFolder(tmp_path), Serial(stub), False, False)
    assert dataset.wall_time.dims == ("point",)
    np.testing.assert_array_equal(dataset.wall_time, dataset.width)


def test_sampled_point_has_the_figures_of_the_same_run(tmp_path):
    dataset = nl.sweep(SMALL, {"sampling.seed": [3]}, ["sampling"], tmp_path, 0, keep_samples=True, progress=False)
    here = dataset.isel(seed=0)
    tree = nl.load(tmp_path / "samples" / f"{here.key.item()}.nc")
    blocks = tree["posterior"]["kernel_blocks"].mean(["chain", "draw"])
    np.testing.assert_array_equal(here.kernel_blocks, blocks)
    fractions = nl.code_fractions(tree)
    np.testing.assert_array_equal(here.code_fractions.sel(code=fractions.code.values), fractions)
    diagnostics = nl.diagnose(tree)
    assert here.training_error == diagnostics.statistics["training_error"]
    assert here.r_hat == max(row.r_hat for row in diagnostics.rows)
    assert here.n_warnings == len(diagnostics.warnings)
    assert here.wall_time > 0
    assert here.peak_memory > 2**26


def test_peak_memory_is_of_the_work_inside():
    with PeakMemory() as large:
        np.ones(2**25).sum()
    with PeakMemory() as small:
        pass
    assert large.peak - small.peak > 2**27
