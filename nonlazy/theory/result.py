"""`Theory`: what the mean-field theory says of a posterior, and how far to trust it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from nonlazy.errors import InputError
from nonlazy.kernels import kernel_blocks
from nonlazy.posterior import Posterior
from nonlazy.theory.drawing import coordinates
from nonlazy.theory.neurons import Branch, OutlierNeurons
from nonlazy.theory.predictor import N_NEURONS, Neurons, Prediction, predict
from nonlazy.validation import finite_array, integer


class Network(NamedTuple):
    """A network drawn from the theory: preactivations (L, N, P), readout (N, m), and its coordinates for `nonlazy.sample`."""

    preactivations: Float[np.ndarray, "L N P"]
    readout: Float[np.ndarray, "N m"]
    position: tuple[Float[np.ndarray, "..."], ...]


@dataclass(frozen=True, eq=False)
class Theory:
    r"""Solution of the mean-field theory for a posterior.

    Attributes:
        kernels: K_1 ... K_L on the training inputs, (L, P, P); outliers included.
        kernels_error: standard errors of their entries where they come from particles, otherwise None.
        scheme: coding scheme of the last layer, "analog", "redundant", "sparse", or "none" (lazy).
        codes: branches of the last layer's single-neuron law, heaviest first: code (1 or 0 per class), probability,
            readout (m,), activity (per class). Empty for analog and lazy networks.
        code_fractions: for each layer the fraction of neurons with each code, as a dictionary.
        readout_covariance: second moments \(\langle a a^T \rangle\) of the bulk's readout weights, (m, m).
        bulk: the heaviest branch where there are outliers, otherwise None.
        outliers: neurons of activity \(O(\sqrt N)\), one for each ray; empty unless the scheme is sparse.
        t: dual variables, (P, m): the mean outputs are Y - N T t (lazy: Y - T t).
        free_energy: \(-S\) per neuron, the limit of \(-\log p(Y) / N\) up to constants (lazy: \(-\log p(Y)\)).
        gap: primal minus dual value in nats per neuron, where the problem is convex (L = 1); 0 at the global optimum. None
            otherwise.
        residual: largest violation of \(\langle a \phi(z) \rangle = Y - N T t\).
        converged: whether the solver reached its tolerances.
        method: how it was solved.
        notes: what to keep in mind, in plain words.
        other_solutions: free energies of further solutions, if the problem is not convex and they were found.
    """

    posterior: Posterior = field(repr=False)
    method: str
    scheme: str
    kernels: Float[np.ndarray, "L P P"] = field(repr=False)
    codes: tuple[Branch, ...]
    code_fractions: tuple[dict[str, float], ...]
    readout_covariance: Float[np.ndarray, "m m"] | None
    outliers: OutlierNeurons = field(repr=False)
    t: Float[np.ndarray, "P m"] | None = field(repr=False)
    free_energy: float
    gap: float | None
    residual: float
    converged: bool
    notes: tuple[str, ...]
    other_solutions: tuple[float, ...] = ()
    kernels_error: Float[np.ndarray, "L P P"] | None = field(default=None, repr=False)
    _law: Any = field(default=None, repr=False)

    @property
    def bulk(self) -> Branch | None:
        return self.codes[0] if self.scheme == "sparse" and self.codes else None

    @property
    def log_evidence(self) -> float | None:
        r"""\(\log p(Y)\) at the posterior's width, with the fluctuations around the mean field, for one hidden layer and
        class-symmetric data without outliers; None otherwise.
        """
        law = self._law
        return law.log_evidence(self.posterior.model.width) if hasattr(law, "log_evidence") else None

    @property
    def kernel_blocks(self) -> Float[np.ndarray, "L C C"]:
        """Block means of the kernels, diagonal entries left out."""
        return np.asarray(kernel_blocks(self.kernels, self.posterior.task.labels))

    def predict(self, inputs: ArrayLike, seed: int = 0) -> Prediction:
        r"""Mean and variance of the outputs on new inputs, over networks of the posterior's width.

        Linear and lazy networks: closed forms. Otherwise from 20 000 drawn neurons (docs, Predictors), where `error` is
        the Monte Carlo error of the mean.

        Args:
            inputs: (n, N0).
            seed: of the drawn neurons.

        Returns:
            mean (n, m), variance (n, m), error (n, m).

        Raises:
            InputError: inputs of another number of features, or not finite.
        """
        inputs = finite_array("inputs", inputs, ndim=2)
        if inputs.shape[1] != self.posterior.task.n_features:
            raise InputError(
                f"inputs must have the {self.posterior.task.n_features} features of the training inputs, got {inputs.shape[1]}."
            )
        if hasattr(self._law, "predict"):
            mean, variance = self._law.predict(inputs)
            return Prediction(mean, variance, np.zeros_like(mean))
        layers, readout = self._law.draw_neurons(np.random.default_rng(seed), N_NEURONS)
        assert self.t is not None
        return predict(self.posterior, Neurons(layers, readout, self.outliers), self.kernels, self.t, inputs)

    def draw(self, width: int | None = None, seed: int = 0) -> Network:
        """A network of independent draws from the single-neuron laws, each ray of outliers represented by one neuron.

        Args:
            width: neurons in each layer; the model's by default. Only a network of the model's width has coordinates that
                `nonlazy.sample` can start from; for others `position` is empty.
            seed: the same seed gives the same network.

        Raises:
            InputError: a width below 1, or below the number of outliers.
        """
        n = self.posterior.model.width if width is None else integer("width", width, max(1, len(self.outliers.readout)))
        rng = np.random.default_rng(integer("seed", seed, 0))
        layers, readout = self._law.draw_neurons(rng, n)
        k = len(self.outliers.readout)
        if k:
            layers[-1][:, :k] = np.sqrt(n) * self.outliers.preactivations.T
            readout[:k] = np.sqrt(n) * self.outliers.readout
        position = coordinates(self.posterior, layers, rng) if n == self.posterior.model.width else ()
        return Network(np.stack([z.T for z in layers]), readout, position)

    def to_dataset(self) -> xr.Dataset:
        """Kernels, blocks, codes, outliers and t as an `xarray.Dataset`, for saving; figures and notes as attributes."""
        names = list(self.posterior.task.class_names)
        variables: dict[str, Any] = {
            "kernels": (("layer", "input", "input_"), self.kernels),
            "kernel_blocks": (("layer", "label", "label_"), self.kernel_blocks),
        }
        if self.kernels_error is not None:
            variables["kernels_error"] = (("layer", "input", "input_"), self.kernels_error)
        if self.readout_covariance is not None:
            variables["readout_covariance"] = (("output", "output_"), self.readout_covariance)
        if self.t is not None:
            variables["t"] = (("input", "output"), self.t)
        coords: dict[str, Any] = {"layer": np.arange(1, len(self.kernels) + 1), "label": names, "label_": names}
        if self.codes:
            variables["code_probability"] = (("branch",), np.array([b.probability for b in self.codes]))
            variables["code_readout"] = (("branch", "output"), np.stack([b.readout for b in self.codes]))
            variables["code_activity"] = (("branch", "label"), np.stack([b.activity for b in self.codes]))
            coords["branch"] = ["".join(map(str, b.code)) for b in self.codes]
        if len(self.outliers.readout):
            variables["outlier_readout"] = (("outlier", "output"), self.outliers.readout)
            variables["outlier_activity"] = (("outlier", "input"), self.outliers.activity)
        return xr.Dataset(
            variables, coords, attrs=self.figures() | {"configuration": json.dumps(self.posterior.describe())}
        )

    def figures(self) -> dict[str, Any]:
        """Method, scheme, free energy, gap, residual and notes as plain values."""
        return {
            "method": self.method,
            "scheme": self.scheme,
            "free_energy": self.free_energy,
            "gap": float("nan") if self.gap is None else self.gap,
            "residual": self.residual,
            "converged": int(self.converged),
            "other_solutions": list(self.other_solutions),
            "code_fractions": json.dumps(self.code_fractions),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        model, task = self.posterior.model, self.posterior.task
        lines = [
            f"{self.scheme} coding: {model.phi.name}, {model.regime}, L = {model.depth}, N = {model.width}, "
            f"P = {task.n_inputs}, T = {self.posterior.temperature:g} ({self.method})",
            f"free energy {self.free_energy:.6g} nats per neuron, residual {self.residual:.2g}, "
            + ("no gap: the problem is not convex" if self.gap is None else f"primal-dual gap {self.gap:.2g} nats")
            + ("" if self.converged else "; NOT CONVERGED"),
        ]
        for layer, blocks in enumerate(self.kernel_blocks, start=1):
            rows = "; ".join(" ".join(f"{value:.4g}" for value in row) for row in blocks)
            lines.append(f"kernel blocks, layer {layer}: {rows}")
        if self.codes:
            lines.append(f"{'code':>12}  {'fraction':>8}  readout | activity per class")
        for branch in self.codes[:12]:
            numbers = ", ".join(f"{x:.3f}" for x in branch.readout), ", ".join(f"{x:.3f}" for x in branch.activity)
            lines.append(
                f"{'-'.join(map(str, branch.code)):>12}  {branch.probability:8.4f}  {numbers[0]} | {numbers[1]}"
            )
        if len(self.codes) > 12:
            lines.append(f"{'':>12}  and {len(self.codes) - 12} more branches")
        if len(self.outliers.readout):
            lines.append(f"{len(self.outliers.readout)} outlier neurons, squared activity per input / N: "
                         + ", ".join(f"{x:.4g}" for x in self.outliers.strength))  # fmt: skip
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)
