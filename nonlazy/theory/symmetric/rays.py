r"""Rays: directions along which a neuron of linear growth costs nothing at the boundary of the dual's domain.

Scaled up by rho, a neuron feels the asymptote \(\phi_\infty(z) = s_\pm |z|\) of its activation alone, and its log density is

\[ F(\rho e) \to -\tfrac{\rho^2}{2} \big( 1 - R(e) \big), \qquad
   R(e) = 2 \sum_c P_c \max_z \Big[ h_c \phi_\infty(z) + \tfrac{k_c}{2} \phi_\infty(z)^2
   - \frac{(z - u_c)^2}{2 d_c} \Big], \quad |e| = 1 . \]

log Z is finite only where R < 1 for all e. Where the optimum lies on this boundary a few outlier neurons of activity
\(O(\sqrt N)\) sit on the rays with R = 1: sparse coding. Activations that saturate have R = 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nonlazy.activations import Activation
from nonlazy.compilation import double_precision
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.modes import distinct

FAR = 1e8
POWER_STEPS = 400
POLISH_STEPS = 20


class Rays(NamedTuple):
    """Unit directions e (k, f), R, and per class preactivations z and activities phi_inf(z) at e; derivatives of R by A.

    `slope` (k, C, r) and `curvature` (k, C r, C r) are the first and second derivatives of R by the loadings A.
    """

    direction: Float[np.ndarray, "k f"]
    growth: Float[np.ndarray, " k"]
    preactivation: Float[np.ndarray, "k C"]
    activity: Float[np.ndarray, "k C"]
    slope: Float[np.ndarray, "k C r"]
    curvature: Float[np.ndarray, "k Cr Cr"]


@double_precision
def asymptotic_slopes(phi: Activation) -> Float[np.ndarray, " 2"]:
    """phi(z) / z far to the right and far to the left; zero for an activation that saturates."""
    slopes = np.asarray(phi(jnp.array([FAR, -FAR]))) / [FAR, -FAR]
    return np.where(np.abs(slopes) > 1e-6, slopes, 0.0)


def find_rays(law: Law, slopes: Float[np.ndarray, " 2"], starts: Float[np.ndarray, "n f"]) -> Rays:
    """The local maxima of R over directions, from these starts."""
    r, (n_classes, f) = law.n_tilt, (len(law.counts), law.n_fields)
    if not slopes.any():
        return Rays(
            *(
                np.zeros((0, *shape))
                for shape in ((f,), (), (n_classes,), (n_classes,), (n_classes, r), (n_classes * r,) * 2)
            )
        )
    # R + shift |e|^2 is convex, so that the power iteration ascends.
    shift = np.linalg.eigvalsh((law.spread.T * law.counts / law.variance) @ law.spread).max(initial=0)
    e = _normalized(starts[np.linalg.norm(starts, axis=1) > 0])
    for _ in range(POWER_STEPS):
        previous, e = e, _normalized(_gradient(law, slopes, e) + shift * e)
        if np.abs(e - previous).max(initial=0) < 1e-13:
            break
    polished = (_polish(law, slopes, e[i]) for i in distinct(e, np.arange(len(e))))
    found = [ray for ray in polished if ray is not None]
    if not found:
        return find_rays(law, np.zeros(2), starts)
    rays = Rays(*(np.stack(column) for column in zip(*found, strict=True)))
    kept = distinct(rays.direction, np.arange(len(found)))
    return Rays(*(column[kept] for column in rays))


def _normalized(x: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)


def _peaks(
    law: Law, slopes: Float[np.ndarray, " 2"], h: Float[np.ndarray, "n C"], u: Float[np.ndarray, "n C"]
) -> tuple[Float[np.ndarray, "n C"], Float[np.ndarray, "n C"]]:
    """The maximizing z of each class and the slope phi_inf(z) / z there; z = 0 if neither side has a maximum."""
    d, k = law.variance, law.quadratic
    best, z_best, s_best = -(u**2) / (2 * d), np.zeros_like(h), np.zeros_like(h)
    for s, sign in zip(slopes, (1, -1), strict=True):
        stiffness = 1 - d * k * s**2
        z = (u + d * s * h) / stiffness
        value = (u + d * s * h) ** 2 / (2 * d * stiffness) - u**2 / (2 * d)
        better = (sign * z > 0) & (value > best)
        best, z_best, s_best = (np.where(better, new, old) for new, old in ((value, best), (z, z_best), (s, s_best)))
    return z_best, s_best


def _gradient(law: Law, slopes: Float[np.ndarray, " 2"], e: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    """Half the gradient of R, by the envelope theorem."""
    r = law.n_tilt
    u = e[:, r:] @ law.spread.T
    z, s = _peaks(law, slopes, e[:, :r] @ law.tilt.T, u)
    return np.concatenate([law.counts * s * z @ law.tilt, law.counts * (z - u) / law.variance @ law.spread], axis=1)


def _polish(law: Law, slopes: Float[np.ndarray, " 2"], e: Float[np.ndarray, " f"]) -> tuple[np.ndarray, ...] | None:
    """The exact maximum near e: R is quadratic where no class changes sides, and e its leading eigenvector."""
    r, (n_classes, _) = law.n_tilt, law.tilt.shape
    d, k, counts = law.variance, law.quadratic, law.counts
    top = e
    for _ in range(POLISH_STEPS):
        z, s = (row[0] for row in _peaks(law, slopes, top[None, :r] @ law.tilt.T, top[None, r:] @ law.spread.T))
        off = (z == 0)[:, None]
        v = np.where(off, 0, np.concatenate([(d * s)[:, None] * law.tilt, law.spread], axis=1))
        g = np.concatenate([np.zeros_like(law.tilt), law.spread], axis=1)
        stiffness = d * (1 - d * k * s**2)
        values, basis = np.linalg.eigh((v.T * (counts / stiffness)) @ v - (g.T * (counts / d)) @ g)
        before, top = top, basis[:, -1] * (1 if basis[:, -1] @ top >= 0 else -1)
        if np.abs(top - before).max() < 1e-12:
            break
    else:
        return None  # a point where classes change sides, no maximum
    if values[-1] <= 0:
        return None
    preactivation = np.where(off[:, 0], 0, (v @ top) * d / stiffness)
    activity = s * preactivation
    slope = 2 * (counts * activity)[:, None] * top[:r]
    # Second-order perturbation of the eigenvalue by changes of A.
    scale = np.where(off[:, 0], 0, counts * d * s / stiffness)
    change = np.zeros((len(top), n_classes, r))
    for c in range(n_classes):
        change[:r, c] += scale[c] * (v[c] @ top) * np.eye(r)
        change[:, c] += scale[c] * np.outer(v[c], top[:r])
    change = basis[:, :-1].T @ change.reshape(len(top), -1)
    curvature = 2 * (change.T / np.maximum(values[-1] - values[:-1], 1e-9)) @ change
    direct = 2 * scale * d * s
    for c in range(n_classes):
        rows = slice(c * r, (c + 1) * r)
        curvature[rows, rows] += direct[c] * np.outer(top[:r], top[:r])
    return top, values[-1], preactivation, activity, slope, curvature
