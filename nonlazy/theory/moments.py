r"""Second moments \(E\, \phi(u) \phi(v)\) of an activation under a Gaussian pair (u, v).

========  =====================================================================================================
linear    \(k_{uv}\)
erf       \(\frac14 + \frac1{2\pi} \arcsin \frac{(\pi/2)\, k_{uv}}{\sqrt{(1 + \pi k_{uu}/2)(1 + \pi k_{vv}/2)}}\)
relu      \(\frac{\sqrt{k_{uu} k_{vv}}}{2\pi} [\sin\theta + (\pi - \theta) \cos\theta]\), \(\cos\theta = \rho\)
others    the Hermite (Mehler) series \(\sum_n c_n(k_{uu})\, c_n(k_{vv})\, \rho^n\), whose remainder is known,
          and where it converges slowly, kinks and strong correlations, quadrature in the plane
========  =====================================================================================================

with the correlation \(\rho = k_{uv} / \sqrt{k_{uu} k_{vv}}\). Arcsine: Williams (1997); arc-cosine: Cho and Saul (2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nonlazy.activations import Activation
from nonlazy.compilation import compiled, double_precision

Values = Float[np.ndarray, "..."]
Function = Callable[[np.ndarray], np.ndarray]

TOLERANCE = 1e-12  # of the quadrature, relative to the root mean squares of the two factors
N_TERMS = 500  # of the Hermite series
N_DOUBLINGS = 4  # of the number of panels, before the quadrature stops with the error it has
NODES = 12  # Gauss-Legendre nodes in a panel
CHUNK = 2_000_000  # evaluations of the activation at a time


class Moment(NamedTuple):
    """Second moments and the largest estimated error among them, 0 for closed forms."""

    value: Values
    error: float


def second_moment(phi: Activation, variance_u: Values, covariance: Values, variance_v: Values) -> Moment:
    r"""\(E\, \phi(u) \phi(v)\) for Gaussian pairs of mean 0; the arguments broadcast against each other.

    A kernel is `second_moment(phi, d[:, None], k, d[None, :])` with d the diagonal of k; its diagonal alone is
    `second_moment(phi, d, d, d)`.
    """
    arguments = (np.asarray(x, dtype=float) for x in (variance_u, covariance, variance_v))
    if phi.name in CLOSED_FORMS:
        return Moment(CLOSED_FORMS[phi.name](*arguments), 0.0)
    return by_quadrature(phi, *arguments)


def linear(variance_u: Values, covariance: Values, variance_v: Values) -> Values:
    return covariance * np.ones_like(variance_u * variance_v)


def erf(variance_u: Values, covariance: Values, variance_v: Values) -> Values:
    norm = np.sqrt((1 + math.pi / 2 * variance_u) * (1 + math.pi / 2 * variance_v))
    return 1 / 4 + np.arcsin(math.pi / 2 * covariance / norm) / (2 * math.pi)


def relu(variance_u: Values, covariance: Values, variance_v: Values) -> Values:
    correlation = correlations(variance_u, covariance, variance_v)
    angle = np.arccos(correlation)
    norm = np.sqrt(variance_u * variance_v)
    return norm / (2 * math.pi) * (np.sin(angle) + (math.pi - angle) * correlation)


CLOSED_FORMS = {"linear": linear, "erf": erf, "relu": relu}


def correlations(variance_u: Values, covariance: Values, variance_v: Values) -> Values:
    """k_uv / sqrt(k_uu k_vv), 0 where a variance is 0, and never beyond -1 or 1 by rounding."""
    norm = np.sqrt(variance_u) * np.sqrt(variance_v)
    return np.clip(
        np.divide(covariance, norm, out=np.zeros(np.broadcast(covariance, norm).shape), where=norm > 0), -1, 1
    )


# --- Quadrature for any activation ---------------------------------------------------------------


@double_precision
def by_quadrature(phi: Activation, variance_u: Values, covariance: Values, variance_v: Values) -> Moment:
    r"""The same moments for any activation, kinks and jumps included.

    \[ E\, \phi(u) \phi(v) = \sum_n c_n(k_{uu})\, c_n(k_{vv})\, \rho^n, \qquad c_n(k) = E\, \phi(\sqrt{k} g)\, h_n(g) \]

    with orthonormal Hermite polynomials h_n. By Cauchy-Schwarz the terms from M on add up to no more than
    \(|\rho|^M \sqrt{\tau_u \tau_v}\), \(\tau = E \phi^2 - \sum_{n<M} c_n^2\). Pairs for which this is not small enough
    are integrated in the plane.
    """
    function = _evaluator(phi)
    kinks = find_kinks(phi)
    variance_u, covariance, variance_v = (np.asarray(x, dtype=float) for x in (variance_u, covariance, variance_v))
    rho = correlations(variance_u, covariance, variance_v)
    u = _hermite_series(function, kinks, np.sqrt(variance_u))
    v = _like(variance_v, variance_u, u) or _hermite_series(function, kinks, np.sqrt(variance_v))
    value = np.zeros(np.broadcast(rho, u.square, v.square).shape)
    for c_u, c_v in zip(u.coefficients[::-1], v.coefficients[::-1], strict=True):
        value = np.asarray(value * rho + c_u * c_v)
    scale = np.sqrt(u.square * v.square)
    bound = np.abs(rho) ** N_TERMS * np.sqrt(u.remainder * v.remainder)
    slow = np.broadcast_to(bound > TOLERANCE * scale, value.shape)
    error = max(u.error, v.error, float(np.max(np.where(slow, 0.0, bound), initial=0.0)))
    if slow.any():
        pairs = [np.broadcast_to(x, value.shape)[slow] for x in (np.sqrt(variance_u), np.sqrt(variance_v), rho, scale)]
        value[slow], error_in_plane = _in_plane(function, kinks, *pairs)
        error = max(error, error_in_plane)
    return Moment(value, error)


def _evaluator(phi: Activation) -> Function:
    function = compiled(phi.function)
    return lambda z: np.asarray(function(jnp.asarray(z)))


class _Series(NamedTuple):
    """Hermite coefficients (N_TERMS, ...), E phi^2, its part beyond the series, and the error of the coefficients."""

    coefficients: Values
    square: Values
    remainder: Values
    error: float


def _like(variance: Values, other: Values, series: _Series) -> _Series | None:
    """The series of variances that are the same numbers as the other ones, in another shape."""
    if variance.size != other.size or not np.array_equal(variance.ravel(), other.ravel()):
        return None
    shape = variance.shape
    coefficients = series.coefficients.reshape(N_TERMS, *shape)
    return _Series(coefficients, series.square.reshape(shape), series.remainder.reshape(shape), series.error)


def _hermite_series(function: Function, kinks: Values, std: Values) -> _Series:
    different, inverse = np.unique(std.ravel(), return_inverse=True)
    panels, error = _enough_panels(function, kinks, different)
    coefficients, square = _hermite_coefficients(function, kinks, different, panels)
    remainder = np.maximum(square - np.sum(coefficients**2, axis=0), 0)
    index = inverse.reshape(std.shape)
    return _Series(coefficients[:, index], square[index], remainder[index], error)


def _enough_panels(function: Function, kinks: Values, std: Values) -> tuple[int, float]:
    """Panels after which doubling them changes nothing, tried on a few of the sorted values, and the error that is left."""
    some = std[np.unique(np.linspace(0, len(std) - 1, 6).astype(int))]
    panels = 48  # five nodes for each wave of the highest polynomial
    coarse, _ = _hermite_coefficients(function, kinks, some, panels)
    for _ in range(N_DOUBLINGS):
        fine, square = _hermite_coefficients(function, kinks, some, 2 * panels)
        # The error of a coefficient times the other factor's root mean square, for both factors.
        error = 2 * float(np.max(np.linalg.norm(fine - coarse, axis=0))) * math.sqrt(np.max(square))
        if error <= TOLERANCE * np.max(square):
            break
        panels, coarse = 2 * panels, fine
    return panels, error


def _hermite_coefficients(function: Function, kinks: Values, std: Values, panels: int) -> tuple[Values, Values]:
    """c_n, (N_TERMS, K), and E phi^2, (K,), for K standard deviations."""
    common = not kinks.any()  # a kink at 0 is at g = 0 for all
    size = len(std) if common else 32
    chunks = [std[i : i + size] for i in range(0, len(std), size)]
    parts = [_hermite_chunk(function, kinks, chunk, panels, common) for chunk in chunks]
    return np.concatenate([c for c, _ in parts], axis=1), np.concatenate([square for _, square in parts])


def _hermite_chunk(function: Function, kinks: Values, std: Values, panels: int, common: bool) -> tuple[Values, Values]:
    # One half of the Gaussian weight goes into h_n e^(-g^2 / 4), which stays bounded; the other is 1e-18 at the ends.
    g, weights = _nodes(_breaks(13.0, panels, _positions(kinks, std[:1] if common else std)))
    values = function(std[:, None] * g)
    half = np.exp(-(g**2) / 4)
    weighted = weights / math.sqrt(2 * math.pi) * half * values
    coefficients = np.empty((N_TERMS, len(std)))
    previous, current = np.zeros_like(g), half
    for n in range(N_TERMS):
        coefficients[n] = weighted @ current[0] if common else np.sum(weighted * current, axis=-1)
        previous, current = current, (g * current - math.sqrt(n) * previous) / math.sqrt(n + 1)
    return coefficients, np.sum(weighted * half * values, axis=-1)


def _in_plane(
    function: Function, kinks: Values, std_u: Values, std_v: Values, rho: Values, scale: Values
) -> tuple[Values, float]:
    """Moments of K pairs by quadrature in two independent variables, and the largest estimated error."""
    pairs, inverse = np.unique(np.stack([std_u, std_v, rho, scale]), axis=1, return_inverse=True)
    panels, pending = 6, np.arange(pairs.shape[1])
    value, errors = _plane_rule(function, kinks, pairs, panels), np.zeros(pairs.shape[1])
    for _ in range(N_DOUBLINGS):
        panels *= 2
        finer = _plane_rule(function, kinks, pairs[:, pending], panels)
        errors[pending] = np.abs(finer - value[pending])
        value[pending] = finer
        pending = pending[errors[pending] > TOLERANCE * pairs[3, pending]]
        if not len(pending):
            break
    return value[inverse.ravel()], float(errors.max())


def _plane_rule(function: Function, kinks: Values, pairs: Values, panels: int) -> Values:
    nodes = (panels + len(kinks) ** 2) * (2 * panels + 2 * len(kinks)) * NODES**2
    size = max(1, CHUNK // nodes)
    chunks = [pairs[:, i : i + size] for i in range(0, pairs.shape[1], size)]
    return np.concatenate([_plane_chunk(function, kinks, chunk, panels) for chunk in chunks])


def _plane_chunk(function: Function, kinks: Values, pairs: Values, panels: int) -> Values:
    r"""With independent standard normals g and h, and \(\theta = \arccos |\rho|\),

    \[ u = \sqrt{k_{uu}} (g \cos\tfrac\theta2 + h \sin\tfrac\theta2), \qquad
       v = \pm \sqrt{k_{vv}} (g \cos\tfrac\theta2 - h \sin\tfrac\theta2) \]

    At fixed h the kinks of both factors are points on the axis of g, where panels end. They cross at points on the axis of h
    that depend on nothing else, where panels end too; so each panel sees a smooth function at every correlation.
    """
    std_u, std_v, rho, _ = pairs
    half_angle = np.arccos(np.abs(rho)) / 2
    cos, sin = np.cos(half_angle)[:, None], np.sin(half_angle)[:, None]
    sign = np.where(rho < 0, -1.0, 1.0)[:, None]
    of_u, of_v = _positions(kinks, std_u), sign * _positions(kinks, std_v)
    differences = (of_u[:, :, None] - of_v[:, None, :]).reshape(len(rho), -1)
    crossings = np.divide(differences, 2 * sin, out=np.zeros_like(differences), where=sin > 0)
    h, weights_h = _nodes(_breaks(9.0, panels, crossings))
    shift = (sin * h)[:, :, None]
    lines = np.concatenate([of_u[:, None, :] - shift, of_v[:, None, :] + shift], axis=-1) / cos[:, :, None]
    g, weights_g = _nodes(_breaks(9.0, 2 * panels, lines))
    along = cos[:, :, None] * g
    product = function(std_u[:, None, None] * (along + shift)) * function(
        (sign[:, 0] * std_v)[:, None, None] * (along - shift)
    )
    inner = np.sum(weights_g * np.exp(-(g**2) / 2) * product, axis=-1)
    return np.sum(weights_h * np.exp(-(h**2) / 2) * inner, axis=-1) / (2 * math.pi)


def _positions(kinks: Values, std: Values) -> Values:
    """Where std * g meets a kink, (K, n_kinks)."""
    return kinks / np.maximum(std, 1e-100)[:, None]


def _breaks(end: float, panels: int, points: Values) -> Values:
    """Ends of panels on [-end, end]: equidistant ones and the given points, sorted along the last axis."""
    equidistant = np.broadcast_to(np.linspace(-end, end, panels + 1), (*points.shape[:-1], panels + 1))
    return np.sort(np.concatenate([equidistant, np.clip(points, -end, end)], axis=-1), axis=-1)


def _nodes(breaks: Values) -> tuple[Values, Values]:
    """Gauss-Legendre nodes and weights of all panels, along the last axis."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(breaks, axis=-1)[..., None] / 2
    middle = breaks[..., :-1, None] + half
    shape = (*breaks.shape[:-1], -1)
    return (middle + half * x).reshape(shape), (half * w).reshape(shape)


# --- Kinks ---------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
@double_precision
def find_kinks(phi: Activation) -> Float[np.ndarray, " K"]:
    """Points in [-40, 40] where the activation or one of its first two derivatives jumps, (K,).

    Each of 4000 intervals is bisected toward its larger change down to rounding: what is left there is a jump.
    """

    def derivative(f: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        return jax.grad(lambda z: jnp.sum(f(z)))

    first = derivative(phi.function)
    jumps = [_jumps(f) for f in (phi.function, first, derivative(first))]
    kinks = np.unique(np.round(np.concatenate(jumps), 12) + 0.0)
    kinks.setflags(write=False)
    return kinks


def _jumps(function: Callable[[jax.Array], jax.Array]) -> Float[np.ndarray, " K"]:
    evaluate = compiled(function)
    at = lambda z: np.nan_to_num(np.asarray(evaluate(jnp.asarray(z))))  # noqa: E731
    ends = np.linspace(-40.0, 40.0, 4002)
    left, right = ends[:-1], ends[1:]
    low, high = at(left), at(right)
    for _ in range(60):
        middle = (left + right) / 2
        value = at(middle)
        go_left = np.abs(value - low) > np.abs(high - value)
        left, low = np.where(go_left, left, middle), np.where(go_left, low, value)
        right, high = np.where(go_left, middle, right), np.where(go_left, value, high)
    jump = np.abs(high - low) > 1e-5 * (1 + np.abs(low) + np.abs(high))
    return right[jump]
