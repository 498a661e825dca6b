"""Codes of neurons: the subset of classes that activate each, and how common each code is."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Bool

from nonlazy.errors import InputError
from nonlazy.validation import run_of, shown

# Activity half-way between off and on, for activations whose range is known.
MIDPOINTS = {"erf": 0.5, "tanh": 0.0}


def activity_threshold(activity: ArrayLike, activation: str) -> float:
    """Class activity above which a class counts as activating a neuron: the middle of the activation's range.

    Where the activation is not bounded, the range is that of the given activities, so that for sparse coding only the
    few strongly active neurons carry codes.
    """
    activity = np.asarray(activity)
    return MIDPOINTS.get(activation, float(activity.min() + activity.max()) / 2)


def neuron_codes(class_activity: ArrayLike, threshold: float) -> Bool[np.ndarray, "... neuron label"]:
    """Whether each class activates each neuron."""
    return np.asarray(class_activity) > threshold


def code_names(codes: Bool[np.ndarray, "... neuron label"]) -> np.ndarray:
    """Codes as strings: "110" is active for the first two classes."""
    digits = np.where(codes, "1", "0")
    return np.apply_along_axis("".join, -1, digits) if digits.size else np.empty(digits.shape[:-1], dtype="<U1")


def class_activity_of_layer(tree: xr.DataTree, layer: int = -1) -> xr.DataArray:
    """Class activities (chain, draw, neuron, label) of one layer; -1 is the last.

    Raises:
        InputError: the run did not keep class_activity, or has no such layer.
    """
    if "class_activity" not in run_of("tree", tree, "posterior")["posterior"]:
        raise InputError("this needs class_activity: sample with keep=(..., 'class_activity').")
    activity = tree["posterior"]["class_activity"]
    depth = activity.sizes["layer"]
    if isinstance(layer, bool) or not isinstance(layer, int) or not (layer == -1 or 1 <= layer <= depth):
        raise InputError(f"layer must be a number from 1 to {depth}, or -1 for the last, got {shown(layer)}.")
    return activity.isel(layer=-1 if layer == -1 else layer - 1)


def activation_of(tree: xr.DataTree) -> str:
    """Name of the activation that a run used."""
    return json.loads(tree.attrs["configuration"])["model"]["activation"]


def code_fractions(tree: xr.DataTree, layer: int = -1) -> xr.DataArray:
    """Fraction of neurons with each code, averaged over the draws of each chain.

    A class activates a neuron if its class activity exceeds the middle of the activation's range (erf: 1/2, tanh: 0;
    otherwise the middle between the smallest and the largest activity in the layer).

    Args:
        tree: result of `nonlazy.sample`.
        layer: number of the layer from 1, or -1 for the last.

    Returns:
        (chain, code), codes as strings: "110" is active for the first two classes. Codes that never occur are left out.
        Chains freeze in codes of their start: compare them before reading one as an equilibrium value.

    Raises:
        InputError: the run did not keep class_activity, or has no such layer.
    """
    activity = class_activity_of_layer(tree, layer)
    threshold = activity_threshold(activity, activation_of(tree))
    codes = neuron_codes(activity.transpose("chain", "draw", "neuron", "label"), threshold)
    present, index = np.unique(codes.reshape(-1, codes.shape[-1]), axis=0, return_inverse=True)
    index = index.reshape(codes.shape[0], -1)
    fractions = np.stack([np.bincount(row, minlength=len(present)) / row.size for row in index])
    coords = {"chain": activity.chain, "code": code_names(present)}
    return xr.DataArray(fractions, coords, ("chain", "code"), name="code_fractions")
