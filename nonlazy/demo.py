"""The main job on the toy tasks and on MNIST, and a page that links the reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nonlazy import config
from nonlazy.files import write_text
from nonlazy.pipeline import RunFolder, run
from nonlazy.report import IndexEntry, index_page

PRESETS = ("toy-linear", "toy-erf", "toy-relu", "mnist")


def demo(out: Path, seed: int | None, progress: bool, announce: Callable[[str], None]) -> Path:
    """Run the presets into folders below `out`; the path of the index page."""
    replaced = {} if seed is None else {"seed": seed}
    entries = []
    for name in PRESETS:
        folder = RunFolder(out / name)
        text = config.read_preset(name)
        title = config.parse(text, name).title
        announce(title)
        run(text, f"preset {name}", replaced, folder, progress, f"nonlazy run --preset {name} --out {name}")
        verdict = json.loads(folder.summary.read_text())["verdict"]
        entries.append(IndexEntry(f"{name}/report.html", title, verdict, f"{name}/figures/activities.svg"))
    index = out / "index.html"
    write_text(index, index_page("What do wide networks represent?", entries))
    return index
