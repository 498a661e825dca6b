r"""Newton's method for the dual: from t = 0 at high temperature down to the data's, then to full precision on fixed nodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.dual import N_NODES, LastLayer, Point
from nonlazy.theory.symmetric.ensemble import Proposal
from nonlazy.theory.symmetric.rays import Rays

FIRST_TEMPERATURE = 1.0
COOLING = 1 / 4
FIRST_BARRIER = 1e-2
# In nats per neuron: what the barrier costs in the end.
LAST_BARRIER = 1e-9
BARRIER_FACTOR = 0.2
MAX_STEPS = 300
MAX_ROUNDS = 8
COARSE = 2**9
# sqrt(g H^-1 g), in nats^(1/2), that ends a stage on the way, and the whole.
LOOSE, TIGHT = 0.3, 1e-9
# Nodes are renewed while less than this fraction of them is effective and they change, or more branches appear.
MIN_EFFECTIVE = 0.2
# In nats: a gain on new nodes that does not count as a change.
SETTLED = 1e-8


class Dual(NamedTuple):
    """The maximum of the dual: the last point, strengths of the rays, gap in nats per neuron, residual, Newton steps."""

    point: Point
    strengths: Float[np.ndarray, " k"]
    gap: float
    residual: float
    steps: int


class _Step(NamedTuple):
    """Changes of t and of the strengths, sqrt(g H^-1 g), and the relative error of strength (1 - R) = barrier."""

    t: Float[np.ndarray, " Cm"]
    strengths: Float[np.ndarray, " k"]
    decrement: float
    centrality: float


class _Centre(NamedTuple):
    """The maximum under a barrier, and the strengths of the rays there."""

    barrier: float
    point: Point
    strengths: Float[np.ndarray, " k"]


class Climb:
    """A climb on the dual: the present point, the strengths of the rays, and the steps made."""

    def __init__(self, layer: LastLayer, t: Float[np.ndarray, "C m"], temperature: float, proposal: Proposal) -> None:
        self.layer, self.temperature, self.proposal, self.steps = layer, temperature, proposal, 0
        self.barrier = FIRST_BARRIER if layer.slopes.any() else 0.0
        rays = layer.rays(t)
        point = layer.point(t, rays, temperature, proposal)
        assert point is not None
        self.point = point
        self.strengths = self.barrier / (1 - point.rays.growth)
        self.path: list[_Centre] = []

    def renew(self, n_nodes: int) -> float:
        """New nodes around the branches at the present t; returns how many nats there are to gain on them.

        Where they move the maximum along the boundary, steps are short: go back as far into the domain as it takes.
        """
        self.proposal = self.layer.propose(self.point.t, n_nodes, self.proposal.modes)
        self._evaluate()
        changed = self._newton().decrement ** 2
        while self.path and (self.path[-1].barrier < changed or self.path[-1].barrier == self.barrier):
            self.barrier, self.point, self.strengths = self.path.pop()
        self._evaluate()
        return changed

    def descend(self) -> None:
        """Follow the maximum to the boundary of the domain."""
        self.follow(TIGHT)
        while self.barrier > LAST_BARRIER:
            self.path.append(_Centre(self.barrier, self.point, self.strengths))
            self.barrier *= BARRIER_FACTOR
            self.follow(TIGHT)

    def cool(self, temperature: float) -> None:
        self.temperature = temperature
        self._evaluate()

    def _evaluate(self) -> None:
        point = self.layer.point(self.point.t, self.point.rays, self.temperature, self.proposal)
        assert point is not None
        self.point = point

    def follow(self, tolerance: float, n_nodes: int | None = None) -> None:
        """Newton steps until the decrement is below the tolerance, with new nodes for each if `n_nodes` is given.

        Nodes that stay make the dual smooth, but know nothing of branches that appear: they serve near the solution only.
        """
        # Where rays are at the boundary, rounding of 1 - R leaves a decrement that the barrier sets the scale of.
        tolerance = max(tolerance, 0.01 * self.barrier**0.5)
        while (step := self._newton()).decrement > tolerance or step.centrality > LOOSE:
            self._move(step, n_nodes)

    def _newton(self) -> _Step:
        """Primal-dual Newton step for grad D = sum_k strength_k dR_k / 2 and strength_k (1 - R_k) = barrier."""
        rays, std = self.point.rays, self.layer.std
        room = 1 - rays.growth
        slope = std * rays.slope.reshape(len(room), self.point.t.size)
        gradient = self.point.gradient - (self.barrier / room) @ slope / 2
        curvature = self.point.curvature + (slope.T * (self.strengths / room / 2)) @ slope
        curvature += std**2 / 2 * np.tensordot(self.strengths, rays.curvature, 1)
        change = np.linalg.solve(curvature, gradient)
        strengths = self.barrier / room - self.strengths + self.strengths / room * (slope @ change)
        centrality = float(np.max(np.abs(self.strengths * room / self.barrier - 1))) if len(room) else 0.0
        return _Step(change, strengths, max(float(change @ gradient), 0.0) ** 0.5, centrality)

    def _move(self, step: _Step, n_nodes: int | None) -> None:
        """Go along a step as far as it stays well inside the domain and does not lower the value."""
        length = 1.0
        while self.steps < MAX_STEPS and length > 1e-8:
            t = self.point.t + length * step.t.reshape(self.point.t.shape)
            rays = self.layer.rays(t)
            trial = None
            if self._inside(rays):
                proposal = self.proposal if n_nodes is None else self.layer.propose(t, n_nodes, self.proposal.modes)
                trial = self.layer.point(t, rays, self.temperature, proposal)
            if trial is not None:
                gain = self._value(trial) - self._value(self.point)
                if gain > -(1e-10 if n_nodes is None else 1e-4) * (1 + abs(self.point.value)):
                    self.proposal = proposal
                    strengths = np.maximum(self.strengths + length * step.strengths, self.strengths / 20)
                    self.strengths = _carry_over(self.point.rays, strengths, trial.rays, self.barrier)
                    self.point, self.steps = trial, self.steps + 1
                    return
            length /= 2
        raise ConvergenceError(
            f"the dual of the theory did not converge: after {self.steps} Newton steps the constraint <a phi> = Y - N T t "
            f"is still missed by {np.abs(residual(self)).max():.2g}. Raise the temperature, or check targets and inputs for "
            "very different scales."
        )

    def _value(self, point: Point) -> float:
        return point.value + self.barrier / 2 * float(np.sum(np.log(1 - point.rays.growth)))

    def _inside(self, rays: Rays) -> bool:
        """Whether a step went at most 95 % of the way to the boundary."""
        return 1 - rays.growth.max(initial=0) > 0.05 * (1 - self.point.rays.growth.max(initial=0))


def _carry_over(old: Rays, strengths: Float[np.ndarray, " k"], new: Rays, barrier: float) -> Float[np.ndarray, " k"]:
    """Strengths for the rays of a new point, known by their directions."""
    carried = barrier / (1 - new.growth)
    if len(strengths) and len(carried):
        overlap = new.direction @ old.direction.T
        close = overlap.max(axis=1) > 0.9
        carried[close] = strengths[overlap.argmax(axis=1)[close]]
    return carried


def residual(climb: Climb) -> Float[np.ndarray, "C m"]:
    """Y - N T t - <a phi>, the outliers included."""
    outliers = np.tensordot(climb.strengths, climb.point.rays.slope, 1) * climb.layer.std / 2
    return (climb.point.gradient.reshape(climb.point.t.shape) - outliers) / climb.layer.data.counts[:, None]


def solve_dual(layer: LastLayer, start: Float[np.ndarray, "C m"] | None = None, n_nodes: int = N_NODES) -> Dual:
    """The maximum of the dual, from t = 0 or from a guess near it."""
    data = layer.data
    last = data.width_temperature
    if start is None:
        t = np.zeros_like(data.targets)
        climb = Climb(layer, t, max(FIRST_TEMPERATURE, last), layer.propose(t, COARSE))
        while True:
            climb.follow(LOOSE, COARSE)
            if climb.temperature == last:
                break
            climb.cool(max(COOLING * climb.temperature, last))
    else:
        climb = Climb(layer, start, last, layer.propose(start, COARSE))
        climb.follow(LOOSE, COARSE)
    for round_ in range(MAX_ROUNDS):
        settled = climb.renew(n_nodes) < SETTLED
        climb.descend()
        effective = climb.point.ensemble.effective_fraction > MIN_EFFECTIVE
        # The first nodes were made for a t on the way.
        if round_ > 0 and (effective or settled) and _same_branches(layer, climb):
            break
    return finish(climb)


def finish(climb: Climb) -> Dual:
    """The result of a climb that has arrived."""
    counts, missed = climb.layer.data.counts, residual(climb)
    gap = float(np.sum(counts[:, None] * missed**2)) / (2 * climb.temperature) + climb.barrier / 2 * len(
        climb.strengths
    )
    return Dual(climb.point, climb.strengths, gap, float(np.abs(missed).max()), climb.steps)


def _same_branches(layer: LastLayer, climb: Climb) -> bool:
    """Whether the branches at the solution are those that the nodes were made for."""
    now, then = layer.branches(climb.point.t, climb.proposal.modes), climb.proposal.modes
    return len(now.x) == len(then.x) and float(np.abs(np.sort(now.weights) - np.sort(then.weights)).max()) < 0.01
