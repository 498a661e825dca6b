"""Runs of full size in processes of their own: they end, and stay within memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MANY_CHAINS = """
import os
if hasattr(os, "sched_setaffinity"):  # the tests themselves are bound to one core
    os.sched_setaffinity(0, range(os.cpu_count()))
import warnings, nonlazy as nl
warnings.simplefilter("ignore")
posterior = nl.Posterior(nl.Model(width=100), nl.tasks.orthogonal(n_inputs=100), temperature=1e-5)
tree = nl.sample(posterior, chains=20, warmup=1, draws=1, progress=False)
print(tree["posterior"].sizes["chain"])
"""

LARGE = """
import json, resource, warnings, nonlazy as nl
warnings.simplefilter("ignore")
posterior = nl.Posterior(nl.Model(depth=2, width=500), nl.tasks.orthogonal(n_inputs=500), temperature=1e-5)
tree = nl.sample(posterior, chains=4, warmup=5, draws=1000, method="mala", progress=False)
nl.save(tree, "large.nc")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"draws": tree["posterior"].sizes["draw"], "GiB": peak}))
"""


def run(program: str, folder, seconds: float) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, timeout=seconds, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_many_chains_do_not_hang(tmp_path):
    """Loops over batches of Cholesky factors can deadlock with XLA's concurrency-optimized scheduler on few cores."""
    assert run(MANY_CHAINS, tmp_path, 300) == "20\n"


@pytest.mark.slow
def test_memory_of_a_large_run(tmp_path):
    """N = P = 500, two layers, four chains of 1000 draws, with what is kept by default: below 4 GiB."""
    found = json.loads(run(LARGE, tmp_path, 3600))
    assert found["draws"] == 1000
    assert found["GiB"] < 4
