"""All entries, in the order of the gallery."""

from __future__ import annotations

from nonlazy.reproduce.entries import (
    beyond_the_paper,
    cifar10,
    drift,
    linear_equivalence,
    mnist,
    overview,
    posteriors,
    published_numbers,
    readout_scaling,
    schemes,
    single_layer_kernels,
)

MODULES = (
    overview,
    schemes,
    posteriors,
    single_layer_kernels,
    drift,
    mnist,
    cifar10,
    linear_equivalence,
    readout_scaling,
    published_numbers,
    beyond_the_paper,
)
ENTRIES = {module.ENTRY.name: module.ENTRY for module in MODULES}
