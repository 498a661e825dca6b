"""`NonLazyRegressor`."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from nonlazy.estimators.inputs import merge_copies
from nonlazy.estimators.network import NetworkEstimator


class NonLazyRegressor(RegressorMixin, NetworkEstimator):
    r"""Regression by a wide network in the feature-learning regime, averaged over its posterior.

    The network, `Model`, has one output per column of y and learns these columns, standardized to mean 0 and variance 1, with
    the `Posterior` at the given temperature: T is the variance of the noise in units of the variance of y. X is divided by
    the root mean square of its entries in `fit`. Copies of an input enter once, with the mean of their targets.

    Args:
        depth: as for `NonLazyClassifier`, and so are `width`, `activation`, `readout_std`, `weight_std`, `temperature`,
            `fit_intercept`, `backend`, `method`, `chains`, `warmup`, `draws` and `random_state`.

    Attributes:
        posterior_: the `Posterior`, with training inputs and targets as the network sees them. Its classes are the lower and
            the upper half of the first target, for reading the geometry of samples; the fit does not know them.
        samples_: draws as `sample` returns them, all weights included; None for other backends.
        theory_: the `Theory`; None for backend "sampling".
        input_scale_: what inputs are divided by.
        target_scaler_: the `sklearn.preprocessing.StandardScaler` of y.
        n_features_in_, feature_names_in_: of X.

    Raises:
        ValueError: a parameter out of its range, or X or y with NaN, infinite entries or, in X, nothing but zeros.
        ConvergenceError: a theory that did not converge.

    Warns:
        SamplingWarning: draws that should not be trusted as they are; more `warmup` and `draws` help.

    Examples:
        >>> import numpy as np
        >>> import nonlazy as nl
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> regressor = nl.NonLazyRegressor(backend="lazy").fit(X, X[:, 0] ** 2)
        >>> mean, std = regressor.predict([[0.5], [3.0]], return_std=True)
        >>> bool(abs(mean[0] - 0.25) < 0.03), bool(std[0] < std[1])
        (True, True)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn targets y, (n,) or (n, m), of inputs X (n, n_features)."""
        self._model()
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        self._one_column = y.ndim == 1
        columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self.target_scaler_ = StandardScaler().fit(columns)
        inputs, targets = merge_copies(self._training_inputs(X), self.target_scaler_.transform(columns))
        upper = np.argsort(np.argsort(targets[:, 0], kind="stable")) >= len(targets) // 2
        return self._fit_task(inputs, targets, upper.astype(int), ["lower half", "upper half"])

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior mean of the outputs, in the units and with the axes of y, (n,) or (n, m).

        Args:
            X: (n, n_features).
            return_std: return also the posterior standard deviation of the outputs, of the same shape; the noise of
                variance T is not in it.
        """
        mean, variance = self._outputs(X)
        mean = self.target_scaler_.inverse_transform(mean)
        std = np.sqrt(variance) * self.target_scaler_.scale_
        if self._one_column:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    @property
    def coding_scheme_(self) -> NoReturn:
        raise AttributeError("coding_scheme_ needs classes, which the targets of NonLazyRegressor do not have.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
