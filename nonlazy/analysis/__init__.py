"""What the draws say: representations, errors, and their summary."""

from nonlazy.analysis.comparison import Comparison, compare, summarize_theory
from nonlazy.analysis.geometry import geometry_table
from nonlazy.analysis.ordering import order_by_class, order_by_code
from nonlazy.analysis.predictor import Predictor, predictor
from nonlazy.analysis.summary import plain, summarize

__all__ = [
    "Comparison",
    "Predictor",
    "compare",
    "geometry_table",
    "order_by_class",
    "order_by_code",
    "plain",
    "predictor",
    "summarize",
    "summarize_theory",
]
