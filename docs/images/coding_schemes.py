"""Makes coding-schemes.png: activities of three one-layer networks after learning the toy task. Takes minutes."""

import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import nonlazy as nl
from nonlazy import plot
from nonlazy.analysis import order_by_class, order_by_code

SCHEMES = {"linear": "linear: analog", "erf": "sigmoidal: redundant", "relu": "ReLU: sparse"}


def last_activities(activation: str, task: nl.tasks.Task) -> np.ndarray:
    """Activities (neuron, input) of the last draw of one chain, neurons sorted by code."""
    model = nl.Model(width=100, activation=activation)
    posterior = nl.Posterior(model, task, temperature=1e-5)
    tree = nl.sample(posterior, chains=1, warmup=200, draws=1, progress=True)
    z = tree["last_draw"]["preactivations"].values[0, 0][:, order_by_class(task.labels)]
    features = np.asarray(model.phi(jnp.asarray(z)))
    by_class = np.stack([features[:, task.labels == c].mean(axis=1) for c in np.unique(task.labels)], axis=1)
    return features[order_by_code(by_class, activation)]


def main() -> None:
    """Sample the three networks and save the picture beside this file."""
    warnings.simplefilter("ignore", nl.SamplingWarning)
    task = nl.tasks.orthogonal(n_inputs=100, class_ratios=(0.5, 0.25, 0.25))
    names = [f"class {name}" for name in task.class_names]
    with plot.style():
        figure, axes = plot.subplots(1, 3, 3.1, 2.8)
        for ax, (activation, title) in zip(axes[0], SCHEMES.items(), strict=True):
            plot.activity(last_activities(activation, task), task.labels, names, ax).set_title(title)
        figure.savefig(Path(__file__).with_name("coding-schemes.png"))


if __name__ == "__main__":
    main()
