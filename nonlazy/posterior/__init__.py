"""The posterior over networks: log densities, and exact draws of everything that can be drawn exactly."""

from nonlazy.posterior.densities import Network, Plain, Position, Reduced
from nonlazy.posterior.posterior import PARAMETRIZATIONS, Posterior

__all__ = ["PARAMETRIZATIONS", "Network", "Plain", "Position", "Posterior", "Reduced"]
