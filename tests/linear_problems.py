"""Problems of linear networks that several test files share."""

from __future__ import annotations

import numpy as np

import nonlazy as nl


def posterior(inputs, targets, width, temperature, variance=1.0, stds=(1.0,)):
    task = nl.tasks.from_arrays(inputs, np.arange(len(inputs)) % 2, targets=targets)
    model = nl.Model(
        len(stds), width, "linear", weight_std=stds, readout_std=variance**0.5, readout_scaling=0.0
    )  # fmt: skip
    return nl.Posterior(model, task, temperature)


def orthogonal(targets, width, temperature, variance=1.0, stds=(1.0,)):
    return posterior(nl.tasks.orthogonal(len(targets), (0.5, 0.5)).inputs, targets, width, temperature, variance, stds)
