"""A local web page on which the theory follows sliders, and a sampled network can be laid over it.

The page needs Panel, which only `serve` imports.
"""

from nonlazy.explore.model import Cancelled, Prediction, Sampled, predict, sample
from nonlazy.explore.server import serve
from nonlazy.explore.settings import ACTIVATIONS, Settings

__all__ = ["ACTIVATIONS", "Cancelled", "Prediction", "Sampled", "Settings", "predict", "sample", "serve"]
