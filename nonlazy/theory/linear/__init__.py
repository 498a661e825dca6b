"""Linear networks of any depth, in closed form but for an m x m matrix."""

from nonlazy.theory.linear.solution import LinearSolution, solve_linear

__all__ = ["LinearSolution", "solve_linear"]
