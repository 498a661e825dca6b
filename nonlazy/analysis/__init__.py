"""What the draws say: representations, errors, and their summary."""

from nonlazy.analysis.autocorrelation import activity_autocorrelation
from nonlazy.analysis.comparison import Comparison, compare, summarize_theory
from nonlazy.analysis.drift import drift
from nonlazy.analysis.evidence import LogEvidence, log_evidence
from nonlazy.analysis.generalization import generalization
from nonlazy.analysis.geometry import geometry_table
from nonlazy.analysis.learning_curve import learning_curve
from nonlazy.analysis.matching import Matched, matched_activities
from nonlazy.analysis.ordering import order_by_class, order_by_code, order_by_scheme, shown_inputs, shown_neurons
from nonlazy.analysis.predictor import Predictor, predictor
from nonlazy.analysis.schemes import LayerScheme, last_activities, layer_schemes, summarize_scheme, with_class_names
from nonlazy.analysis.sharing import Shares, cumulative_shares
from nonlazy.analysis.summary import plain, summarize

__all__ = [
    "Comparison",
    "LayerScheme",
    "LogEvidence",
    "Matched",
    "Predictor",
    "Shares",
    "activity_autocorrelation",
    "compare",
    "cumulative_shares",
    "drift",
    "generalization",
    "geometry_table",
    "last_activities",
    "layer_schemes",
    "learning_curve",
    "log_evidence",
    "matched_activities",
    "order_by_class",
    "order_by_code",
    "order_by_scheme",
    "plain",
    "predictor",
    "shown_inputs",
    "shown_neurons",
    "summarize",
    "summarize_scheme",
    "summarize_theory",
    "with_class_names",
]
