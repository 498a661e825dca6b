r"""The law of a neuron on class-symmetric data, reduced to a few Gaussian fields.

With the kernel of the layer below K = G G^T (class blocks) + diag(d) and the tilt \(\tfrac12 \phi^T \tilde K \phi\),
\(\tilde K = A A^T\) (class blocks) \(+ \mathrm{diag}(k)\), a neuron's preactivations are independent given the fields

\[ h = A \alpha, \quad u = G \nu, \qquad x = (\alpha, \nu) \sim e^{F(x)}, \qquad
   F(x) = -\tfrac12 |x|^2 + \sum_c P_c H_c(h_c, u_c) . \]

In the last layer \(A = \sigma_a t\) and \(\alpha = a / \sigma_a\): the readout weights are the fields. In lower layers
\(\alpha\) is the Hubbard-Stratonovich field of the class sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlazy.theory.symmetric.tilted import Grid, Tilted, tilted


class Law(NamedTuple):
    """Loadings A (C, r) and G (C, s), variances d, quadratic tilts k, inputs per class, and the quadrature grid."""

    tilt: Float[np.ndarray, "C r"]
    spread: Float[np.ndarray, "C s"]
    variance: Float[np.ndarray, " C"]
    quadratic: Float[np.ndarray, " C"]
    counts: Float[np.ndarray, " C"]
    grid: Grid

    @property
    def n_tilt(self) -> int:
        return self.tilt.shape[1]

    @property
    def n_fields(self) -> int:
        return self.tilt.shape[1] + self.spread.shape[1]

    def moments(self, x: Float[np.ndarray, "n f"]) -> Tilted:
        """Tilted moments of each class given the fields."""
        r = self.n_tilt
        return tilted(self.grid, x[:, :r] @ self.tilt.T, x[:, r:] @ self.spread.T, self.variance, self.quadratic)

    def log_density(self, x: Float[np.ndarray, "n f"], moments: Tilted | None = None) -> Float[np.ndarray, " n"]:
        """F, up to the constant of the standard normal."""
        moments = self.moments(x) if moments is None else moments
        return -np.sum(x**2, axis=1) / 2 + moments.log_norm @ self.counts

    def derivatives(
        self, x: Float[np.ndarray, "n f"], moments: Tilted
    ) -> tuple[Float[np.ndarray, "n f"], Float[np.ndarray, "n f f"]]:
        """Gradient and negative Hessian of F."""
        root = np.sqrt(self.variance)
        first = np.concatenate([moments.phi @ (self.counts[:, None] * self.tilt),
                                (moments.noise / root * self.counts) @ self.spread], axis=1)  # fmt: skip
        hh = self.counts * moments.phi_variance
        hu = self.counts * (moments.cross - moments.phi * moments.noise) / root
        uu = self.counts * (moments.noise_square - moments.noise**2 - 1) / self.variance
        a, g = self.tilt, self.spread
        corner = np.einsum("nc,ci,cj->nij", hu, a, g)
        second = np.block(
            [
                [np.einsum("nc,ci,cj->nij", hh, a, a), corner],
                [corner.swapaxes(1, 2), np.einsum("nc,ci,cj->nij", uu, g, g)],
            ]
        )
        return first - x, np.eye(self.n_fields) - second
