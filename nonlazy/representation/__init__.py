"""What a population of neurons represents: its coding scheme, from activations, and its geometry, from a kernel."""

from nonlazy.representation.geometry import Geometry, kernel_alignment, kernel_distance, kernel_geometry
from nonlazy.representation.reading import coding_scheme
from nonlazy.representation.scheme import Code, CodingScheme, Evidence

__all__ = [
    "Code",
    "CodingScheme",
    "Evidence",
    "Geometry",
    "coding_scheme",
    "kernel_alignment",
    "kernel_distance",
    "kernel_geometry",
]
