"""What was read: the coding scheme, its codes, and the figures behind the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nonlazy.codes import code_names

if TYPE_CHECKING:
    import pandas as pd


class Code(NamedTuple):
    """A subset of classes, and the neurons that are active for exactly these.

    `code` has a 1 or 0 for each class, `fraction` is of all neurons, `error` its standard error over inputs and neurons.
    """

    code: tuple[int, ...]
    fraction: float
    error: float
    n_neurons: int
    neurons: Int[np.ndarray, " members"]

    @property
    def name(self) -> str:
        return "".join(map(str, self.code))


class Evidence(NamedTuple):
    """The figures behind a verdict; standard errors from a bootstrap over inputs and neurons.

    shared_p_value, single_p_value: of the permutation tests of labels, for structure that many neurons share or that one
        neuron carries; twice the value of each test, because there are two.
    reliability: share of the variance of class activities over classes that is not sampling error.
    class_share: share of the classes in the variance of single responses.
    random_share, random_p_value: the same share in layers with random weights on the same inputs, and the probability of as
        large a share there, both of the activation for which it is largest; NaN without inputs.
    participation_ratio, participation_error: number of neurons that share the task-related kernel.
    weaker_half: share of the task-related kernel in the weaker half of the neurons.
    sharing_p_value: of as small a share in a Gaussian population; NaN where labels do not matter.
    diversity: share of the variance of class activities between neurons that is not sampling error.
    discreteness_p_value: of as clustered activities in a continuous population; NaN where it was not needed.
    discreteness_power: how often that test would see two-level activities with these sampling errors.
    """

    shared_p_value: float
    single_p_value: float
    reliability: float
    class_share: float
    random_share: float
    random_p_value: float
    participation_ratio: float
    participation_error: float
    weaker_half: float
    sharing_p_value: float
    diversity: float
    discreteness_p_value: float
    discreteness_power: float


@dataclass(frozen=True)
class CodingScheme:
    """The coding scheme of a population of neurons, as read by `nonlazy.coding_scheme`.

    Attributes:
        name: "none", "analog", "redundant", "sparse" or "undecided".
        reason: one sentence that says why.
        classes: (n_classes,), the sorted labels, in the order of the classes everywhere else.
        codes: the codes of a redundant or sparse scheme, most frequent first; empty otherwise.
        neuron_codes: (n_neurons, n_classes), whether a class activates a neuron; all False where there are no codes.
        coding_neurons: indices of the neurons that carry codes (sparse: the few; none: nobody; otherwise all that tell
            classes apart beyond their sampling errors).
        class_activity: (n_neurons, n_classes), mean activity in each class.
        selectivity: (n_neurons,), variance of the class activity over classes, less what sampling errors make, in units of
            the variance within classes: the squared signal-to-noise ratio of a single input.
        evidence: the figures behind the verdict.
    """

    name: str
    reason: str
    classes: np.ndarray
    codes: tuple[Code, ...]
    neuron_codes: Bool[np.ndarray, "neuron label"]
    coding_neurons: Int[np.ndarray, " coding"]
    class_activity: Float[np.ndarray, "neuron label"]
    selectivity: Float[np.ndarray, " neuron"]
    evidence: Evidence

    def to_frame(self) -> pd.DataFrame:
        """A table with a row for each neuron: its code, whether it is coding, its selectivity and class activities."""
        import pandas as pd

        columns = {"code": code_names(self.neuron_codes)} if self.codes else {}
        coding = np.isin(np.arange(len(self.selectivity)), self.coding_neurons)
        columns |= {"coding": coding, "selectivity": self.selectivity}
        columns |= {f"activity {name}": self.class_activity[:, c] for c, name in enumerate(self.classes)}
        return pd.DataFrame(columns).rename_axis("neuron")

    def __str__(self) -> str:
        e = self.evidence
        lines = [
            f"coding scheme: {self.name}",
            f"  {self.reason}",
            f"  {len(self.selectivity)} neurons, {len(self.coding_neurons)} of them coding; {len(self.classes)} classes: "
            + ", ".join(map(str, self.classes)),
            f"  class structure: p = {e.shared_p_value:.2g} (one neuron: {e.single_p_value:.2g}), "
            f"{100 * e.class_share:.1f} % of the variance",
            f"  reliability of class activities: {e.reliability:.2f}",
        ]
        if np.isfinite(e.random_share):
            lines.append(
                f"  random features of the inputs: {100 * e.random_share:.1f} % of the variance (p = {e.random_p_value:.2g})"
            )
        if np.isfinite(e.sharing_p_value):
            lines.append(
                f"  shared by {e.participation_ratio:.1f} ± {e.participation_error:.1f} neurons (participation ratio); "
                f"weaker half carries {100 * e.weaker_half:.1f} % (p = {e.sharing_p_value:.2g})"
            )
        if np.isfinite(e.discreteness_p_value):
            lines.append(
                f"  discrete class activities: p = {e.discreteness_p_value:.2g}, power {e.discreteness_power:.2f}"
            )
        lines += [f"  code {c.name}: {100 * c.fraction:.1f} ± {100 * c.error:.1f} %" for c in self.codes]
        return "\n".join(lines)
