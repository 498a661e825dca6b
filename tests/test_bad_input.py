"""Bad input gives one clear error that names the argument, before any heavy work. Bad task data: test_tasks.py."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import nonlazy as nl


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"depth": 1.5}, "depth must be an integer"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
        ({"width": -3}, "width must be an integer of at least 1, got -3"),
        ({"width": True}, "width must be an integer"),
        ({"activation": "sigmoid"}, "activation must be one of 'linear', 'erf', 'relu', 'tanh'.*got 'sigmoid'"),
        ({"activation": 3}, "activation must be a name or a JAX function, got 3"),
        ({"activation": lambda z: z.sum()}, "must return an array of the shape it receives"),
        ({"activation": lambda z: z[:, :1]}, "must return an array of the shape it receives"),
        ({"activation": lambda z: np.tanh(np.asarray(z))}, "must be a JAX function"),
        ({"activation": jnp.log}, "must be finite.*got NaN or infinity near z = -6"),
        ({"activation": lambda z: jnp.sqrt(jnp.abs(z))}, "finite"),
        ({"regime": "rich"}, "regime must be one of 'nonlazy', 'lazy', got 'rich'"),
        ({"readout_std": 0}, "readout_std must be a finite number greater than 0, got 0"),
        ({"weight_std": -1.0}, "weight_std must be a finite number greater than 0, got -1.0"),
        ({"weight_std": (1.0, 2.0)}, "weight_std must be one number or one for each of the 1 hidden layers"),
        ({"readout_scaling": np.nan}, "readout_scaling must be a finite number"),
        ({"depth": 2, "activation": lambda z: z**2}, "readout_scaling must be given"),
    ],
)
def test_model(arguments, message):
    with pytest.raises(nl.InputError, match=message):
        nl.Model(**arguments)


@pytest.mark.parametrize(
    ("activation", "depth", "scaling"),
    [
        ("linear", 2, 0.5),
        ("relu", 3, 1 / 3),
        ("erf", 3, 1.0),
        ("tanh", 2, 1.0),
        (lambda z: z / (1 + jnp.exp(-z)), 2, 0.5),
    ],
)
def test_readout_scaling_follows_the_growth_of_the_activation(activation, depth, scaling):
    assert nl.Model(depth=depth, activation=activation).readout_scaling == pytest.approx(scaling)


@pytest.mark.parametrize("temperature", [0, -1e-5, np.nan, np.inf, "cold", None])
def test_temperature(task, temperature):
    with pytest.raises(nl.InputError, match="temperature must be a finite number greater than 0"):
        nl.Posterior(nl.Model(), task, temperature)


def test_wrong_types():
    with pytest.raises(nl.InputError, match=r"model must be a nonlazy\.Model, got str"):
        nl.Posterior("erf", None)
    with pytest.raises(nl.InputError, match="task must be a nonlazy Task"):
        nl.Posterior(nl.Model(), np.eye(3))
    with pytest.raises(nl.InputError, match=r"posterior must be a nonlazy\.Posterior"):
        nl.sample(nl.Model())


def test_duplicate_inputs_make_the_kernel_singular():
    inputs = np.random.default_rng(0).normal(size=(6, 8))
    inputs[4] = inputs[1]
    task = nl.tasks.from_arrays(inputs, [0, 0, 0, 1, 1, 1])
    with pytest.raises(nl.InputError, match=r"1 that repeat earlier ones \(1 = 4\).*singular.*Drop the copies"):
        nl.Posterior(nl.Model(), task)


def test_centred_inputs_warn():
    inputs = np.random.default_rng(0).normal(size=(6, 8))
    task = nl.tasks.from_arrays(inputs - inputs.mean(axis=0), [0, 0, 0, 1, 1, 1])
    with pytest.warns(nl.DataWarning, match="mean of the inputs was subtracted"):
        nl.Posterior(nl.Model(), task)
    with pytest.warns(nl.DataWarning, match="linear network keeps a training error of at least 0.25"):
        nl.Posterior(nl.Model(activation="linear"), task)


def test_more_inputs_than_features_is_fine_unless_linear():
    inputs = np.random.default_rng(0).normal(size=(20, 4))
    task = nl.tasks.from_arrays(inputs, [0, 1] * 10)
    assert nl.Posterior(nl.Model(), task).reduced.shapes == ((4, 100),)
    with pytest.warns(nl.DataWarning, match="rank 4 for 20 inputs"):
        nl.Posterior(nl.Model(activation="linear"), task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chains": 0}, "chains must be an integer of at least 1, got 0"),
        ({"draws": 0}, "draws must be an integer of at least 1, got 0"),
        ({"warmup": -1}, "warmup must be an integer of at least 0, got -1"),
        ({"thin": 0}, "thin must be an integer of at least 1"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        (
            {"method": "gibbs"},
            "method must be one of 'hmc', 'nuts', 'mala', 'mclmc', 'langevin', 'tempered', got 'gibbs'",
        ),
        ({"keep": ("gradients",)}, "keep must hold names from 'readout'.*got"),
        ({"keep": 3}, "keep must hold names"),
        ({"start": "theory of everything"}, "start must be one of 'prior'"),
        ({"start": (np.zeros((2, 2)),)}, "start must be 'prior', 'theory' or coordinates of shapes"),
        ({"start": (np.full((12, 10), np.nan),)}, "start must hold finite coordinates"),
        ({"features": "float16"}, "features must be one of 'float64', 'float32', got 'float16'"),
        (
            {"features": "float32", "parametrization": "plain"},
            "features 'float32' needs parametrization 'reduced' and another method than 'tempered', got 'plain' and 'hmc'",
        ),
        ({"features": "float32", "method": "tempered"}, "features 'float32' needs .* got 'reduced' and 'tempered'"),
        ({"parametrization": "centred"}, "parametrization must be one of 'reduced', 'plain'"),
    ],
)
def test_sample(posterior, options, message):
    with pytest.raises(nl.InputError, match=message):
        nl.sample(posterior, **options)


def test_temperature_below_double_precision(task):
    with pytest.raises(nl.InputError, match="temperature 1e-30 is too low"):
        nl.sample(nl.Posterior(nl.Model(width=4), task, 1e-30), progress=False)


def test_log_density(posterior):
    with pytest.raises(nl.InputError, match="position must hold coordinates of shapes"):
        posterior.log_density((np.zeros((2, 2)),))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 4)), [0, 0, 1]), r"kernel must have shape \(\.\.\., P, P\), got \(3, 4\)"),
        ((np.zeros((3, 3)), [0, 1]), "labels must have one entry for each of the 3 inputs"),
    ],
)
def test_kernel_blocks(arguments, message):
    with pytest.raises(nl.InputError, match=message):
        nl.kernel_blocks(*arguments)


def test_codes_of_a_layer_that_is_not_there(tree):
    with pytest.raises(nl.InputError, match="layer must be a number from 1 to 1, or -1"):
        nl.code_fractions(tree, layer=2)


def test_checkpoint_folder_that_cannot_be_made(posterior, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(nl.FileError, match=r"checkpoint folder .* cannot be made"):
        nl.sample(posterior, checkpoint=tmp_path / "file" / "folder")


def test_saving_where_nothing_can_be_written(tree, tmp_path):
    with pytest.raises(nl.FileError, match="cannot be written"):
        nl.save(tree, tmp_path / "missing" / "a.nc")
