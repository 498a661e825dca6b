r"""Linear networks of any depth in the non-lazy regime, exact for N -> infinity at fixed P / N and N T.

With the effective readout of each layer, \(u_L = a\), \(u_{l-1} = \sigma_l W^l u_l / \sqrt{N}\), the outputs are
\(f = z^l u_l / N\), and everything follows from the m x m matrices \(Q_l = u_l^T u_l / N\), all powers of one matrix r:

\[ Q_l = \sigma_a^2 \Big(\prod_{j>l} \sigma_j^2\Big) r^{L-l+1}, \qquad r - 1 = Q_1 (t^T K_0 t - D), \qquad
   t = (K_0 \otimes Q_1 + N T)^{-1} Y, \quad D = \frac1N \sum_k \kappa_k (\kappa_k Q_1 + N T)^{-1} \]

with the eigenvalues \(\kappa_k\) of K_0. The equation for r says that the free energy per neuron is stationary,

\[ F(Q_1) = \tfrac{L}{2} \mathrm{tr}(r - \log r - 1) - \tfrac1N \log N(Y \mid 0, K_0 \otimes Q_1 / N + T) . \]

Derivation: docs, Linear networks. For T -> 0 it is that of van Meegen and Sompolinsky (2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import ArrayLike, Float

from nonlazy import prior
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.posterior import Posterior
from nonlazy.theory.linear.data import Data, Spectrum, data_of
from nonlazy.theory.linear.derivatives import hessian_of, stretch, symmetric_basis
from nonlazy.theory.linear.minimum import TOLERANCE, minimize
from nonlazy.validation import finite_array, integer


@dataclass(frozen=True, eq=False)
class LinearSolution:
    r"""Posterior of a wide linear network.

    Attributes:
        kernels: \(K_l = \sigma_l^2 K_{l-1} + \bar{f} Q_l^{-1} \bar{f}^T\) on the training inputs, (L, P, P), with the mean
            outputs \(\bar{f} = Y - N T t\); the factor \(\sigma_1^2\) is in K_0 already.
        readout_covariance: U = Q_L, covariance of a neuron's readout weights, (m, m).
        effective_covariances: Q_1 ... Q_L, (L, m, m).
        t: dual variables, (P, m), the mean of (Y - f) / (N T).
        residual: \(\max |Y - N T t - K_0\, t\, Q_1|\).
        gradient: largest entry of the gradient of F by the logarithm of Q_1, relative to 1 + r.
        free_energy: F, the limit of \(-\log p(Y) / N\).
        converged: True; a solver that fails raises.
        n_steps: Newton steps.
    """

    kernels: Float[np.ndarray, "L P P"]
    readout_covariance: Float[np.ndarray, "m m"]
    effective_covariances: Float[np.ndarray, "L m m"]
    t: Float[np.ndarray, "P m"]
    residual: float
    gradient: float
    free_energy: float
    converged: bool
    n_steps: int
    _posterior: Posterior = field(repr=False)
    _data: Data = field(repr=False)
    _spectrum: Spectrum = field(repr=False)

    def predict(self, inputs: ArrayLike) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
        r"""Posterior mean and variance, to order 1/N, of the outputs on new inputs (n, N0).

        \[ \langle f(x) \rangle = k_0(x)^T t\, Q_1, \qquad
           \mathrm{Var} f(x) = \frac1N \Big[\kappa_0(x) Q_1 - \sum_k \frac{k_k(x)^2 Q_1^2}{\kappa_k Q_1 + N T}\Big]
           + \mathrm{Var}_{Q_1} \langle f(x) \mid Q_1 \rangle \]

        with \(k_k(x)\) the component of k_0(x) along eigenvector k of K_0. For T -> 0 the last term vanishes, the mean is
        that of regression with K_0 and the variance \(Q_1 (\kappa_0 - k_0^T K_0^{-1} k_0) / N\).

        Raises:
            InputError: inputs of another dimension, or not finite.
        """
        inputs = finite_array("inputs", inputs, ndim=2)
        n_features = self._posterior.task.n_features
        if inputs.shape[1] != n_features:
            raise InputError(f"inputs must have the {n_features} columns of the training inputs, got {inputs.shape}.")
        scaled = prior.layer_scale(self._posterior.model.weight_stds[0], n_features) * inputs
        data, (q, basis) = self._data, self._spectrum
        projected = scaled @ data.directions.T  # k_k(x) / sqrt(kappa_k)
        cross = projected * np.sqrt(data.kappa)
        targets = data.targets @ basis
        mean = cross @ (targets / data.denominators(q)) * q
        variance = np.sum(scaled**2, axis=1)[:, None] * q - cross**2 @ (q**2 / data.denominators(q))
        by_log_q = data.nt * np.einsum(
            "ij,i,xk,ki,kj->xij",
            stretch(q),
            np.sqrt(q),
            projected,
            1 / data.denominators(q),
            data.weights(q, targets),
            optimize=True,
        )
        directions = symmetric_basis(len(q))
        derivatives = np.einsum("ri,xij,pij->xrp", basis, by_log_q, directions, optimize=True)
        covariance = 2 / data.width * np.linalg.inv(hessian_of(data, q, targets, directions))
        fluctuations = np.sum(derivatives @ covariance * derivatives, axis=-1)
        return mean @ basis.T, np.maximum(variance, 0) @ (basis**2).T / data.width + fluctuations

    def draw_neurons(
        self, rng: np.random.Generator, n: int
    ) -> tuple[list[Float[np.ndarray, "P n"]], Float[np.ndarray, "n m"]]:
        r"""Independent neurons of each layer, and the readout weights of the last layer's.

        \[ a \sim N(0, U), \quad z^L \mid a \sim N(\bar{f}\, U^{-1} a, \sigma_L^2 K_{L-1}), \quad z^l \sim N(0, K_l) \]

        Returns:
            Preactivations of each layer, (P, n), and the readout, (n, m).

        Raises:
            InputError: n is not a positive integer.
        """
        integer("n", n, 1)
        q, basis = self._spectrum
        fitted = self._posterior.task.targets - self._data.nt * self.t
        # Roots R_l with K_l = R_l R_l^T: the last m columns carry the outputs, and their coordinates the readout.
        root, layers = self._data.root, []
        for factor, power in zip(self._data.factors, self._data.layer_powers(q), strict=True):
            root = np.hstack([math.sqrt(factor) * root, fitted @ basis / np.sqrt(power)])
            noise = rng.standard_normal((root.shape[1], n))
            layers.append(root @ noise)
        readout = (noise[-len(q) :].T * np.sqrt(power)) @ basis.T
        return layers, readout


def solve_linear(posterior: Posterior) -> LinearSolution:
    r"""The posterior of a linear network in the limit of large width.

    Of several minima of the free energy, which exist at high temperature, the lowest that was found from the global minima
    of the single outputs is returned.

    Raises:
        InputError: a model that is not linear or not in the non-lazy regime.
        ConvergenceError: the gradient of the free energy does not vanish to the tolerance.

    Examples:
        >>> import nonlazy as nl
        >>> from nonlazy.theory.linear import solve_linear
        >>> model = nl.Model(width=100, activation="linear")
        >>> solution = solve_linear(nl.Posterior(model, nl.tasks.orthogonal(n_inputs=100), temperature=1e-9))
        >>> solution.readout_covariance.diagonal().round(3)
        array([0.707, 0.5  , 0.5  ])
    """
    if posterior.model.phi.name != "linear" or posterior.model.regime != "nonlazy":
        raise InputError(
            "this theory needs a model with activation 'linear' and regime 'nonlazy', "
            f"got {posterior.model.phi.name!r} and {posterior.model.regime!r}."
        )
    data = data_of(posterior)
    spectrum, gradient, n_steps = minimize(data)
    if not gradient < TOLERANCE:
        raise ConvergenceError(
            f"the linear theory stopped after {n_steps} steps with a relative gradient of {gradient:.1e} (allowed: "
            f"{TOLERANCE:.0e}); targets that differ by many orders of magnitude and very small temperatures make it "
            "ill-conditioned: scale the targets, drop outputs that repeat others, or raise the temperature."
        )
    return _solution(posterior, data, spectrum, gradient, n_steps)


def _solution(posterior: Posterior, data: Data, spectrum: Spectrum, gradient: float, n_steps: int) -> LinearSolution:
    q, basis = spectrum
    targets = posterior.task.targets
    rotated = data.targets @ basis
    vectors = data.root / np.sqrt(data.kappa)
    seen = vectors @ (rotated / data.denominators(q)) @ basis.T
    t = seen + (targets - vectors @ data.targets) / data.nt
    fitted = vectors @ (rotated * data.gains(q))  # in the eigenbasis of Q_1
    kernel, kernels, covariances = data.root @ data.root.T, [], []
    for factor, power in zip(data.factors, data.layer_powers(q), strict=True):
        kernel = factor * kernel + fitted / power @ fitted.T
        kernels.append(kernel)
        covariances.append(basis * power @ basis.T)
    outputs = data.root @ (data.root.T @ seen) @ covariances[0]
    return LinearSolution(
        kernels=np.stack(kernels),
        readout_covariance=covariances[-1],
        effective_covariances=np.stack(covariances),
        t=t,
        residual=float(np.max(np.abs(targets - data.nt * t - outputs))),
        gradient=gradient,
        free_energy=float(np.sum(data.free_energies(q, rotated)) + data.unseen),
        converged=True,
        n_steps=n_steps,
        _posterior=posterior,
        _data=data,
        _spectrum=spectrum,
    )
