"""Mean-field theory of class-symmetric data, by quadrature."""

from nonlazy.theory.symmetric.data import SymmetricData, symmetric_data
from nonlazy.theory.symmetric.dual import MIN_NODES, N_NODES
from nonlazy.theory.symmetric.solution import SymmetricSolution, solve_symmetric

__all__ = ["MIN_NODES", "N_NODES", "SymmetricData", "SymmetricSolution", "solve_symmetric", "symmetric_data"]
