"""Chains on several devices and in several processes: the same draws, up to the order of sums."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import nonlazy as nl
from nonlazy.sampling.chains import Sampler, Schedule, _advance
from nonlazy.sampling.devices import make_mesh, shard
from nonlazy.sampling.hmc import HMC
from nonlazy.sampling.memory_needed import bytes_of_chains

# Where rounding has not grown yet: the step size pools the chains, and trajectories amplify its last digits.
PROGRAM = """
import os, sys, warnings
import jax
if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
import nonlazy as nl
from nonlazy.sampling.devices import make_mesh
warnings.simplefilter("ignore")
task = nl.tasks.gaussian(n_inputs=12, class_ratios=(0.5, 0.25, 0.25), n_features=16, n_test=9, separation=0.6)
posterior = nl.Posterior(nl.Model(width=10), task, temperature=1e-3)
tree = nl.sample(posterior, chains=4, warmup=5, draws=3, progress=False)
assert make_mesh(4).size == len(jax.devices()) == 2
nl.save(tree, sys.argv[1])
"""
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "3"}


def start(file, *arguments, **environment):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(file), *arguments], env=os.environ | environment)


def assert_same(file, posterior):
    tree, alone = nl.load(file), nl.sample(posterior, chains=4, warmup=5, draws=3, progress=False)
    for group in ("posterior", "sample_stats", "posterior_mean", "last_draw"):
        for name in alone[group].data_vars:
            np.testing.assert_allclose(tree[group][name], alone[group][name], rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
def test_two_devices(posterior, tmp_path):
    assert start(tmp_path / "a.nc", **TWO_DEVICES).wait(300) == 0
    assert_same(tmp_path / "a.nc", posterior)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
def test_two_processes(posterior, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [start(tmp_path / f"{number}.nc", address, str(number)) for number in (0, 1)]
    try:
        assert [process.wait(300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for number in (0, 1):
        assert_same(tmp_path / f"{number}.nc", posterior)


def test_as_many_devices_as_share_the_chains_evenly(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [*jax.local_devices()] * 4)
    monkeypatch.setenv("NPROC", "5")
    assert [make_mesh(n).size for n in (1, 2, 3, 4, 6, 12)] == [1, 2, 3, 4, 3, 4]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(
        nl.InputError, match="chains must be a multiple of 4, the number of devices of all 2 processes, got 6"
    ):
        make_mesh(6)


def test_devices_that_could_block_each_other_are_not_used(monkeypatch):
    """Of a processor with as many threads as devices, unless each has one chain."""
    monkeypatch.setattr(jax, "devices", lambda: [*jax.local_devices()] * 4)
    monkeypatch.setenv("NPROC", "4")
    assert make_mesh(4).size == 4
    with pytest.warns(
        nl.SamplingWarning, match="the chains use 2 of 4 devices; .* set NPROC to more than their number"
    ):
        assert make_mesh(8).size == 2
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert make_mesh(8).size == 4


@pytest.mark.slow
def test_two_devices_with_large_matrices_end():
    """What stopped for ever where as many threads as devices factorized batches."""
    program = """
import nonlazy as nl
posterior = nl.Posterior(nl.Model(width=60), nl.tasks.orthogonal(60), temperature=1e-4)
nl.sample(posterior, chains=4, warmup=20, draws=20, progress=False)
"""
    for n_threads in ("2", "3"):
        command = [sys.executable, "-W", "ignore", "-c", program]
        subprocess.run(command, env=os.environ | TWO_DEVICES | {"NPROC": n_threads}, check=True, timeout=200)


def test_processes_keep_no_checkpoint(posterior, monkeypatch, tmp_path):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(nl.InputError, match="checkpoint must be None in a run over several processes"):
        nl.sample(posterior, chains=1, checkpoint=tmp_path)


def test_draws_that_do_not_fit_in_memory_are_refused_before_the_start(posterior):
    with pytest.raises(
        nl.InputError, match=r"draws: 1000000000 of 4 chains take .* GiB and this machine has .* for preactiv"
    ):
        nl.sample(posterior, draws=10**9, keep=("preactivations",))


def test_chains_that_do_not_fit_on_their_devices_are_refused_before_the_start(posterior, monkeypatch):
    monkeypatch.setattr("nonlazy.memory.of_device", lambda device: 1e4)
    with pytest.raises(
        nl.InputError, match=r"chains: 4 chains on 1 devices take at least .* GiB on each, and each has"
    ):
        nl.sample(posterior, draws=1)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_chains_take_at_least_what_is_said(depth):
    """By the compiler's own account of the loop."""
    with jax.enable_x64(True):
        posterior = nl.Posterior(nl.Model(width=60, depth=depth), nl.tasks.orthogonal(80), 1e-3)
        mesh = make_mesh(2)
        density, key = shard((posterior.reduced, jax.random.key(0)), mesh, None)
        sampler = Sampler(density, HMC, Schedule(2, 5, 5, 1), ("readout",), key, mesh)
        arguments = density, key, sampler.schedule, sampler.start(sampler.prior_positions()), sampler.buffers(1), 5, 0
        compiled = _advance.lower(*arguments, method=HMC, keep=sampler.keep).compile()
    account = compiled.memory_analysis()
    assert 0.5 < bytes_of_chains(sampler) / (account.temp_size_in_bytes + account.argument_size_in_bytes) < 1.0
