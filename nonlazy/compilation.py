"""Double precision and safe compilation, without touching the caller's global JAX configuration.

At low temperature the covariance of the outputs has eigenvalues down to T, so all heavy work runs in double
precision. JAX switches it by a global flag; here it is a context that is entered at each public entry point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import jax

# Of 65530 that Linux allows by default; a run needs a few thousand.
MOST_MAPS = 45_000
MAPS = Path("/proc/self/maps")

Params = ParamSpec("Params")
Result = TypeVar("Result")

# On processors JAX factorizes batches of matrices by a pool of threads, whose own threads wait for it (jaxlib 0.10.2).
# XLA's concurrency-optimized scheduler runs several factorizations at once, and with few cores all threads wait, idle and
# without a word. Passing the option to each compilation protects every entry point and leaves XLA_FLAGS alone.
COMPILER_OPTIONS = {"xla_cpu_enable_concurrency_optimized_scheduler": False}
# For what runs once: compiling random numbers with all optimizations takes seconds, which they never save.
OPTIONS_FOR_ONE_CALL = COMPILER_OPTIONS | {"xla_backend_optimization_level": 1}


def double_precision(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Decorator that runs a function with 64-bit JAX types, whatever the caller's setting."""

    @wraps(function)
    def wrapped(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def forget_programs_if_many() -> None:
    """Drop compiled programs before the process has as many memory maps as Linux allows, where the compiler crashes.

    Each program holds hundreds of maps: some ninety networks of different shape in one process reach the limit.
    """
    if memory_maps() > MOST_MAPS:
        jax.clear_caches()


def memory_maps() -> int:
    """Memory maps of this process; 0 where the system does not say."""
    try:
        with MAPS.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0


def compiled(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """`jax.jit` with the compiler options above."""
    return jax.jit(function, compiler_options=COMPILER_OPTIONS)
