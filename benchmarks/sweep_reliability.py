"""A sweep whose workers and scheduler are killed, against one left alone: makes sweep_reliability.json and the page.

Parts: undisturbed (two local workers), killed (a scheduler and two workers of their own, SIGKILL at random), efficiency
(one worker against two; wants an idle machine), estimate (the plan's seconds against the measured ones).

    python benchmarks/sweep_reliability.py --parts undisturbed killed estimate
    python benchmarks/sweep_reliability.py --parts efficiency
    python benchmarks/sweep_reliability.py --parts            # only the page, from the JSON
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr

from nonlazy.sweep.cost import estimate
from nonlazy.sweep.environment import worker_environment
from nonlazy.sweep.plan import Plan, parse_sweep

RESULTS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "reliability" / "sweeps.md"
COSTS = ["wall_time", "peak_memory", "worker"]
SWEEP = """
temperature = 1e-3
[task]
name = "orthogonal"
n_inputs = 24
class_ratios = [0.5, 0.25, 0.25]
[model]
width = 24
activation = "linear"
[sampling]
chains = 2
warmup = 100
draws = 100
[sweep]
what = ["sampling", "theory"]
[sweep.axes]
sampling.seed = {seeds}
task.seed = [0, 1, 2, 3]
"""
# Of the size that people sweep over: seconds a point, not tenths.
LONGER = """
temperature = 1e-5
[task]
name = "orthogonal"
n_inputs = 60
[model]
width = 60
[sampling]
chains = 4
warmup = 300
draws = 300
[sweep]
what = ["sampling"]
[sweep.axes]
sampling.seed = [0, 1, 2, 3, 4, 5, 6, 7]
task.seed = [0, 1, 2, 3]
"""
PORT = 18786
POINTS_BETWEEN_KILLS = 14


def sweep_text(n_points: int) -> str:
    """A sweep of small networks of one size, that differ in their inputs and in the seed of their chains."""
    return SWEEP.replace("{seeds}", str(list(range(n_points // 4))))


def undisturbed(text: str, out: Path, n_workers: int) -> tuple[xr.Dataset, float]:
    """The sweep on local workers, and its seconds from start to end."""
    (out.parent / "sweep.toml").write_text(text)
    began = time.perf_counter()
    command = [*COMMAND, str(out.parent / "sweep.toml"), "--out", str(out), "--workers", str(n_workers)]
    subprocess.run(command, check=True)
    return xr.load_dataset(out / "results.nc", engine="h5netcdf"), time.perf_counter() - began


COMMAND = [sys.executable, "-m", "nonlazy", "sweep"]


class Cluster:
    """A scheduler and two workers with their nannies, as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "cluster.log").open("a")
        programs = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        self._environment = programs | os.environ | worker_environment()
        address = f"tcp://127.0.0.1:{PORT}"
        self.scheduler = self._dask(
            "scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--dashboard-address", ":0"
        )
        self.nannies = self._dask("worker", address, "--nworkers", "2", "--nthreads", "1", "--dashboard-address", ":0")

    def _dask(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments]
        return subprocess.Popen(command, env=self._environment, stdout=self._log, stderr=self._log)

    def workers(self) -> list[psutil.Process]:
        """Processes that compute."""
        children = psutil.Process(self.nannies.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def close(self) -> None:
        """End all processes."""
        children = psutil.Process(self.nannies.pid).children() if self.nannies.poll() is None else []
        for process in (self.nannies, self.scheduler):
            process.kill()
            process.wait()
        for child in children:
            if child.is_running():
                child.kill()
        self._log.close()


class Watch(threading.Thread):
    """Sees every record that appears, and whether one is written again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.seen, self.written_again, self.stopped = folder, {}, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            for file in self.folder.glob("[!.]*.json"):
                identity = (file.stat().st_ino, file.stat().st_mtime_ns)
                self.written_again += self.seen.setdefault(file.name, identity) != identity


def killed(text: str, out: Path, n_kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """The same sweep, half of the kills before the scheduler is killed too, half after it was started again."""
    file, watch, kills = out.parent / "sweep.toml", Watch(out / "points"), []
    file.write_text(text)
    began, messages = time.perf_counter(), []
    for half in (n_kills // 2, n_kills - n_kills // 2):
        cluster = Cluster(out.parent)
        command = [*COMMAND, str(file), "--out", str(out), "--scheduler", f"tcp://127.0.0.1:{PORT}", "--quiet"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            kills += [kill_a_worker(cluster, watch, process, rng) for _ in range(half)]
            if not messages:
                wait_for(watch, process, 1)
                cluster.scheduler.send_signal(signal.SIGKILL)
            message = process.communicate(timeout=900)[1]
            messages.append(
                {"status": process.returncode, "message": message.strip().replace(str(out.parent) + "/", "")}
            )
        finally:
            process.kill()
            cluster.close()
    time.sleep(0.5)
    watch.stopped.set()
    watch.join()
    return {
        "seconds": time.perf_counter() - began,
        "kills": sum(kills),
        "commands": messages,
        "records": len(watch.seen),
        "records written again": watch.written_again,
    }


def wait_for(watch: Watch, process: subprocess.Popen[str], n: int) -> None:
    """Until n more points have been finished."""
    enough = len(watch.seen) + n
    while len(watch.seen) < enough and process.poll() is None:
        time.sleep(0.05)


def kill_a_worker(cluster: Cluster, watch: Watch, process: subprocess.Popen[str], rng: np.random.Generator) -> bool:
    """Kill a random worker at a random moment, some points after the last kill; whether there was one to kill."""
    wait_for(watch, process, int(rng.integers(1, POINTS_BETWEEN_KILLS)))
    time.sleep(rng.uniform(0, 2))
    workers = cluster.workers()
    if process.poll() is not None or not workers:
        return False
    workers[rng.integers(len(workers))].send_signal(signal.SIGKILL)
    return True


def compare(a: xr.Dataset, b: xr.Dataset) -> dict[str, Any]:
    """Whether two sweeps found the same, bit by bit."""
    a, b = a.drop_vars(COSTS), b.drop_vars(COSTS)
    different = [name for name in a.data_vars if not a[name].identical(b[name])]
    return {"identical": a.identical(b), "different": different, "points": int((b.status == "ok").sum())}


def estimated(plan: Plan, dataset: xr.Dataset) -> dict[str, Any]:
    """The plan's seconds of a point against the median of those measured, which compiling does not move."""
    cost = estimate(plan, plan.points)
    return {"estimated": float(np.mean(cost.seconds)), "measured": float(dataset.wall_time.median())}


def main() -> None:
    """Run the parts that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=["undisturbed", "killed", "efficiency", "estimate"])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the sweeps are kept; a temporary one without it")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    text = sweep_text(options.points)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "undisturbed": lambda: part_undisturbed(text, folder),
        "killed": lambda: part_killed(text, folder, options.kills),
        "efficiency": lambda: part_efficiency(text, folder),
        "estimate": lambda: estimated(parse_sweep(text, "sweep"), saved(folder / "undisturbed")),
    }
    for name in options.parts:
        results[name] = parts[name]()
        print(name, results[name], flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if options.folder is None:
        shutil.rmtree(folder)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results))


def saved(out: Path) -> xr.Dataset:
    """Dataset of a finished sweep."""
    return xr.load_dataset(out / "results.nc", engine="h5netcdf")


def part_undisturbed(text: str, folder: Path) -> dict[str, Any]:
    """Seconds and finished points of the sweep on two local workers."""
    dataset, seconds = undisturbed(text, folder / "undisturbed", 2)
    return {"seconds": seconds, "points": int((dataset.status == "ok").sum())}


def part_killed(text: str, folder: Path, kills: int) -> dict[str, Any]:
    """What happened to the sweep whose processes were killed, against the undisturbed one."""
    figures = killed(text, folder / "killed", kills, np.random.default_rng(0))
    return figures | compare(saved(folder / "undisturbed"), saved(folder / "killed"))


def part_efficiency(text: str, folder: Path) -> dict[str, Any]:
    """Seconds of two sweeps on one worker over twice those on two."""
    return {"small": efficiency(text, folder / "small"), "longer": efficiency(LONGER, folder / "longer")}


def efficiency(text: str, folder: Path) -> dict[str, Any]:
    """Of one sweep."""
    folder.mkdir()
    load = os.getloadavg()[0]
    (one, seconds_1), (two, seconds_2) = (undisturbed(text, folder / f"workers-{n}", n) for n in (1, 2))
    figures = {"load before": load, "seconds": [seconds_1, seconds_2], "efficiency": seconds_1 / (2 * seconds_2)}
    return figures | {"seconds of a point": float(one.wall_time.median())} | compare(one, two)


INTRODUCTION = """# Sweeps whose processes are killed

Made by `benchmarks/sweep_reliability.py` from `benchmarks/sweep_reliability.json`. The sweep has 200 small points (linear
networks, P = N = 24, samples and theory). It runs once on two local workers, and once on a scheduler and two workers in
processes of their own, where workers get SIGKILL at random moments, and the scheduler does once, half-way. The command
then ends with a message; scheduler and workers are started again, and the same command goes on.
"""


def page(results: dict[str, Any]) -> str:
    """The page of results."""
    parts = [INTRODUCTION, killed_table(results) if "killed" in results else "Not measured yet.\n"]
    parts += ["## Two workers against one\n", efficiency_text(results.get("efficiency"))]
    if "estimate" in results:
        e = results["estimate"]
        parts += [
            "## The estimate of the plan\n",
            f"`--dry-run` estimated {e['estimated']:.2g} s for a point from short runs; the median point took "
            f"{e['measured']:.2g} s, a ratio of {e['estimated'] / e['measured']:.2f}.\n",
        ]
    return "\n".join(parts)


def killed_table(results: dict[str, Any]) -> str:
    """What was wanted of the sweep whose processes were killed, and what was found."""
    k = results["killed"]
    first, last = k["commands"]
    rows = [
        ("workers killed", 20, k["kills"]),
        ("schedulers killed", 1, 1),
        ("points finished", 200, k["points"]),
        ("records written", 200, k["records"]),
        ("records written a second time", 0, k["records written again"]),
        ("figures that differ from the undisturbed sweep's in any bit", 0, len(k["different"])),
        ("status of the command whose scheduler was killed", 2, first["status"]),
        ("status of the command that went on", 0, last["status"]),
        ("seconds, undisturbed", "", round(results["undisturbed"]["seconds"])),
        ("seconds, with all kills and restarts", "", round(k["seconds"])),
    ]
    table = [
        "| | wanted | found |",
        "|---|---|---|",
        *(f"| {name} | {wanted} | {found} |" for name, wanted, found in rows),
    ]
    return "\n".join([*table, "", "The first command's message:", "", "```text", first["message"], "```", ""])


def efficiency_text(e: dict[str, Any] | None) -> str:
    """Seconds with one and two workers."""
    if e is None:
        return "Not measured yet: `python benchmarks/sweep_reliability.py --parts efficiency` on an idle machine.\n"
    lines = [
        "Starting and compiling included, which one worker does once and two do twice; at least 85 % is wanted. The machine",
        f"has {os.cpu_count()} cores, and the command itself takes a share of them.\n",
        "| points | seconds of one | one worker, s | two workers, s | efficiency | same results, bit by bit | load before |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in e.values():
        one, two = row["seconds"]
        same = "yes" if row["identical"] else "**no**"
        lines.append(
            f"| {row['points']} | {row['seconds of a point']:.2f} | {one:.0f} | {two:.0f} | {100 * row['efficiency']:.0f} % "
            f"| {same} | {row['load before']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
