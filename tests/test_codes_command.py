"""`nonlazy codes`, its figures, and the coding schemes in the report of a run."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from commands import call
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats
from test_coding_scheme import LABELS, population, respond

import nonlazy as nl
from nonlazy import plot
from nonlazy.activations import resolve
from nonlazy.analysis import (
    cumulative_shares,
    layer_schemes,
    order_by_scheme,
    plain,
    shown_inputs,
    shown_neurons,
    summarize,
    summarize_scheme,
)
from nonlazy.codes_pipeline import CodesFolder
from nonlazy.report import Reading, codes_page, report_page, scheme_pictures

POPULATIONS = {
    "none": respond(population("none")),
    "analog": respond(population("analog")),
    "redundant": respond(population("redundant")),
    "sparse": respond(population("sparse")),
    "undecided": respond(population("redundant"), noise=1.0),
}


@pytest.fixture(scope="module")
def readings():
    return {
        name: Reading(name, activations, LABELS, nl.coding_scheme(activations, LABELS))
        for name, activations in POPULATIONS.items()
    }


@pytest.mark.usefixtures("few_simulations")
def test_codes_writes_what_it_says(monkeypatch, capsys, tmp_path):
    file, out = tmp_path / "<b>x.npz", tmp_path / "out"
    names = np.array(["<i>cat", "dog", "owl"])[LABELS]
    np.savez(file, activity=POPULATIONS["sparse"], animal=names)
    arguments = ("codes", file, "--activations", "activity", "--labels", "animal")
    status, printed, err = call(monkeypatch, capsys, *arguments, "--out", out, "--seed", 3)
    assert status == 0
    expected = nl.coding_scheme(POPULATIONS["sparse"], names, seed=3)
    assert str(expected) in printed
    for name in ("codes.json", "neurons.csv", "report.html", "figures"):
        assert (out / name).exists()
        assert str(out / name) in printed
    (found,) = json.loads((out / "codes.json").read_text())["populations"]
    assert found["scheme"] == "sparse"
    assert found["n_inputs"] == 40
    assert found["classes"] == ["<i>cat", "dog", "owl"]
    assert [code["classes"] for code in found["codes"]] == [[], ["owl"], ["dog"], ["<i>cat"]]
    assert found["evidence"]["sharing_p_value"] == expected.evidence.sharing_p_value
    neurons = pd.read_csv(out / "neurons.csv", index_col="neuron", dtype={"code": str})
    pd.testing.assert_frame_equal(neurons, expected.to_frame(), check_dtype=False, check_index_type=False)
    figures = {f"{name}.{suffix}" for name in PICTURES["sparse"] for suffix in ("svg", "png")}
    assert {path.name for path in (out / "figures").iterdir()} == figures
    page = (out / "report.html").read_text()
    assert "&lt;i&gt;cat" in page
    assert "<i>cat" not in page
    assert "<b>x" not in page
    assert "--activations activity" in page
    status, printed, err = call(monkeypatch, capsys, *arguments, "--out", out)
    assert status == 2
    assert "holds a reading already" in err
    assert call(monkeypatch, capsys, *arguments, "--out", tmp_path / "b", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activations", "x"], "holds no 'x'"),
        (["--seed", "-1"], "seed must be an integer of at least 0, got -1"),
        ([], "labels must hold at least two inputs of each class"),
    ],
)
def test_codes_that_cannot_be_read(monkeypatch, capsys, tmp_path, arguments, message):
    np.savez(tmp_path / "a.npz", activations=np.eye(3), labels=[0, 0, 1])
    status, _, err = call(monkeypatch, capsys, "codes", tmp_path / "a.npz", "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(nl.FileError, match="cannot be made"):
        CodesFolder(tmp_path / "file" / "out").make()


@pytest.mark.usefixtures("few_simulations")
def test_codes_of_a_run(monkeypatch, capsys, tree, tmp_path):
    nl.save(tree, tmp_path / "samples.nc")
    out = tmp_path / "out"
    status, printed, _ = call(monkeypatch, capsys, "codes", tmp_path / "samples.nc", "--out", out)
    assert status == 0
    assert "chain 1 layer 1: coding scheme" in printed


PICTURES = {
    "none": {"activities", "class_activity", "selectivity"},
    "analog": {"activities", "class_activity", "selectivity", "participation"},
    "redundant": {"activities", "class_activity", "selectivity", "participation", "codes"},
    "sparse": {"activities", "class_activity", "selectivity", "participation", "codes"},
    "undecided": {"activities", "class_activity", "selectivity", "participation"},
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_figure_of_a_scheme_has_content(readings, name):
    assert readings[name].scheme.name == name
    drawn = scheme_pictures(readings[name])
    assert {picture.name for picture in drawn} == PICTURES[name]
    for picture in drawn:
        canvas = FigureCanvasAgg(picture.figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())
        assert np.mean(np.any(pixels[..., :3] < 200, axis=-1)) > 0.01, picture.name
        assert picture.caption
    summary = plain({"name": name, "n_inputs": 40} | summarize_scheme(readings[name].scheme))
    page = codes_page("A <page>", [(summary, drawn)], "nonlazy codes")
    assert readings[name].scheme.reason in page
    assert "A &lt;page&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    json.dumps(summary, allow_nan=False)


def test_activity_map_shows_each_neuron_on_each_input(readings):
    """Shuffled inputs: rows of the map are neurons, columns inputs sorted by class."""
    shuffle = np.random.default_rng(0).permutation(len(LABELS))
    reading = readings["redundant"]._replace(activations=POPULATIONS["redundant"][shuffle], labels=LABELS[shuffle])
    (picture,) = [picture for picture in scheme_pictures(reading) if picture.name == "activities"]
    shown = picture.figure.axes[0].images[0].get_array()
    expected = reading.activations[np.argsort(reading.labels, kind="stable")][:, order_by_scheme(reading.scheme)]
    np.testing.assert_array_equal(shown, expected.T)


def test_neurons_are_sorted_by_code_then_by_the_class_they_prefer(readings):
    codes = readings["redundant"].scheme.neuron_codes[order_by_scheme(readings["redundant"].scheme)]
    assert np.array_equal(codes, np.repeat([[1, 1, 0], [1, 0, 1], [0, 1, 1]], 20, axis=0))
    scheme = readings["analog"].scheme
    preferred = scheme.class_activity[order_by_scheme(scheme)].argmax(axis=1)
    assert (np.diff(preferred) >= 0).all()


def test_small_classes_and_few_coding_neurons_are_shown():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [5000, 3, 900]))
    shown = shown_inputs(labels, 100)
    assert np.bincount(labels[shown]).tolist() == [84, 2, 15]
    assert (np.diff(labels[shown]) >= 0).all()
    activity = np.random.default_rng(0).permutation(np.concatenate([5 * np.eye(3), np.zeros((997, 3))]))
    scheme = nl.coding_scheme(respond(activity), LABELS)
    neurons = shown_neurons(scheme, 300)
    assert set(neurons[:3]) == set(np.flatnonzero(activity.any(axis=1)))
    assert len(set(neurons)) == 103


def test_shares_of_equal_few_and_exponential_neurons():
    np.testing.assert_allclose(cumulative_shares(np.ones(4)).observed, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(cumulative_shares(np.array([0.0, 3, 1, 0])).observed, [0.75, 1, 1, 1])
    n = 200_000
    simulated = cumulative_shares(np.random.default_rng(0).exponential(size=n) ** 2)
    # Shares of ten per cent and of half of the neurons scatter by some 1 / sqrt(n) each.
    for k in (n // 10, n // 2):
        assert simulated.exponential[k - 1] == pytest.approx(simulated.observed[k - 1], abs=4 / np.sqrt(n))
    assert simulated.exponential[-1] == 1


def test_infinite_selectivities_are_counted():
    _, ((ax,),) = plot.subplots(1, 1, 3, 3)
    plot.selectivity([0.5, np.inf, np.inf], [True, True, True], ax)
    assert ax.get_legend().get_texts()[0].get_text() == "coding neurons (2 at infinity)"


@pytest.mark.usefixtures("few_simulations")
def test_report_of_a_run_gives_the_scheme_of_each_chain(tree):
    schemes = layer_schemes(tree, resolve("erf"))
    summary = summarize(tree, schemes=schemes)
    (layer,) = summary["coding_schemes"]
    assert [row["chain"] for row in layer["chains"]] == [1, 2, 3]
    labels = tree["constant_data"]["labels"].values
    for reading, row, preactivations in zip(
        schemes, layer["chains"], tree["last_draw"]["preactivations"].values[:, 0], strict=True
    ):
        activities = stats.norm.cdf(np.sqrt(np.pi / 2) * preactivations)
        means = [activities[:, labels == label].mean(axis=1) for label in range(3)]
        np.testing.assert_allclose(reading.scheme.class_activity.T, means, rtol=1e-9)
        assert (row["scheme"], row["reason"]) == (reading.scheme.name, reading.scheme.reason)
    page = report_page("A run", summary, [], "nonlazy run")
    assert f"<strong>{layer['scheme']}</strong>" in page
    assert all(row["reason"] in page for row in layer["chains"])


@pytest.mark.usefixtures("few_simulations")
def test_chains_that_disagree_or_cannot_be_read_are_told_apart(tree, readings):
    schemes = layer_schemes(tree.copy(), lambda z: z * 0)
    assert {reading.name for reading in schemes} == {"undecided"}
    assert "constant" in schemes[0].reason
    mixed = [schemes[0], schemes[1]._replace(scheme=readings["sparse"].scheme), schemes[2]]
    (layer,) = summarize(tree, schemes=mixed)["coding_schemes"]
    assert layer["scheme"] == "chains disagree: 2 undecided, 1 sparse"
    assert "constant" in report_page("A run", summarize(tree, schemes=mixed), [], "nonlazy run")
