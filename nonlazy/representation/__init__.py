"""Which coding scheme a population of neurons uses, read from activations of any origin."""

from nonlazy.representation.reading import coding_scheme
from nonlazy.representation.scheme import Code, CodingScheme, Evidence

__all__ = ["Code", "CodingScheme", "Evidence", "coding_scheme"]
