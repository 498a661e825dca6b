"""The solution for class-symmetric data, written out for all inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from nonlazy.codes import activity_threshold, neuron_codes
from nonlazy.theory.neurons import Branch, OutlierNeurons
from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel
from nonlazy.theory.symmetric.dual import N_NODES, LastLayer
from nonlazy.theory.symmetric.ensemble import Ensemble
from nonlazy.theory.symmetric.evidence import log_evidence
from nonlazy.theory.symmetric.law import Law
from nonlazy.theory.symmetric.newton import solve_dual
from nonlazy.theory.symmetric.passes import Saddle, kernel_of
from nonlazy.theory.symmetric.saddle import solve_saddle
from nonlazy.theory.symmetric.tilted import draw_tilted

# Squared outlier activity per input, relative to the last layer's kernel, that counts as an outlier at all.
MIN_STRENGTH = 1e-4
# Branches lighter than this are left out of tables; it is far below the weight of one neuron.
MIN_PROBABILITY = 1e-6


@dataclass(frozen=True, eq=False)
class SymmetricSolution:
    r"""Mean-field theory of class-symmetric data.

    Attributes:
        kernels: K_1 ... K_L, outliers included, (L, P, P).
        t: dual variables, (P, m).
        residual: \(\max |Y - N T t - \langle a \phi \rangle|\), outliers included.
        gap: difference of primal and dual value, in nats per neuron; None for several layers, where the problem is not convex.
        free_energy: -S in nats per neuron.
        effective_nodes: smallest effective fraction of quadrature nodes of any layer.
        others: free energies of further solutions that were found.
        n_steps: Newton steps of the dual.
    """

    data: SymmetricData = field(repr=False)
    saddle: Saddle = field(repr=False)
    others: tuple[float, ...]

    @property
    def layers(self) -> list[tuple[Law, Ensemble]]:
        """Law and ensemble of each layer."""
        last = self.saddle.dual.point
        return [(layer.law, layer.ensemble) for layer in self.saddle.layers] + [(last.law, last.ensemble)]

    @cached_property
    def kernels(self) -> Float[np.ndarray, "L P P"]:
        labels = self.data.labels
        found = [layer.kernel.matrix(labels) for layer in self.saddle.layers]
        last = self.last_kernel.matrix(labels)
        activity = self.outliers.activity
        return np.stack([*found, last + activity.T @ activity])

    @cached_property
    def last_kernel(self) -> SymmetricKernel:
        """The last layer's kernel without outliers."""
        return kernel_of(self.saddle.dual.point.ensemble)

    @property
    def t(self) -> Float[np.ndarray, "P m"]:
        return self.saddle.dual.point.t[self.data.labels]

    @property
    def residual(self) -> float:
        return self.saddle.dual.residual

    @property
    def gap(self) -> float | None:
        return None if self.saddle.layers else self.saddle.dual.gap

    def log_evidence(self, width: int) -> float | None:
        """log p(Y) at this width, for one hidden layer without outliers."""
        if len(self.layers) > 1 or len(self.outliers.readout):
            return None
        return log_evidence(self.data, self.saddle.dual.point, width)

    @property
    def free_energy(self) -> float:
        return self.saddle.free_energy

    @property
    def effective_nodes(self) -> float:
        return min(ensemble.effective_fraction for _, ensemble in self.layers)

    @property
    def n_steps(self) -> int:
        return self.saddle.dual.steps

    @cached_property
    def outliers(self) -> OutlierNeurons:
        """One neuron for each ray that the constraint needs."""
        dual, labels = self.saddle.dual, self.data.labels
        rays, m = dual.point.rays, dual.point.t.shape[1]
        roots = np.sqrt(dual.strengths)[:, None]
        mean_square = dual.strengths * (rays.activity**2 @ self.data.counts)
        strong = mean_square > MIN_STRENGTH * np.trace(self.last_kernel.matrix(labels))
        std = np.sqrt(self.data.readout_variance)
        return OutlierNeurons(
            (std * roots * rays.direction[:, :m])[strong],
            (roots * rays.preactivation)[strong][:, labels],
            (roots * rays.activity)[strong][:, labels],
        )

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The branches of the last layer, heaviest first: readout and class activity at the peak, and weight."""
        point = self.saddle.dual.point
        ensemble, m = point.ensemble, point.t.shape[1]
        modes = ensemble.proposal.modes
        activity = point.law.moments(modes.x).phi
        threshold = activity_threshold(self._activities(activity), self.data.phi.name)
        codes = neuron_codes(activity, threshold)
        readout = np.sqrt(self.data.readout_variance) * modes.x[:, :m]
        found = [
            Branch(tuple(int(b) for b in code), float(p), a, active)
            for code, p, a, active in zip(codes, ensemble.probabilities, readout, activity, strict=True)
            if p > MIN_PROBABILITY
        ]
        # Codes of equal weight by symmetry differ by errors of the quadrature; their order must not.
        return tuple(sorted(found, key=lambda branch: (round(branch.probability, 3), branch.code), reverse=True))

    def _activities(self, activity: Float[np.ndarray, "b C"]) -> Float[np.ndarray, "n C"]:
        """Activities that set the range for codes: the outliers of a network of a hundred neurons included."""
        first = np.unique(self.data.labels, return_index=True)[1]
        return np.concatenate([activity, 10 * self.outliers.activity[:, first]])

    @cached_property
    def between_branches(self) -> float:
        """Fraction of the variance of class activities over neurons that lies between branches: 1 for discrete codes."""
        ensemble = self.saddle.dual.point.ensemble
        phi = ensemble.moments.phi
        shares = ensemble.proposal.shares * ensemble.weights
        weights = shares.sum(axis=1)
        means = shares @ phi / np.maximum(weights, 1e-300)[:, None]
        total = float(np.sum(ensemble.weights @ (phi - ensemble.mean(phi)) ** 2))
        between = float(np.sum(weights @ (means - ensemble.mean(phi)) ** 2))
        return between / total if total > 0 else 0.0

    def code_fractions(self, layer: int) -> dict[str, float]:
        """Fraction of neurons with each code in a layer, from 1; a class counts as active as in `nonlazy.code_fractions`."""
        _, ensemble = self.layers[layer - 1]
        threshold = activity_threshold(self._activities(ensemble.moments.phi), self.data.phi.name)
        found: dict[str, float] = {}
        for code, weight in zip(neuron_codes(ensemble.moments.phi, threshold), ensemble.weights, strict=True):
            name = "".join("1" if active else "0" for active in code)
            found[name] = found.get(name, 0.0) + float(weight)
        return dict(sorted(found.items(), key=lambda item: (round(item[1], 3), item[0]), reverse=True))

    def draw_neurons(
        self, rng: np.random.Generator, n: int
    ) -> tuple[list[Float[np.ndarray, "P n"]], Float[np.ndarray, "n m"]]:
        """Independent draws from the single-neuron laws, without outliers: preactivations of each layer, readout weights."""
        layers = []
        for law, ensemble in self.layers:
            x = ensemble.x[rng.choice(len(ensemble.x), size=n, p=ensemble.weights)]
            h, u = x[:, : law.n_tilt] @ law.tilt.T, x[:, law.n_tilt :] @ law.spread.T
            z = np.empty((len(self.data.labels), n))
            for c, count in enumerate(self.data.counts):
                fields = h[:, c], u[:, c]
                drawn = draw_tilted(rng, law.grid, fields, law.variance[c], law.quadratic[c], int(count))
                z[self.data.labels == c] = drawn.T
            layers.append(z)
        m = self.saddle.dual.point.t.shape[1]
        return layers, np.sqrt(self.data.readout_variance) * x[:, :m]


def solve_symmetric(data: SymmetricData, n_nodes: int = N_NODES, seed: int = 0) -> SymmetricSolution:
    """The theory for class-symmetric data: the convex dual at L = 1, the saddle point of lowest free energy beyond."""
    if len(data.weight_variances) == 1:
        dual = solve_dual(LastLayer(data, data.kernel, seed), n_nodes=n_nodes)
        saddle = Saddle((), dual, np.zeros(0), dual.point.value, 0.0)
        return SymmetricSolution(data, saddle, ())
    first, *others = solve_saddle(data, n_nodes, seed)
    return SymmetricSolution(data, first, tuple(saddle.free_energy for saddle in others))
