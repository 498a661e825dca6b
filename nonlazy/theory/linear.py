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
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.optimize import brentq

from nonlazy import prior
from nonlazy.errors import ConvergenceError, InputError
from nonlazy.posterior import Posterior
from nonlazy.validation import finite_array, integer

MAX_STEPS = 200
TOLERANCE = 1e-9  # of the gradient of F by the logarithm of Q_1, relative to 1 + r
GRID = 400  # points in log r where minima for a single output are looked for


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
    _data: _Data = field(repr=False)
    _spectrum: _Spectrum = field(repr=False)

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
            _stretch(q),
            np.sqrt(q),
            projected,
            1 / data.denominators(q),
            data.weights(q, targets),
            optimize=True,
        )
        directions = _symmetric_basis(len(q))
        derivatives = np.einsum("ri,xij,pij->xrp", basis, by_log_q, directions, optimize=True)
        covariance = 2 / data.width * np.linalg.inv(_hessian(data, q, targets, directions))
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
    data = _data(posterior)
    spectrum, gradient, n_steps = _minimize(data)
    if not gradient < TOLERANCE:
        raise ConvergenceError(
            f"the linear theory stopped after {n_steps} steps with a relative gradient of {gradient:.1e} (allowed: "
            f"{TOLERANCE:.0e}); targets that differ by many orders of magnitude and very small temperatures make it "
            "ill-conditioned: scale the targets, drop outputs that repeat others, or raise the temperature."
        )
    return _solution(posterior, data, spectrum, gradient, n_steps)


# --- The problem in the eigenbasis of K_0 ---------------------------------------------------------


class _Data(NamedTuple):
    """K_0 = root root^T with its positive eigenvalues, and the targets along their eigenvectors.

    `directions` are the matching unit vectors in the space of the inputs. `unseen` is the free energy of the targets
    outside the range of K_0, which no network fits.
    """

    kappa: Float[np.ndarray, " R"]
    targets: Float[np.ndarray, "R m"]
    root: Float[np.ndarray, "P R"]
    directions: Float[np.ndarray, "R N0"]
    factors: tuple[float, ...]  # of K_{l-1} before layer l: 1, sigma_2^2, ...
    readout_variance: float
    width: int
    nt: float  # N T
    unseen: float

    @property
    def depth(self) -> int:
        return len(self.factors)

    @property
    def prior_q(self) -> float:
        """Q_1 of the prior, where r = 1."""
        return self.readout_variance * math.prod(self.factors)

    def ratio(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Eigenvalues of r from those of Q_1."""
        return (q / self.prior_q) ** (1 / self.depth)

    def layer_powers(self, q: Float[np.ndarray, " m"]) -> list[Float[np.ndarray, " m"]]:
        """Eigenvalues of Q_1 ... Q_L."""
        after = [math.prod(self.factors[layer:]) for layer in range(1, self.depth + 1)]
        return [self.readout_variance * f * self.ratio(q) ** (self.depth - i) for i, f in enumerate(after)]

    def denominators(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "R m"]:
        return self.kappa[:, None] * q + self.nt

    def gains(self, q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "R m"]:
        """Fraction of each target component that is fitted, kappa q / (kappa q + N T)."""
        return self.kappa[:, None] * q / self.denominators(q)

    def weights(self, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, "R m"]:
        """W with W^T W = Q_1^{1/2} t^T K_0 t Q_1^{1/2}."""
        return np.sqrt(self.kappa[:, None] * q) / self.denominators(q) * targets

    def free_energies(self, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, " m"]:
        """F of each output, in the eigenbasis of Q_1 where they add up, without the unseen part."""
        r, d = self.ratio(q), self.denominators(q)
        fit = np.sum(targets**2 / d + np.log(2 * math.pi * d / self.width) / self.width, axis=0)
        return (self.depth * (r - np.log(r) - 1) + fit) / 2


class _Spectrum(NamedTuple):
    """Q_1 = basis diag(q) basis^T."""

    q: Float[np.ndarray, " m"]
    basis: Float[np.ndarray, "m m"]


def _data(posterior: Posterior) -> _Data:
    model, task = posterior.model, posterior.task
    scaled = prior.layer_scale(model.weight_stds[0], task.n_features) * task.inputs
    vectors, singular, directions = np.linalg.svd(scaled, full_matrices=False)
    rank = int(np.sum(singular > singular[0] * max(scaled.shape) * np.finfo(float).eps))
    vectors, singular, directions = vectors[:, :rank], singular[:rank], directions[:rank]
    targets = vectors.T @ task.targets
    missed = np.sum(task.targets**2) - np.sum(targets**2) if rank < task.n_inputs else 0.0
    n_missed = (task.n_inputs - rank) * task.n_outputs
    unseen = (missed / posterior.temperature + n_missed * math.log(2 * math.pi * posterior.temperature)) / 2
    return _Data(
        kappa=singular**2,
        targets=targets,
        root=vectors * singular,
        directions=directions,
        factors=(1.0, *(std**2 for std in model.weight_stds[1:])),
        readout_variance=posterior.readout_variance,
        width=model.width,
        nt=model.width * posterior.temperature,
        unseen=unseen / model.width,
    )


# --- Minimum of the free energy -------------------------------------------------------------------


def _minimize(data: _Data) -> tuple[_Spectrum, float, int]:
    """The lowest minimum found, its relative gradient, and the number of Newton steps.

    Output directions in which all targets vanish decouple, and are solved apart: there Q_1 may be smaller by many orders.
    """
    _, singular, outputs = np.linalg.svd(data.targets, full_matrices=True)
    cut = singular[0] * max(data.targets.shape) * np.finfo(float).eps
    rank = int(np.sum(singular > cut)) if singular[0] > 0 else 0
    fitted, empty = outputs[:rank].T, outputs[rank:].T
    found = [_newton(data, data.targets @ fitted, start) for start in _starts(data, data.targets @ fitted)]
    (q, basis), gradient, n_steps = min(
        found, key=lambda f: np.sum(data.free_energies(f[0].q, data.targets @ fitted @ f[0].basis))
    )
    q_empty = _single_output(data, np.zeros(len(data.kappa)))
    spectrum = _Spectrum(np.append(q, np.full(empty.shape[1], q_empty)), np.hstack([fitted @ basis, empty]))
    return spectrum, gradient, n_steps


def _starts(data: _Data, targets: Float[np.ndarray, "R m"]) -> list[_Spectrum]:
    """Exact minima over all Q_1 that are diagonal in the eigenbasis of Y^T K_0^-1 Y (right for T -> 0) or Y^T Y."""
    grams = [targets.T @ (targets / data.kappa[:, None]), targets.T @ targets]
    bases = [np.linalg.eigh(gram)[1] for gram in grams]
    return [_Spectrum(np.array([_single_output(data, y) for y in (targets @ basis).T]), basis) for basis in bases]


def _single_output(data: _Data, targets: Float[np.ndarray, " R"]) -> float:
    """q of lowest free energy for one output: every minimum lies where dF / d log q changes its sign."""

    def q_of(log_r: float) -> Float[np.ndarray, " 1"]:
        return np.array([data.prior_q * math.exp(data.depth * log_r)])

    def gradient(log_r: float) -> float:
        return float(_gradient(data, q_of(log_r), targets[:, None])[0, 0])

    # At the low end r + tr gains / N < 1/2; at the high end |W|^2 <= |y|^2 / 4 N T < r - 1.
    low = (data.width * data.nt / (4 * data.prior_q * np.sum(data.kappa))) ** (1 / data.depth)
    grid = np.linspace(math.log(min(0.25, low)), math.log(2 + np.sum(targets**2) / (4 * data.nt)), GRID)
    signs = np.sign([gradient(x) for x in grid])
    minima = [brentq(gradient, grid[i], grid[i + 1], xtol=1e-13) for i in np.flatnonzero(np.diff(signs) > 0)]
    candidates = [q_of(x) for x in minima]
    return float(min(candidates, key=lambda q: data.free_energies(q, targets[:, None])[0])[0])


def _newton(data: _Data, targets: Float[np.ndarray, "R m"], start: _Spectrum) -> tuple[_Spectrum, float, int]:
    r"""Newton's method in log Q_1, where eigenvalues that differ by many orders leave rotations well scaled."""
    (q, basis), step = start, 0
    directions = _symmetric_basis(len(q))
    for step in range(MAX_STEPS):  # noqa: B007
        rotated = targets @ basis
        gradient = _gradient(data, q, rotated)
        if _relative(data, q, gradient) < TOLERANCE / 100:
            break
        slope = np.einsum("ij,pij->p", _stretch(q) * gradient, directions)
        change = -_solve_downhill(_hessian(data, q, rotated, directions), slope)
        change *= min(1, 2 / np.linalg.norm(change))
        moved = _descend(data, targets, _Spectrum(q, basis), np.einsum("p,pij->ij", change, directions))
        if moved is None:
            break
        q, basis = moved
    return _Spectrum(q, basis), _relative(data, q, _gradient(data, q, targets @ basis)), step


def _solve_downhill(hessian: Float[np.ndarray, "d d"], slope: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """|H|^-1 slope: its negative leads downhill along negative curvature too. Scaled, as curvatures differ by many orders."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-12))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    return scale * (vectors @ (vectors.T @ (scale * slope) / np.maximum(np.abs(values), 1e-8)))


def _descend(
    data: _Data, targets: Float[np.ndarray, "R m"], now: _Spectrum, change: Float[np.ndarray, "m m"]
) -> _Spectrum | None:
    """The longest of the steps 1, 1/2, 1/4, ... along which the free energy does not grow, beyond its rounding errors."""
    value = data.free_energies(now.q, targets @ now.basis)
    for halvings in range(40):
        log_q, rotation = np.linalg.eigh(np.diag(np.log(now.q)) + change / 2**halvings)
        moved = _Spectrum(np.exp(log_q), now.basis @ rotation)
        difference = np.sum(data.free_energies(moved.q, targets @ moved.basis)) - np.sum(value)
        if difference <= 1e-13 * np.sum(np.abs(value)):
            return moved
    return None


def _gradient(data: _Data, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"]) -> Float[np.ndarray, "m m"]:
    r"""\(2\, Q_1^{1/2} (\partial F / \partial Q_1)\, Q_1^{1/2} = r - 1 + Q_1 D - W^T W\), in the eigenbasis of Q_1."""
    w = data.weights(q, targets)
    return np.diag(data.ratio(q) - 1 + np.sum(data.gains(q), axis=0) / data.width) - w.T @ w


def _relative(data: _Data, q: Float[np.ndarray, " m"], gradient: Float[np.ndarray, "m m"]) -> float:
    root = np.sqrt(data.ratio(q))
    return float(np.max(np.abs(gradient) / (1 + np.outer(root, root)), initial=0.0))


def _hessian(
    data: _Data, q: Float[np.ndarray, " m"], targets: Float[np.ndarray, "R m"], directions: Float[np.ndarray, "d m m"]
) -> Float[np.ndarray, "d d"]:
    r"""\(2\, \partial^2 F / \partial (\log Q_1)^2\) in the given directions, in the eigenbasis of Q_1.

    The prior's part is that of the matrix function r, whose derivative has divided differences
    \((r_i q_j - r_j q_i) / (q_i - q_j)\); the last part is the curvature of the exponential function.
    """
    r, w, gains = data.ratio(q), data.weights(q, targets), data.gains(q)
    gap = q[:, None] - q[None, :]
    close = np.abs(gap) < 1e-5 * (q[:, None] + q[None, :])
    mean = np.sqrt(np.outer(r, r))
    divided = (np.outer(r, q) - np.outer(q, r)) / np.where(close, 1, gap)
    factor = 1 + np.where(close, mean * (1 / data.depth - 1), divided) - gains.T @ gains / data.width
    changes = _stretch(q) * directions
    half = np.einsum("pil,ki,kl,kj->pij", changes, gains, w, w, optimize=True)
    curvature = np.einsum("ij,ilj,plj->pil", _gradient(data, q, targets), _bend(q), directions, optimize=True)
    applied = _stretch(q) * (factor * changes + half + half.swapaxes(1, 2)) + curvature + curvature.swapaxes(1, 2)
    return np.einsum("pij,sij->ps", directions, applied)


def _stretch(q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m"]:
    r"""Change of Q_1 over \(\sqrt{q_i q_j}\) for a unit change of log Q_1: \(\sinh(x) / x\), x half the difference of log q."""
    x = np.subtract.outer(np.log(q), np.log(q)) / 2
    return np.divide(np.sinh(x), x, out=1 + x**2 / 6, where=np.abs(x) > 1e-4)


def _bend(q: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m m"]:
    r"""Second divided differences of the exponential function at log q_i, q_l, q_j, over \(\sqrt{q_i q_j}\)."""
    x, first = np.log(q), _stretch(q) * np.sqrt(np.outer(q, q))
    i, end, j = x[:, None, None], x[None, :, None], x[None, None, :]
    at_i, at_l, at_j = np.exp(i), np.exp(end), np.exp(j)
    near, all_near = np.abs(i - j) < 1e-4, (np.abs(i - j) < 1e-4) & (np.abs(i - end) < 1e-3)
    middle, from_l = (at_i + at_j) / 2, (first[:, :, None] + first[None, :, :]) / 2
    apart = (first[:, :, None] - first[None, :, :]) / np.where(near, 1, i - j)
    pair = (middle - from_l) / np.where(all_near, 1, (i + j) / 2 - end)
    return np.where(all_near, (at_i + at_l + at_j) / 6, np.where(near, pair, apart)) / np.sqrt(at_i * at_j)


def _symmetric_basis(m: int) -> Float[np.ndarray, "d m m"]:
    """Orthonormal basis of the symmetric matrices."""
    rows, columns = np.triu_indices(m)
    basis = np.zeros((len(rows), m, m))
    index = np.arange(len(rows))
    basis[index, rows, columns] = np.where(rows == columns, 1, math.sqrt(0.5))
    basis[index, columns, rows] = basis[index, rows, columns]
    return basis


# --- The solution ---------------------------------------------------------------------------------


def _solution(posterior: Posterior, data: _Data, spectrum: _Spectrum, gradient: float, n_steps: int) -> LinearSolution:
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
