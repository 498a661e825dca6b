"""A local web page on which the theory follows sliders, and a sampled network can be laid over it.

The page needs Panel, which only `serve` imports.
"""

from nonlazy.explore.model import Prediction, Sampled, SamplingCancelledError, predict, sample
from nonlazy.explore.server import serve
from nonlazy.explore.settings import ACTIVATIONS, Settings

__all__ = ["ACTIVATIONS", "Prediction", "Sampled", "SamplingCancelledError", "Settings", "predict", "sample", "serve"]
