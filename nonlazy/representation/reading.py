"""From activations and labels to the coding scheme: three questions, each a test with a stated false-alarm rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from nonlazy.codes import neuron_codes
from nonlazy.errors import InputError
from nonlazy.representation.discreteness import measure_discreteness
from nonlazy.representation.population import Population, measure
from nonlazy.representation.random_features import class_share, random_class_share
from nonlazy.representation.scheme import Code, CodingScheme, Evidence
from nonlazy.representation.sharing import participation_ratio, sharing_p_value, weaker_half
from nonlazy.representation.structure import permutation_p_values
from nonlazy.representation.verdict import FALSE_ALARMS, labels_matter, neurons_differ, readable, verdict
from nonlazy.validation import integer, label_index, real_array

BOOTSTRAPS = 200


def coding_scheme(
    activations: ArrayLike, labels: ArrayLike, *, inputs: ArrayLike | None = None, seed: int = 0
) -> CodingScheme:
    r"""Read the coding scheme of a population of neurons from its activations on labelled inputs.

    Three questions are asked in turn, each by a test with a false-alarm rate of 1 %:

    1. Do labels matter (permutation of labels), and if inputs are given, more than in random features of them? If not, or if
       graded activities of classes make less than 10 % of the variance of responses, the scheme is "none".
    2. Is the task-related kernel carried by a few neurons, more unevenly than in a population of exponential activities? Then
       it is "sparse".
    3. Are there gaps in the distribution of class activities over neurons, wider than in a population with cosine tuning? Then
       the scheme is "redundant", else "analog", provided that activities with two levels would have been seen as such.

    No test knows the nonlinearity or the scale of the activations, nor, but for the random numbers it draws, the order of
    inputs or neurons.

    Args:
        activations: (n_inputs, n_neurons), of one layer of a network or of a recording; may be memory-mapped.
        labels: (n_inputs,), the class of each input, of any type; at least two classes with two inputs each.
        inputs: (n_inputs, n_features), what the network was shown: the inputs of a class may be alike, so that even a
            layer with random weights tells classes apart. Without them only the labels are permuted.
        seed: of the permutations and simulations.

    Returns:
        The scheme; "undecided" with a reason where the data cannot tell.

    Raises:
        InputError: wrong shapes, numbers that are not finite, one class, a class with one input, no neuron that varies.

    Source:
        van Meegen & Sompolinsky, Nat. Commun. 16, 3354 (2025): analog, redundant and sparse coding. The tests are this
        library's.

    Examples:
        >>> import nonlazy as nl
        >>> import numpy as np
        >>> generator = np.random.default_rng(0)
        >>> labels = np.repeat(["cat", "dog", "owl"], 20)
        >>> codes = generator.permutation([[1, 1, 0], [0, 1, 1], [1, 0, 1]] * 20)
        >>> activity = np.repeat(codes, 20, axis=1).T + 0.3 * generator.standard_normal((60, 60))
        >>> nl.coding_scheme(activity, labels).name
        'redundant'
    """
    activations, classes, index = _validated(activations, labels)
    shown = None if inputs is None else _validated_inputs(inputs, len(index))
    generator = np.random.default_rng(integer("seed", seed, 0))
    population = measure(activations, index)
    if not (population.noise.any() or np.ptp(population.activity, axis=1).any()):
        raise InputError("activations must vary over inputs, got neurons that are all constant.")
    # Mean variance within classes, in which selectivity is measured.
    within = (population.noise * np.bincount(index)).mean(axis=1)
    levels = _two_levels(population.activity)
    evidence = _weigh(activations, index, shown, population, levels, generator)
    name, reason = verdict(evidence, index, len(_distinct(population)))
    has_codes = name in ("redundant", "sparse")
    codes = neuron_codes(population.activity, levels.mean()) & has_codes
    return CodingScheme(
        name,
        reason,
        classes,
        _count(codes, population, levels.mean(), generator) if has_codes else (),
        codes,
        _coding_neurons(name, codes, population),
        population.activity,
        _selectivity(population.signal_variance, within),
        evidence,
    )


def _weigh(
    activations: np.ndarray,
    index: Int[np.ndarray, " P"],
    inputs: Float[np.ndarray, "P N0"] | None,
    population: Population,
    levels: Float[np.ndarray, " 2"],
    generator: np.random.Generator,
) -> Evidence:
    """The figures of all three questions; later ones only where the earlier answers ask for them."""
    shared, single = permutation_p_values(activations, index, generator)
    distinct = population.choose(_distinct(population))
    signal = population.signal_variance
    evidence = Evidence(
        min(1.0, 2 * shared),
        min(1.0, 2 * single),
        population.reliability,
        class_share(population, np.bincount(index)),
        np.nan,
        np.nan,
        participation_ratio(signal),
        float(_error(lambda again: participation_ratio(again.signal_variance), population, generator)),
        weaker_half(signal),
        np.nan,
        distinct.diversity,
        np.nan,
        np.nan,
    )
    if inputs is not None:
        null = random_class_share(inputs, index, len(signal), generator)
        p_value = (1 + (null >= evidence.class_share).sum(axis=1).max()) / (1 + null.shape[1])
        evidence = evidence._replace(random_share=float(null.mean(axis=1).max()), random_p_value=float(p_value))
    if not labels_matter(evidence):
        return evidence
    evidence = evidence._replace(sharing_p_value=sharing_p_value(distinct, generator))
    if not (readable(evidence) and evidence.sharing_p_value > FALSE_ALARMS and neurons_differ(evidence)):
        return evidence
    two_levels = distinct.with_activity(levels[neuron_codes(distinct.activity, levels.mean()).astype(int)])
    p_value, power = measure_discreteness(distinct, two_levels, FALSE_ALARMS, generator)
    return evidence._replace(discreteness_p_value=p_value, discreteness_power=power)


def _selectivity(
    signal: Float[np.ndarray, " neuron"], within: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, " neuron"]:
    """Signal over the variance within classes; a neuron without either has none, one without the latter is perfect."""
    return np.divide(signal, within, out=np.where(signal > 0, np.inf, 0.0), where=within > 0)


def _two_levels(activity: Float[np.ndarray, "neuron label"]) -> Float[np.ndarray, " 2"]:
    """Off and on: the centres of two clusters of class activities, all neurons and classes together."""
    from sklearn.cluster import KMeans  # takes seconds to import

    values = activity.reshape(-1, 1)
    if np.ptp(values) == 0:
        return np.array([values[0, 0], values[0, 0]])
    return np.sort(KMeans(2, n_init=1, random_state=0).fit(values).cluster_centers_[:, 0])


def _distinct(population: Population) -> Int[np.ndarray, " distinct"]:
    """One of each set of neurons that are copies of each other; silent ones, which are alike by right, all stay."""
    rows = np.concatenate([population.activity, population.noise], axis=1)
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.union1d(first, np.flatnonzero(~population.noise.any(axis=1)))


def _coding_neurons(
    name: str, codes: Bool[np.ndarray, "neuron label"], population: Population
) -> Int[np.ndarray, " coding"]:
    if name == "none":
        return np.empty(0, dtype=int)
    if name in ("redundant", "sparse"):
        return np.flatnonzero(codes.any(axis=1) & ~codes.all(axis=1))
    return np.flatnonzero(population.signal_variance > population.noise_variance)


def _count(
    codes: Bool[np.ndarray, "neuron label"], population: Population, threshold: float, generator: np.random.Generator
) -> tuple[Code, ...]:
    present, member = np.unique(codes, axis=0, return_inverse=True)

    def fractions(again: Population) -> Float[np.ndarray, " code"]:
        same = (neuron_codes(again.activity, threshold)[:, None, :] == present).all(axis=2)
        return same.mean(axis=0)

    errors = _error(fractions, population, generator)
    found = [
        Code(tuple(code.astype(int).tolist()), float(np.mean(member == k)), float(errors[k]), int(np.sum(member == k)),
             np.flatnonzero(member == k))
        for k, code in enumerate(present)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda code: (-code.n_neurons, code.name)))


def _error(statistic: Callable[[Population], Any], population: Population, generator: np.random.Generator) -> Any:
    """Standard error of a statistic of class activities over other inputs and other neurons (bootstrap)."""
    n = len(population.activity)
    # Measured activities have one sampling error already; those drawn here have a second.
    twice = Population(population.activity, 2 * population.noise)
    found = []
    for _ in range(BOOTSTRAPS):
        again = twice.with_activity(population.with_errors(generator).activity)
        found.append(statistic(again.choose(generator.integers(n, size=n))))
    # Half the distance of the quantiles one standard deviation apart: a few resamples without any coding neuron are far out.
    return np.diff(np.quantile(found, [0.159, 0.841], axis=0), axis=0)[0] / 2


def _validated(activations: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray, Int[np.ndarray, " P"]]:
    try:
        values, names = np.asanyarray(activations), np.asarray(labels)
    except (TypeError, ValueError):
        raise InputError("activations and labels must be arrays, got rows of different lengths or no arrays.") from None
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"activations must have shape (n_inputs, n_neurons), got {values.shape}.")
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool) or np.iscomplexobj(values):
        raise InputError(f"activations must be real numbers, got dtype {values.dtype}.")
    if names.shape != values.shape[:1]:
        raise InputError(f"labels must have one entry for each of the {len(values)} inputs, got shape {names.shape}.")
    if names.dtype.kind == "f" and not np.isfinite(names).all():
        raise InputError("labels must be finite, got NaN or infinity.")
    classes, index = label_index(names)
    counts = np.bincount(index)
    if len(classes) < 2:
        raise InputError(f"labels must hold at least two classes, got only {classes[0]}.")
    if counts.min() < 2:
        few = classes[counts.argmin()]
        raise InputError(f"labels must hold at least two inputs of each class, got one of class {few}.")
    return values, classes, index


def _validated_inputs(inputs: ArrayLike, n_inputs: int) -> Float[np.ndarray, "P N0"]:
    values = real_array("inputs", inputs, "real numbers in rows of one length")
    if values.ndim != 2 or len(values) != n_inputs or values.shape[1] == 0:
        raise InputError(f"inputs must have shape ({n_inputs}, n_features), got {values.shape}.")
    if not np.isfinite(values).all() or not values.any():
        raise InputError("inputs must be finite and not all zero.")
    return values
