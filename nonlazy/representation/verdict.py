"""The coding scheme that the evidence supports."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int

from nonlazy.representation.scheme import Evidence

# Of each test, on data that obey its null.
FALSE_ALARMS = 0.01
# Of the test for discrete activities, below which "continuous" is not concluded from its silence.
POWER = 0.95
FEWEST_NEURONS = 10
# Reliability of class activities that are three sampling errors apart.
READABLE = 0.9
# Share of classes in the variance of single responses, beyond that in random features if inputs are given, below which graded
# class structure is a trace, as finite width leaves it in random features that were trained (lazy networks).
TRACE = 0.1


def labels_matter(evidence: Evidence) -> bool:
    """Whether labels matter, for all neurons together or for one of them, and more than in random features of the inputs."""
    chance = min(evidence.shared_p_value, evidence.single_p_value)
    return chance <= FALSE_ALARMS and not evidence.random_p_value > FALSE_ALARMS


def readable(evidence: Evidence) -> bool:
    """Whether class activities of single neurons stand out of their sampling errors."""
    return evidence.reliability > READABLE


def neurons_differ(evidence: Evidence) -> bool:
    """Whether neurons differ in their class activities by more than sampling errors."""
    return evidence.diversity > 0.5


def verdict(evidence: Evidence, index: Int[np.ndarray, " P"], n_distinct: int) -> tuple[str, str]:
    """Name of the scheme and one sentence why."""
    e = evidence
    if _least_p_value(index) * 2 > FALSE_ALARMS:
        return "undecided", f"{len(index)} inputs are too few: no arrangement of labels could be told from chance."
    if min(e.shared_p_value, e.single_p_value) > FALSE_ALARMS:
        return "none", "Class activities differ no more than those of random labels."
    if not labels_matter(e):
        return "none", f"Classes make {_shares(e)}, no more than those in layers with random weights."
    if n_distinct < FEWEST_NEURONS and (readable(e) or e.sharing_p_value <= FALSE_ALARMS):
        return "undecided", f"{n_distinct} different neurons are too few to tell how the classes are shared among them."
    if e.sharing_p_value <= FALSE_ALARMS:
        return "sparse", "A few neurons carry the class structure, the rest carry next to none."
    if readable(e) and not neurons_differ(e):
        return "redundant", "All neurons respond to the classes alike: a single code."
    if readable(e) and e.discreteness_p_value <= FALSE_ALARMS:
        return "redundant", "Many neurons share a few discrete codes."
    if e.class_share - np.nan_to_num(e.random_share) < TRACE:
        return "none", f"There is a trace of class structure only: {_shares(e)}."
    if not readable(e):
        return "undecided", "Labels matter, but inputs are too few, or responses too noisy, to read single neurons."
    if e.discreteness_power >= POWER:
        return "analog", "Class activities vary continuously from neuron to neuron."
    return (
        "undecided",
        "Neurons or inputs are too few, or too noisy, to tell discrete from continuous class activities.",
    )


def _shares(evidence: Evidence) -> str:
    share = f"{100 * evidence.class_share:.1f} % of the variance of responses"
    return share + (f" ({100 * evidence.random_share:.1f} % in random features)" if evidence.random_share >= 0 else "")


def _least_p_value(index: Int[np.ndarray, " P"]) -> float:
    """1 / number of different labellings: the least probability that a permutation test can give."""
    counts = np.bincount(index)
    alike = np.unique(counts, return_counts=True)[1]
    labellings = math.lgamma(len(index) + 1) - sum(math.lgamma(n + 1) for n in [*counts, *alike])
    return math.exp(-labellings)
