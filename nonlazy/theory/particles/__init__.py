"""Mean-field theory by particles."""

from nonlazy.theory.particles.solution import OutlierNeurons, ParticleSolution
from nonlazy.theory.particles.solver import solve_particles

__all__ = ["OutlierNeurons", "ParticleSolution", "solve_particles"]
