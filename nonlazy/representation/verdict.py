"""The coding scheme that the evidence supports."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int

from nonlazy.representation.scheme import Evidence

# Of each of the three tests, on data that obey its null.
FALSE_ALARMS = 0.01
# Of the test for discrete activities, below which "continuous" is not concluded from its silence.
POWER = 0.95
FEWEST_NEURONS = 10
# Reliability of class activities that are three sampling errors apart.
READABLE = 0.9
# Share of classes in the variance of single responses below which class structure is a trace, as finite width leaves it in
# random features that were trained (lazy networks).
TRACE = 0.1


def labels_matter(evidence: Evidence) -> bool:
    """Whether labels matter, for all neurons together or for one of them."""
    return min(evidence.shared_p_value, evidence.single_p_value) <= FALSE_ALARMS


def has_structure(evidence: Evidence) -> bool:
    """Whether labels matter, and the class activities can be read; or only a few neurons know the classes."""
    return labels_matter(evidence) and (evidence.reliability > READABLE or evidence.sharing_p_value <= FALSE_ALARMS)


def neurons_differ(evidence: Evidence) -> bool:
    """Whether neurons differ in their class activities by more than sampling errors."""
    return evidence.diversity > 0.5


def verdict(evidence: Evidence, index: Int[np.ndarray, " P"], n_distinct: int) -> tuple[str, str]:
    """Name of the scheme and one sentence why."""
    e = evidence
    if _least_p_value(index) * 2 > FALSE_ALARMS:
        return "undecided", f"{len(index)} inputs are too few: no arrangement of labels could be told from chance."
    if not labels_matter(e):
        return "none", "Class activities differ no more than those of random labels."
    if not has_structure(e) and e.class_share < TRACE:
        return (
            "none",
            f"There is a trace of class structure only: {100 * e.class_share:.1f} % of the variance of responses.",
        )
    if not has_structure(e):
        return "undecided", "Labels matter, but inputs are too few, or responses too noisy, to read single neurons."
    if n_distinct < FEWEST_NEURONS:
        return "undecided", f"{n_distinct} different neurons are too few to tell how the classes are shared among them."
    if e.sharing_p_value <= FALSE_ALARMS:
        return "sparse", "A few neurons carry the class structure, the rest carry next to none."
    if not neurons_differ(e):
        return "redundant", "All neurons respond to the classes alike: a single code."
    if e.discreteness_p_value <= FALSE_ALARMS:
        return "redundant", "Many neurons share a few discrete codes."
    if e.discreteness_power >= POWER:
        return "analog", "Class activities vary continuously from neuron to neuron."
    return (
        "undecided",
        "Neurons or inputs are too few, or too noisy, to tell discrete from continuous class activities.",
    )


def _least_p_value(index: Int[np.ndarray, " P"]) -> float:
    """1 / number of different labellings: the least probability that a permutation test can give."""
    counts = np.bincount(index)
    alike = np.unique(counts, return_counts=True)[1]
    labellings = math.lgamma(len(index) + 1) - sum(math.lgamma(n + 1) for n in [*counts, *alike])
    return math.exp(-labellings)
