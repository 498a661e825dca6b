"""What the page shows, computed without it: the theory of the settings, and a network sampled at them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy.analysis import Comparison, compare, order_by_code
from nonlazy.compilation import double_precision
from nonlazy.errors import InputError, NonlazyError, SamplingWarning
from nonlazy.explore.settings import Settings
from nonlazy.kernels import class_averages
from nonlazy.posterior import Posterior
from nonlazy.representation import CodingScheme, coding_scheme
from nonlazy.sampling import diagnose
from nonlazy.sampling import sample as draw
from nonlazy.theory import Theory, solve

# An eighth of what `solve` takes by default: probabilities and kernels are off by less than 1e-3.
NODES = 2**10
# For the density of readout weights.
DRAWN_NEURONS = 4000
CHAINS, WARMUP, DRAWS = 2, 150, 100
# Rows of the table of codes.
MOST_CODES = 8


class SamplingCancelledError(Exception):
    """The user does not want this network any more."""


class Prediction(NamedTuple):
    """The theory, with readout weights (n, m) of its neurons, outliers left out, and activities (N, P) of a network drawn
    from it, sorted by code."""

    theory: Theory
    readout: Float[np.ndarray, "n m"]
    features: Float[np.ndarray, "N P"]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to keep in mind, in plain words."""
        return self.theory.notes if self.theory.converged else ("The theory did not converge.", *self.theory.notes)


class Sampled(NamedTuple):
    """A sampled network: draws, activities (N, P) of the last one sorted by code, its coding scheme, kernel blocks beside the
    theory's, and what speaks against trusting them."""

    tree: xr.DataTree
    features: Float[np.ndarray, "N P"]
    scheme: CodingScheme | None
    comparison: tuple[Comparison, ...]
    warnings: tuple[str, ...]


class CodeRow(NamedTuple):
    """A row of the table of codes, ready to be shown."""

    code: str
    fraction: str
    readout: str
    activity: str


def predict(settings: Settings) -> Prediction | str:
    """The theory of these settings, or one sentence that says why there is none."""
    try:
        posterior = settings.posterior()
        theory = solve(posterior, progress=False, throw=False, n_nodes=NODES)
        many, n_outliers = theory.draw(width=DRAWN_NEURONS), len(theory.outliers.readout)
        # Neurons are independent, but for outliers, whose activity grows with the width.
        network = theory.draw() if n_outliers else many
        features = _features(posterior, network.preactivations[0, : settings.width])
        return Prediction(theory, many.readout[n_outliers:], features)
    except NonlazyError as error:
        return str(error)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        # Sliders at their ends reach numbers beyond double precision.
        return f"No theory at these values: the computation left the range of the numbers ({error})."


def sample(prediction: Prediction, report: Callable[[str, float], None]) -> Sampled:
    """A few short chains from the prior, read like those of any other run.

    Args:
        prediction: the theory to compare with; its posterior is sampled.
        report: called with what is under way and the fraction done; raises `SamplingCancelledError` to end it.

    Raises:
        SamplingCancelledError: `report` did.
    """
    posterior = prediction.theory.posterior
    report("compiling", 0.0)
    with warnings.catch_warnings():
        # The page says it in full.
        warnings.simplefilter("ignore", SamplingWarning)
        tree = draw(
            posterior,
            chains=CHAINS,
            warmup=WARMUP,
            draws=DRAWS,
            keep=("readout", "kernel_blocks", "class_activity"),
            progress=lambda phase, made, total: report(phase, made / total),
        )
    report("reading the coding scheme", 1.0)
    features = _features(posterior, tree["last_draw"]["preactivations"].values[0, 0])
    scheme, reasons = _read(posterior, features)
    found = diagnose(tree)
    spoken = (*reasons, *found.warnings, *found.notes)
    return Sampled(tree, features, scheme, tuple(compare(tree, prediction.theory)), spoken)


def _read(posterior: Posterior, features: Float[np.ndarray, "N P"]) -> tuple[CodingScheme | None, tuple[str, ...]]:
    """The coding scheme, or why it cannot be read: a class with a single input, say."""
    try:
        return coding_scheme(features.T, posterior.task.labels, inputs=posterior.task.inputs), ()
    except InputError as error:
        return None, (f"The coding scheme was not read: {error}",)


@double_precision
def _features(posterior: Posterior, preactivations: Float[np.ndarray, "N P"]) -> Float[np.ndarray, "N P"]:
    """Activities of neurons sorted by code; the toy task's inputs are sorted by class as they come."""
    task, phi = posterior.task, posterior.model.phi
    features = np.asarray(phi(jnp.asarray(preactivations)))
    averages = np.asarray(class_averages(task.labels, len(task.class_names)))
    return features[order_by_code(features @ averages.T, phi.name)]


def code_rows(theory: Theory) -> list[CodeRow]:
    """The branches of the theory, heaviest first, then its outlier neurons, each at the activity it has in this network."""
    labels, width = theory.posterior.task.labels, theory.posterior.model.width
    rows = [
        CodeRow("-".join(map(str, b.code)), f"{b.probability:.3f}", _numbers(b.readout), _numbers(b.activity))
        for b in theory.codes[:MOST_CODES]
    ]
    first = np.unique(labels, return_index=True)[1]
    for readout, activity in zip(theory.outliers.readout, theory.outliers.activity[:, first], strict=True):
        root = math.sqrt(width)
        rows.append(CodeRow("outlier", f"1 of {width}", _numbers(root * readout), _numbers(root * activity)))
    return rows


def _numbers(values: Float[np.ndarray, " n"]) -> str:
    # Adding zero turns -0 into 0.
    return ", ".join(f"{value:.2f}" for value in np.round(values, 2) + 0.0)
