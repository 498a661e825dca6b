"""Dask clusters: processes on this machine, a scheduler that is there already, or jobs of a queueing system."""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from nonlazy.errors import ClusterError, FileError, InputError
from nonlazy.sweep.environment import worker_environment
from nonlazy.validation import one_of

QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
# A worker gets its next point when it has finished one: points take longer than messages, and one that waits on a worker
# that dies is suspected of having killed it.
CONFIGURATION = {"distributed.scheduler.worker-saturation": 1.0, "distributed.scheduler.work-stealing": False}
SECONDS_TO_CONNECT = 20
# xarray asks the default client for a lock when it writes a file: the dataset must not depend on a scheduler that may be lost.
NOT_DEFAULT = {"set_as_default": False}


def require(module: str, extra: str) -> Any:
    """An optional library.

    Raises:
        InputError: it is not installed, and how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"this sweep needs {error.name}, which is not installed: pip install 'nonlazy[{extra}]'"
            + (", or compute in this process with --workers 0 (n_workers=0)." if extra == "sweep" else ".")
        ) from error


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quiet() -> AbstractContextManager[Any]:
    """Context without Dask's log on standard error: what matters of it becomes an error or part of a record."""
    return require("distributed.utils", "sweep").silence_logging_cmgr(logging.CRITICAL)


@contextmanager
def local_client(n_workers: int) -> Iterator[Any]:
    """Client of a scheduler in this process with workers of one thread beside it; they share compiled programs."""
    dask, distributed = require("dask", "sweep"), require("distributed", "sweep")
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        programs = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        stack.enter_context(dask.config.set(CONFIGURATION))
        cluster = distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            env=worker_environment() | _cache(programs),
        )
        stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(cluster, **NOT_DEFAULT))


def _cache(folder: str) -> dict[str, str]:
    """Where workers share compiled programs, unless the user has a place for them."""
    names = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
    return {name: os.environ.get(name, value) for name, value in names.items()}


@contextmanager
def client_at(address: str) -> Iterator[Any]:
    """Client of a scheduler that is there already.

    Raises:
        ClusterError: nothing answers at the address.
    """
    distributed = require("distributed", "sweep")
    with _quiet():
        try:
            client = distributed.Client(address, timeout=SECONDS_TO_CONNECT, **NOT_DEFAULT)
        except (OSError, ValueError) as error:
            raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            yield client


@contextmanager
def queue_client(name: str, options: dict[str, Any], n_workers: int) -> Iterator[Any]:
    """Client of a scheduler in this process whose workers are jobs of a queueing system."""
    dask, distributed = require("dask", "sweep"), require("distributed", "sweep")
    with _quiet(), dask.config.set(CONFIGURATION), queue_cluster(name, options) as cluster:
        cluster.scale(n_workers)
        with distributed.Client(cluster, **NOT_DEFAULT) as client:
            yield client


def queue_cluster(name: str, options: dict[str, Any]) -> Any:
    """Cluster of dask-jobqueue, one single-threaded worker a job unless the options say otherwise.

    Raises:
        InputError: options that the queueing system does not know, or no memory.
    """
    jobqueue = require("dask_jobqueue", "jobqueue")
    made_by = getattr(jobqueue, QUEUES[one_of("--cluster", name, QUEUES)])
    _check_options(name, options, jobqueue.core.JobQueueCluster, jobqueue.core.Job, made_by.job_cls)
    exports = [f"export {variable}={shlex.quote(value)}" for variable, value in worker_environment().items()]
    prologue = [*exports, *options.get("job_script_prologue", ())]
    defaults = {"cores": 1, "processes": 1, "scheduler_options": {"dashboard_address": ":0"}}
    try:
        return made_by(**defaults | options | {"job_script_prologue": prologue})
    except (TypeError, ValueError) as error:
        raise InputError(f"--cluster-options for {name}: {error}") from error


def _check_options(name: str, options: dict[str, Any], *classes: type) -> None:
    """What dask-jobqueue takes for this queueing system: it leaves a half-made cluster behind where it finds out late."""
    known = {entry for cls in classes for entry in signature(cls.__init__).parameters} - {"self"}  # type: ignore[misc]
    if unknown := sorted(options.keys() - known):
        raise InputError(f"--cluster-options for {name} may hold {', '.join(sorted(known))}, got {unknown[0]}.")
    if "memory" not in options:
        raise InputError('--cluster-options must give the memory of a job, such as memory = "4 GB".')


def job_script(name: str, options: dict[str, Any]) -> str:
    """The script that would be submitted for each job."""
    with queue_cluster(name, options) as cluster:
        return cluster.job_script()


def read_options(file: Path) -> dict[str, Any]:
    """Options of a cluster from a TOML file.

    Raises:
        FileError: a file that cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(
            f"--cluster-options {file} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
