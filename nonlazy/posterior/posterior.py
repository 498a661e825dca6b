"""`Posterior`: a model, a task and a temperature."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jaxtyping import ArrayLike

from nonlazy import prior
from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.model import Model
from nonlazy.posterior.densities import Plain, Position, Reduced
from nonlazy.posterior.first_layer import whiten
from nonlazy.tasks import Task
from nonlazy.validation import one_of, positive

PARAMETRIZATIONS = ("reduced", "plain")


class Posterior:
    r"""The Bayes posterior \(P(\Theta) \propto \exp[-\frac{1}{2T} \sum_{\mu r} (Y_{\mu r} - f_r(x_\mu))^2] P_0(\Theta)\).

    Args:
        model: the network and its prior.
        task: training inputs (P, N0) and targets (P, m), optionally test inputs.
        temperature: T > 0. In the non-lazy regime the outputs miss the targets by N T t with t of order 1 to 10, so that
            the training error, about T + (N T t)^2 per element, vanishes for N T << 1.

    Attributes:
        readout_variance: prior variance of a readout weight, sigma_a^2.
        reduced: density over the hidden coordinates, readout integrated out, first layer whitened.
        plain: density over all weights.

    Raises:
        InputError: a temperature that is not positive; equal training inputs.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(width=50), nl.tasks.orthogonal(n_inputs=20), temperature=1e-4)
        >>> posterior.readout_variance
        0.05
    """

    def __init__(self, model: Model, task: Task, temperature: float = 1e-5) -> None:
        if not isinstance(model, Model):
            raise InputError(f"model must be a nonlazy.Model, got {type(model).__name__}.")
        if not isinstance(task, Task):
            raise InputError(f"task must be a nonlazy Task (see nonlazy.tasks), got {type(task).__name__}.")
        self.model = model
        self.task = task
        self.temperature = positive("temperature", temperature)
        assert model.readout_scaling is not None  # the model has put in its default
        self.readout_variance = prior.readout_variance(model.readout_std, model.readout_scaling, task.n_inputs)
        self._first_layer = whiten(model, task)

    @cached_property
    def reduced(self) -> Reduced:
        return Reduced(self.model, self.task, self.temperature, self.readout_variance, self._first_layer)

    @cached_property
    def plain(self) -> Plain:
        return Plain(self.model, self.task, self.temperature, self.readout_variance)

    def density(self, parametrization: str) -> Reduced | Plain:
        """The density "reduced" or "plain"."""
        one_of("parametrization", parametrization, PARAMETRIZATIONS)
        return self.reduced if parametrization == "reduced" else self.plain

    @double_precision
    def log_density(self, position: tuple[ArrayLike, ...], parametrization: str = "reduced") -> float:
        r"""Log density of targets and coordinates, in double precision.

        reduced: \(\log N(Y \mid 0, C) + \log N(\epsilon, W^2, \ldots \mid 0, 1)\), with
        \(C = \sigma_a^2 o^2\, \Phi \Phi^T + T I\) and o the output scale.

        plain: \(\log N(Y \mid f, T I) + \log N(W^1, \ldots, W^L, a / \sigma_a \mid 0, 1)\).

        Args:
            position: the coordinates; reduced: (R, N), (N, N), ...; plain: (N0, N), (N, N), ..., (N, m).
            parametrization: "reduced" or "plain".

        Raises:
            InputError: coordinates of another number or shape.
        """
        density = self.density(parametrization)
        return float(density.log_density(check_shapes(density, position)))

    def describe(self) -> dict[str, Any]:
        """The settings as plain values, for files and reports."""
        task = self.task
        return {
            "task": {
                "name": task.name,
                "n_inputs": task.n_inputs,
                "n_features": task.n_features,
                "n_outputs": task.n_outputs,
                "n_test": task.n_test,
                "class_names": list(task.class_names),
            },
            "model": self.model.describe(),
            "temperature": self.temperature,
        }


def check_shapes(density: Reduced | Plain, position: tuple[ArrayLike, ...]) -> Position:
    """The coordinates as arrays, checked against the shapes the density expects."""
    arrays = tuple(jnp.asarray(x, dtype=jnp.float64) for x in position)
    shapes = tuple(x.shape for x in arrays)
    if shapes != density.shapes:
        raise InputError(f"position must hold coordinates of shapes {density.shapes}, got {shapes}.")
    return arrays
