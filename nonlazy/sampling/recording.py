"""What is kept of each draw, computed on the fly so that memory does not grow with N^2 times the number of draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nonlazy.errors import InputError
from nonlazy.kernels import block_means, class_averages
from nonlazy.posterior import Position
from nonlazy.sampling.method import NetworkDensity
from nonlazy.validation import shown

DEFAULT_KEEP = ("readout", "kernel_blocks", "class_activity", "predictions")

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "readout": ("neuron", "output"),
    "kernel_blocks": ("layer", "label", "label_"),
    "class_activity": ("layer", "neuron", "label"),
    "predictions": ("test_input", "output"),
    "kernels": ("layer", "input", "input_"),
    "preactivations": ("layer", "neuron", "input"),
    "first_weights": ("feature", "neuron"),
    "deeper_weights": ("layer_above", "neuron_below", "neuron"),
    "targets": ("input", "output"),
    "lp": (),
    "acceptance_rate": (),
    "diverging": (),
    "n_gradients": (),
    "step_size": (),
    "exchange_rate": (),
    "replacement_rate": (),
    "round_trips": (),
    "work_up": ("pair",),
    "work_down": ("pair",),
    "log_evidence_hottest": (),
    "time": (),
    "training_error": (),
    "test_error": (),
}
CHOICES = ("readout", "kernel_blocks", "class_activity", "predictions", "kernels", "preactivations", "weights")
# Under the names of what is kept, but for weights, whose layers differ in shape.
KEPT_VARIABLES = (*CHOICES[:-1], "first_weights", "deeper_weights")


class Record(NamedTuple):
    """Values of one draw by name, and its kernels, whose mean over draws is always kept."""

    values: dict[str, Array]
    kernels: Float[Array, "L P P"]


def check_keep(keep: Any) -> tuple[str, ...]:
    """The names to keep, without repetition, in a fixed order."""
    names = (keep,) if isinstance(keep, str) else tuple(keep) if isinstance(keep, Sequence) else keep
    if not isinstance(names, tuple) or any(not isinstance(name, str) or name not in CHOICES for name in names):
        raise InputError(f"keep must hold names from {', '.join(map(repr, CHOICES))}, got {shown(keep)}.")
    return tuple(name for name in CHOICES if name in names)


def record(density: NetworkDensity, key: Array, position: Position, keep: tuple[str, ...]) -> Record:
    """The kept values of one draw; readout and test noise are drawn exactly given the hidden coordinates."""
    model, task = density.model, density.task
    key_network, key_noise = jax.random.split(key)
    layers, test_layers, readout, weights = density.network(key_network, position)
    averages = class_averages(task.labels, len(task.class_names))
    kernels = model.kernels(layers)
    outputs = model.outputs(model.phi(layers[-1]), readout)
    noise = jax.random.normal(key_noise, outputs.shape)
    values: dict[str, Any] = {
        "training_error": jnp.mean((task.targets - outputs) ** 2),
        "targets": outputs + jnp.sqrt(density.temperature) * noise,
    }
    if task.test_targets is not None:
        predictions = model.outputs(model.phi(test_layers[-1]), readout)
        values["test_error"] = jnp.mean((task.test_targets - predictions) ** 2)
        if "predictions" in keep:
            values["predictions"] = predictions
    if "readout" in keep:
        values["readout"] = readout
    if "kernel_blocks" in keep:
        values["kernel_blocks"] = block_means(kernels, averages)
    if "class_activity" in keep:
        values["class_activity"] = jnp.stack([(averages @ model.phi(z)).T for z in layers])
    if "kernels" in keep:
        values["kernels"] = kernels
    if "preactivations" in keep:
        values["preactivations"] = jnp.stack([z.T for z in layers])
    if "weights" in keep:
        values["first_weights"] = weights[0]
        if model.depth > 1:
            values["deeper_weights"] = jnp.stack(weights[1:])
    return Record(values, kernels)
