"""Coding schemes of the networks that a run ended with, and their summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from nonlazy.activations import Activation
from nonlazy.compilation import double_precision
from nonlazy.errors import InputError
from nonlazy.representation import CodingScheme, coding_scheme


class LayerScheme(NamedTuple):
    """The scheme of one layer in the last draw of one chain, both counted from 1; None and the reason if it cannot be read."""

    layer: int
    chain: int
    scheme: CodingScheme | None
    reason: str

    @property
    def name(self) -> str:
        return "undecided" if self.scheme is None else self.scheme.name


@double_precision
def last_activities(
    preactivations: Float[ArrayLike, "chain layer neuron P"], phi: Activation
) -> Float[np.ndarray, "chain layer P neuron"]:
    """Activities of each chain's last draw, inputs first as `coding_scheme` takes them."""
    return np.asarray(phi(jnp.asarray(preactivations))).swapaxes(-1, -2)


def layer_schemes(
    tree: xr.DataTree, phi: Activation, seed: int = 0, announce: Callable[[str], Any] = lambda _: None
) -> list[LayerScheme]:
    """The coding scheme of every layer in the last draw of every chain; a second or two for each.

    Args:
        tree: result of `nonlazy.sample`.
        phi: the network's activation.
        seed: of the reader's permutations and simulations.
        announce: is told what is read next.
    """
    inputs, labels = (tree["constant_data"][name].values for name in ("inputs", "labels"))
    names = np.array(json.loads(tree.attrs["configuration"])["task"]["class_names"])
    activities = last_activities(tree["last_draw"]["preactivations"].values, phi)
    found = []
    for layer in range(activities.shape[1]):
        for chain in range(len(activities)):
            announce(f"reading the coding scheme of layer {layer + 1}, chain {chain + 1}")
            try:
                scheme = with_class_names(
                    coding_scheme(activities[chain, layer], labels, inputs=inputs, seed=seed), names
                )
                found.append(LayerScheme(layer + 1, chain + 1, scheme, scheme.reason))
            except InputError as error:  # a class with one input, a layer that is silent
                found.append(LayerScheme(layer + 1, chain + 1, None, str(error)))
    return found


def with_class_names(scheme: CodingScheme, names: np.ndarray) -> CodingScheme:
    """The scheme of labels 0, 1, ... with the names of these classes, in this order."""
    return replace(scheme, classes=names[scheme.classes])


def summarize_schemes(schemes: Sequence[LayerScheme]) -> list[dict[str, Any]]:
    """For each layer the verdict on which its chains agree, or how they divide, and the readings of the chains."""
    found = []
    for layer in sorted({reading.layer for reading in schemes}):
        chains = [reading for reading in schemes if reading.layer == layer]
        votes = Counter(reading.name for reading in chains).most_common()
        divided = "chains disagree: " + ", ".join(f"{count} {name}" for name, count in votes)
        readings = [
            {"chain": c.chain, "scheme": c.name, "reason": c.reason}
            | ({} if c.scheme is None else {"codes": code_table(c.scheme), "evidence": c.scheme.evidence._asdict()})
            for c in chains
        ]
        found.append({"layer": layer, "scheme": votes[0][0] if len(votes) == 1 else divided, "chains": readings})
    return found


def summarize_scheme(scheme: CodingScheme) -> dict[str, Any]:
    """Verdict, codes and evidence of a scheme as plain values."""
    return {
        "scheme": scheme.name,
        "reason": scheme.reason,
        "n_neurons": len(scheme.selectivity),
        "classes": list(map(str, scheme.classes)),
        "codes": code_table(scheme),
        "coding_neurons": scheme.coding_neurons,
        "evidence": scheme.evidence._asdict(),
        "summary": str(scheme),
    }


def code_table(scheme: CodingScheme) -> list[dict[str, Any]]:
    """The codes of a scheme with the classes that they stand for."""
    return [
        {
            "code": code.name,
            "classes": [str(name) for name, on in zip(scheme.classes, code.code, strict=True) if on],
            "fraction": code.fraction,
            "error": code.error,
            "n_neurons": code.n_neurons,
        }
        for code in scheme.codes
    ]
