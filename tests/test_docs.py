"""The code in README and docs runs, the configurations parse, and the tables agree with the library."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import nonlazy as nl
from nonlazy import cli, config, plot, tasks
from nonlazy.sweep.plan import parse_sweep

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = {
    "Top level": config.Config,
    '`[task]`, name "orthogonal"': config.OrthogonalTask,
    '`[task]`, name "gaussian"': config.GaussianTask,
    '`[task]`, name "digits", "mnist", "fashion_mnist" or "cifar10"': config.ImageTask,
    '`[task]`, name "file"': config.FileTask,
    "`[model]`": config.ModelConfig,
    "`[sampling]`": config.SamplingConfig,
}


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language, with empty lines before them so that errors give the page's line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text[: match.start(1)].count("\n") + match[1] for match in found]


# They sample several networks.
SLOW = {"drift.md", "overview.md", "mlp_optax.py"}


def cases(files: list[Path]) -> list:
    return [
        pytest.param(file, id=str(file.relative_to(ROOT)), marks=pytest.mark.slow if file.name in SLOW else ())
        for file in files
    ]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


@pytest.mark.parametrize("page", cases(pages_with("python")))
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """In one namespace and an empty folder; small networks with few draws may warn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    namespace = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.SamplingWarning)
        for block in blocks(page, "python"):
            exec(compile(block, str(page), "exec"), namespace)
    plt.close("all")


@pytest.mark.parametrize("page", pages_with("toml"), ids=lambda page: page.name)
def test_toml_of_a_page_parses(page):
    for block in blocks(page, "toml"):
        (parse_sweep if "[sweep]" in block else config.parse)(block, page.name)


def test_example_sweep_parses():
    assert len(parse_sweep((ROOT / "examples" / "sweep.toml").read_text(encoding="utf-8"), "sweep.toml").points) == 8


def test_example_configurations_parse_and_load():
    for file in set((ROOT / "examples").glob("*.toml")) - {ROOT / "examples" / "sweep.toml"}:
        assert config.parse(file.read_text(encoding="utf-8"), file.name).posterior().task.n_inputs > 0


def test_example_configuration_names_every_entry():
    """As an entry, or as a comment that would be one."""
    text = (ROOT / "examples" / "run.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))
    expected = {name for section in SECTIONS.values() for name in section.model_fields} - {"task", "model", "sampling"}
    assert named == expected


def test_commented_tables_of_the_example_configuration_parse():
    """Each [task] that is commented out, in place of the one that is not."""
    text = (ROOT / "examples" / "run.toml").read_text(encoding="utf-8")
    tables = re.findall(r"^# \[task\]\n(?:# .*\n)+", text, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        config.parse(re.sub(r"^# ", "", table, flags=re.MULTILINE), "run.toml")


# Libraries that a script needs and this one does not.
NEEDS = {"mlp_pytorch.py": "torch"}


@pytest.mark.parametrize("script", cases(sorted((ROOT / "examples").glob("*.py"))))
def test_example_scripts_run(script, tmp_path):
    if script.name in NEEDS:
        pytest.importorskip(NEEDS[script.name], reason=f"{script.name} needs a library that is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(("heading", "section"), SECTIONS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_documented_defaults_are_those_of_the_code(heading, section):
    documented = table_under(ROOT / "docs" / "configuration.md", heading)
    assert {name: value for name, (value, _) in documented.items()} == dict(defaults(section))


def table_under(page: Path, heading: str) -> dict[str, tuple[str, str]]:
    """Rows of the last table in a section: name, without backticks, to the two cells that follow."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.*?) ?\| (.*) \|$", section, re.MULTILINE)
    return {name: (value, meaning) for name, value, meaning in rows}


def defaults(section: type[BaseModel]):
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        if name in ("name", "task"):
            continue
        if field.default is PydanticUndefined:
            yield name, "required"
        elif field.default is None:
            yield name, "none"
        else:
            yield name, f"`{as_toml(field.default)}`"


def as_toml(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def test_as_toml_gives_toml():
    for section in SECTIONS.values():
        for _, default in defaults(section):
            if default.startswith("`"):
                tomllib.loads(f"x = {default.strip('`')}")


def test_every_command_and_option_is_documented():
    page = ROOT / "docs" / "cli.md"
    commands = typer.main.get_command(cli.app).commands
    headings = re.findall(r"^## nonlazy (\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == list(commands)
    for name, command in commands.items():
        documented = [entry.split()[0] for entry in table_under(page, f"nonlazy {name}") if entry.startswith("--")]
        assert documented == [param.opts[0] for param in command.params if param.opts[0].startswith("--")]


def test_presets_are_documented():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert ", ".join(f'"{name}"' for name in config.presets()) in text


def test_every_public_name_is_in_the_reference():
    """Functions called like their module need its name before their own, so only the last part is compared."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    rooms = {
        "nonlazy.tasks.": tasks.__all__,
        "nonlazy.plot.": plot.__all__,
        "nonlazy.": set(nl.__all__) - {"tasks", "plot"},
    }
    names = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    for room, public in rooms.items():
        documented = [name for name in names if name.startswith(room)]
        names = [name for name in names if name not in documented]
        assert {name.split(".")[-1] for name in documented} == set(public)
    assert not names


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
