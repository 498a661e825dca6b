r"""The dual of the last layer: t maximizes a concave function that the particles know.

\[ D(t) = \mathrm{tr}\, t^T Y - \tfrac{N T}{2} |t|^2 - \log Z(t), \qquad \nabla D = r = Y - N T t - \sigma_a^2 K t \]

because \(\langle a \phi \rangle = \sigma_a^2 \langle \phi \phi^T \rangle t\). Minus the Hessian, applied to v, with the readout
mean \(\bar{a} = \sigma_a^2 t^T \phi\) of a particle:

\[ H v = N T v + \sigma_a^2 K v + \mathrm{Cov}(\phi \bar{a}^T, \; \bar{a}^T v^T \phi) . \]
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from nonlazy.theory.particles.law import Law
from nonlazy.theory.particles.population import effective_fraction

MAX_ITERATIONS = 30
N_LENGTHS = 32


class Sample(NamedTuple):
    """Features of weighted particles."""

    features: Float[Array, "M P"]
    weights: Float[Array, " M"]

    @property
    def kernel(self) -> Float[Array, "P P"]:
        return (self.weights[:, None] * self.features).T @ self.features


class Dual(NamedTuple):
    """Targets, prior variance of the readout, N T, and the wall of the law of a neuron."""

    targets: Float[Array, "P m"]
    readout_variance: float
    damping: float
    wall: float

    def law(self, factor: Float[Array, "P R"], t: Float[Array, "P m"]) -> Law:
        """The law of a neuron at t."""
        return Law(factor, jnp.sqrt(self.readout_variance) * t, self.wall)

    def residual(self, t: Float[Array, "P m"], kernel: Float[Array, "P P"]) -> Float[Array, "P m"]:
        r"""\(Y - N T t - \sigma_a^2 K t\)."""
        return self.targets - self.damping * t - self.readout_variance * kernel @ t

    def value(self, t: Float[Array, "P m"], log_z: Float[Array, ""] | float) -> Float[Array, ""]:
        """D(t)."""
        return jnp.sum(t * self.targets) - self.damping / 2 * jnp.sum(t**2) - log_z

    def second_moment(self, t: Float[Array, "P m"], kernel: Float[Array, "P P"]) -> Float[Array, "m m"]:
        r"""\(\langle a a^T \rangle = \sigma_a^2 I + \sigma_a^4 t^T K t\)."""
        identity = jnp.eye(t.shape[1])
        return self.readout_variance * identity + self.readout_variance**2 * t.T @ kernel @ t

    def newton_direction(self, t: Float[Array, "P m"], sample: Sample) -> tuple[Float[Array, "P m"], Float[Array, ""]]:
        r"""Direction \(H^{-1} r\) and decrement \(r \cdot H^{-1} r\), twice the distance of D(t) from its maximum.

        Conjugate gradients, preconditioned by \(K \otimes \langle a a^T \rangle\).
        """
        features, weights = sample
        kernel = sample.kernel
        residual = self.residual(t, kernel)
        readout = self.readout_variance * features @ t
        moment = self.second_moment(t, kernel)

        def hessian(v: Float[Array, "P m"]) -> Float[Array, "P m"]:
            changes = jnp.sum(readout * (features @ v), axis=1)
            centred = weights * (changes - weights @ changes)
            return self.damping * v + self.readout_variance * kernel @ v + features.T @ (centred[:, None] * readout)

        ridge = self.damping / jnp.linalg.eigvalsh(moment)[-1] + 1e-10 * jnp.trace(kernel)
        chol = cho_factor(kernel + ridge * jnp.eye(len(kernel)), lower=True)

        def precondition(r: Float[Array, "P m"]) -> Float[Array, "P m"]:
            return jnp.linalg.solve(moment, cho_solve(chol, r).T).T

        direction, _ = cg(hessian, residual, M=precondition, maxiter=MAX_ITERATIONS, tol=1e-3)
        return direction, jnp.sum(residual * direction)

    def hessian(self, t: Float[Array, "P m"], sample: Sample) -> Float[Array, "Pm Pm"]:
        """H as a matrix, t unrolled row by row."""
        features, weights = sample
        products = (features[:, :, None] * (self.readout_variance * features @ t)[:, None, :]).reshape(
            len(features), -1
        )
        products = products - weights @ products
        diagonal = self.damping * jnp.eye(t.size) + self.readout_variance * jnp.kron(sample.kernel, jnp.eye(t.shape[1]))
        return diagonal + (weights[:, None] * products).T @ products

    def tilt_change(
        self, features: Float[Array, "M P"], t: Float[Array, "P m"], step: Float[Array, "P m"]
    ) -> Float[Array, " M"]:
        r"""\(\frac{\sigma_a^2}{2} (|(t + s)^T \phi|^2 - |t^T \phi|^2)\) of each particle."""
        change = features @ step
        return self.readout_variance * jnp.sum(change * (features @ t + change / 2), axis=1)

    def step_length(
        self,
        t: Float[Array, "P m"],
        direction: Float[Array, "P m"],
        sample: Sample,
        largest: Float[Array, ""] | float,
        min_fraction: float,
    ) -> Float[Array, ""]:
        """The largest of a series of step lengths that leaves the weights even enough."""
        lengths = largest * 2.0 ** (-jnp.arange(N_LENGTHS) / 2)

        def fraction(length: Float[Array, ""]) -> Float[Array, ""]:
            return effective_fraction(sample.weights, self.tilt_change(sample.features, t, length * direction))

        return lengths[jnp.argmax(jax.vmap(fraction)(lengths) > min_fraction)]

    def move_sample(self, t: Float[Array, "P m"], step: Float[Array, "P m"], sample: Sample) -> Sample:
        """The sample, weighted so that it follows the law at t + step."""
        log_weights = jnp.log(sample.weights) + self.tilt_change(sample.features, t, step)
        return sample._replace(weights=jax.nn.softmax(log_weights))
