"""What the draws say: representations, errors, and their summary."""

from nonlazy.analysis.ordering import order_by_class, order_by_code
from nonlazy.analysis.predictor import Predictor, predictor
from nonlazy.analysis.summary import summarize

__all__ = ["Predictor", "order_by_class", "order_by_code", "predictor", "summarize"]
