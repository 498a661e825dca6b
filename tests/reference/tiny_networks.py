"""Reference moments of tiny networks by NumPyro's NUTS over all weights; writes tiny_networks.json beside this file.

Independent of nonlazy: the network is written out from the model's scalings, with every weight a variable, no
reduction, and another sampler. Run it from the repository's root (about ten minutes on two cores):

    .venv/bin/python tests/reference/tiny_networks.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from arviz_stats.base import array_stats
from numpyro.infer import MCMC, NUTS

PHI = {
    "linear": lambda z: z,
    "erf": lambda z: (1 + jax.scipy.special.erf(jnp.sqrt(jnp.pi) * z / 2)) / 2,
    "relu": lambda z: jnp.where(z > 0, z, 0),
    "tanh": jnp.tanh,
    "swish": lambda z: z / (1 + jnp.exp(-z)),
}
N, P, TEMPERATURE, READOUT_STD, WEIGHT_STDS = 3, 4, 0.05, 2.0, (1.2, 0.8)
LABELS = [0, 0, 1, 1]
CHAINS, WARMUP, DRAWS = 4, 2000, 25000

# (activation, regime, depth, number of features); N0 < P makes K_0 singular.
CASES = [(phi, regime, 1, 6) for phi in PHI for regime in ("nonlazy", "lazy")]
CASES += [("tanh", "nonlazy", 2, 6), ("relu", "nonlazy", 2, 6), ("erf", "nonlazy", 1, 3)]


def inputs(n_features):
    """Training inputs, with the classes apart, and three test inputs."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((P + 3, 6))
    x[[0, 1, 4], 0] += 1.0
    x[[2, 3, 5], 0] -= 1.0
    return np.split(x[:, :n_features].round(3), [P])


def readout_variance(activation, regime, depth):
    """Prior variance of the readout: s_a^2 P^(-1/L) for linear and ReLU-like, s_a^2 / P for saturating, s_a^2 if lazy."""
    if regime == "lazy":
        return READOUT_STD**2
    return READOUT_STD**2 / (P if activation in ("erf", "tanh") else P ** (1 / depth))


def network(weights, activation, regime, x_all):
    """Outputs and last-layer features on all inputs."""
    phi, n_features = PHI[activation], x_all.shape[1]
    h = phi(x_all @ weights["W1"].T / np.sqrt(n_features))
    if "W2" in weights:
        h = phi(h @ weights["W2"].T / np.sqrt(N))
    return h @ weights["a"] / (N if regime == "nonlazy" else np.sqrt(N)), h


def model(activation, regime, depth, x, y):
    weights = {"W1": numpyro.sample("W1", dist.Normal(0, WEIGHT_STDS[0]).expand((N, x.shape[1])).to_event(2))}
    if depth == 2:
        weights["W2"] = numpyro.sample("W2", dist.Normal(0, WEIGHT_STDS[1]).expand((N, N)).to_event(2))
    std = np.sqrt(readout_variance(activation, regime, depth))
    weights["a"] = numpyro.sample("a", dist.Normal(0, std).expand((N, y.shape[1])).to_event(2))
    f, _ = network(weights, activation, regime, x)
    numpyro.sample("y", dist.Normal(f, np.sqrt(TEMPERATURE)).to_event(2), obs=y)


def summaries(outputs, predictions, kernel):
    """Scalars of each draw, from outputs (..., P, m), predictions (..., 3, m) and kernels (..., P, P)."""
    same = np.equal.outer(LABELS, LABELS)
    off = ~np.eye(P, dtype=bool)
    own = np.eye(2, dtype=bool)[LABELS]
    values = {
        "output, own class": outputs[..., own].mean(-1),
        "output, other class": outputs[..., ~own].mean(-1),
        "kernel, diagonal": np.diagonal(kernel, axis1=-2, axis2=-1).mean(-1),
        "kernel, within": kernel[..., same & off].mean(-1),
        "kernel, between": kernel[..., ~same].mean(-1),
    }
    return values | {f"prediction {i},{r}": predictions[..., i, r] for i in range(3) for r in range(2)}


def run(activation, regime, depth, n_features, seed):
    x, x_test = inputs(n_features)
    y = np.eye(2)[LABELS]
    kernel = NUTS(model, target_accept_prob=0.9)
    mcmc = MCMC(
        kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(seed), activation, regime, depth, x, y)
    weights = mcmc.get_samples(group_by_chain=True)
    f, h = jax.vmap(jax.vmap(lambda w: network(w, activation, regime, np.concatenate([x, x_test]))))(weights)
    f, h = np.asarray(f), np.asarray(h)
    found = {}
    axes = {"chain_axis": 0, "draw_axis": 1}
    for name, values in summaries(
        f[..., :P, :], f[..., P:, :], h[..., :P, :] @ h[..., :P, :].swapaxes(-1, -2) / N
    ).items():
        squares = (values - values.mean()) ** 2
        found[name] = {
            "mean": float(values.mean()),
            "mean_mcse": float(array_stats.mcse(values, **axes)),
            "variance": float(squares.mean()),
            "variance_mcse": float(array_stats.mcse(squares, **axes)),
            "rhat": float(array_stats.rhat(values, **axes)),
            "ess": float(array_stats.ess(squares, method="mean", **axes)),
        }
    return found, int(mcmc.get_extra_fields()["diverging"].sum())


def case_name(activation, regime, depth, n_features):
    return f"{activation}/{regime}/L{depth}/N0={n_features}"


def main():
    numpyro.enable_x64()
    settings = {"N": N, "P": P, "temperature": TEMPERATURE, "readout_std": READOUT_STD, "weight_stds": WEIGHT_STDS}
    result = {"settings": settings | {"labels": LABELS, "chains": CHAINS, "draws": DRAWS}, "inputs": {}, "cases": {}}
    for n_features in sorted({case[3] for case in CASES}):
        x, x_test = inputs(n_features)
        result["inputs"][str(n_features)] = {"train": x.tolist(), "test": x_test.tolist()}
    for seed, case in enumerate(CASES):
        began = time.time()
        found, diverging = run(*case, seed)
        result["cases"][case_name(*case)] = found
        rhat, ess = max(v["rhat"] for v in found.values()), min(v["ess"] for v in found.values())
        took = f"{case_name(*case):24} {time.time() - began:6.1f} s"
        print(f"{took}  R-hat {rhat:.4f}  ESS {ess:7.0f}  diverging {diverging}", flush=True)
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
