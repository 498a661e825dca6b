"""Networks on images, shared by the entries of MNIST and CIFAR-10: representations and errors on test inputs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from nonlazy import plot
from nonlazy.analysis import generalization, predictor, shown_inputs
from nonlazy.compilation import double_precision
from nonlazy.kernels import kernel_blocks
from nonlazy.model import Model
from nonlazy.plot.style import class_colour
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.reproduce import drawing
from nonlazy.reproduce.claims import Claim, above, below
from nonlazy.reproduce.entry import Job, Outcome
from nonlazy.reproduce.networks import NAMES, block_contrast, draw
from nonlazy.tasks import Task
from nonlazy.theory import Theory, solve


def compute_images(job: Job, task: Task) -> Outcome:
    """All nonlinearities and depths on one task."""
    outcome = Outcome()
    for depth in job.settings["depths"]:
        for activation in NAMES:
            network = Network(job, task, activation, depth)
            outcome.claims += network.claims()
            outcome.pictures += [network.representation_picture(), network.predictor_picture()]
            outcome.numbers[network.title] = network.numbers()
    return outcome


class Network:
    """One non-lazy network, sampled and in theory as far as there is one, and the lazy theory for it."""

    def __init__(self, job: Job, task: Task, activation: str, depth: int) -> None:
        self.settings = s = job.settings
        self.task, self.activation = task, activation
        self.title = f"{NAMES[activation]}, L = {depth}"
        model = Model(depth=depth, width=s["width"], activation=activation)
        self.posterior = Posterior(model, task, s["width_temperature"] / s["width"])
        lazy = Model(depth=depth, width=s["width"], activation=activation, regime="lazy")
        self.lazy = solve(Posterior(lazy, task, s["lazy_temperature"]))
        job.announce(f"{self.title}: theory")
        self.theory = self._theory(job)
        job.announce(f"{self.title}: sampling")
        self.tree = draw(self.posterior, s["sampling"], job.seed, keep=("predictions", "weights"))
        self.errors = {"sampled": generalization(self.tree), "lazy theory": generalization(self.lazy)}
        if self.theory is not None:
            self.errors["theory"] = generalization(self.theory)

    def _theory(self, job: Job) -> Theory | None:
        """None where there is none, for deep ReLU networks, or where the settings leave it out."""
        deep = self.posterior.model.depth > 1
        if self.activation not in job.settings["theory"] or (deep and self.activation != "linear"):
            return None
        particles = job.settings["n_particles"] if self.activation != "linear" else None
        return solve(self.posterior, seed=job.seed, progress=False, throw=False, n_particles=particles)

    def claims(self) -> list[Claim]:
        (difference, difference_error), (share, share_error) = self.against_lazy()
        claims = [
            above(
                0.0,
                f"{self.title}: the lazy network's test error is larger (difference of squared errors per output).",
                difference,
                difference_error,
            ),
            above(
                0.5,
                f"{self.title}: mainly because the predictor's variance is smaller (its share in the difference).",
                share,
                share_error,
                "A share above 1 means that the lazy network's mean predictor is the better one.",
            ),
            above(
                1.0,
                f"{self.title}: the kernel on test inputs shows classes more strongly than the lazy one (contrast ratio).",
                self.contrast_ratio(),
            ),
        ]
        if self.theory is not None:
            one, two = predictor(self.tree), predictor(self.theory)
            rms = float(np.sqrt(np.mean((one.mean - two.mean) ** 2)))
            words = (
                ""
                if self.theory.converged
                else "The theory's solver stopped short of its tolerance: " + " ".join(self.theory.notes)
            )
            if self.activation == "erf":
                words += " Chains from the prior keep the codes they froze in; the predictor hardly depends on these."
            statement = (
                f"{self.title}: the mean predictor is the theory's (rms difference over test inputs and outputs)."
            )
            claims.append(below(self.settings["predictor_tolerance"], statement, rms, explanation=words.strip()))
        return claims

    def against_lazy(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """By how much the lazy network errs more, and the variance's share in that; errors by leaving out each chain."""

        def measured(sampled: xr.Dataset) -> np.ndarray:
            lazy = self.errors["lazy theory"]
            difference = float(lazy.error - sampled.error)
            return np.array([difference, float(lazy.variance - sampled.variance) / difference])

        n = self.tree["posterior"].sizes["chain"]
        others = [generalization(self.tree.isel(chain=np.delete(np.arange(n), left_out))) for left_out in range(n)]
        spread = np.std([measured(tree) for tree in others], axis=0)
        error = np.sqrt(n - 1) * spread if n > 1 else np.full(2, np.nan)
        difference, share = zip(measured(self.errors["sampled"]), error, strict=True)
        return difference, share

    def contrast_ratio(self) -> float:
        """Block contrast over mean diagonal of the kernel on test inputs, over that of the lazy network's."""
        own, lazy = (
            float(block_contrast(kernel_blocks(kernel, self.shown.task.labels)) / np.diagonal(kernel).mean())
            for kernel in (self.test_kernel(), self.lazy_test_kernel())
        )
        return own / lazy

    @cached_property
    def shown(self) -> Posterior:
        """The network on test inputs sorted by class, an even choice of them, as if these were to be learned."""
        task = self.task
        assert task.test_inputs is not None and task.test_targets is not None and task.test_labels is not None
        chosen = shown_inputs(task.test_labels, self.settings["shown_inputs"])
        shown = Task(
            task.test_inputs[chosen], task.test_targets[chosen], task.test_labels[chosen], class_names=task.class_names
        )
        return Posterior(self.posterior.model, shown, self.posterior.temperature)

    @cached_property
    @double_precision
    def test_features(self) -> Float[np.ndarray, "draw T N"]:
        """Last layer's activities of the first chain on the shown test inputs, for every fourth draw."""
        model, inputs = self.posterior.model, jnp.asarray(self.shown.task.inputs)
        posterior = self.tree["posterior"].to_dataset().isel(chain=0)
        found = []
        for number in range(posterior.sizes["draw"] - 1, -1, -4):
            one = posterior.isel(draw=number)
            weights = [one["first_weights"].transpose("feature", "neuron").values]
            if "deeper_weights" in one:
                weights += list(one["deeper_weights"].transpose("layer_above", "neuron_below", "neuron").values)
            found.append(np.asarray(model.phi(model.hidden_layers(inputs, list(map(jnp.asarray, weights)))[-1])))
        return np.stack(found)

    def test_kernel(self) -> Float[np.ndarray, "T T"]:
        return np.mean([f @ f.T / f.shape[1] for f in self.test_features], axis=0)

    def lazy_test_kernel(self) -> Float[np.ndarray, "T T"]:
        """The infinite lazy network's, which does not depend on what is learned."""
        return solve(Posterior(self.lazy.posterior.model, self.shown.task, self.lazy.posterior.temperature)).kernels[-1]

    def representation_picture(self) -> Picture:
        """Activities of one network and mean kernels, on test inputs."""
        figure, axes = plot.subplots(1, 3, 3.2, 2.8)
        left, middle, right = axes[0]
        drawing.activities(self.test_features[0], self.shown, left, strongest=self.activation == "relu")
        left.set_title(f"{self.title}: activities")
        drawing.kernel(self.test_kernel(), self.shown, middle).set_title("kernel")
        drawing.kernel(self.lazy_test_kernel(), self.shown, right).set_title("kernel of the lazy network")
        caption = (
            f"{self.title}. Activities of one network and the mean kernel on {self.shown.task.n_inputs} test inputs; for "
            "comparison the kernel of the lazy network, which does not depend on what is learned."
        )
        return Picture(
            f"{self.task.name}-{self._name}-representation", f"{self.title}: representation", caption, figure
        )

    def predictor_picture(self) -> Picture:
        """Mean predictor of one class against theory, and errors per class."""
        figure, axes = plot.subplots(1, 2, 4.2, 2.8)
        left, right = axes[0]
        sampled = predictor(self.tree)
        other = predictor(self.theory) if self.theory is not None else predictor(self.lazy)
        name = "theory" if self.theory is not None else "lazy theory"
        assert self.task.test_labels is not None
        for c, label in enumerate(self.task.class_names):
            members = self.task.test_labels == c
            x, y = other.mean[members, 0], sampled.mean[members, 0]
            left.plot(x, y, ".", ms=3, color=class_colour(c), label=f"class {label}")
        left.axline((0, 0), slope=1, color="0.6", lw=0.8, zorder=0)
        left.set(xlabel=f"mean output, {name}", ylabel="mean output, sampled")
        left.set_title(f"{self.title}: output for class {self.task.class_names[0]}")
        left.legend()
        bias = {key: _by_class(found, "bias_squared") for key, found in self.errors.items()}
        variance = {key: _by_class(found, "variance") for key, found in self.errors.items()}
        plot.bias_variance(bias, variance, self.task.class_names, right)
        caption = (
            f"{self.title}. Mean output for one class on test inputs, and the squared error per output for each class."
        )
        return Picture(f"{self.task.name}-{self._name}-errors", f"{self.title}: predictor and errors", caption, figure)

    @property
    def _name(self) -> str:
        return f"{self.activation}-{self.posterior.model.depth}"

    def numbers(self) -> dict[str, Any]:
        names = ("error", "bias_squared", "variance", "misclassified")
        found: dict[str, Any] = {
            key: {name: float(errors[name]) for name in names} for key, errors in self.errors.items()
        }
        if self.theory is not None:
            found["theory"] |= {"method": self.theory.method, "converged": self.theory.converged}
        return found


def _by_class(errors: xr.Dataset, part: str) -> Float[np.ndarray, " C"]:
    return errors[f"class_{part}"].mean("output").values
