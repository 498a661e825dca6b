"""scikit-learn estimators over samples of a network's posterior or its theory."""

from nonlazy.estimators.classifier import NonLazyClassifier
from nonlazy.estimators.regressor import NonLazyRegressor

__all__ = ["NonLazyClassifier", "NonLazyRegressor"]
