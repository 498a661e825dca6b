"""Sweeps on Dask: that results do not depend on who computes them, and what is lost when processes die."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import xarray as xr
from sweep_problems import AXES, BASE, FILE, stub, without_costs

import nonlazy as nl
from nonlazy.sweep import cluster
from nonlazy.sweep.engine import Distributed, _state
from nonlazy.sweep.plan import make_plan


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
