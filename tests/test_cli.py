"""The command line: what it writes, and one clear sentence for everything that is wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from commands import call

import nonlazy as nl
from nonlazy import config, demo, pipeline

pytestmark = pytest.mark.usefixtures("few_simulations")

CONFIG = """
title = "<b>A & B</b>"
temperature = 1e-3
theory = false
[task]
name = "gaussian"
n_inputs = 12
n_features = 16
n_test = 9
separation = 0.6
[model]
width = 10
[sampling]
chains = 2
warmup = 30
draws = 20
"""


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(CONFIG)
    return file


def test_run_writes_what_it_says(monkeypatch, capsys, config_file, tmp_path):
    out = tmp_path / "out"
    status, printed, _ = call(monkeypatch, capsys, "run", config_file, "--out", out)
    assert status == 0
    for name in ("samples.nc", "summary.json", "report.html", "figures"):
        assert (out / name).exists()
        assert str(out / name) in printed
    assert not (out / "checkpoint").exists()
    assert (out / "config.toml").read_text() == CONFIG
    tree = nl.load(out / "samples.nc")
    assert tree["posterior"]["predictions"].shape == (2, 20, 9, 3)
    summary = json.loads((out / "summary.json").read_text())
    np.testing.assert_allclose(
        summary["kernel_blocks"], tree["posterior"]["kernel_blocks"].mean(["chain", "draw"]).values, rtol=1e-12
    )
    assert summary["test_error"]["mean_square"] == pytest.approx(
        float(((tree["posterior"]["predictions"] - tree["constant_data"]["test_targets"]) ** 2).mean())
    )
    assert set(summary["code_fractions"]) == {str(code) for code in nl.code_fractions(tree).code.values}
    figures = {file.name for file in (out / "figures").iterdir()}
    assert {"activities.svg", "activities.png", "kernels.svg", "predictions.png", "codes.svg"} <= figures
    report = (out / "report.html").read_text()
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in report
    assert "<b>A" not in report
    assert summary["verdict"] in report
    (layer,) = summary["coding_schemes"]
    assert [row["chain"] for row in layer["chains"]] == [1, 2]
    assert layer["chains"][0]["reason"] in report


@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
def test_seed_and_quiet(monkeypatch, capsys, config_file, tmp_path):
    out, settings = tmp_path / "out", config.parse(CONFIG, "config.toml")
    status, printed, err = call(monkeypatch, capsys, "run", config_file, "--out", out, "--seed", 5, "--quiet")
    assert (status, printed, err) == (0, "", "")
    readout = nl.load(out / "samples.nc")["posterior"]["readout"].values
    for seed in (5, 6):
        options = settings.sampling.model_dump() | {"seed": seed, "progress": False}
        tree = nl.sample(settings.posterior(), **options)
        assert np.array_equal(tree["posterior"]["readout"], readout) == (seed == 5)


def test_dynamics_replaces_the_method(monkeypatch, capsys, config_file, tmp_path):
    out = tmp_path / "out"
    status, _, _ = call(monkeypatch, capsys, "run", config_file, "--out", out, "--dynamics", "langevin", "--quiet")
    assert status == 0
    tree = nl.load(out / "samples.nc")
    assert json.loads(tree.attrs["configuration"])["sampling"]["method"] == "langevin"
    assert (np.diff(tree["sample_stats"]["time"].values) >= 0).all()
    assert (out / "figures" / "drift.png").exists()
    assert "--dynamics langevin" in (out / "report.html").read_text()
    assert "covered a time of" in json.dumps(json.loads((out / "summary.json").read_text())["warnings"])


def test_finished_run_is_not_overwritten(monkeypatch, capsys, config_file, tmp_path):
    out = tmp_path / "out"
    call(monkeypatch, capsys, "run", config_file, "--out", out, "--quiet")
    before = (out / "samples.nc").read_bytes()
    status, _, err = call(monkeypatch, capsys, "run", config_file, "--out", out)
    assert status == 2
    assert "holds a finished run" in err
    assert (out / "samples.nc").read_bytes() == before


@pytest.mark.slow
def test_killed_run_goes_on(config_file, tmp_path):
    """SIGTERM in the middle, then the same command again: the same draws as without the interruption."""
    config_file.write_text(CONFIG.replace("draws = 20", "draws = 1000"))
    command = [sys.executable, "-m", "nonlazy", "run", str(config_file)]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "a")], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "a" / "checkpoint" / "state.npz").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    if process.returncode != 0:  # it may have been faster than the signal
        assert process.returncode == 130
        assert f"Go on with: nonlazy run {config_file} --out {tmp_path / 'a'}" in err
        subprocess.run([*command, "--out", str(tmp_path / "a"), "--quiet"], check=True)
    subprocess.run([*command, "--out", str(tmp_path / "b"), "--quiet"], check=True)
    a, b = (nl.load(tmp_path / name / "samples.nc")["posterior"].to_dataset() for name in "ab")
    assert a.identical(b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[task]", "[task"), "is no valid TOML"),
        (("width = 10", "wdth = 10"), "model.wdth is not a known entry"),
        (("width = 10", "width = 'ten'"), "model.width: input should be a valid integer"),
        (("width = 10", "width = -1"), "width must be an integer of at least 1, got -1"),
        (("width = 10", "activation = 'sigmoid'"), "activation must be one of"),
        (("temperature = 1e-3", "temperature = 0"), "temperature must be a finite number greater than 0"),
        (("chains = 2", "chains = 0"), "chains must be an integer of at least 1, got 0"),
        (('name = "gaussian"', 'name = "xor"'), "task"),
        (("n_inputs = 12", "n_inputs = 0"), "n_inputs must be an integer of at least 1, got 0"),
        (('name = "gaussian"', ""), "task"),
    ],
)
def test_bad_configuration(monkeypatch, capsys, tmp_path, change, message):
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.replace(*change))
    status, _, err = call(monkeypatch, capsys, "run", file, "--out", tmp_path / "out")
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--preset", "toy-quadratic"], "preset must be one of digits, mnist, toy-erf"),
        (["run"], "Give either a configuration file or --preset NAME"),
        (["run", "--preset", "toy-erf", "--dynamics", "brown"], "--dynamics must be one of 'hmc', 'nuts'"),
        (["run", "nowhere.toml"], "configuration nowhere.toml cannot be read: No such file"),
    ],
)
def test_bad_command(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2
    assert err.startswith("nonlazy: ")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_output_folder_that_cannot_be_made(monkeypatch, capsys, config_file, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = call(monkeypatch, capsys, "run", config_file, "--out", tmp_path / "file" / "out")
    assert status == 2
    assert "cannot be made" in err


def test_output_folder_that_is_not_writable(monkeypatch, capsys, config_file, tmp_path):
    """As the system says to all but root, who can write everywhere."""

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "mkdir", refuse)
    status, _, err = call(monkeypatch, capsys, "run", config_file, "--out", tmp_path / "out")
    assert status == 2
    assert "cannot be made: Permission denied" in err
    assert not list((tmp_path / "out").iterdir())


def test_folder_of_another_run(monkeypatch, capsys, config_file, tmp_path):
    (tmp_path / "out" / "checkpoint").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint" / "configuration.json").write_text('{"temperature": 0.5}')
    status, _, err = call(monkeypatch, capsys, "run", config_file, "--out", tmp_path / "out")
    assert status == 2
    assert "belongs to another run" in err
    assert [file.name for file in (tmp_path / "out").rglob("*.*")] == ["configuration.json"]


def test_task_from_a_file(monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(8, 10)), labels=np.array(["cat"] * 4 + ["<i>dog"] * 4))
    text = f'[task]\nname = "file"\npath = "{tmp_path / "data.npz"}"\n' + CONFIG[CONFIG.index("[model]") :]
    (tmp_path / "config.toml").write_text("temperature = 1e-2\ntheory = false\n" + text)
    status, _, _ = call(monkeypatch, capsys, "run", tmp_path / "config.toml", "--out", tmp_path / "out", "--quiet")
    assert status == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;i&gt;dog" in report
    assert "<i>dog" not in report


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.eye(3)}, "must hold inputs and labels, labels missing"),
        ({"inputs": np.eye(3), "labels": np.arange(3), "extra": np.eye(2)}, "got extra too"),
        ({"inputs": np.eye(3), "labels": np.array([object()] * 3)}, "Python objects, which are not read"),
    ],
)
def test_bad_data_file(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    task = config.FileTask(name="file", path=tmp_path / "data.npz")
    with pytest.raises(nl.NonlazyError, match=message):
        task.load()


@pytest.mark.parametrize("name", config.presets())
def test_presets_can_be_run(name):
    settings = config.parse(config.read_preset(name), name)
    assert settings.posterior().task.n_inputs >= 60


@pytest.mark.slow
def test_demo_links_its_reports(monkeypatch, capsys, tmp_path):
    texts = {name: config.read_preset(name) for name in demo.PRESETS}

    def small(name: str) -> str:
        settings = tomllib.loads(texts[name])
        return CONFIG.replace('"<b>A & B</b>"', f'"{settings["title"]}"')

    monkeypatch.setattr(config, "read_preset", small)
    status, printed, _ = call(monkeypatch, capsys, "demo", "--out", tmp_path / "demo")
    assert status == 0
    index = tmp_path / "demo" / "index.html"
    assert printed.strip().splitlines()[-1] == f"Open {index}"
    for name in demo.PRESETS:
        assert f'href="{name}/report.html"' in index.read_text()
        assert (Path(tmp_path) / "demo" / name / "report.html").exists()


TOY = """
temperature = 1e-4
[task]
name = "orthogonal"
n_inputs = 20
class_ratios = [0.5, 0.5]
[model]
width = 15
[sampling]
chains = 2
warmup = 20
draws = 10
"""


def test_theory_writes_what_it_says(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "toy.toml", tmp_path / "out"
    file.write_text(TOY)
    status, printed, err = call(monkeypatch, capsys, "theory", file, "--out", out)
    assert (status, err) == (0, "")
    for name in ("theory.nc", "theory.json", "figures"):
        assert (out / name).exists()
        assert str(out / name) in printed
    theory = nl.solve(config.parse(TOY, "toy").posterior())
    assert str(theory) in printed
    found = json.loads((out / "theory.json").read_text())
    assert found["scheme"] == theory.scheme
    np.testing.assert_allclose(found["kernel_blocks"], theory.kernel_blocks)
    with xr.open_dataset(out / "theory.nc") as saved:
        np.testing.assert_allclose(saved["kernels"], theory.kernels)
    assert {"kernels.svg", "kernels.png", "readout.svg", "codes.svg"} <= {f.name for f in (out / "figures").iterdir()}
    status, _, err = call(monkeypatch, capsys, "theory", file, "--out", out)
    assert status == 2
    assert "holds a theory already" in err


def test_theory_that_does_not_exist_is_one_sentence(monkeypatch, capsys, tmp_path):
    file = tmp_path / "deep.toml"
    file.write_text(TOY.replace("width = 15", 'width = 15\ndepth = 2\nactivation = "relu"'))
    status, _, err = call(monkeypatch, capsys, "theory", file, "--out", tmp_path / "out")
    assert status == 2
    assert "needs an activation that saturates" in err
    assert not (tmp_path / "out").exists()


def test_run_shows_theory_beside_samples(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "toy.toml", tmp_path / "out"
    file.write_text(TOY + 'start = "theory"\n')
    assert call(monkeypatch, capsys, "run", file, "--out", out, "--quiet")[0] == 0
    summary = json.loads((out / "summary.json").read_text())
    tree, theory = nl.load(out / "samples.nc"), nl.solve(config.parse(TOY, "toy").posterior())
    rows = {row["name"]: row for row in summary["theory"]["comparison"]}
    assert set(rows) == {"0,0", "0,1", "1,1"}
    assert rows["0,1"]["theory"] == pytest.approx(theory.kernel_blocks[0, 0, 1])
    assert rows["0,1"]["mean"] == pytest.approx(
        float(tree["posterior"]["kernel_blocks"].mean(["chain", "draw"])[0, 0, 1])
    )
    assert "Theory against sampling" in (out / "report.html").read_text()
    assert (out / "figures" / "comparison.svg").exists()


def test_run_without_a_theory_is_kept(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "config.toml", tmp_path / "out"
    file.write_text(CONFIG.replace("theory = false\n", ""))

    def refused(posterior, **options):
        raise nl.InputError("activation must be one that saturates")

    monkeypatch.setattr(pipeline, "solve", refused)
    assert call(monkeypatch, capsys, "run", file, "--out", out, "--quiet")[0] == 0
    summary = json.loads((out / "summary.json").read_text())
    assert "saturates" in summary["theory"]["unavailable"]
    assert "No theory beside these samples" in (out / "report.html").read_text()
    assert summary["kernel_blocks"] is not None
