"""What the draws say: representations, errors, and their summary."""

from nonlazy.analysis.comparison import Comparison, compare, summarize_theory
from nonlazy.analysis.generalization import generalization
from nonlazy.analysis.geometry import geometry_table
from nonlazy.analysis.learning_curve import learning_curve
from nonlazy.analysis.ordering import order_by_class, order_by_code
from nonlazy.analysis.predictor import Predictor, predictor
from nonlazy.analysis.summary import plain, summarize

__all__ = [
    "Comparison",
    "Predictor",
    "compare",
    "generalization",
    "geometry_table",
    "learning_curve",
    "order_by_class",
    "order_by_code",
    "plain",
    "predictor",
    "summarize",
    "summarize_theory",
]
