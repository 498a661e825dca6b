"""Sweeps: designs, plans, keys, resuming, datasets, and that results do not depend on who computes them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import nonlazy as nl
from nonlazy import cli
from nonlazy.sweep import cluster, command, cost
from nonlazy.sweep.computing import Result, compute, record
from nonlazy.sweep.dataset import short_names
from nonlazy.sweep.design import make_design
from nonlazy.sweep.engine import Distributed, Serial, _state
from nonlazy.sweep.folder import SweepFolder
from nonlazy.sweep.memory import PeakMemory
from nonlazy.sweep.plan import library_version, make_plan, parse_sweep
from nonlazy.sweep.running import run

BASE = {
    "temperature": 1e-3,
    "task": {"name": "orthogonal", "n_inputs": 12, "class_ratios": [0.5, 0.5]},
    "model": {"width": 10, "activation": "linear"},
    "sampling": {"chains": 2, "warmup": 20, "draws": 10},
}
# Its programs are shared with the tests of `nonlazy run`.
SMALL = {
    "temperature": 1e-3,
    "task": {"name": "gaussian", "n_inputs": 12, "n_features": 16, "n_test": 9, "separation": 0.6},
    "model": {"width": 10},
    "sampling": {"chains": 2, "warmup": 30, "draws": 20},
}
AXES = {"model.width": [4, 6], "sampling.seed": [0, 1, 2]}
FILE = """
temperature = 1e-3
[task]
name = "orthogonal"
n_inputs = 12
[model]
activation = "linear"
[sweep]
what = ["theory"]
[sweep.axes]
model.width = [4, 6]
"task.class_ratios" = [[0.5, 0.5], [0.5, 0.25, 0.25]]
"""


def stub(point, made_by):
    """Result of a point without work: its width is its wall time; width 5 fails."""
    width = point.settings["model"]["width"]
    found = {"status": "ok", "error": ""} if width != 5 else {"status": "failed", "error": "InputError: five"}
    return Result(record(point, found, {"wall_time": width, "peak_memory": 1, "worker": "here"}))


class Counting:
    """A computation that counts, and may be interrupted after some points."""

    def __init__(self, stop_after=None, compute=stub):
        self.keys, self.stop_after, self.compute = [], stop_after, compute

    def __call__(self, point, made_by):
        if len(self.keys) == self.stop_after:
            raise KeyboardInterrupt
        self.keys.append(point.key)
        return self.compute(point, made_by)


def finish(plan, path, compute, retry_failed=False):
    return run(plan, SweepFolder(path), Serial(compute), retry_failed, progress=False)


def test_grid_has_all_combinations_last_axis_fastest():
    points = make_design({"model": {"width": [1, 2]}, "temperature": [0.1, 0.2, 0.3]}).points()
    assert [tuple(point.values()) for point in points] == [(w, t) for w in (1, 2) for t in (0.1, 0.2, 0.3)]
    assert list(points[0]) == ["model.width", "temperature"]


def test_random_design_has_the_distributions_it_names():
    axes = {
        "temperature": {"log_uniform": [1e-6, 1e-2]},
        "model.readout_std": {"uniform": [1.0, 3.0]},
        "model.width": {"uniform": [3, 6]},
        "task.n_inputs": {"log_uniform": [1, 100]},
        "model.activation": ["erf", "relu"],
    }
    points = make_design(axes, n_points=4000).points()
    values = {name: np.array([point[name] for point in points]) for name in axes}
    exponents = (np.log10(values["temperature"]) + 6) / 4
    for uniform in (exponents, (values["model.readout_std"] - 1) / 2):
        counts = np.histogram(uniform, 10, (0, 1))[0]
        assert counts.sum() == 4000
        assert ((counts - 400) ** 2 / 400).sum() < 32  # chi-square of 9 degrees of freedom beyond four standard errors
    widths, counts = np.unique(values["model.width"], return_counts=True)
    assert widths.tolist() == [3, 4, 5, 6]
    assert ((counts - 1000) ** 2 / 1000).sum() < 22
    inputs = values["task.n_inputs"]
    assert (inputs.min(), inputs.max()) == (1, 100)
    expected = np.log((10.5) / 0.5) / np.log(100.5 / 0.5)
    assert abs((inputs <= 10).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)
    assert abs((values["model.activation"] == "erf").mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_random_design_is_reproducible_and_grows():
    axes = {"temperature": {"uniform": [0.1, 0.2]}, "model.width": [1, 2, 3]}
    points = make_design(axes, 10, seed=1).points()
    assert points == make_design(axes, 20, seed=1).points()[:10]
    assert points != make_design(axes, 10, seed=2).points()


@pytest.mark.parametrize(
    ("axes", "points", "message"),
    [
        ({}, None, "axes must name at least one entry"),
        ({"title": ["a"]}, None, "any entry of the configuration but title and theory, got title"),
        ({"model.width": 3}, None, "model.width must be a list of at least one value, got 3"),
        ({"model.width": []}, None, "model.width must be a list of at least one value"),
        ({"model.width": [1, 2, 1]}, None, "model.width holds 1 twice"),
        ({"model.width": {"uniform": [1, 2]}}, None, "model.width is a range, which a grid cannot have"),
        ({"model.width": {"uniform": [2, 1]}}, 3, "model.width must have a uniform range"),
        ({"temperature": {"log_uniform": [0, 1]}}, 3, "two numbers above 0, got"),
        ({"temperature": {"uniform": [0, float("inf")]}}, 3, "must have a uniform range"),
        ({"model.width": [1]}, 0, "points must be an integer of at least 1, got 0"),
    ],
)
def test_bad_axes(axes, points, message):
    with pytest.raises(nl.InputError, match=re.escape(message)):
        make_design(axes, points)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"model.width": [4, -1]}, "point 1 (model.width = -1): width must be an integer of at least 1, got -1"),
        ({"model.wdth": [4]}, "point 0 (model.wdth = 4): model.wdth is not a known entry"),
        ({"model.width": [4, "ten"]}, "point 1 (model.width = 'ten'): model.width: input should be a valid integer"),
        ({"temperature": [1e-3, 0]}, "point 1 (temperature = 0): temperature must be a finite number greater than 0"),
        ({"task.class_ratios": [[0.5, 0.9]]}, "point 0 (task.class_ratios = [0.5, 0.9]): class_ratios"),
        ({"sampling.draws": [0]}, "point 0 (sampling.draws = 0): draws must be an integer of at least 1, got 0"),
        ({"sampling.method": ["hmc", "hcm"]}, "point 1 (sampling.method = 'hcm'): method must be one of"),
        ({"sampling.keep": [["everything"]]}, "point 0 (sampling.keep = ['everything']): keep must hold names"),
        ({"temperature.low": [1]}, "temperature is no table"),
    ],
)
def test_every_point_is_checked_before_anything_is_computed(axes, message):
    with pytest.raises(nl.InputError, match=re.escape(message)):
        make_plan(BASE, axes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[sweep.axes]", "[sweep.axis]"), "sweep.toml must have a table [sweep.axes]"),
        (('what = ["theory"]', 'what = ["theories"]'), "sweep.toml: what must hold names from 'sampling', 'theory'"),
        (('what = ["theory"]', 'what = ["schemes"]'), '"schemes" are read from draws'),
        (
            ('what = ["theory"]', "n_points = 3"),
            "table sweep may hold axes, what, points, seed, keep_samples, got n_points",
        ),
        (('what = ["theory"]', "keep_samples = 1"), "keep_samples must be true or false, got 1"),
        (("[task]", "[task"), "sweep.toml is no valid TOML"),
        (("model.width = [4, 6]", "model.width = [4, 0]"), "sweep.toml: point 2 (model.width = 0, task.class_ratios"),
    ],
)
def test_bad_sweep_file(change, message):
    with pytest.raises(nl.InputError, match=re.escape(message)) as raised:
        parse_sweep(FILE.replace(*change), "sweep.toml")
    assert str(raised.value).count("sweep.toml") == 1


def test_sweep_file_gives_the_points_of_the_function():
    plan = parse_sweep(FILE, "sweep.toml")
    base = tomllib.loads(FILE)
    table = base.pop("sweep")
    assert plan.points == make_plan(base, table["axes"], ["theory"]).points
    assert [point.settings["task"]["class_ratios"] for point in plan.points[:2]] == [[0.5, 0.5], [0.5, 0.25, 0.25]]
    assert [point.settings["sampling"]["seed"] for point in parse_sweep(FILE, "sweep.toml", 7).points] == [7] * 4


def test_keys_tell_results_apart_and_nothing_else(tmp_path, monkeypatch):
    def key(base=BASE, axes=None, **options):
        return make_plan(base, axes or {"model.width": [4]}, **options).points[0].key

    same = key()
    assert key(BASE | {"title": "another", "theory": False}) == same
    assert key(BASE, {"model.depth": [1], "model.width": [4]}) == same  # a default that is spelled out
    others = [
        key(BASE | {"temperature": 1e-4}),
        key(axes={"model.width": [5]}),
        key(what=["theory"]),
        key(keep_samples=True),
    ]
    file = tmp_path / "data.npz"
    for seed in (0, 1):
        np.savez(file, inputs=np.random.default_rng(seed).normal(size=(6, 8)), labels=[0] * 3 + [1] * 3)
        others.append(key(BASE | {"task": {"name": "file", "path": str(file)}}))
    monkeypatch.setattr(sys.modules["nonlazy.sweep.plan"], "library_version", lambda: "99")
    others.append(key())
    assert len({same, *others}) == 8


def test_workers_find_data_files_from_any_folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "data.npz", inputs=np.eye(6), labels=[0] * 3 + [1] * 3)
    monkeypatch.chdir(tmp_path)
    (point,) = make_plan(BASE | {"task": {"name": "file", "path": "data.npz"}}, {"model.width": [4]}).points
    assert point.settings["task"]["path"] == str(tmp_path / "data.npz")


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


def test_import_leaves_dask_alone():
    code = "import sys, nonlazy; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_dask_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(nl.InputError, match=re.escape("pip install 'nonlazy[sweep]'")):
        nl.sweep(BASE, AXES, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_workers": -1}, "n_workers must be an integer of at least 0, got -1"),
        ({"n_workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "a scheduler has its own workers"),
        ({"keep_samples": True, "n_workers": 0}, "keep_samples needs a folder"),
        ({"what": "everything"}, "what must hold names"),
        ({"base": 3}, "base must be a dictionary or the path of a configuration, got int"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(nl.InputError, match=re.escape(message)):
        nl.sweep(**{"base": BASE, "axes": AXES, "progress": False} | options)


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["nonlazy", "sweep", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.out, captured.err


def test_command_writes_what_it_says(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE)
    status, printed, _ = call(monkeypatch, capsys, file, "--out", out, "--workers", 0)
    assert status == 0
    for name in ("results.nc", "table.csv", "points"):
        assert str(out / name) in printed
        assert (out / name).exists()
    assert (out / "sweep.toml").read_text() == FILE
    assert len(list((out / "points").iterdir())) == 4


def test_command_says_how_many_failed(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE.replace("[4, 6]", "[4, 5]"))
    monkeypatch.setattr(command, "choose_engine", lambda *_: Serial(stub))
    status, _, err = call(monkeypatch, capsys, file, "--out", out, "--quiet")
    assert status == 1
    assert err == (
        f"2 points failed, see {out}/table.csv. Try them again with: nonlazy sweep {file} --out {out} --retry-failed\n"
    )


def test_interrupted_command_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE)

    def interrupted(point, made_by):
        os.kill(os.getpid(), signal.SIGINT)
        return stub(point, made_by)

    monkeypatch.setattr(command, "choose_engine", lambda *_: Serial(interrupted))
    status, _, err = call(monkeypatch, capsys, file, "--out", out, "--quiet")
    assert status == 130
    assert err == f"Interrupted; finished points are kept. Go on with: nonlazy sweep {file} --out {out}\n"
    assert len(list((out / "points").iterdir())) == 1  # the point under way was finished


def test_plan_says_how_much_there_is_to_do(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE)
    timing = cost.Timing(compiling=8.0, transition=0.0, theory=3.0, memory=2**30, bytes_per_transition=0.0)
    monkeypatch.setattr(command, "estimate", lambda plan, points, announce: _estimate(points, timing))
    finish(parse_sweep(FILE.replace("[4, 6]", "[4]"), "sweep.toml"), out, stub)
    status, printed, _ = call(monkeypatch, capsys, file, "--out", out, "--dry-run", "--workers", 2)
    assert status == 0
    assert "Grid of 4 points" in printed
    assert "model.width: 4, 6" in printed
    assert "2 to compute, 2 finished" in printed
    assert "Time of a point: 3 s on average" in printed
    assert "Together: about 19 s with 2 workers" in printed
    assert "up to 1.0 GiB" in printed
    assert len(list((out / "points").iterdir())) == 2


def _estimate(points, timing):
    return cost.Estimate([timing.theory for _ in points], [timing.memory for _ in points], 2 * timing.compiling, 2, 2)


def test_costs_are_measured_in_another_process():
    plan = make_plan(BASE | {"sampling": {"chains": 1}}, {"sampling.seed": [0, 1]}, ["theory"])
    measured = cost.estimate(plan, plan.points)
    assert (measured.measured, measured.sizes) == (1, 1)
    assert measured.seconds[0] == measured.seconds[1] > 0
    assert measured.memory[0] > 2**24


def test_costs_scale_with_transitions_and_operations():
    plan = make_plan(BASE, {"sampling.draws": [10, 1000], "task.n_inputs": [12, 120]}, ["sampling"])
    small, large = plan.points[0], plan.points[3]
    timings = {cost.size(small): cost.Timing(0.0, 0.1, 0.0, 1000, 8.0)}
    sizes = {cost.size(point): point for point in plan.points}
    assert cost._cost(small, timings, sizes) == (pytest.approx(3.0), 1000)
    seconds, memory = cost._cost(large, timings, sizes)
    # L (N P^2 + N^2 P) + P^3 at N = 10
    ratio = (10 * 120**2 + 100 * 120 + 120**3) / (10 * 12**2 + 100 * 12 + 12**3)
    assert seconds == pytest.approx(1020 * 0.1 * ratio)
    assert memory == 1000 + 2 * 8 * 980


def test_slurm_job_script_protects_its_workers(monkeypatch, capsys, tmp_path):
    pytest.importorskip("dask_jobqueue")
    file, options = tmp_path / "sweep.toml", tmp_path / "cluster.toml"
    file.write_text(FILE)
    options.write_text(
        'queue = "short"\nmemory = "4 GB"\nwalltime = "01:00:00"\njob_script_prologue = ["module load python"]'
    )
    monkeypatch.setattr(
        command, "estimate", lambda plan, points, announce: _estimate(points, cost.Timing(0, 0, 1, 1, 0))
    )
    arguments = [file, "--out", tmp_path / "out", "--dry-run", "--cluster", "slurm", "--cluster-options", options]
    status, printed, err = call(monkeypatch, capsys, *arguments)
    assert (status, err.strip()) == (0, "")
    for line in ("#SBATCH -p short", "#SBATCH --mem=4G", "#SBATCH -t 01:00:00", "export NPROC=1", "module load python"):
        assert line in printed
    assert "--xla_cpu_enable_concurrency_optimized_scheduler=false" in printed
    assert "--nthreads 1" in printed
    assert not (tmp_path / "out").exists()
    for text, message in (("colour = 3", "got colour"), ('queue = "short"', "must give the memory of a job")):
        options.write_text(text)
        status, _, err = call(monkeypatch, capsys, *arguments)
        assert status == 2
        assert message in err


def test_scheduler_that_is_lost_between_two_looks():
    """A client that has not noticed yet gets a description without workers."""
    client = SimpleNamespace(status="running", cluster=None, scheduler_info=lambda n_workers: {})
    with pytest.raises(nl.ClusterError, match="the scheduler of the sweep was lost"):
        _state(client)


def test_scheduler_that_does_not_answer(monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(nl.ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9.*0 of 6 points"):
        nl.sweep(BASE, AXES, out=tmp_path, scheduler="tcp://127.0.0.1:9", progress=False)


def without_costs(dataset):
    return dataset.drop_vars(["wall_time", "peak_memory", "worker"])


def test_workers_compute_the_same_as_this_process(tmp_path):
    pytest.importorskip("distributed")
    found = [nl.sweep(BASE, {"model.width": [4, 6]}, ["theory"], n_workers=n, progress=False) for n in (0, 1)]
    assert without_costs(found[0]).identical(without_costs(found[1]))
    assert found[1].worker.item(0) != found[0].worker.item(0)


SAMPLED = {"model.activation": ["linear", "erf"], "sampling.seed": [0, 1, 2, 3]}


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers():
    found = [nl.sweep(BASE, SAMPLED, n_workers=n, progress=False) for n in (1, 2)]
    assert len(set(found[1].worker.values.ravel())) == 2
    assert without_costs(found[0]).identical(without_costs(found[1]))


def fragile(folder, point, made_by):
    """A point whose worker is killed: of width 5 always, of even width at the first attempt."""
    width, marker = point.settings["model"]["width"], folder / point.key
    if width == 5 or (width % 2 == 0 and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return stub(point, made_by)


@pytest.mark.slow
def test_points_whose_workers_die_are_computed_again_and_at_last_fail(tmp_path):
    pytest.importorskip("distributed")
    engine = Distributed(partial(cluster.local_client, 2), compute=partial(fragile, tmp_path))
    points = make_plan(BASE, {"model.width": [4, 5, 6, 7, 9, 11]}).points
    records = [result.record for result in engine.results(points) if result is not None]
    assert sorted(record["key"] for record in records) == sorted(point.key for point in points)
    failed = {record["values"]["model.width"]: record["error"] for record in records if record["status"] != "ok"}
    assert failed == {5: "the workers that computed this point died again and again: killed, or out of memory."}


def sleepy(point, made_by):
    time.sleep(0.5)
    return stub(point, made_by)


@pytest.mark.slow
def test_lost_local_scheduler_is_started_again():
    pytest.importorskip("distributed")
    clients, seen = [], []

    @contextmanager
    def connect():
        with cluster.local_client(1) as client:
            clients.append(client)
            yield client

    points = make_plan(BASE, {"model.width": [4, 6, 7, 8, 9, 10]}).points
    for result in Distributed(connect, compute=sleepy).results(points):
        if result is not None:
            seen.append(result.record["key"])
            if len(seen) == 2:
                clients[0].sync(clients[0].cluster.scheduler.close)
    assert sorted(seen) == sorted(point.key for point in points)
    assert len(clients) == 2


@pytest.mark.slow
def test_ctrl_c_leaves_a_folder_to_go_on_from_and_no_process(tmp_path):
    """SIGINT to all processes, as a terminal sends it."""
    psutil = pytest.importorskip("psutil")
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE.replace("[4, 6]", str(list(range(4, 200)))))
    command = [sys.executable, "-m", "nonlazy", "sweep", str(file), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list((out / "points").glob("[!.]*")):
        time.sleep(0.1)
        assert process.poll() is None
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    last = err.strip().splitlines()[-1]
    assert last == f"Interrupted; finished points are kept. Go on with: {shlex.join(['nonlazy', *command[3:]])}"
    assert not any(child.is_running() and child.status() != "zombie" for child in children)
    finished = len(list((out / "points").glob("[!.]*")))
    with xr.open_dataset(out / "results.nc") as dataset:
        assert int((dataset.status == "ok").sum()) == finished
