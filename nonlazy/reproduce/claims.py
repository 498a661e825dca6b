r"""Claims with numbers: what was measured, how exactly, and whether it holds.

A claim allows an interval for a quantity. It holds if the measured value with two standard errors on either side lies inside,
does not hold if that lies outside, and is not resolved otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Half width of what the measurement leaves open, in standard errors.
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Claim:
    """A statement about one measured quantity.

    Attributes:
        statement: one sentence, which the quantity decides.
        measured: the quantity; NaN if it could not be measured, which leaves the claim open.
        uncertainty: its standard error, 0 for what is computed exactly.
        low, high: the interval in which the claim puts it.
        expected: the value, or the relation in words.
        explanation: why it does not hold or what to keep in mind, as far as it was tested.
    """

    statement: str
    measured: float
    uncertainty: float
    low: float
    high: float
    expected: str
    explanation: str = ""

    @property
    def holds(self) -> bool | None:
        """True, False, or None for not resolved."""
        if not (math.isfinite(self.measured) and math.isfinite(self.uncertainty)):
            return None
        lower = self.measured - STANDARD_ERRORS * self.uncertainty
        upper = self.measured + STANDARD_ERRORS * self.uncertainty
        if self.low <= lower and upper <= self.high:
            return True
        return False if upper < self.low or lower > self.high else None

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "does not hold", None: "not resolved"}[self.holds]

    def describe(self) -> dict[str, Any]:
        """The claim as plain values."""
        return {
            "statement": self.statement,
            "measured": self.measured,
            "uncertainty": self.uncertainty,
            "expected": self.expected,
            "holds": self.holds,
            "explanation": self.explanation,
        }


def close_to(
    value: float, tolerance: float, statement: str, measured: float, uncertainty: float = 0.0, explanation: str = ""
) -> Claim:
    """The quantity is within `tolerance` of `value`; the tolerance is what the theory itself neglects, or a reading error."""
    expected = f"{value:.4g} ± {tolerance:.2g}"
    return Claim(
        statement,
        float(measured),
        float(uncertainty),
        value - tolerance,
        value + tolerance,
        expected,
        explanation,
    )


def below(bound: float, statement: str, measured: float, uncertainty: float = 0.0, explanation: str = "") -> Claim:
    """The quantity is at most `bound`."""
    return Claim(statement, float(measured), float(uncertainty), -math.inf, bound, f"at most {bound:.4g}", explanation)


def above(bound: float, statement: str, measured: float, uncertainty: float = 0.0, explanation: str = "") -> Claim:
    """The quantity is at least `bound`."""
    return Claim(statement, float(measured), float(uncertainty), bound, math.inf, f"at least {bound:.4g}", explanation)
