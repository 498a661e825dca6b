"""One thread for each process of a sweep: points run beside each other, and threads of one would wait for the other's.

It also keeps a point's result independent of the number of cores. The deadlock of XLA's concurrency-optimized scheduler is
prevented in `nonlazy.compilation`, in every process; the flag here does so for programs that JAX compiles by itself.
"""

from __future__ import annotations

import os

XLA_FLAGS = (
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
    "--xla_cpu_multi_thread_eigen=false",
)


def worker_environment() -> dict[str, str]:
    """Environment variables of a worker; the caller's XLA_FLAGS are kept and come last."""
    flags = [*XLA_FLAGS, os.environ.get("XLA_FLAGS", "")]
    threads = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return threads | {"XLA_FLAGS": " ".join(flags).strip(), "MPLBACKEND": "agg"}
