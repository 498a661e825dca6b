"""Sweeps from Python and from the command line: arguments, messages, costs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from sweep_problems import AXES, BASE, FILE, finish, stub, sweep_command

import nonlazy as nl
from nonlazy.sweep import command, cost
from nonlazy.sweep.engine import Serial
from nonlazy.sweep.plan import make_plan, parse_sweep


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


def test_command_writes_what_it_says(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE)
    status, printed, _ = sweep_command(monkeypatch, capsys, file, "--out", out, "--workers", 0)
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
    status, _, err = sweep_command(monkeypatch, capsys, file, "--out", out, "--quiet")
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
    status, _, err = sweep_command(monkeypatch, capsys, file, "--out", out, "--quiet")
    assert status == 130
    assert err == f"Interrupted; finished points are kept. Go on with: nonlazy sweep {file} --out {out}\n"
    assert len(list((out / "points").iterdir())) == 1  # the point under way was finished


def test_plan_says_how_much_there_is_to_do(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(FILE)
    timing = cost.Timing(compiling=8.0, transition=0.0, theory=3.0, memory=2**30, bytes_per_transition=0.0)
    monkeypatch.setattr(command, "estimate", lambda plan, points, announce: _estimate(points, timing))
    finish(parse_sweep(FILE.replace("[4, 6]", "[4]"), "sweep.toml"), out, stub)
    status, printed, _ = sweep_command(monkeypatch, capsys, file, "--out", out, "--dry-run", "--workers", 2)
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
    status, printed, err = sweep_command(monkeypatch, capsys, *arguments)
    assert (status, err.strip()) == (0, "")
    for line in ("#SBATCH -p short", "#SBATCH --mem=4G", "#SBATCH -t 01:00:00", "export NPROC=1", "module load python"):
        assert line in printed
    assert "--xla_cpu_enable_concurrency_optimized_scheduler=false" in printed
    assert "--nthreads 1" in printed
    assert not (tmp_path / "out").exists()
    for text, message in (("colour = 3", "got colour"), ('queue = "short"', "must give the memory of a job")):
        options.write_text(text)
        status, _, err = sweep_command(monkeypatch, capsys, *arguments)
        assert status == 2
        assert message in err
