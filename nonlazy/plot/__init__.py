"""Pictures: functions that draw what they are given into matplotlib axes and return them; they compute nothing."""

from nonlazy.plot.activity import activity, code_fractions
from nonlazy.plot.coding import class_activity, participation, selectivity
from nonlazy.plot.comparison import compare
from nonlazy.plot.drift import activity_autocorrelation, drift
from nonlazy.plot.errors import predictor, training_error
from nonlazy.plot.generalization import bias_variance, calibration, learning_curve
from nonlazy.plot.kernels import block_traces, kernel
from nonlazy.plot.readout import readout
from nonlazy.plot.style import style, subplots

__all__ = [
    "activity",
    "activity_autocorrelation",
    "bias_variance",
    "block_traces",
    "calibration",
    "class_activity",
    "code_fractions",
    "compare",
    "drift",
    "kernel",
    "learning_curve",
    "participation",
    "predictor",
    "readout",
    "selectivity",
    "style",
    "subplots",
    "training_error",
]
