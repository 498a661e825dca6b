"""HTML pages that need nothing but themselves: figures are embedded, nothing is requested from anywhere."""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader

from nonlazy.report.figures import Picture
from nonlazy.sampling.diagnostics import MAX_RHAT, MIN_ESS

# Autoescape: class names, task names and file names are the user's.
_environment = Environment(
    loader=PackageLoader("nonlazy.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


class IndexEntry(NamedTuple):
    """A line of the index: where the report is, its title and its verdict."""

    link: str
    title: str
    verdict: str
    picture: str


def report_page(title: str, summary: dict[str, Any], pictures: list[Picture], reproduce: str) -> str:
    """The report of a run.

    Args:
        title: heading.
        summary: result of `nonlazy.analysis.summarize`.
        pictures: figures, embedded as SVG.
        reproduce: the command that makes the same run.
    """
    return _environment.get_template("report.html.j2").render(
        title=title,
        summary=summary,
        pictures=_shown(pictures),
        reproduce=reproduce,
        machine=_machine(),
        max_rhat=MAX_RHAT,
        min_ess=MIN_ESS,
    )


def codes_page(title: str, populations: list[tuple[dict[str, Any], list[Picture]]], reproduce: str) -> str:
    """The report of coding schemes.

    Args:
        title: heading.
        populations: the name, the number of inputs and `nonlazy.analysis.summarize_scheme` of each, and its figures.
        reproduce: the command that makes the same page.
    """
    shown = [
        {"name": summary["name"], "summary": summary, "pictures": _shown(pictures)} for summary, pictures in populations
    ]
    return _environment.get_template("codes.html.j2").render(
        title=title, populations=shown, reproduce=reproduce, machine=_machine()
    )


def index_page(title: str, entries: list[IndexEntry]) -> str:
    """A page that links reports."""
    return _environment.get_template("index.html.j2").render(title=title, entries=entries)


def gallery_page(title: str, results: Sequence[dict[str, Any]]) -> str:
    """A page of results of `nonlazy reproduce`, whose figures are in folders beside it."""
    words = ((True, "hold"), (False, "do not hold"), (None, "not resolved"))
    verdicts = [[claim["holds"] for claim in result["claims"]] for result in results]
    counts = [", ".join(f"{v.count(value)} {text}" for value, text in words if v.count(value)) for v in verdicts]
    return _environment.get_template("gallery.html.j2").render(title=title, results=results, counts=counts)


def _shown(pictures: list[Picture]) -> list[dict[str, str]]:
    return [{"name": p.name, "title": p.title, "caption": p.caption, "source": embedded(p)} for p in pictures]


def embedded(picture: Picture) -> str:
    """The figure as a data address; SVG inside an image element cannot run scripts or clash with the page's names."""
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
