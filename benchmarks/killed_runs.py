"""Runs killed at random moments and resumed: are the draws those of a run that nothing disturbed?

Writes killed_runs.json beside this file and docs/reliability/killed-runs.md; about half an hour on one core.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nonlazy as nl
from nonlazy.sampling.run import SECONDS_BETWEEN_SAVES, SECONDS_PER_PIECE

N_KILLS = 50
CONFIGURATION = """
title = "A run that is killed"
temperature = 1e-4
theory = false
[task]
name = "gaussian"
n_inputs = 30
n_features = 40
n_test = 20
separation = 0.6
[model]
width = 30
[sampling]
chains = 2
warmup = 1500
draws = 1500
thin = 2
keep = ["readout", "kernel_blocks", "class_activity", "predictions", "preactivations"]
"""
RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "killed-runs.md"
INTRODUCTION = """# Runs that are killed

A checkpoint is a folder of files that are complete or absent: each is written beside its place, flushed to disk and renamed.
`benchmarks/killed_runs.py` starts `nonlazy run` (Gaussian inputs, N = P = 30, two chains, 4500 transitions), kills it by
SIGKILL at a moment drawn uniformly from the processor time of an undisturbed run, start of Python and writing of the report
included, and calls the same command again. Every variable of
`samples.nc`, kept preactivations included, is compared bit by bit.

"""


def start(configuration: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nonlazy", "run", str(configuration), "--out", str(out), "--quiet"]
    return subprocess.Popen(command)


def processor_time(process: int) -> float:
    """Seconds of processor time of a process so far: a measure of its progress that other load does not change."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill_at(moment: float, configuration: Path, out: Path) -> dict[str, float | str | None]:
    """Kill a run after `moment` seconds of processor time; what was there then, and how long ago it was saved."""
    process = start(configuration, out)
    while process.poll() is None and processor_time(process.pid) < moment:
        time.sleep(0.01)
    process.kill()
    process.wait()
    killed = time.time()
    state = out / "checkpoint" / "state.npz"
    if process.returncode == 0:
        return {"moment": moment, "stage": "finished before", "unsaved": None}
    if (out / "samples.nc").exists():
        return {"moment": moment, "stage": "draws saved, report not written", "unsaved": None}
    if not state.exists():
        return {"moment": moment, "stage": "before the first save", "unsaved": None}
    with np.load(state) as arrays:
        drawing = any(name.startswith("draws.") and len(arrays[name]) for name in arrays.files)
    return {"moment": moment, "stage": "drawing" if drawing else "warm-up", "unsaved": killed - state.stat().st_mtime}


def identical(first: Path, second: Path) -> bool:
    """Whether two files hold the same draws; wall time and creation time may differ."""
    one, other = nl.load(first), nl.load(second)
    return all(
        one[group].to_dataset(inherit=False).equals(other[group].to_dataset(inherit=False)) for group in one.groups
    )


def measure() -> dict[str, object]:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "run.toml"
        configuration.write_text(CONFIGURATION)
        start(configuration, Path(folder) / "undisturbed").wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole = used.ru_utime + used.ru_stime
        trials = []
        for i, moment in enumerate(rng.uniform(0, whole, N_KILLS)):
            out = Path(folder) / f"killed-{i}"
            trial = kill_at(float(moment), configuration, out)
            if trial["stage"] != "finished before":
                trial["returncode"] = start(configuration, out).wait()
            trial["identical"] = identical(Path(folder) / "undisturbed" / "samples.nc", out / "samples.nc")
            left = sorted(path.name for path in out.rglob("*") if path.name.startswith("."))
            trials.append(trial | {"left": left})
            print(i, trial, left, flush=True)
    return {"seconds": whole, "trials": trials}


def page(results: dict[str, object]) -> str:
    trials = results["trials"]
    assert isinstance(trials, list)
    stages = ["before the first save", "warm-up", "drawing", "draws saved, report not written", "finished before"]
    rows = ["| killed | runs | resumed to the same draws |", "|---|---|---|"]
    for stage in stages:
        chosen = [trial for trial in trials if trial["stage"] == stage]
        if chosen:
            rows.append(f"| {stage} | {len(chosen)} | {sum(trial['identical'] for trial in chosen)} |")
    same = sum(trial["identical"] for trial in trials)
    unsaved = max((trial["unsaved"] for trial in trials if trial["unsaved"] is not None), default=0.0)
    littered = sum(bool(trial["left"]) for trial in trials)
    text = (
        f"\n**{same} of {len(trials)} runs end with the same draws.** An undisturbed run takes {results['seconds']:.0f} s. "
        f"The work lost was at most {unsaved:.1f} s; the state is saved after the first piece of work "
        f"({SECONDS_PER_PIECE:g} s) that ends more than {SECONDS_BETWEEN_SAVES:g} s after the last save. "
        f"{littered} of the folders kept an unfinished file.\n"
    )
    return INTRODUCTION + "\n".join(rows) + "\n" + text


if __name__ == "__main__":
    if "--page" not in sys.argv:
        RESULTS.write_text(json.dumps(measure(), indent=1))
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
