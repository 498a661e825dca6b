"""What an entry is: a published figure or claim, its settings, and the function that computes and draws it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from nonlazy.report import Picture
from nonlazy.reproduce.claims import Claim

SIZES = ("quick", "full")


@dataclass(frozen=True)
class Job:
    """One computation of an entry.

    Attributes:
        settings: the section of the entry's file for the chosen size.
        seed: of everything that is drawn.
        data: path of images, where an entry needs any.
        announce: is told what is under way.
    """

    settings: dict[str, Any]
    seed: int = 0
    data: Path | None = None
    announce: Callable[[str], Any] = lambda _: None


@dataclass
class Outcome:
    """What an entry found: claims, pictures, and further numbers behind them."""

    claims: list[Claim] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A published figure or claim.

    Attributes:
        name: on the command line.
        title: heading.
        claim: what is claimed, in one sentence.
        source: figure or panel.
        compute: computes claims and pictures.
        needs_data: whether it runs only with a path of images.
    """

    name: str
    title: str
    claim: str
    source: str
    compute: Callable[[Job], Outcome]
    needs_data: bool = False

    def settings(self, size: str) -> dict[str, Any]:
        """The settings of this size, one of `SIZES`."""
        file = resources.files("nonlazy.reproduce") / "settings" / f"{self.name}.toml"
        return tomllib.loads(file.read_text(encoding="utf-8"))[size]
