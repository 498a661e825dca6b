r"""Newton's method for the dual: from t = 0 and few inputs up to the data's, then to full precision on fixed nodes.

With few inputs branches overlap, and the dual is smooth; with all of them log Z switches between hundreds of branches within a
small change of t. The solution changes little on the way if the readouts' prior variance times the number of inputs stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.errors import ConvergenceError
from nonlazy.theory.symmetric.data import fractions_of_inputs
from nonlazy.theory.symmetric.dual import N_NODES, LastLayer, Point
from nonlazy.theory.symmetric.ensemble import Proposal
from nonlazy.theory.symmetric.rays import Rays

# Inputs in all classes together, not necessarily whole ones, with which the way begins.
FIRST_INPUTS = 2.0
# Growth along rays with which a number of inputs may begin; 1 is the end of the domain.
MAX_GROWTH = 0.99
FIRST_BARRIER = 1e-2
# In nats per neuron: what the barrier costs in the end.
LAST_BARRIER = 1e-9
BARRIER_FACTOR = 0.2
MAX_STEPS = 300
MAX_STEPS_FROM_GUESS = 20
MAX_ROUNDS = 8
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

    def __init__(
        self,
        layer: LastLayer,
        t: Float[np.ndarray, "C m"],
        temperature: float,
        proposal: Proposal,
        max_steps: int,
    ) -> None:
        self.layer, self.temperature, self.proposal = layer, temperature, proposal
        self.steps, self.max_steps = 0, max_steps
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
        self._evaluate(self.point.t, self.point.rays)
        changed = self._newton().decrement ** 2
        while self.path and (self.path[-1].barrier < changed or self.path[-1].barrier == self.barrier):
            self.barrier, self.point, self.strengths = self.path.pop()
        self._evaluate(self.point.t, self.point.rays)
        return changed

    def descend(self) -> None:
        """Follow the maximum to the boundary of the domain."""
        self.follow()
        while self.barrier > LAST_BARRIER:
            self.path.append(_Centre(self.barrier, self.point, self.strengths))
            self.barrier *= BARRIER_FACTOR
            self.follow()

    def switch(self, layer: LastLayer) -> None:
        """Go on with another number of inputs, from a smaller t where fields common to inputs make the domain smaller."""
        t, rays = self.point.t, layer.rays(self.point.t)
        while rays.growth.max(initial=0) > MAX_GROWTH:
            t = 0.9 * t
            rays = layer.rays(t)
        self.layer, self.proposal = layer, layer.propose_coarsely(t, self.proposal.modes)
        self.strengths = _carry_over(self.point.rays, self.strengths, rays, self.barrier)
        self._evaluate(t, rays)

    def _evaluate(self, t: Float[np.ndarray, "C m"], rays: Rays) -> None:
        point = self.layer.point(t, rays, self.temperature, self.proposal)
        assert point is not None
        self.point = point

    def approach(self) -> None:
        """Newton steps with new nodes for each, up to the noise of the nodes: new ones know of branches that appear."""
        while True:
            step, ensemble = self._newton(), self.point.ensemble
            noise = (self.point.t.size / (len(ensemble.x) * ensemble.effective_fraction)) ** 0.5
            if step.decrement < max(LOOSE, 2 * noise) and step.centrality < LOOSE:
                return
            self._move(step, renew=True)

    def follow(self) -> None:
        """Newton steps on fixed nodes, which make the dual smooth."""
        # Where rays are at the boundary, rounding of 1 - R leaves a decrement that the barrier sets the scale of.
        tolerance = max(TIGHT, 0.01 * self.barrier**0.5)
        while (step := self._newton()).decrement > tolerance or step.centrality > LOOSE:
            self._move(step, renew=False)

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

    def _move(self, step: _Step, renew: bool) -> None:
        """Go along a step as far as it stays well inside the domain and does not lower the value."""
        length, reach = 1.0, self.layer.reach
        # New nodes change the value itself.
        loss = LOOSE**2 + 1e-4 * abs(self.point.value) if renew else 1e-10 * (1 + abs(self.point.value))
        while self.steps < self.max_steps and length > 1e-8:
            t = self.point.t + length * step.t.reshape(self.point.t.shape)
            rays = self.layer.rays(t)
            trial = self._trial(t, rays, renew) if self._inside(rays) else None
            if trial is not None and self._value(trial) > self._value(self.point) - loss:
                self.proposal = trial.ensemble.proposal
                strengths = np.maximum(self.strengths + length * step.strengths, self.strengths / 20)
                self.strengths = _carry_over(self.point.rays, strengths, trial.rays, self.barrier)
                self.point, self.steps = trial, self.steps + 1
                return
            self.layer.reach = reach
            length /= 2
        raise ConvergenceError(
            f"the dual of the theory did not converge: after {self.steps} Newton steps the constraint <a phi> = Y - N T t "
            f"is still missed by {np.abs(residual(self)).max():.2g}. Raise the temperature, or check targets and inputs for "
            "very different scales."
        )

    def _trial(self, t: Float[np.ndarray, "C m"], rays: Rays, renew: bool) -> Point | None:
        """The point at t, on new nodes or the present ones, or None where they do not serve."""
        try:
            proposal = self.layer.propose_coarsely(t, self.proposal.modes) if renew else self.proposal
        except ConvergenceError:
            return None
        return self.layer.point(t, rays, self.temperature, proposal)

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
    """The maximum of the dual, from a guess if it is near, or else from t = 0."""
    climb = _from_few_inputs(layer) if start is None else _from_guess(layer, start) or _from_few_inputs(layer)
    climb.max_steps = MAX_STEPS
    for round_ in range(MAX_ROUNDS):
        settled = climb.renew(n_nodes) < SETTLED
        climb.descend()
        effective = climb.point.ensemble.effective_fraction > MIN_EFFECTIVE
        # The first nodes were made for a t on the way.
        if round_ > 0 and (effective or settled) and _same_branches(climb):
            break
    return finish(climb)


def _from_guess(layer: LastLayer, t: Float[np.ndarray, "C m"]) -> Climb | None:
    """A climb that came near the maximum, or None."""
    climb = Climb(layer, t, layer.data.width_temperature, layer.propose_coarsely(t), MAX_STEPS_FROM_GUESS)
    try:
        climb.approach()
    except ConvergenceError:
        return None
    return climb


def _from_few_inputs(layer: LastLayer) -> Climb:
    """A climb that came near the maximum from t = 0, on the way to all inputs."""
    first, *rest = fractions_of_inputs(FIRST_INPUTS / float(layer.data.counts.sum()))
    t, few = np.zeros_like(layer.data.targets), layer.with_fewer_inputs(first)
    climb = Climb(few, t, layer.data.width_temperature, few.propose_coarsely(t), MAX_STEPS)
    climb.approach()
    for fraction in rest:
        climb.switch(layer.with_fewer_inputs(fraction))
        climb.approach()
    return climb


def finish(climb: Climb) -> Dual:
    """The result of a climb that has arrived."""
    counts, missed = climb.layer.data.counts, residual(climb)
    gap = float(np.sum(counts[:, None] * missed**2)) / (2 * climb.temperature) + climb.barrier / 2 * len(
        climb.strengths
    )
    return Dual(climb.point, climb.strengths, gap, float(np.abs(missed).max()), climb.steps)


def _same_branches(climb: Climb) -> bool:
    """Whether the branches at the solution are those that the nodes were made for."""
    now, then = climb.layer.branches(climb.point.t, climb.proposal.modes), climb.proposal.modes
    return len(now.x) == len(then.x) and float(np.abs(np.sort(now.weights) - np.sort(then.weights)).max()) < 0.01
