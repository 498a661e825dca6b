"""What the draws say: representations, errors, and their summary."""

from nonlazy.analysis.autocorrelation import activity_autocorrelation
from nonlazy.analysis.comparison import Comparison, compare, summarize_theory
from nonlazy.analysis.drift import drift
from nonlazy.analysis.matching import Matched, matched_activities
from nonlazy.analysis.ordering import order_by_class, order_by_code
from nonlazy.analysis.predictor import Predictor, predictor
from nonlazy.analysis.summary import plain, summarize

__all__ = [
    "Comparison",
    "Matched",
    "Predictor",
    "activity_autocorrelation",
    "compare",
    "drift",
    "matched_activities",
    "order_by_class",
    "order_by_code",
    "plain",
    "predictor",
    "summarize",
    "summarize_theory",
]
