"""The posterior over networks: log densities, and exact draws of everything that can be drawn exactly."""

from nonlazy.posterior.densities import Network, Plain, Position, Reduced
from nonlazy.posterior.posterior import PARAMETRIZATIONS, Posterior
from nonlazy.posterior.single_precision import SinglePrecision

__all__ = ["PARAMETRIZATIONS", "Network", "Plain", "Position", "Posterior", "Reduced", "SinglePrecision"]
