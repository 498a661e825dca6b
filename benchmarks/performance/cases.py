"""The posteriors that are compared, those that say most first."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import nonlazy as nl

ACTIVATIONS = ("erf", "linear", "relu")
N_TEST = 100


class Case(NamedTuple):
    """One posterior; `inputs` are "toy", orthogonal ones, or "mnist"."""

    activation: str
    depth: int = 1
    width: int = 100
    alpha: float = 1.0
    temperature: float = 1e-5
    inputs: str = "toy"

    @property
    def n_inputs(self) -> int:
        """P = alpha N."""
        return round(self.alpha * self.width)

    @property
    def name(self) -> str:
        return f"{self.activation}, {self.inputs}, L={self.depth}, N={self.width}, P={self.n_inputs}, T={self.temperature:.0e}"

    def posterior(self) -> nl.Posterior:
        if self.inputs == "mnist":
            task = nl.tasks.mnist(n_train=self.n_inputs, n_test=N_TEST)
        else:
            task = nl.tasks.orthogonal(n_inputs=self.n_inputs)
        return nl.Posterior(nl.Model(self.depth, self.width, self.activation), task, self.temperature)


def grid() -> list[Case]:
    """All cases, without repetition."""
    spread = [
        *(Case(a) for a in ACTIVATIONS),
        *(Case(a, temperature=t) for t in (1e-6, 1e-4) for a in ACTIVATIONS),
        *(Case(a, alpha=0.5) for a in ACTIVATIONS),
        *(Case(a, inputs="mnist") for a in ACTIVATIONS),
        *(Case(a, depth=3) for a in ACTIVATIONS),
    ]
    values = product(ACTIVATIONS, (1, 3), (100, 200), (1.0, 0.5), (1e-5, 1e-6, 1e-4))
    return list(dict.fromkeys([*spread, *(Case(*v) for v in values)]))
