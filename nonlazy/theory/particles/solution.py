"""What the particle solver returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from nonlazy.validation import integer


@dataclass(frozen=True, eq=False)
class OutlierNeurons:
    r"""Neurons whose activity grows like the square root of the width, one for each ray.

    Attributes:
        readout: \(\tilde{a} = a / \sqrt{N}\), (k, m).
        preactivations: \(\tilde{z} = z / \sqrt{N}\), (k, P).
        activity: \(\phi_\infty(\tilde{z})\), (k, P); it adds \(\sum_k \tilde{\phi}_k \tilde{\phi}_k^T\) to the kernel.
    """

    readout: Float[np.ndarray, "k m"]
    preactivations: Float[np.ndarray, "k P"]
    activity: Float[np.ndarray, "k P"]

    @property
    def strength(self) -> Float[np.ndarray, " k"]:
        """Squared activity, summed over inputs, per input."""
        return np.mean(self.activity**2, axis=1)


@dataclass(frozen=True, eq=False)
class ParticleSolution:
    r"""Mean-field theory by particles: means over independent replicates and their standard errors.

    Attributes:
        kernels: K_1 ... K_L, outliers included, (L, P, P); kernels_error likewise.
        t: dual variables, (P, m); t_error likewise.
        residual: \(Y - N T t - \langle a \phi \rangle\) at the end, (P, m); residual_error likewise.
        free_energy: D(t), per neuron, from fresh particles taken along the path of t.
        free_energy_error: its standard error.
        outliers: neurons along rays, of the first replicate; empty for saturating activations.
        converged: whether all checks passed.
        status: which did not, in words.
        n_steps: steps of t.
        history: values after each step of t, (n_steps, replicates): "decrement", "residual", "change", "moves".
        preactivations: particles of each layer with equal weights, (n, P) each.
        readout_mean: \(\sigma_a^2 t^T \phi(z)\) of the last layer's particles, (n, m).
        readout_variance: variance of a readout weight around this mean.
    """

    kernels: Float[np.ndarray, "L P P"]
    kernels_error: Float[np.ndarray, "L P P"]
    t: Float[np.ndarray, "P m"]
    t_error: Float[np.ndarray, "P m"]
    residual: Float[np.ndarray, "P m"]
    residual_error: Float[np.ndarray, "P m"]
    free_energy: float
    free_energy_error: float
    outliers: OutlierNeurons
    converged: bool
    status: str
    n_steps: int
    history: dict[str, np.ndarray]
    preactivations: list[Float[np.ndarray, "n P"]]
    readout_mean: Float[np.ndarray, "n m"]
    readout_variance: float
    kernels_by_replicate: Float[np.ndarray, "B L P P"] = field(repr=False)

    def draw_neurons(
        self, rng: np.random.Generator, n: int
    ) -> tuple[list[Float[np.ndarray, "P n"]], Float[np.ndarray, "n m"]]:
        r"""Preactivations of n neurons in each layer, (P, n), and readout weights (n, m), as a network of width n has them.

        Each ray of outliers is represented by one neuron, \(a = \sqrt{n} \tilde{a}\), \(z = \sqrt{n} \tilde{z}\); all others
        are drawn from the particles.
        """
        integer("n", n, len(self.outliers.readout) + 1)
        layers = [z[rng.integers(len(z), size=n)].T for z in self.preactivations[:-1]]
        chosen = rng.integers(len(self.readout_mean), size=n)
        last = self.preactivations[-1][chosen].T
        readout = self.readout_mean[chosen] + np.sqrt(self.readout_variance) * rng.standard_normal((n, self.t.shape[1]))
        k = len(self.outliers.readout)
        last[:, :k] = np.sqrt(n) * self.outliers.preactivations.T
        readout[:k] = np.sqrt(n) * self.outliers.readout
        return [*layers, last], readout
