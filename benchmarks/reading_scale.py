"""Time and memory of reading 100 000 inputs x 10 000 neurons from a memory-mapped file in single precision (4 GB of disk)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nonlazy as nl

N_INPUTS, N_NEURONS, N_CLASSES, SLICE = 100_000, 10_000, 10, 1000


def write(folder: Path) -> None:
    """Six codes and noise of half the distance between off and on."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, N_CLASSES, N_INPUTS)
    codes = generator.integers(0, 2, (6, N_CLASSES)).astype(np.float32)
    activity = codes[generator.integers(0, len(codes), N_NEURONS)].T
    shape = (N_INPUTS, N_NEURONS)
    file = np.lib.format.open_memmap(folder / "activations.npy", "w+", np.float32, shape)
    for first in range(0, N_INPUTS, SLICE):
        noise = generator.standard_normal((SLICE, N_NEURONS), dtype=np.float32)
        file[first : first + SLICE] = activity[labels[first : first + SLICE]] + 0.5 * noise
    file.flush()
    np.save(folder / "labels.npy", labels)


def read(folder: Path) -> None:
    activations = np.load(folder / "activations.npy", mmap_mode="r")
    began = time.perf_counter()
    found = nl.coding_scheme(activations, np.load(folder / "labels.npy"))
    print(f"{found.name}, {len(found.codes)} codes: {time.perf_counter() - began:.0f} s")


def memory(process: int) -> float:
    """GiB of a process without the pages of mapped files, which the system drops when it needs room."""
    status = Path(f"/proc/{process}/status").read_text()
    return next((int(line.split()[1]) / 2**20 for line in status.splitlines() if line.startswith("RssAnon")), 0.0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        read(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            # A process of its own, for its own peak of memory.
            reader = subprocess.Popen([sys.executable, __file__, folder])
            peak = 0.0
            while reader.poll() is None:
                peak = max(peak, memory(reader.pid))
                time.sleep(0.05)
            print(f"{peak:.2f} GiB at most, without pages of the file")
            sys.exit(reader.returncode)
