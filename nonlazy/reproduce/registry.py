"""All entries, in the order of the gallery."""

from __future__ import annotations

from nonlazy.reproduce.entries import (


    schemes,
    single_layer_kernels,
)

ENTRIES = {
    module.ENTRY.name: module.ENTRY
    for module in (
        schemes,

        single_layer_kernels,

    )
}
