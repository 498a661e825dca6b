"""Chains spread evenly over the devices that JAX sees, of this process and of those joined to it by `jax.distributed`.

The compiler then gives each device the transitions of its own chains; they meet only to pool the acceptance rate.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike

from nonlazy.errors import InputError, SamplingWarning

Tree = TypeVar("Tree")
CHAINS = "chains"


def make_mesh(n_chains: int) -> Mesh:
    """As many devices as can hold the same number of chains each; of a processor's, as many as cannot block each other.

    Raises:
        InputError: several processes, whose devices cannot all be used.
    """
    devices = jax.devices()
    even = [n for n in range(1, len(devices) + 1) if n_chains % n == 0]
    n = max(n for n in even if cannot_block(n, n_chains))
    if jax.process_count() > 1 and n < len(devices):
        raise InputError(
            f"chains must be a multiple of {len(devices)}, the number of devices of all {jax.process_count()} processes, "
            f"got {n_chains}{BLOCKING if n < max(even) else ''}."
        )
    if n < max(even):
        warnings.warn(f"the chains use {n} of {max(even)} devices{BLOCKING}.", SamplingWarning, stacklevel=2)
    return Mesh(np.array(devices[:n]), (CHAINS,))


BLOCKING = (
    "; the devices of a processor could block each other for ever unless it has more threads than devices: set NPROC to "
    "more than their number before JAX starts, or sample one chain on each"
)


def cannot_block(n_devices: int, n_chains: int) -> bool:
    """Whether chains on these devices always find a thread.

    On processors JAX factorizes a batch of matrices by threads that all devices of a process share, and the thread that
    asks for it waits (jaxlib 0.10.2). Once each thread waits for its own device, none is left to compute. A batch of one
    matrix asks for none.
    """
    of_one_process = n_devices // jax.process_count()
    if jax.default_backend() != "cpu" or of_one_process <= 1 or n_devices == n_chains:
        return True
    return n_threads() > of_one_process


def n_threads() -> int:
    """Threads that JAX starts for a processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NPROC") or cores)


def shard(tree: Tree, mesh: Mesh, axis: int | None) -> Tree:
    """Arrays with this axis sharded over the mesh, or copied to each device for None."""
    sharding = NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, CHAINS))
    return jax.tree.map(lambda array: _place(array, sharding), tree)


def _place(array: ArrayLike, sharding: NamedSharding) -> Array:
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(jax.random.key_data(array), sharding))
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return _resharding(sharding)(array)
    # Devices of other processes take what every process holds in its own memory.
    return jax.device_put(np.asarray(array), sharding)


@cache
def _resharding(sharding: NamedSharding) -> Callable[[Array], Array]:
    return jax.jit(lambda x: x, out_shardings=sharding)


def gather(array: Array) -> np.ndarray[Any, Any]:
    """All of an array in this process's memory."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def agreed(value: float) -> float:
    """The value of the first process, in all of them: what decides on the length of a piece has to be the same."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def in_any(value: bool) -> bool:
    """Whether this is so in any process."""
    return value if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.asarray(value)).any())
