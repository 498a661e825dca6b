"""`NonLazyClassifier`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from nonlazy.errors import InputError
from nonlazy.estimators.inputs import merge_copies
from nonlazy.estimators.network import NetworkEstimator
from nonlazy.estimators.probabilities import largest_output
from nonlazy.representation import CodingScheme, coding_scheme


class NonLazyClassifier(ClassifierMixin, NetworkEstimator):
    r"""Classification by a wide network in the feature-learning regime, averaged over its posterior.

    The network, `Model`, has one output per class and learns targets 1 for the class of an input and 0 for the others,
    with the `Posterior` at the given temperature. X is divided by the root mean square of its entries in `fit`. Copies of an
    input enter once, with the mean of their targets.

    Args:
        depth, width, activation, readout_std, weight_std: of the `Model`.
        temperature: T > 0.
        fit_intercept: append the constant 1 to the scaled inputs. Networks here have no biases, and without the constant
            they see an input's direction and length from the origin only; its weights are biases of the first layer, with
            the prior of the other weights.
        backend: "sampling", draws by `sample`; "theory", the mean-field theory by `solve`; "lazy", the Gaussian process of
            an infinitely wide network in the lazy regime.
        method, chains, warmup, draws: of `sample`, for backend "sampling". 8 chains draws (N0 N + (L - 1) N^2 + N m) bytes
            of weights are kept.
        random_state: seed, `numpy.random.RandomState`, or None for another fit each time.

    Attributes:
        classes_: the classes, sorted.
        posterior_: the `Posterior`, with the training inputs as the network sees them.
        samples_: draws as `sample` returns them, all weights included; None for other backends.
        theory_: the `Theory`; None for backend "sampling".
        input_scale_: what inputs are divided by.
        n_features_in_, feature_names_in_: of X.

    Raises:
        ValueError: a parameter out of its range, one class only, or X with NaN, infinite entries or nothing but zeros.
        ConvergenceError: a theory that did not converge.

    Warns:
        SamplingWarning: draws that should not be trusted as they are; more `warmup` and `draws` help.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> import nonlazy as nl
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = nl.NonLazyClassifier(backend="lazy").fit(X[::2], y[::2])
        >>> bool(classifier.score(X[1::2], y[1::2]) > 0.9)
        True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn classes y (n,) of inputs X (n, n_features)."""
        self._model()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, classes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y must hold at least two classes, got one class: {self.classes_[0]}.")
        inputs, targets = merge_copies(self._training_inputs(X), np.eye(len(self.classes_))[classes])
        labels = targets.argmax(axis=1)
        hidden = np.setdiff1d(np.arange(len(self.classes_)), labels)
        if len(hidden):
            raise InputError(
                f"y must give every class an input of its own, got class {self.classes_[hidden[0]]} only on inputs that "
                "another class has as often."
            )
        return self._fit_task(inputs, targets, labels, [str(name) for name in self.classes_])

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n classes"]:
        r"""Probability that each class has the largest target.

        \[ p_r = P(Y_r > Y_s \; \forall s \neq r), \quad Y_r \sim N(\langle f_r \rangle, \mathrm{Var} f_r + T)
           \text{ independent} \]

        Returns:
            (n, n_classes), columns in the order of `classes_`; rows sum to one.
        """
        mean, variance = self._outputs(X)
        return largest_output(mean, variance + self.posterior_.temperature)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each input, (n,)."""
        probability = self.predict_proba(X)
        return self.classes_[probability.argmax(axis=1)]

    @property
    def coding_scheme_(self) -> CodingScheme:
        """What `nonlazy.coding_scheme` reads from the last layer of one network of the posterior, on the training inputs."""
        check_is_fitted(self)
        task = self.posterior_.task
        return coding_scheme(self._last_layer(), self.classes_[task.labels], inputs=task.inputs)
