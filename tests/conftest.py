"""Small runs shared by several test files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings

import pytest

# Programs that are compiled once serve both workers of `make test` and the processes that tests start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp()
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# One core for each worker of `make test`, before JAX counts them: networks as small as these gain nothing from a second
# one, and the threads of two workers would wait for each other.
worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import jax  # noqa: E402

import nonlazy as nl  # noqa: E402


@pytest.fixture(autouse=True)
def few_compiled_programs(request):
    """Each holds hundreds of memory maps, of which Linux allows 65530: the compiler crashes after a hundred long tests."""
    yield
    if request.node.get_closest_marker("slow"):
        jax.clear_caches()


@pytest.fixture
def in_double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def few_simulations(monkeypatch):
    """Coding schemes read fast and inexactly, for tests of what is done with them."""
    monkeypatch.setattr("nonlazy.representation.discreteness.SIMULATIONS", 9)
    monkeypatch.setattr("nonlazy.representation.discreteness.SURROGATES", 2)


@pytest.fixture(scope="session")
def task():
    """Toy task with test inputs."""
    return nl.tasks.gaussian(n_inputs=12, class_ratios=(0.5, 0.25, 0.25), n_features=16, n_test=9, separation=0.6)


@pytest.fixture(scope="session")
def posterior(task):
    return nl.Posterior(nl.Model(width=10), task, temperature=1e-3)


@pytest.fixture(scope="session")
def tree(posterior):
    """A short run that keeps everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.SamplingWarning)
        keep = ("readout", "kernel_blocks", "class_activity", "predictions", "kernels", "preactivations")
        return nl.sample(posterior, chains=3, warmup=100, draws=60, progress=False, keep=keep)
