r"""The lazy regime at infinite width: a Gaussian process whose kernel does not depend on the targets.

\[ K_l = E\, \phi(z) \phi(z)^T, \quad z \sim N(0, \sigma_l^2 K_{l-1}), \qquad
   f \sim N(0, \sigma_a^2 K_L), \quad Y = f + \sqrt{T} \xi \]

for each output, with \(K_0 = \sigma_1^2 X X^T / N_0\), which holds \(\sigma_1^2\) already. Neal (1996); Lee et al. (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from nonlazy import prior
from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.posterior.likelihood import draw_readout
from nonlazy.theory.moments import second_moment
from nonlazy.validation import finite_array, integer


@dataclass(frozen=True, eq=False)
class LazySolution:
    r"""The Gaussian process of a lazy network of infinite width.

    Attributes:
        kernels: K_1 ... K_L on the training inputs, (L, P, P).
        jitter: added to T on the diagonal of the covariance, 0 unless the covariance is singular to rounding.
        log_evidence: \(\sum_r \log N(y_r \mid 0, \sigma_a^2 K_L + (T + \text{jitter}) I)\).
        kernel_error: largest estimated error of a kernel entry by quadrature, 0 for closed forms.
    """

    kernels: Float[np.ndarray, "L P P"]
    jitter: float
    log_evidence: float
    kernel_error: float
    _posterior: Posterior = field(repr=False)
    _covariance_factor: Float[np.ndarray, "P P"] = field(repr=False)

    def predict(self, inputs: ArrayLike) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
        r"""Posterior mean and variance of the noiseless outputs on new inputs (n, N0).

        \[ \langle f(x) \rangle = k(x)^T C^{-1} Y, \quad \mathrm{Var} f(x) = \kappa(x) - k(x)^T C^{-1} k(x), \quad
           C = \sigma_a^2 K_L + T I \]

        with k(x) the covariance of the outputs at x and at the training inputs, and \(\kappa(x)\) that at x.

        Raises:
            InputError: inputs of another dimension, or not finite.
        """
        task = self._posterior.task
        inputs = finite_array("inputs", inputs, ndim=2)
        if inputs.shape[1] != task.n_features:
            raise InputError(
                f"inputs must have the {task.n_features} columns of the training inputs, got {inputs.shape}."
            )
        cross, diagonal = self._kernels_of(inputs)
        cross, diagonal = self._posterior.readout_variance * cross, self._posterior.readout_variance * diagonal
        mean = cross @ cho_solve((self._covariance_factor, True), task.targets)
        explained = np.sum(solve_triangular(self._covariance_factor, cross.T, lower=True) ** 2, axis=0)
        variance = np.maximum(diagonal - explained, 0)  # below rounding where training inputs fix the output
        return mean, np.repeat(variance[:, None], task.n_outputs, axis=1)

    def _kernels_of(
        self, inputs: Float[np.ndarray, "n N0"]
    ) -> tuple[Float[np.ndarray, "n P"], Float[np.ndarray, " n"]]:
        """K_L between new and training inputs, and of each new input with itself."""
        model, task = self._posterior.model, self._posterior.task
        first = prior.layer_scale(model.weight_stds[0], task.n_features)
        cross = first**2 * inputs @ task.inputs.T
        diagonal = first**2 * np.sum(inputs**2, axis=1)
        for factor, kernel in zip(_factors(model), self._inputs_of_layers(), strict=True):
            variance, train = factor * diagonal, factor * np.diagonal(kernel)
            cross = second_moment(model.phi, variance[:, None], factor * cross, train[None, :]).value
            diagonal = second_moment(model.phi, variance, variance, variance).value
        return cross, diagonal

    def _inputs_of_layers(self) -> list[Float[np.ndarray, "P P"]]:
        """K_0 ... K_{L-1}."""
        return [input_kernel(self._posterior), *self.kernels[:-1]]

    @double_precision
    def draw_neurons(
        self, rng: np.random.Generator, n: int
    ) -> tuple[list[Float[np.ndarray, "P n"]], Float[np.ndarray, "n m"]]:
        r"""Neurons of the infinite network, \(z^l \sim N(0, \sigma_l^2 K_{l-1})\) independently, and readout weights for them.

        Returns:
            Preactivations of each layer, (P, n), and the readout, (n, m), an exact draw of the posterior of a network
            with these n neurons in its last layer.

        Raises:
            InputError: n is not a positive integer.
        """
        integer("n", n, 1)
        posterior, phi = self._posterior, self._posterior.model.phi
        layers = [
            math.sqrt(factor) * _root(kernel) @ rng.standard_normal((len(kernel), n))
            for factor, kernel in zip(_factors(posterior.model), self._inputs_of_layers(), strict=True)
        ]
        readout = draw_readout(
            jax.random.key(int(rng.integers(2**63))),
            phi(jnp.asarray(layers[-1])),
            jnp.asarray(posterior.task.targets),
            posterior.readout_variance,
            prior.output_scale("lazy", n),
            posterior.temperature + self.jitter,
        )
        return layers, np.asarray(readout)


def solve_lazy(posterior: Posterior) -> LazySolution:
    r"""The Gaussian process that the posterior becomes at infinite width, in the lazy regime.

    Raises:
        InputError: a model of another regime.

    Examples:
        >>> import nonlazy as nl
        >>> from nonlazy.theory.lazy import solve_lazy
        >>> model = nl.Model(activation="relu", regime="lazy")
        >>> solution = solve_lazy(nl.Posterior(model, nl.tasks.orthogonal(n_inputs=4), temperature=0.1))
        >>> bool(abs(solution.kernels[0, 0, 0] - 0.5) < 1e-12)
        True
    """
    model = posterior.model
    if model.regime != "lazy":
        raise InputError(f"the Gaussian process needs a model with regime 'lazy', got {model.regime!r}.")
    kernel, kernels, error = input_kernel(posterior), [], 0.0
    for factor in _factors(model):
        kernel, error_of_layer = _next_kernel(model, factor * kernel)
        kernels.append(kernel)
        error = max(error, error_of_layer)
    cholesky, jitter = _factorize(posterior.readout_variance * kernel, posterior.temperature)
    evidence = _log_evidence(cholesky, posterior.task.targets)
    return LazySolution(np.stack(kernels), jitter, evidence, error, posterior, cholesky)


def input_kernel(posterior: Posterior) -> Float[np.ndarray, "P P"]:
    """K_0 of the training inputs."""
    scaled = prior.layer_scale(posterior.model.weight_stds[0], posterior.task.n_features) * posterior.task.inputs
    return scaled @ scaled.T


def _factors(model: Model) -> list[float]:
    """What K_{l-1} is multiplied by before layer l: 1, sigma_2^2, ... sigma_L^2."""
    return [1.0, *(std**2 for std in model.weight_stds[1:])]


def _next_kernel(model: Model, covariance: Float[np.ndarray, "P P"]) -> tuple[Float[np.ndarray, "P P"], float]:
    variance = np.diagonal(covariance)
    kernel, error = second_moment(model.phi, variance[:, None], covariance, variance[None, :])
    return (kernel + kernel.T) / 2, error


def _factorize(kernel: Float[np.ndarray, "P P"], temperature: float) -> tuple[Float[np.ndarray, "P P"], float]:
    """Lower Cholesky factor of kernel + (temperature + jitter) I, and the jitter.

    The jitter lifts the smallest eigenvalue to the rounding errors of the largest.
    """
    values = np.linalg.eigvalsh(kernel)
    rounding = 10 * len(kernel) * np.finfo(float).eps * values[-1]
    jitter = max(0.0, float(rounding - values[0] - temperature))
    factor, _ = cho_factor(kernel + (temperature + jitter) * np.eye(len(kernel)), lower=True)
    return np.tril(factor), jitter


def _log_evidence(factor: Float[np.ndarray, "P P"], targets: Float[np.ndarray, "P m"]) -> float:
    white = solve_triangular(factor, targets, lower=True)
    log_det = 2 * np.sum(np.log(np.diagonal(factor)))
    return float(-(np.sum(white**2) + targets.shape[1] * (log_det + len(factor) * math.log(2 * math.pi))) / 2)


def _root(kernel: Float[np.ndarray, "P P"]) -> Float[np.ndarray, "P P"]:
    """A matrix R with R R^T = kernel, singular kernels included."""
    values, vectors = np.linalg.eigh(kernel)
    return vectors * np.sqrt(np.maximum(values, 0))
