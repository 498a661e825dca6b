"""The driver: layout of the result, reproducibility, checkpoints, interruptions."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from filelock import FileLock

import nonlazy as nl
from nonlazy import compilation
from nonlazy.sampling import run as run_module

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")

GROUPS = {
    "posterior", "sample_stats", "posterior_predictive", "posterior_mean", "last_draw", "observed_data", "constant_data"
}  # fmt: skip


def sample(posterior, **options):
    return nl.sample(posterior, **({"chains": 2, "warmup": 30, "draws": 20, "progress": False} | options))


def assert_same_draws(a: xr.DataTree, b: xr.DataTree) -> None:
    for group in GROUPS:
        xr.testing.assert_identical(a[group].to_dataset(), b[group].to_dataset())


def test_layout(tree, task):
    assert set(tree.children) == GROUPS
    posterior = tree["posterior"]
    assert posterior["readout"].dims == ("chain", "draw", "neuron", "output")
    assert posterior["kernel_blocks"].dims == ("chain", "draw", "layer", "label", "label_")
    assert posterior["class_activity"].dims == ("chain", "draw", "layer", "neuron", "label")
    assert posterior["predictions"].shape == (3, 60, task.n_test, 3)
    assert posterior["kernels"].shape == (3, 60, 1, 12, 12)
    assert posterior["preactivations"].dims == ("chain", "draw", "layer", "neuron", "input")
    assert list(posterior["layer"].values) == [1]
    assert list(posterior["label"].values) == list(task.class_names)
    configuration = json.loads(tree.attrs["configuration"])
    assert configuration["sampling"]["seed"] == 0
    assert configuration["versions"]["jax"] == jax.__version__
    assert all(np.isfinite(v.values).all() for v in tree["sample_stats"].data_vars.values())


def test_kept_values_agree_with_each_other(tree, posterior):
    """Kernels, blocks, activities, outputs and errors are all functions of the kept preactivations and readout."""
    draws = tree["posterior"]
    features = (1 + np.vectorize(math.erf)(np.sqrt(np.pi) / 2 * draws["preactivations"].values)) / 2
    kernels = np.einsum("cdlni,cdlnj->cdlij", features, features) / 10
    np.testing.assert_allclose(draws["kernels"].values, kernels, rtol=1e-10)
    np.testing.assert_allclose(tree["posterior_mean"]["kernel"].values, kernels.mean(axis=1), rtol=1e-10)
    blocks = nl.kernel_blocks(kernels, posterior.task.labels)
    np.testing.assert_allclose(draws["kernel_blocks"].values, blocks, rtol=1e-10)
    outputs = np.einsum("cdni,cdnr->cdir", features[:, :, 0], draws["readout"].values) / 10
    error = np.mean((outputs - posterior.task.targets) ** 2, axis=(2, 3))
    np.testing.assert_allclose(tree["sample_stats"]["training_error"].values, error, rtol=1e-8)
    of_class_1 = features[:, :, 0][..., posterior.task.labels == 1].mean(axis=-1)
    np.testing.assert_allclose(draws["class_activity"].values[:, :, 0, :, 1], of_class_1, rtol=1e-10)


@pytest.mark.parametrize("shape", ["one class member", "several kernels"])
def test_kernel_blocks_leave_the_diagonal_out(shape):
    labels = np.array([0, 0, 0, 1, 1, 2])
    kernel = np.random.default_rng(0).normal(size=(6, 6) if shape == "one class member" else (2, 3, 6, 6))
    blocks = nl.kernel_blocks(kernel, labels)
    off_diagonal = kernel.copy()
    off_diagonal[..., np.arange(6), np.arange(6)] = np.nan
    for a in range(3):
        for b in range(3):
            block = off_diagonal[..., labels == a, :][..., labels == b].reshape(*kernel.shape[:-2], -1)
            expected = np.full(kernel.shape[:-2], np.nan) if a == b == 2 else np.nanmean(block, axis=-1)
            np.testing.assert_allclose(blocks[..., a, b], expected, rtol=1e-12)


def test_draws_are_in_double_precision_and_the_callers_setting_is_untouched(posterior):
    assert not jax.config.jax_enable_x64
    tree = sample(posterior)
    assert tree["posterior"]["readout"].dtype == np.float64
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    "method", ["hmc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nuts", "mala", "mclmc", "langevin"))]
)
def test_same_seed_same_draws(posterior, method):
    first, again = (sample(posterior, method=method, seed=3) for _ in range(2))
    assert_same_draws(first, again)
    assert not np.array_equal(
        first["posterior"]["readout"], sample(posterior, method=method, seed=4)["posterior"]["readout"]
    )


def test_draws_do_not_depend_on_how_the_run_is_cut(posterior, monkeypatch):
    whole = sample(posterior)
    monkeypatch.setattr(run_module, "SECONDS_PER_PIECE", 0.0)
    monkeypatch.setattr(run_module, "BLOCK_BYTES", 20_000)
    assert_same_draws(whole, sample(posterior))


def test_thinning_keeps_every_other_draw(posterior):
    every = sample(posterior, draws=20)["posterior"]["class_activity"]
    second = sample(posterior, draws=10, thin=2)["posterior"]["class_activity"]
    np.testing.assert_array_equal(second.values, every.values[:, 1::2])


def test_start_from_given_coordinates(posterior):
    far = tuple(np.full(shape, 30.0) for shape in posterior.reduced.shapes)
    tree = sample(posterior, start=far, warmup=0, draws=1, keep=("preactivations",))
    assert np.abs(tree["posterior"]["preactivations"].values).mean() > 5  # about 0.8 under the prior


def test_starts_do_not_share_random_numbers(posterior):
    """Linked noise would pull chains from different starts together and hide that they disagree."""
    options = {"chains": 1, "warmup": 0, "draws": 1, "keep": (), "method": "mala"}
    starts = [tuple(np.full(shape, value) for shape in posterior.reduced.shapes) for value in (0.0, 1e-12)]
    a, b = (sample(posterior, start=start, **options)["posterior_predictive"]["targets"] for start in starts)
    assert np.abs(a.values - b.values).max() > 1e-3


@pytest.mark.slow
def test_depth_two_layers_are_recorded(task):
    tree = sample(nl.Posterior(nl.Model(depth=2, width=8, activation="relu"), task, temperature=1e-2))
    assert tree["posterior"]["kernel_blocks"].shape == (2, 20, 2, 3, 3)
    assert tree["posterior_mean"]["kernel"].shape == (2, 2, 12, 12)


def test_save_and_load(tree, tmp_path):
    nl.save(tree, tmp_path / "a.nc")
    tree.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    for name in ("a.nc", "b.nc"):
        assert_same_draws(tree, nl.load(tmp_path / name))
        assert nl.load(tmp_path / name).attrs == tree.attrs


def test_arviz_reads_the_tree(tree, tmp_path):
    arviz = pytest.importorskip("arviz")
    nl.save(tree, tmp_path / "a.nc")
    data = arviz.from_netcdf(str(tmp_path / "a.nc"), engine="h5netcdf")
    summary = arviz.summary(data, var_names=["kernel_blocks"])
    assert len(summary) == 9


def test_truncated_netcdf(tree, tmp_path):
    nl.save(tree, tmp_path / "a.nc")
    content = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(nl.FileError, match=r"a\.nc is no netCDF file"):
        nl.load(tmp_path / "a.nc")


# A run in a process of its own that can be killed: prints "saved" after each save of the checkpoint.
PROGRAM = """
import sys, time, nonlazy as nl, warnings
from nonlazy.sampling import run
warnings.simplefilter("ignore")
run.SECONDS_PER_PIECE, run.SECONDS_BETWEEN_SAVES, run.BLOCK_BYTES = 0.0, 0.0, 40_000
save = run.Run._save
def slow_save(self):
    save(self)
    print("saved", self.iteration, flush=True)
    time.sleep(0.02)
run.Run._save = slow_save
task = nl.tasks.gaussian(n_inputs=12, class_ratios=(0.5, 0.25, 0.25), n_features=16, n_test=9, separation=0.6)
posterior = nl.Posterior(nl.Model(width=10), task, temperature=1e-3)
nl.sample(posterior, chains=2, warmup=30, draws=40, progress=False, checkpoint=sys.argv[1])
"""


@pytest.mark.parametrize("moment", [pytest.param(10, marks=pytest.mark.slow), 45])
def test_killed_run_resumes_to_the_same_draws(posterior, tmp_path, moment):
    """Killed in warm-up, and in the middle of a block of draws."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line.split()[1]) >= moment:
            process.kill()
            break
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    options = {"draws": 40, "keep": ("readout", "kernel_blocks", "class_activity", "predictions")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "BLOCK_BYTES", 40_000)
        resumed = sample(posterior, checkpoint=tmp_path / "c", **options)
        undisturbed = sample(posterior, **options)
    assert_same_draws(undisturbed, resumed)


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C as soon as there are a few draws."""
    show = run_module.Run._show

    def show_and_interrupt(run, *arguments):
        show(run, *arguments)
        if run.n_drawn >= 3 and not sent:
            sent.append(run.n_drawn)
            os.kill(os.getpid(), signal.SIGINT)

    sent = []
    monkeypatch.setattr(run_module.Run, "_show", show_and_interrupt)
    monkeypatch.setattr(run_module, "SECONDS_PER_PIECE", 0.0)
    return sent


def test_interrupted_run_returns_what_it_has(posterior, interrupted):
    with pytest.warns(nl.SamplingWarning, match="Interrupted"):
        tree = sample(posterior, draws=50)
    assert interrupted[0] <= tree["posterior"].sizes["draw"] < 50
    assert not tree.attrs["complete"]
    whole = sample(posterior, draws=50)["posterior"]["readout"]
    np.testing.assert_array_equal(tree["posterior"]["readout"], whole[:, : tree["posterior"].sizes["draw"]])


def test_interrupted_run_with_checkpoint_saves_and_passes_on(posterior, interrupted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sample(posterior, draws=50, checkpoint=tmp_path)
    assert_same_draws(sample(posterior, draws=50), sample(posterior, draws=50, checkpoint=tmp_path))


def test_finished_checkpoint_gives_the_result_again(posterior, tmp_path):
    first = sample(posterior, checkpoint=tmp_path)
    assert_same_draws(first, sample(posterior, checkpoint=tmp_path))


def test_checkpoint_of_another_configuration(posterior, tmp_path):
    sample(posterior, checkpoint=tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(nl.CheckpointError, match="sampling differ"):
        sample(posterior, checkpoint=tmp_path, seed=1)
    other = nl.Posterior(posterior.model, posterior.task, temperature=1e-2)
    with pytest.raises(nl.CheckpointError, match="temperature differ"):
        sample(other, checkpoint=tmp_path)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_checkpoint_in_use(posterior, tmp_path):
    with FileLock(tmp_path / "lock"), pytest.raises(nl.CheckpointError, match="is in use by another run"):
        sample(posterior, checkpoint=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    sample(posterior, checkpoint=tmp_path)


@pytest.mark.parametrize("name", ["state.npz", "draws-000000.npz", "configuration.json"])
def test_truncated_checkpoint(posterior, tmp_path, name):
    sample(posterior, checkpoint=tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(nl.CheckpointError, match=f"{name} is damaged"):
        sample(posterior, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("depth", "parametrization"), [(1, "reduced"), pytest.param(3, "reduced", marks=pytest.mark.slow), (3, "plain")]
)
def test_weights_are_those_of_the_networks_that_predict(task, depth, parametrization):
    model = nl.Model(depth=depth, width=6)
    keep = ("weights", "readout", "predictions", "kernels")
    options = {"chains": 2, "warmup": 5, "draws": 3, "progress": False, "parametrization": parametrization}
    draws = nl.sample(nl.Posterior(model, task, temperature=0.1), keep=keep, **options)["posterior"]
    with jax.enable_x64(True):
        for chain, draw in np.ndindex(2, 3):
            one = draws.isel(chain=chain, draw=draw)
            deeper = one["deeper_weights"].values if depth > 1 else ()
            weights = [jnp.asarray(w) for w in (one["first_weights"].values, *deeper)]
            predictions = model.outputs(
                model.phi(model.hidden_layers(task.test_inputs, weights)[-1]), one["readout"].values
            )
            np.testing.assert_allclose(predictions, one["predictions"], atol=1e-10)
            kernels = model.kernels(model.hidden_layers(task.inputs, weights))
            np.testing.assert_allclose(kernels, one["kernels"], atol=1e-10)


def test_programs_are_dropped_before_memory_maps_run_out(posterior, monkeypatch):
    dropped = []
    monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(True))
    sample(posterior)
    assert not dropped
    monkeypatch.setattr(compilation, "memory_maps", lambda: 60_000)
    sample(posterior)
    assert dropped == [True]
    monkeypatch.undo()
    assert compilation.memory_maps() > 100 or not compilation.MAPS.exists()
