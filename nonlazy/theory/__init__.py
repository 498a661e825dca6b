"""Mean-field theory of the posterior: kernels, codes and predictors without sampling."""

from nonlazy.theory.result import Network, Theory
from nonlazy.theory.solve import solve

__all__ = ["Network", "Theory", "solve"]
