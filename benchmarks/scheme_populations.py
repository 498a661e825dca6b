"""Populations of neurons whose coding scheme is known, from the theory's distributions and from other ones.

A population is made for numbers of neurons, classes and inputs and a signal-to-noise ratio of single responses,

    SNR = sqrt(variance of class activities over classes / variance of responses within classes), both averaged over the neurons
    that carry the classes.

Populations drawn from the theory have the noise of the theory and take only the number of neurons and of inputs of a class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import numpy as np

import nonlazy as nl

Generator = np.random.Generator
NEURONS, CLASSES, RATIO, FEWEST_INPUTS, SNR = (20, 1000), (2, 10), (1, 10), (5, 50), (0.5, 8)


class Case(NamedTuple):
    """What a population is made for: number of neurons, inputs of each class, signal-to-noise ratio."""

    n_neurons: int
    counts: tuple[int, ...]
    snr: float

    @property
    def n_classes(self) -> int:
        return len(self.counts)

    @property
    def labels(self) -> np.ndarray:
        return np.repeat(np.arange(self.n_classes), self.counts)


def draw_case(generator: Generator) -> Case:
    """Neurons, inputs and signal-to-noise ratio log-uniform in their ranges, classes uniform; class sizes from 1:1 to 1:10."""
    n_neurons, fewest = (round(_log_uniform(generator, *limits)) for limits in (NEURONS, FEWEST_INPUTS))
    n_classes = int(generator.integers(CLASSES[0], CLASSES[1] + 1))
    ratio = _log_uniform(generator, *RATIO)
    sizes = np.concatenate([[1, ratio], generator.uniform(1, ratio, n_classes - 2)])
    return Case(
        n_neurons, tuple((fewest * generator.permutation(sizes)).round().astype(int)), _log_uniform(generator, *SNR)
    )


def _log_uniform(generator: Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


class Responses(NamedTuple):
    """Responses (input, neuron), labels (input,), and which neurons carry the classes (neuron,)."""

    activations: np.ndarray
    labels: np.ndarray
    carriers: np.ndarray

    def snr(self) -> float:
        """Unbiased for the square; NaN for a population that carries nothing."""
        if not self.carriers.any():
            return np.nan
        values = self.activations[:, self.carriers]
        groups = [values[self.labels == c] for c in np.unique(self.labels)]
        within = np.mean([group.var(axis=0, ddof=1) for group in groups], axis=0)
        means = np.array([group.mean(axis=0) for group in groups])
        errors = np.mean([group.var(axis=0, ddof=1) / len(group) for group in groups], axis=0)
        signal = means.var(axis=0) - (1 - 1 / len(groups)) * errors
        return float(np.sqrt(max(signal.mean(), 0) / max(within.mean(), 1e-300)))


def noisy(
    generator: Generator, case: Case, activity: np.ndarray, carriers: np.ndarray | None = None, noise: str = "gaussian"
) -> Responses:
    """Class activities (neuron, class), and noise of the size that the signal-to-noise ratio asks for."""
    carriers = np.ones(len(activity), dtype=bool) if carriers is None else carriers
    scale = np.sqrt(activity[carriers].var(axis=1).mean()) / case.snr
    return Responses(activity.T[case.labels] + scale * draw_noise(generator, noise, len(case.labels), len(activity)),
                     case.labels, carriers)  # fmt: skip


def draw_noise(generator: Generator, kind: str, n_inputs: int, n_neurons: int) -> np.ndarray:
    """Of variance one: independent Gaussian, heavy-tailed, or shared by neurons through a few factors."""
    if kind == "heavy-tailed":
        return generator.standard_t(4, (n_inputs, n_neurons)) / np.sqrt(2)
    if kind == "shared":
        factors = generator.standard_normal((n_inputs, 3)) @ generator.standard_normal((3, n_neurons)) / np.sqrt(3)
        return np.sqrt(0.3) * factors + np.sqrt(0.7) * generator.standard_normal((n_inputs, n_neurons))
    return generator.standard_normal((n_inputs, n_neurons))


def any_noise(generator: Generator) -> str:
    return str(generator.choice(["gaussian", "heavy-tailed", "shared"]))


# --- drawn from the theory -------------------------------------------------------------------------------------------

POOL = 12


@cache
def solved(activation: str, regime: str, k: int) -> tuple[nl.Posterior, nl.Theory]:
    """One of a pool of posteriors with different classes, ratios, numbers of inputs and readout widths, and its theory."""
    generator = np.random.default_rng(k)
    n_classes = int(generator.integers(2, 5))
    weights = generator.uniform(1, 4, n_classes)
    task = nl.tasks.orthogonal(n_inputs=int(generator.integers(30, 150)), class_ratios=tuple(weights / weights.sum()))
    model = nl.Model(width=100, activation=activation, regime=regime, readout_std=_log_uniform(generator, 0.1, 1.5))
    posterior = nl.Posterior(model, task, temperature=1e-5)
    return posterior, nl.solve(posterior, progress=False)


def from_theory(activation: str, regime: str = "nonlazy") -> Callable[[Generator, Case], Responses]:
    def draw(generator: Generator, case: Case) -> Responses:
        posterior, theory = solved(activation, regime, int(generator.integers(POOL)))
        network = theory.draw(case.n_neurons, seed=int(generator.integers(2**31)))
        with jax.enable_x64(True):
            values = np.asarray(posterior.model.phi(network.preactivations[-1].T))
        return Responses(values, posterior.task.labels, carriers(values))

    def carriers(values: np.ndarray) -> np.ndarray:
        if regime == "lazy":
            return np.zeros(values.shape[1], dtype=bool)
        peak = values.max(axis=0)
        return peak > peak.max() / 2 if activation == "relu" else np.ones(values.shape[1], dtype=bool)

    return draw


# --- analog ----------------------------------------------------------------------------------------------------------


def gaussian(generator: Generator, case: Case) -> Responses:
    """Class activities jointly Gaussian, with another covariance of the classes each time."""
    root = generator.standard_normal((case.n_classes, case.n_classes))
    return noisy(
        generator, case, generator.standard_normal((case.n_neurons, case.n_classes)) @ root, None, any_noise(generator)
    )


def one_contrast(generator: Generator, case: Case) -> Responses:
    """All neurons prefer the same classes, more or less."""
    direction = generator.standard_normal(case.n_classes)
    return noisy(generator, case, generator.standard_normal((case.n_neurons, 1)) * direction)


def laplace(generator: Generator, case: Case) -> Responses:
    return noisy(generator, case, generator.laplace(size=(case.n_neurons, case.n_classes)))


def uniform(generator: Generator, case: Case) -> Responses:
    return noisy(generator, case, generator.random((case.n_neurons, case.n_classes)), None, any_noise(generator))


def tuned(generator: Generator, case: Case) -> Responses:
    """Classes on a circle and a bump of activity around a preferred angle (a plain gradient for fewer than three classes)."""
    if case.n_classes < 3:
        return uniform(generator, case)
    preferred = 2 * np.pi * generator.random((case.n_neurons, 1))
    angles = 2 * np.pi * np.arange(case.n_classes) / case.n_classes
    return noisy(generator, case, np.exp(np.cos(preferred - angles) - 1))


# --- redundant -------------------------------------------------------------------------------------------------------


def _codes(generator: Generator, case: Case) -> np.ndarray:
    """(neuron, class) of up to four different codes, none of them rarer than one neuron in eight, as a rule."""
    possible = min(4, 2**case.n_classes - 2)
    codes: set[tuple[int, ...]] = set()
    while len(codes) < generator.integers(min(2, possible), possible + 1):
        code = tuple(generator.integers(0, 2, case.n_classes))
        if 0 < sum(code) < case.n_classes:
            codes.add(code)
    fractions = 0.125 + generator.dirichlet(np.full(len(codes), 3.0)) * (1 - 0.125 * len(codes))
    return np.array(sorted(codes))[generator.choice(len(codes), case.n_neurons, p=fractions)].astype(float)


def two_levels(generator: Generator, case: Case) -> Responses:
    return noisy(generator, case, _codes(generator, case), None, any_noise(generator))


def uneven_levels(generator: Generator, case: Case) -> Responses:
    """On and off vary by a tenth of their difference over neurons and classes."""
    activity = _codes(generator, case)
    return noisy(generator, case, activity + 0.1 * generator.standard_normal(activity.shape))


def gains_and_baselines(generator: Generator, case: Case) -> Responses:
    """Each neuron has its own baseline, and a gain between .75 and 1.25."""
    gain, baseline = generator.uniform(0.75, 1.25, (case.n_neurons, 1)), generator.standard_normal((case.n_neurons, 1))
    return noisy(generator, case, baseline + gain * _codes(generator, case))


def spikes(generator: Generator, case: Case) -> Responses:
    """Poisson counts of two rates, off a fifth of on."""
    codes = _codes(generator, case)
    # Signal variance (on - off)^2 v over a mean rate off + (on - off) p is the square of the ratio asked for.
    variance, active = codes.var(axis=1).mean(), codes.mean()
    on = case.snr**2 * (0.2 + 0.8 * active) / (0.64 * variance)
    rates = on * (0.2 + 0.8 * codes)
    return Responses(
        generator.poisson(rates.T[case.labels]).astype(float), case.labels, np.ones(case.n_neurons, dtype=bool)
    )


# --- sparse ----------------------------------------------------------------------------------------------------------


def _few(generator: Generator, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Class activities of one or two neurons per class among silent ones, a tenth of all at most, and who they are."""
    n = int(np.clip(case.n_classes * generator.integers(1, 3), 1, max(1, case.n_neurons // 10)))
    carriers = np.arange(case.n_neurons) < n
    activity = np.zeros((case.n_neurons, case.n_classes))
    activity[np.arange(n), np.arange(n) % case.n_classes] = generator.uniform(0.5, 2, n) if n > 1 else 1.0
    return activity, carriers


def few_neurons(generator: Generator, case: Case) -> Responses:
    return noisy(generator, case, *_few(generator, case), any_noise(generator))


def few_among_dead(generator: Generator, case: Case) -> Responses:
    """Those without a code do not respond at all."""
    responses = noisy(generator, case, *_few(generator, case))
    return responses._replace(activations=responses.activations * responses.carriers)


def few_and_weak_bulk(generator: Generator, case: Case) -> Responses:
    """The rest responds to the classes too, all alike and makes a hundredth of the task-related kernel."""
    activity, carriers = _few(generator, case)
    bulk = generator.standard_normal(case.n_classes)
    power = 0.01 * activity.var(axis=1).sum() / case.n_neurons
    return noisy(generator, case, activity + ~carriers[:, None] * np.sqrt(power) * bulk / bulk.std(), carriers)


# --- none ------------------------------------------------------------------------------------------------------------


def without(kind: str) -> Callable[[Generator, Case], Responses]:
    """Responses that know nothing of the classes."""

    def draw(generator: Generator, case: Case) -> Responses:
        shape = (len(case.labels), case.n_neurons)
        none = np.zeros(case.n_neurons, dtype=bool)
        if kind == "Poisson":
            return Responses(
                generator.poisson(generator.exponential(2.0, case.n_neurons), shape).astype(float), case.labels, none
            )
        if kind == "clusters":
            # Inputs form clusters, which have nothing to do with the labels.
            centres = generator.standard_normal((4, case.n_neurons))
            return Responses(
                centres[generator.integers(0, 4, shape[0])] + 0.3 * generator.standard_normal(shape), case.labels, none
            )
        return Responses(draw_noise(generator, kind, *shape), case.labels, none)

    return draw


SCHEMES: dict[str, dict[str, Callable[[Generator, Case], Responses]]] = {
    "none": {
        "theory: lazy erf": from_theory("erf", "lazy"),
        "theory: lazy ReLU": from_theory("relu", "lazy"),
        **{kind: without(kind) for kind in ("gaussian", "heavy-tailed", "shared", "Poisson", "clusters")},
    },
    "analog": {
        "theory: linear": from_theory("linear"),
        "Gaussian": gaussian,
        "one contrast": one_contrast,
        "Laplace": laplace,
        "uniform": uniform,
        "tuned": tuned,
    },
    "redundant": {
        "theory: erf": from_theory("erf"),
        "two levels": two_levels,
        "uneven levels": uneven_levels,
        "gains and baselines": gains_and_baselines,
        "Poisson": spikes,
    },
    "sparse": {
        "theory: ReLU": from_theory("relu"),
        "few neurons": few_neurons,
        "few among dead": few_among_dead,
        "few and a weak bulk": few_and_weak_bulk,
    },
}
