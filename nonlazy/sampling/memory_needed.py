"""Whether a run fits in memory, said before it starts."""

from __future__ import annotations

import math

from nonlazy import memory
from nonlazy.errors import InputError
from nonlazy.sampling.chains import Sampler

# Of a chain on its device: coordinates, momenta, gradients and what a gradient needs; kernels and their Cholesky factor.
# Measured by the compiler's account of HMC (5.3 to 7 and 2 to 2.5); NUTS and the tempered sampler take more.
COPIES_OF_POSITIONS, COPIES_OF_KERNELS = 5, 2
BYTES = 8


def check_memory(sampler: Sampler) -> None:
    """Compare what a run takes at least with the memory of the machine and of each device.

    Raises:
        InputError: it cannot fit.
    """
    schedule, shapes = sampler.schedule, sampler.record_shapes()
    draws = schedule.draws * sum(math.prod(s.shape) * s.dtype.itemsize for s in shapes.values())
    if 2 * draws > memory.of_machine():  # while they are collected, and in the result
        largest = max(shapes, key=lambda name: math.prod(shapes[name].shape))
        raise InputError(
            f"draws: {schedule.draws} of {schedule.chains} chains take {2 * draws / 2**30:.3g} GiB and this machine has "
            f"{memory.of_machine() / 2**30:.3g}, most of it for {largest}: name less in keep, thin, or draw less."
        )
    needed, device = bytes_of_chains(sampler) / sampler.mesh.size, sampler.mesh.devices.flat[0]
    if needed > memory.of_device(device):
        raise InputError(
            f"chains: {schedule.chains} chains on {sampler.mesh.size} devices take at least {needed / 2**30:.3g} GiB on each, "
            f"and each has {memory.of_device(device) / 2**30:.3g}: take fewer chains, more devices, or a smaller network."
        )


def bytes_of_chains(sampler: Sampler) -> float:
    """What all chains take at least while they move."""
    density = sampler.density
    positions = sum(math.prod(shape) for shape in density.shapes)
    kernels = density.model.depth * density.task.n_inputs**2
    return BYTES * sampler.schedule.chains * (COPIES_OF_POSITIONS * positions + COPIES_OF_KERNELS * kernels)
