"""`nonlazy reproduce`: the logic of claims, the folder of results, and, slow, each entry at its quick size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from shared_images import CIFAR10, needs_cifar10
from typer.testing import CliRunner

import nonlazy as nl
from nonlazy import cli
from nonlazy.errors import FileError, InputError
from nonlazy.report import Picture
from nonlazy.reproduce import ENTRIES, SIZES, Outcome, chosen, claim_line, reproduce, summary_line
from nonlazy.reproduce.claims import above, below, close_to
from nonlazy.reproduce.entries import published_numbers
from nonlazy.reproduce.entries.published_numbers import Row
from nonlazy.reproduce.entry import Entry
from nonlazy.reproduce.images import Network
from nonlazy.reproduce.networks import block_contrast, mean_and_error

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        (close_to(1.0, 0.1, "inside", 1.05, 0.02), True),
        (close_to(1.0, 0.1, "outside", 1.2, 0.02), False),
        (close_to(1.0, 0.1, "on the edge", 1.1, 0.02), None),
        (close_to(1.0, 0.1, "too uncertain", 1.0, 0.06), None),
        (close_to(1.0, 0.0, "exact", 1.0), True),
        (below(2.0, "clearly below", 1.0, 0.4), True),
        (below(2.0, "clearly above", 3.0, 0.4), False),
        (below(2.0, "perhaps", 1.5, 0.4), None),
        (above(2.0, "clearly above", 3.0, 0.4), True),
        (above(2.0, "clearly below", 1.0, 0.4), False),
        (above(2.0, "not measured", math.nan, 0.4), None),
        (above(2.0, "error unknown", 3.0, math.nan), None),
    ],
)
def test_a_claim_holds_if_two_standard_errors_are_inside(claim, holds):
    assert claim.holds is holds
    assert claim.describe()["holds"] is holds


def test_error_of_a_mean_sees_chains_that_disagree():
    """Frozen chains at 0 and 1: the spread of their means, not the vanishing scatter within them."""
    values = np.repeat([[0.0], [1.0], [0.0], [1.0]], 50, axis=1) + 1e-6 * np.random.default_rng(0).normal(size=(4, 50))
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(0.5, abs=1e-6)
    assert error == pytest.approx(np.std([0, 1, 0, 1], ddof=1) / 2, rel=1e-4)


def test_error_of_a_mean_of_independent_draws():
    values = np.random.default_rng(1).normal(size=(4, 500))
    assert mean_and_error(values)[1] == pytest.approx(1 / np.sqrt(2000), rel=0.3)


def test_block_contrast():
    assert block_contrast(np.array([[3.0, 1.0], [1.0, 5.0]])) == 3.0


def test_a_published_number_is_judged_by_the_spread_of_networks():
    """One published network against 4: the difference has variance error^2 + spread^2 (1 + 1/4)."""
    assert Row("prior", "x", 1.0, 0.3, 2.0, 0.4, 4).z == pytest.approx(1 / math.sqrt(0.09 + 0.16 * 1.25))


def test_the_linear_fit_finds_the_prior_that_made_the_ratios():
    ratios = published_numbers.linear_ratios(0.5, 20)
    numbers = {"half_size_class": ratios[:, 0], "quarter_size_classes": ratios[:, 1]}
    assert published_numbers.fit_readout_std(numbers, 20, (0.1, 2.0))["readout_std"] == pytest.approx(0.5, rel=0.01)


def test_blocks_of_the_kernel_follow_from_codes():
    """Codes 1-0 and 0-1 at 3/4 and 1/4: blocks 3/4, 1/4 and 0, ratios 1/3 and 0."""
    numbers = {"layer_3_code_fractions": {"10": 0.75, "01": 0.25}}
    for ratio, holds in ((1 / 3, True), (0.5, False)):
        numbers["layer_3_kernel_blocks_over_block_11"] = {"22": ratio, "12": 0.0}
        assert published_numbers.consistency(numbers, 0.02).holds is holds


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("size", SIZES)
def test_every_entry_has_settings_of_both_sizes(name, size):
    entry = ENTRIES[name]
    assert entry.name == name
    assert entry.settings(size)
    assert entry.settings("quick").keys() == entry.settings("full").keys()


def test_the_list_names_every_entry():
    found = RUNNER.invoke(cli.app, ["reproduce", "--list"])
    assert found.exit_code == 0
    for entry in ENTRIES.values():
        assert entry.name in found.output


def test_choice_of_entries():
    assert [entry.name for entry in chosen(["schemes", "schemes"], False, None)] == ["schemes"]
    with_data, without = chosen([], True, Path("images.npz")), chosen([], True, None)
    assert {entry.name for entry in with_data} - {entry.name for entry in without} == {"cifar10"}
    with pytest.raises(InputError, match=r"NAME must be one of 'overview'.*got 'figure-1'"):
        chosen(["figure-1"], False, None)
    for names, everything in (([], False), (["schemes"], True)):
        with pytest.raises(InputError, match="names of entries or --all"):
            chosen(names, everything, None)


@pytest.fixture
def entry():
    """An entry that counts how often it is computed."""
    calls = []

    def compute(job):
        calls.append(job)
        figure = Figure()
        figure.subplots().plot([0, 1])
        claims = [above(0, "It is positive.", 1.0, 0.1), below(0, "It is <b>negative</b>.", 1.0, 0.1, "Tested.")]
        return Outcome(claims, [Picture("line", "Line", "A line.", figure)], {"value": np.float64(np.nan)})

    found = replace(ENTRIES["schemes"], compute=compute)
    return found, calls


def test_result_figures_and_page(entry, tmp_path):
    (result,) = reproduce([entry[0]], tmp_path, "quick", seed=3, progress=False)
    folder = tmp_path / "schemes"
    assert result == json.loads((folder / "result.json").read_text())
    assert [claim["holds"] for claim in result["claims"]] == [True, False]
    assert result["numbers"] == {"value": None}
    assert (result["size"], result["seed"], result["settings"]) == ("quick", 3, entry[0].settings("quick"))
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["processor"]
    assert result["versions"].keys() >= {"nonlazy", "jax"}
    assert (folder / "figures" / "line.svg").read_text().lstrip().startswith("<?xml")
    assert matplotlib.image.imread(folder / "figures" / "line.png").ndim == 3
    page = (tmp_path / "index.html").read_text()
    assert "schemes/figures/line.svg" in page
    assert "&lt;b&gt;negative" in page
    assert summary_line(result).startswith("schemes: 2 claims: 1 hold, 1 do not hold")
    assert "DOES NOT HOLD" in claim_line(result["claims"][1])


def test_a_finished_entry_is_kept(entry, tmp_path):
    found, calls = entry
    announced = []
    for _ in range(2):
        reproduce([found], tmp_path, "quick", progress=False, announce=lambda _, computed: announced.append(computed))
    assert len(calls) == 1
    assert announced == [True, False]


def test_a_result_of_another_seed_or_size_is_not_mixed_in(entry, tmp_path):
    found, calls = entry
    reproduce([found], tmp_path, "quick", progress=False)
    for options in ({"seed": 1}, {"size": "full"}):
        with pytest.raises(InputError, match="choose another folder"):
            reproduce([found], tmp_path, **({"size": "quick"} | options), progress=False)
    assert len(calls) == 1


def test_an_entry_that_fails_leaves_no_result(entry, tmp_path):
    def fail(job):
        raise InputError("no.")

    with pytest.raises(InputError, match="no"):
        reproduce([replace(entry[0], compute=fail)], tmp_path, "quick", progress=False)
    assert not (tmp_path / "schemes" / "result.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"thesis.tex": "x"}, "holds thesis.tex but no result.json"),
        ({"result.json": "{"}, "result.json cannot be read"),
        ({"result.json": "[]"}, "is no result of nonlazy reproduce"),
        ({"result.json": '{"claims": []}'}, "is no result of nonlazy reproduce"),
    ],
)
def test_a_folder_that_is_no_result_is_refused_before_computing(entry, tmp_path, content, message):
    found, calls = entry
    (tmp_path / "schemes").mkdir()
    for name, text in content.items():
        (tmp_path / "schemes" / name).write_text(text)
    with pytest.raises(FileError, match=message):
        reproduce([found], tmp_path, "quick", progress=False)
    assert not calls
    assert (tmp_path / "schemes" / next(iter(content))).read_text() == next(iter(content.values()))


def test_a_file_in_the_place_of_the_folder(entry, tmp_path):
    (tmp_path / "schemes").write_text("x")
    with pytest.raises(FileError, match="is a file"):
        reproduce([entry[0]], tmp_path, "quick", progress=False)


def test_data_are_checked_first(tmp_path):
    with pytest.raises(InputError, match="cifar10 needs --data"):
        reproduce([ENTRIES["cifar10"]], tmp_path, "quick", progress=False)
    with pytest.raises(FileError, match="does not exist"):
        reproduce([ENTRIES["cifar10"]], tmp_path, "quick", data=tmp_path / "none.npz", progress=False)


def test_an_entry_with_small_settings(tmp_path, monkeypatch):
    """From the command line to the figure, for linear networks, whose theory is a closed form: exponents 0 and -1/2."""
    tiny = {
        "n_inputs": [100, 200],
        "width_temperature": 1e-6,
        "theory": [["linear", 1]],
        "sampled": [],
        "tolerance": 0.05,
    }
    monkeypatch.setattr(type(ENTRIES["readout-scaling"]), "settings", lambda self, size: tiny)
    words = ["reproduce", "readout-scaling", "--quick", "--out", str(tmp_path)]
    found = RUNNER.invoke(cli.app, words, catch_exceptions=False)
    assert found.exit_code == 0
    assert "readout-scaling: 2 claims: 2 hold" in found.output
    result = json.loads((tmp_path / "readout-scaling" / "result.json").read_text())
    assert [claim["measured"] for claim in result["claims"]] == [
        pytest.approx(0, abs=0.02),
        pytest.approx(-0.5, abs=0.05),
    ]
    assert [figure["name"] for figure in result["figures"]] == ["readout-scaling"]
    assert (tmp_path / "readout-scaling" / "figures" / "readout-scaling.png").stat().st_size > 10_000


def test_bad_words_on_the_command_line(tmp_path, monkeypatch, capsys):
    for words, message in (
        (["figure-1"], "NAME must be one of"),
        (["schemes", "--all"], "--all"),
        (["cifar10"], "--data"),
    ):
        monkeypatch.setattr("sys.argv", ["nonlazy", "reproduce", *words, "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if not entry.needs_data])
def test_quick_entries(name, tmp_path):
    (result,) = reproduce([ENTRIES[name]], tmp_path, "quick", progress=False)
    assert result["claims"]
    assert all(claim["measured"] is not None for claim in result["claims"])
    assert any(claim["holds"] for claim in result["claims"])
    for figure in result["figures"]:
        assert (tmp_path / name / "figures" / f"{figure['name']}.png").stat().st_size > 5000


@pytest.mark.slow
@needs_cifar10
def test_quick_entry_of_cifar10(tmp_path):
    (result,) = reproduce([ENTRIES["cifar10"]], tmp_path, "quick", data=CIFAR10, progress=False)
    assert result["claims"]
    assert any(claim["holds"] for claim in result["claims"])


# Entries in which the full size does more than the quick one: other depths, theories, starts, dynamics.
STRUCTURE = ("depths", "theory", "sampled", "starts")
LENGTHS = {"chains": 2, "warmup": 5, "draws": 5, "thin": 2}


def full_at_quick_sizes(entry):
    """Everything that the full size computes, with the numbers of the quick one."""
    quick, full = (entry.settings(size) for size in ("quick", "full"))
    settings = {key: full[key] if key in STRUCTURE else value for key, value in quick.items()}
    for key, value in quick.items():
        if value == {}:
            settings[key] = {name: LENGTHS[name] for name in full[key]}
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "drift", "posteriors", "published-numbers", "readout-scaling"])
def test_what_only_full_sizes_compute(name, tmp_path, monkeypatch):
    settings = full_at_quick_sizes(ENTRIES[name])
    assert settings != ENTRIES[name].settings("quick")
    monkeypatch.setattr(Entry, "settings", lambda self, size: settings)
    (result,) = reproduce([ENTRIES[name]], tmp_path, "full", progress=False)
    assert result["claims"]


@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
def test_errors_of_the_comparison_with_the_lazy_network_are_those_between_chains():
    task = nl.tasks.digits(n_train=12, n_test=30)
    lazy = nl.solve(nl.Posterior(nl.Model(width=6, regime="lazy"), task, 1e-2))
    posterior = nl.Posterior(nl.Model(width=6), task, 1e-2)
    network = object.__new__(Network)
    network.tree = nl.sample(posterior, chains=2, warmup=10, draws=8, keep=("predictions",), progress=False)
    network.errors = {"sampled": nl.generalization(network.tree), "lazy theory": nl.generalization(lazy)}
    (difference, error), (share, share_error) = network.against_lazy()
    parts = network.errors["lazy theory"] - network.errors["sampled"]
    assert difference == pytest.approx(float(parts.error))
    assert share == pytest.approx(float(parts.variance / parts.error))
    chains = [network.errors["lazy theory"] - nl.generalization(network.tree.isel(chain=[c])) for c in (0, 1)]
    assert error == pytest.approx(abs(float(chains[0].error - chains[1].error)) / 2)
    shares = [float(chain.variance / chain.error) for chain in chains]
    assert share_error == pytest.approx(abs(shares[0] - shares[1]) / 2)
