"""Errors on test inputs against the number of training inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import xarray as xr
from rich.console import Console

from nonlazy.analysis.generalization import generalization
from nonlazy.errors import InputError
from nonlazy.posterior import Posterior
from nonlazy.theory import Theory, solve
from nonlazy.validation import boolean, shown


def learning_curve(
    posteriors: Iterable[Posterior], method: Callable[..., xr.DataTree | Theory] = solve, progress: bool = True
) -> xr.Dataset:
    """Errors on test inputs, as `nonlazy.generalization` measures them, against the number P of training inputs.

    Args:
        posteriors: one for each point. A P may come several times, with other training inputs; their mean is
            `curve.groupby("n_inputs").mean()`, their spread `.std()`.
        method: what makes a theory or draws of a posterior: `nonlazy.solve`, `nonlazy.sample`, or one of these with settings,
            by `functools.partial(nonlazy.sample, draws=200)`.
        progress: say on standard error which point is under way and what the last one gave.

    Returns:
        The dataset of `nonlazy.generalization` with an axis `n_inputs` more, in the order given.

    Raises:
        InputError: no posteriors, a task without test inputs, or classes or outputs that differ. Before any is solved.
        ConvergenceError: a theory that did not converge, with a note that says at which point.

    Examples:
        >>> import nonlazy as nl
        >>> model = nl.Model(activation="erf", regime="lazy")
        >>> tasks = [nl.tasks.digits(n_train=p, n_test=150) for p in (15, 150)]
        >>> curve = nl.learning_curve([nl.Posterior(model, task, 1e-3) for task in tasks], progress=False)
        >>> bool(curve.error.sel(n_inputs=150) < curve.error.sel(n_inputs=15))
        True
    """
    posteriors = _checked(posteriors)
    boolean("progress", progress)
    if not callable(method):
        raise InputError(
            f"method must be nonlazy.solve, nonlazy.sample or one of them with settings, got {shown(method)}."
        )
    console, points = Console(stderr=True, quiet=not progress), []
    for number, posterior in enumerate(posteriors, start=1):
        where = f"P = {posterior.task.n_inputs} ({number} of {len(posteriors)})"
        console.print(where)
        began = time.monotonic()
        try:
            found = generalization(method(posterior, progress=progress))
        except Exception as error:
            error.add_note(f"At {where} of the learning curve.")
            raise
        console.print(
            f"  error {float(found.error):.4g} = bias² {float(found.bias_squared):.4g} + variance "
            f"{float(found.variance):.4g}, {time.monotonic() - began:.1f} s"
        )
        points.append(found.assign_coords(n_inputs=posterior.task.n_inputs))
    return xr.concat(points, "n_inputs")


def _checked(posteriors: Any) -> list[Posterior]:
    if isinstance(posteriors, Posterior) or not isinstance(posteriors, Iterable):
        raise InputError(f"posteriors must be a list of nonlazy.Posterior, got {type(posteriors).__name__}.")
    try:
        found = list(posteriors)
    except TypeError:  # an array without axes counts as iterable
        raise InputError(f"posteriors must be a list of nonlazy.Posterior, got {shown(posteriors)}.") from None
    for posterior in found:
        if not isinstance(posterior, Posterior):
            raise InputError(f"posteriors must be a list of nonlazy.Posterior, got a {type(posterior).__name__} in it.")
    if not found:
        raise InputError("posteriors must hold at least one posterior, got none.")
    first = found[0].task
    for task in (posterior.task for posterior in found):
        if not task.n_test:
            raise InputError(f"posteriors must have tasks with test inputs, got {task!r}.")
        if (task.class_names, task.n_outputs) != (first.class_names, first.n_outputs):
            raise InputError(
                f"posteriors must have tasks with the same classes and outputs, got {first!r} and {task!r}."
            )
    return found
