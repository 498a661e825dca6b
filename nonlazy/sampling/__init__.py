"""Drawing networks from the posterior."""

from nonlazy.sampling.diagnostics import Diagnostics, diagnose
from nonlazy.sampling.driver import METHODS, sample

__all__ = ["METHODS", "Diagnostics", "diagnose", "sample"]
