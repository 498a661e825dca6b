"""What classifier and regressor share: parameters, the fit by one of three backends, and outputs on new inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from xarray import DataTree

from nonlazy.compilation import double_precision
from nonlazy.estimators import drawn
from nonlazy.estimators.inputs import input_scale, network_inputs
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.sampling import sample
from nonlazy.tasks import Task
from nonlazy.theory import Theory, solve
from nonlazy.validation import one_of

BACKENDS = ("sampling", "theory", "lazy")


class NetworkEstimator(BaseEstimator):
    """Base of the estimators: stores the parameters as they are given and checks them in `fit`."""

    input_scale_: float
    posterior_: Posterior
    samples_: DataTree | None
    theory_: Theory | None

    def __init__(
        self,
        depth: int = 1,
        width: int = 100,
        activation: str | Callable[[jax.Array], jax.Array] = "erf",
        readout_std: float = 1.0,
        weight_std: float | Sequence[float] = 1.0,
        temperature: float = 1e-4,
        fit_intercept: bool = True,
        backend: str = "sampling",
        method: str = "hmc",
        chains: int = 4,
        warmup: int = 100,
        draws: int = 100,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.depth = depth
        self.width = width
        self.activation = activation
        self.readout_std = readout_std
        self.weight_std = weight_std
        self.temperature = temperature
        self.fit_intercept = fit_intercept
        self.backend = backend
        self.method = method
        self.chains = chains
        self.warmup = warmup
        self.draws = draws
        self.random_state = random_state

    def _model(self) -> Model:
        one_of("backend", self.backend, BACKENDS)
        regime = "lazy" if self.backend == "lazy" else "nonlazy"
        return Model(self.depth, self.width, self.activation, regime, self.readout_std, self.weight_std)

    def _training_inputs(self, inputs: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n N0"]:
        self.input_scale_ = input_scale(inputs)
        return network_inputs(inputs, self.input_scale_, self.fit_intercept)

    def _fit_task(
        self,
        inputs: Float[np.ndarray, "P N0"],
        targets: Float[np.ndarray, "P m"],
        labels: Int[np.ndarray, " P"],
        class_names: Sequence[str],
    ) -> Self:
        task = Task(inputs, targets, labels, name="arrays", class_names=tuple(class_names))
        self.posterior_ = Posterior(self._model(), task, self.temperature)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.samples_ = self._sample(seed) if self.backend == "sampling" else None
        self.theory_ = None if self.backend == "sampling" else solve(self.posterior_, seed=seed, progress=False)
        return self

    def _sample(self, seed: int) -> DataTree:
        return sample(
            self.posterior_, self.chains, self.warmup, self.draws, seed, self.method, progress=False, keep=drawn.KEEP
        )

    def _outputs(self, X: Any) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
        """Posterior mean and variance of the outputs, in the units of the network's targets."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        inputs = network_inputs(rows, self.input_scale_, rows.shape[1] < self.posterior_.task.n_features)
        if self.samples_ is not None:
            return drawn.predict(self.posterior_.model, self.samples_, inputs)
        assert self.theory_ is not None
        prediction = self.theory_.predict(inputs)
        return prediction.mean, prediction.variance

    @double_precision
    def _last_layer(self) -> Float[np.ndarray, "P N"]:
        """Activities of one network's last layer on the training inputs."""
        if self.samples_ is not None:
            preactivations = self.samples_["last_draw"]["preactivations"].values[0]
        else:
            assert self.theory_ is not None
            preactivations = self.theory_.draw().preactivations
        return np.asarray(self.posterior_.model.phi(jnp.asarray(preactivations[-1].T)))
