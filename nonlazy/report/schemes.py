"""The figures of a coding scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from nonlazy import plot
from nonlazy.analysis import cumulative_shares, shown_inputs, shown_neurons
from nonlazy.report.figures import Picture
from nonlazy.representation import CodingScheme
from nonlazy.representation.population import measure

# More rows and columns than this are no pixels of a figure.
MOST_NEURONS, MOST_INPUTS, MOST_CODES = 300, 400, 12


class Reading(NamedTuple):
    """A population and its coding scheme; `labels` count the scheme's classes from 0."""

    name: str
    activations: np.ndarray
    labels: Int[np.ndarray, " P"]
    scheme: CodingScheme

    @property
    def class_names(self) -> list[str]:
        return list(map(str, self.scheme.classes))

    @property
    def signal(self) -> Float[np.ndarray, " neuron"]:
        """Signal variance of each neuron: its part of the task-related kernel."""
        return measure(self.activations, self.labels).signal_variance


def scheme_pictures(reading: Reading) -> list[Picture]:
    """All figures that a coding scheme allows, in the order of the report."""
    makers: list[Callable[[Reading], Picture | None]] = [activities, class_means, codes, selectivities, shares]
    with plot.style():
        return [picture for maker in makers if (picture := maker(reading)) is not None]


def activities(reading: Reading) -> Picture:
    inputs, neurons = shown_inputs(reading.labels, MOST_INPUTS), shown_neurons(reading.scheme, MOST_NEURONS)
    # Rows in the order of the file, which may be memory-mapped.
    rows = np.sort(inputs)
    features = np.asarray(reading.activations[rows][:, neurons], dtype=float)[np.argsort(np.argsort(inputs))]
    figure, ((ax,),) = plot.subplots(1, 1, 5.4, 3.6)
    plot.activity(features.T, reading.labels[inputs], reading.class_names, ax)
    _label_rows(reading.scheme, len(neurons), ax)
    caption = f"Activity of neurons on single inputs, sorted by class. {_shown(reading.scheme, len(neurons))}"
    if len(inputs) < len(reading.labels):
        caption += f" {len(inputs)} of {len(reading.labels)} inputs are shown."
    return Picture("activities", "Activities", caption, figure)


def class_means(reading: Reading) -> Picture:
    neurons = shown_neurons(reading.scheme, MOST_NEURONS)
    n_classes = len(reading.scheme.classes)
    figure, ((ax,),) = plot.subplots(1, 1, 2.6 + 0.28 * min(n_classes, 20), 3.6)
    plot.class_activity(reading.scheme.class_activity[neurons], reading.class_names, ax)
    _label_rows(reading.scheme, len(neurons), ax)
    caption = f"Mean activity of neurons in each class. {_shown(reading.scheme, len(neurons))}"
    return Picture("class_activity", "Class activities", caption, figure)


def codes(reading: Reading) -> Picture | None:
    silent = [code for code in reading.scheme.codes if not any(code.code)]
    # Under sparse coding nearly all neurons are silent, and the others would be too low to see.
    found = [code for code in reading.scheme.codes if not (reading.scheme.name == "sparse" and code in silent)]
    if not found:
        return None
    shown = found[:MOST_CODES]
    figure, ((ax,),) = plot.subplots(1, 1, max(3.4, 0.45 * len(shown) + 1.2), 2.6)
    fractions, errors = np.array([(code.fraction, code.error) for code in shown]).T
    plot.code_fractions(fractions[None], np.array([code.name for code in shown]), ax, errors=errors)
    caption = (
        "Fraction of neurons with each code, with one standard error over inputs and neurons. A code has a 1 for each class "
        f"that activates its neurons, in the order {', '.join(reading.class_names)}."
    )
    if len(found) < len(reading.scheme.codes):
        caption += f" {silent[0].n_neurons} silent neurons are left out."
    if len(found) > len(shown):
        caption += f" {len(found) - len(shown)} rarer codes are left out."
    return Picture("codes", "Codes", caption, figure)


def selectivities(reading: Reading) -> Picture:
    coding = np.isin(np.arange(len(reading.scheme.selectivity)), reading.scheme.coding_neurons)
    figure, ((ax,),) = plot.subplots(1, 1, 4.6, 2.8)
    plot.selectivity(reading.scheme.selectivity, coding, ax)
    caption = (
        "Selectivity of neurons: variance of their class activities, less what sampling errors make, over the variance "
        "within classes. It scatters around 0 for neurons that do not tell classes apart."
    )
    return Picture("selectivity", "Selectivity", caption, figure)


def shares(reading: Reading) -> Picture | None:
    evidence, signal = reading.scheme.evidence, reading.signal
    if not np.isfinite(evidence.sharing_p_value) or signal.sum() <= 0:
        return None
    found = cumulative_shares(signal)
    figure, ((ax,),) = plot.subplots(1, 1, 5.8, 2.8)
    plot.participation(
        found.observed, found.exponential, evidence.participation_ratio, evidence.participation_error, ax
    )
    caption = (
        "Share of the task-related kernel, the part of it that tells classes apart, in the strongest neurons. It is complete "
        "after a few neurons under sparse coding, and with the last of them under analog and redundant coding. Dotted: "
        "activities with an exponential distribution on a single contrast between classes; sparse is what is more uneven. A "
        "curve above 1 comes from sampling errors of neurons that carry nothing."
    )
    return Picture("participation", "Sharing of the task-related kernel", caption, figure)


def _label_rows(scheme: CodingScheme, shown: int, ax: Axes) -> None:
    ax.set_ylabel("neuron, by code" if scheme.codes else "neuron, by preferred class")
    if shown < len(scheme.selectivity):  # the numbers of rows would be taken for those of neurons
        ax.set_yticks([])


def _shown(scheme: CodingScheme, shown: int) -> str:
    total = len(scheme.selectivity)
    how = f"Neurons are sorted by {'code' if scheme.codes else 'the class they prefer, and how strongly'}."
    if shown == total:
        return how
    chosen = "the coding ones and some of the others" if scheme.name == "sparse" else "evenly chosen"
    return f"{how} {shown} of {total} neurons are shown, {chosen}."
