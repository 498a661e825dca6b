"""`sample`: chains, warm-up, progress, checkpoints, and the draws as one labelled tree."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from xarray import DataTree

from nonlazy.compilation import double_precision, forget_programs_if_many
from nonlazy.errors import InputError, SamplingWarning
from nonlazy.posterior import PARAMETRIZATIONS, Position, Posterior, SinglePrecision
from nonlazy.sampling.chains import Sampler, Schedule, draw_networks
from nonlazy.sampling.checkpoint import Checkpoint
from nonlazy.sampling.devices import make_mesh, shard
from nonlazy.sampling.diagnostics import diagnose
from nonlazy.sampling.hmc import HMC
from nonlazy.sampling.langevin import LANGEVIN
from nonlazy.sampling.mala import MALA
from nonlazy.sampling.mclmc import MCLMC
from nonlazy.sampling.memory_needed import check_memory
from nonlazy.sampling.method import Method, NetworkDensity
from nonlazy.sampling.nuts import NUTS
from nonlazy.sampling.progress import Report
from nonlazy.sampling.recording import DEFAULT_KEEP, check_keep
from nonlazy.sampling.result import to_tree
from nonlazy.sampling.rounding import rounding_errors
from nonlazy.sampling.run import Run
from nonlazy.sampling.tempered import TEMPERED
from nonlazy.theory import solve
from nonlazy.validation import integer, one_of, real_array, shown

METHODS = {method.name: method for method in (HMC, NUTS, MALA, MCLMC, LANGEVIN, TEMPERED)}
# All weights together form funnels: where readout weights are small, hidden weights are large and the fit confines them to
# a narrow valley. Steps tuned to the usual acceptance never enter it: the kernels' tails are cut, and R-hat does not show it.
PLAIN_ACCEPTANCE = 0.95


@double_precision
def sample(
    posterior: Posterior,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    seed: int = 0,
    method: str = "hmc",
    start: str | Sequence[ArrayLike] = "prior",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | Report = True,
    keep: Sequence[str] = DEFAULT_KEEP,
    thin: int = 1,
    parametrization: str | None = None,
    features: str = "float64",
) -> DataTree:
    """Draw networks from the posterior by Markov chains.

    Args:
        posterior: model, task and temperature.
        chains: number of independent chains, advanced together.
        warmup: transitions in which the step size is tuned; not kept.
        draws: draws kept of each chain.
        seed: the same seed on the same machine gives the same draws.
        method: "hmc", "nuts", "mala" or "mclmc" (with Metropolis correction); "langevin", overdamped Langevin dynamics, whose
            draws have a time in which directions that the data leave free relax like exp(-t); or "tempered", whose chains
            change codes: each is a ladder of replicas along a path that the theory anchors, for one hidden layer and orthogonal
            inputs. All leave the posterior invariant.
        start: "prior"; "theory", networks drawn from the mean-field theory (`nonlazy.solve`); or first coordinates, each
            of shape (chains, ...) or the same for all chains.
        checkpoint: folder from which a killed run goes on, to the same draws as if it had not been killed.
        progress: show a progress bar on standard error; or a function (phase, transitions made, transitions in all), called
            about twice a second, whose exceptions end the run.
        keep: what to store of each draw: "readout", "kernel_blocks", "class_activity", "predictions", "kernels",
            "preactivations", "weights" (W^1 as first_weights, W^2 ... W^L as deeper_weights, in units of their prior standard
            deviation).
        thin: transitions for each kept draw.
        parametrization: "reduced" (readout integrated out, first layer whitened) or "plain" (all weights); None picks "plain"
            for "langevin", "reduced" otherwise.
        features: "float64", or "float32" for preactivations and features in single precision, which is faster for several
            layers; coordinates, covariance and log density stay in double. Where the chains end, the log density is compared
            with that of double precision (attribute rounding_error). Not for "plain" and "tempered".

    Returns:
        A tree in ArviZ's layout, axes (chain, draw, ...). Groups: posterior (what `keep` names), sample_stats (lp,
        acceptance_rate, diverging, n_gradients, step_size, training_error, test_error, time), posterior_predictive (targets),
        posterior_mean (kernel), last_draw (preactivations and readout of the last network of each chain),
        observed_data, constant_data. Layers are numbered from 1, labels carry the names of the classes.

    Raises:
        InputError: an argument outside its range; a run that does not fit in memory.
        CheckpointError: a checkpoint that is damaged, in use, or belongs to another run.

    Warns:
        SamplingWarning: draws that should not be trusted as they are, in plain words.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(width=20), nl.tasks.orthogonal(n_inputs=12), temperature=1e-3)
        >>> tree = nl.sample(posterior, chains=2, warmup=200, draws=100, progress=False)
        >>> tree["posterior"]["kernel_blocks"].sizes
        Frozen({'chain': 2, 'draw': 100, 'layer': 1, 'label': 3, 'label_': 3})
    """
    forget_programs_if_many()
    if not isinstance(posterior, Posterior):
        raise InputError(f"posterior must be a nonlazy.Posterior, got {type(posterior).__name__}.")
    schedule = Schedule(
        integer("chains", chains, 1), integer("warmup", warmup, 0), integer("draws", draws, 1), integer("thin", thin, 1)
    )
    integer("seed", seed, 0)
    kept = check_keep(keep)
    chosen, parametrization = choose_method(method, parametrization)
    in_single_precision = check_features(features, chosen, parametrization)
    mesh = make_mesh(schedule.chains)
    if checkpoint is not None and jax.process_count() > 1:
        raise InputError("checkpoint must be None in a run over several processes, which cannot be resumed.")
    prepared = chosen.prepare(posterior, posterior.density(parametrization), seed, progress is True)
    if in_single_precision:
        prepared = SinglePrecision(posterior.reduced)
    density, key = shard((prepared, jax.random.key(seed)), mesh, None)
    sampler = Sampler(density, chosen, schedule, kept, key, mesh)
    check_memory(sampler)
    if isinstance(start, str) and start == "theory":
        positions = theory_positions(posterior, parametrization, sampler, seed, progress is True)
    else:
        positions = first_positions(start, density, sampler)
    if not isinstance(start, str):
        # Common random numbers pull chains from different starts together and would hide that they disagree.
        sampler = sampler._replace(key=jax.random.fold_in(sampler.key, int(_fingerprint(*positions)[:8], 16)))
    task = posterior.task
    configuration = posterior.describe() | {
        "sampling": schedule._asdict()
        | {"seed": seed, "method": method, "parametrization": parametrization, "features": features, "keep": kept},
        "start": start if isinstance(start, str) else f"coordinates {_fingerprint(*positions)}",
        "data": _fingerprint(task.inputs, task.targets, task.labels, task.test_inputs, task.test_targets),
        "versions": {package: version(package) for package in ("nonlazy", "jax", "jaxlib", "blackjax", "numpy")},
    }
    began = time.perf_counter()
    with nullcontext() if checkpoint is None else Checkpoint(checkpoint, configuration) as saved:
        run = Run(sampler, positions, saved)
        run.go(progress)
    networks = sampler.networks(run.chains)
    tree = to_tree(posterior, run, networks, configuration, time.perf_counter() - began)
    if isinstance(density, SinglePrecision):
        tree.attrs["rounding_error"] = float(jnp.abs(rounding_errors(density, run.chains.chains.position)).max())
    for warning in diagnose(tree).warnings:
        warnings.warn(warning, SamplingWarning, stacklevel=3)
    return tree


def choose_method(name: str, parametrization: str | None) -> tuple[Method, str]:
    """The method of this name, its steps tuned to the parametrization, and the parametrization."""
    method = METHODS[one_of("method", name, METHODS)]
    if parametrization is None:
        parametrization = method.parametrization
    one_of("parametrization", parametrization, PARAMETRIZATIONS)
    if parametrization == "plain":
        method = method._replace(target_acceptance=max(method.target_acceptance, PLAIN_ACCEPTANCE))
    return method, parametrization


def check_features(features: str, method: Method, parametrization: str) -> bool:
    """Whether features are computed in single precision.

    Raises:
        InputError: an unknown precision, or one that this method or parametrization does not have.
    """
    if one_of("features", features, ("float64", "float32")) == "float64":
        return False
    if parametrization != "reduced" or method is TEMPERED:
        raise InputError(
            "features 'float32' needs parametrization 'reduced' and another method than 'tempered', got "
            f"{parametrization!r} and {method.name!r}."
        )
    return True


def first_positions(start: str | Sequence[ArrayLike], density: NetworkDensity, sampler: Sampler) -> Position:
    """First coordinates of all chains: drawn from the prior, or as given."""
    if isinstance(start, str):
        one_of("start", start, ("prior", "theory"))
        return sampler.prior_positions()
    chains, shapes = sampler.schedule.chains, density.shapes
    if not isinstance(start, Sequence):
        raise InputError(f"start must be 'prior', 'theory' or coordinates, got {shown(start)}.")
    given = tuple(jnp.asarray(real_array("start", x)) for x in start)
    batched = tuple((chains, *shape) for shape in shapes)
    if tuple(x.shape for x in given) not in (shapes, batched):
        raise InputError(
            f"start must be 'prior', 'theory' or coordinates of shapes {shapes}, with or without a leading axis of {chains} "
            f"chains, got shapes {tuple(x.shape for x in given)}."
        )
    if not all(bool(jnp.isfinite(x).all()) for x in given):
        raise InputError("start must hold finite coordinates, got NaN or infinite entries.")
    return tuple(jnp.broadcast_to(x, shape) for x, shape in zip(given, batched, strict=True))


def theory_positions(
    posterior: Posterior, parametrization: str, sampler: Sampler, seed: int, progress: bool
) -> Position:
    """First coordinates of all chains: networks of independent draws from the theory's single-neuron laws."""
    theory = solve(posterior, seed=seed, progress=progress)
    seeds = np.random.SeedSequence(seed).generate_state(sampler.schedule.chains)
    drawn = [theory.draw(seed=int(s)).position for s in seeds]
    positions = tuple(jnp.asarray(np.stack(coordinate)) for coordinate in zip(*drawn, strict=True))
    if parametrization == "reduced":
        return positions
    # The readout, and weights that no training input sees, drawn exactly given the hidden layers.
    networks = draw_networks(posterior.reduced, jax.random.split(sampler.key, len(seeds)), positions)
    return (*networks.weights, networks.readout / jnp.sqrt(posterior.readout_variance))


def _fingerprint(*arrays: ArrayLike | None) -> str:
    """A hash of arrays: two runs with other data are other runs."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
