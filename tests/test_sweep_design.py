"""Sweeps: designs, plans, and the keys of points."""

from __future__ import annotations

import re
import sys
import tomllib

import numpy as np
import pytest
from sweep_problems import BASE, FILE

import nonlazy as nl
from nonlazy.sweep.design import make_design
from nonlazy.sweep.plan import make_plan, parse_sweep


def test_grid_has_all_combinations_last_axis_fastest():
    points = make_design({"model": {"width": [1, 2]}, "temperature": [0.1, 0.2, 0.3]}).points()
    assert [tuple(point.values()) for point in points] == [(w, t) for w in (1, 2) for t in (0.1, 0.2, 0.3)]
    assert list(points[0]) == ["model.width", "temperature"]


def test_random_design_has_the_distributions_it_names():
    axes = {
        "temperature": {"log_uniform": [1e-6, 1e-2]},
        "model.readout_std": {"uniform": [1.0, 3.0]},
        "model.width": {"uniform": [3, 6]},
        "task.n_inputs": {"log_uniform": [1, 100]},
        "model.activation": ["erf", "relu"],
    }
    points = make_design(axes, n_points=4000).points()
    values = {name: np.array([point[name] for point in points]) for name in axes}
    exponents = (np.log10(values["temperature"]) + 6) / 4
    for uniform in (exponents, (values["model.readout_std"] - 1) / 2):
        counts = np.histogram(uniform, 10, (0, 1))[0]
        assert counts.sum() == 4000
        assert ((counts - 400) ** 2 / 400).sum() < 32  # chi-square of 9 degrees of freedom beyond four standard errors
    widths, counts = np.unique(values["model.width"], return_counts=True)
    assert widths.tolist() == [3, 4, 5, 6]
    assert ((counts - 1000) ** 2 / 1000).sum() < 22
    inputs = values["task.n_inputs"]
    assert (inputs.min(), inputs.max()) == (1, 100)
    expected = np.log((10.5) / 0.5) / np.log(100.5 / 0.5)
    assert abs((inputs <= 10).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)
    assert abs((values["model.activation"] == "erf").mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_random_design_is_reproducible_and_grows():
    axes = {"temperature": {"uniform": [0.1, 0.2]}, "model.width": [1, 2, 3]}
    points = make_design(axes, 10, seed=1).points()
    assert points == make_design(axes, 20, seed=1).points()[:10]
    assert points != make_design(axes, 10, seed=2).points()


@pytest.mark.parametrize(
    ("axes", "points", "message"),
    [
        ({}, None, "axes must name at least one entry"),
        ({"title": ["a"]}, None, "any entry of the configuration but title and theory, got title"),
        ({"model.width": 3}, None, "model.width must be a list of at least one value, got 3"),
        ({"model.width": []}, None, "model.width must be a list of at least one value"),
        ({"model.width": [1, 2, 1]}, None, "model.width holds 1 twice"),
        ({"model.width": {"uniform": [1, 2]}}, None, "model.width is a range, which a grid cannot have"),
        ({"model.width": {"uniform": [2, 1]}}, 3, "model.width must have a uniform range"),
        ({"temperature": {"log_uniform": [0, 1]}}, 3, "two numbers above 0, got"),
        ({"temperature": {"uniform": [0, float("inf")]}}, 3, "must have a uniform range"),
        ({"model.width": [1]}, 0, "points must be an integer of at least 1, got 0"),
    ],
)
def test_bad_axes(axes, points, message):
    with pytest.raises(nl.InputError, match=re.escape(message)):
        make_design(axes, points)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"model.width": [4, -1]}, "point 1 (model.width = -1): width must be an integer of at least 1, got -1"),
        ({"model.wdth": [4]}, "point 0 (model.wdth = 4): model.wdth is not a known entry"),
        ({"model.width": [4, "ten"]}, "point 1 (model.width = 'ten'): model.width: input should be a valid integer"),
        ({"temperature": [1e-3, 0]}, "point 1 (temperature = 0): temperature must be a finite number greater than 0"),
        ({"task.class_ratios": [[0.5, 0.9]]}, "point 0 (task.class_ratios = [0.5, 0.9]): class_ratios"),
        ({"sampling.draws": [0]}, "point 0 (sampling.draws = 0): draws must be an integer of at least 1, got 0"),
        ({"sampling.method": ["hmc", "hcm"]}, "point 1 (sampling.method = 'hcm'): method must be one of"),
        ({"sampling.keep": [["everything"]]}, "point 0 (sampling.keep = ['everything']): keep must hold names"),
        ({"temperature.low": [1]}, "temperature is no table"),
    ],
)
def test_every_point_is_checked_before_anything_is_computed(axes, message):
    with pytest.raises(nl.InputError, match=re.escape(message)):
        make_plan(BASE, axes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[sweep.axes]", "[sweep.axis]"), "sweep.toml must have a table [sweep.axes]"),
        (('what = ["theory"]', 'what = ["theories"]'), "sweep.toml: what must hold names from 'sampling', 'theory'"),
        (('what = ["theory"]', 'what = ["schemes"]'), '"schemes" are read from draws'),
        (
            ('what = ["theory"]', "n_points = 3"),
            "table sweep may hold axes, what, points, seed, keep_samples, got n_points",
        ),
        (('what = ["theory"]', "keep_samples = 1"), "keep_samples must be true or false, got 1"),
        (("[task]", "[task"), "sweep.toml is no valid TOML"),
        (("model.width = [4, 6]", "model.width = [4, 0]"), "sweep.toml: point 2 (model.width = 0, task.class_ratios"),
    ],
)
def test_bad_sweep_file(change, message):
    with pytest.raises(nl.InputError, match=re.escape(message)) as raised:
        parse_sweep(FILE.replace(*change), "sweep.toml")
    assert str(raised.value).count("sweep.toml") == 1


def test_sweep_file_gives_the_points_of_the_function():
    plan = parse_sweep(FILE, "sweep.toml")
    base = tomllib.loads(FILE)
    table = base.pop("sweep")
    assert plan.points == make_plan(base, table["axes"], ["theory"]).points
    assert [point.settings["task"]["class_ratios"] for point in plan.points[:2]] == [[0.5, 0.5], [0.5, 0.25, 0.25]]
    assert [point.settings["sampling"]["seed"] for point in parse_sweep(FILE, "sweep.toml", 7).points] == [7] * 4


def test_keys_tell_results_apart_and_nothing_else(tmp_path, monkeypatch):
    def key(base=BASE, axes=None, **options):
        return make_plan(base, axes or {"model.width": [4]}, **options).points[0].key

    same = key()
    assert key(BASE | {"title": "another", "theory": False}) == same
    assert key(BASE, {"model.depth": [1], "model.width": [4]}) == same  # a default that is spelled out
    others = [
        key(BASE | {"temperature": 1e-4}),
        key(axes={"model.width": [5]}),
        key(what=["theory"]),
        key(keep_samples=True),
    ]
    file = tmp_path / "data.npz"
    for seed in (0, 1):
        np.savez(file, inputs=np.random.default_rng(seed).normal(size=(6, 8)), labels=[0] * 3 + [1] * 3)
        others.append(key(BASE | {"task": {"name": "file", "path": str(file)}}))
    monkeypatch.setattr(sys.modules["nonlazy.sweep.plan"], "library_version", lambda: "99")
    others.append(key())
    assert len({same, *others}) == 8


def test_workers_find_data_files_from_any_folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "data.npz", inputs=np.eye(6), labels=[0] * 3 + [1] * 3)
    monkeypatch.chdir(tmp_path)
    (point,) = make_plan(BASE | {"task": {"name": "file", "path": "data.npz"}}, {"model.width": [4]}).points
    assert point.settings["task"]["path"] == str(tmp_path / "data.npz")
