"""The folder of a result: result.json, figures, and one gallery page over all results."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nonlazy import plot
from nonlazy.analysis import plain
from nonlazy.errors import FileError
from nonlazy.files import write_text
from nonlazy.report import gallery_page, save_figures
from nonlazy.reproduce.claims import Claim
from nonlazy.reproduce.entry import Entry, Outcome

RESULT = "result.json"
# What the gallery reads of a result.
KEYS = {"entry", "title", "claim", "source", "size", "seed", "settings", "seconds", "machine", "claims", "figures"}


class ResultFolder:
    """Where the result of an entry is kept: result.json and figures/."""

    def __init__(self, path: Path) -> None:
        self.path, self.result, self.figures = path, path / RESULT, path / "figures"

    def check(self) -> None:
        """Refuse a path that holds something else than a result, or nothing can be written to.

        Raises:
            FileError: a file, a folder with other content, or a folder that is not writable.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileError(f"{self.path} is a file; choose another folder with --out.")
        if self.path.is_dir() and not self.result.exists():
            others = [entry.name for entry in self.path.iterdir() if entry != self.figures]
            if others:
                raise FileError(
                    f"{self.path} holds {others[0]} but no {RESULT}: it is no result of nonlazy reproduce. Choose another "
                    "folder with --out."
                )
        parent = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not os.access(parent, os.W_OK):
            raise FileError(f"{parent} cannot be written to; choose another folder with --out.")

    def stored(self) -> dict[str, Any] | None:
        """The result that is there, or None.

        Raises:
            FileError: result.json cannot be read.
        """
        if not self.result.exists():
            return None
        try:
            found = json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{self.result} cannot be read: {error}. Delete it to compute it again.") from error
        missing = KEYS - set(found) if isinstance(found, dict) else KEYS
        if missing:
            raise FileError(
                f"{self.result} is no result of nonlazy reproduce: {sorted(missing)[0]} is missing. Delete it to "
                "compute it again."
            )
        return found

    def write(self, entry: Entry, outcome: Outcome, run: dict[str, Any]) -> dict[str, Any]:
        """Figures first: a folder with result.json is complete.

        Args:
            run: how it was computed: size, seed, settings, seconds, machine, versions.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with plot.style():
                save_figures(outcome.pictures, self.figures)
        except OSError as error:
            raise FileError(f"{self.figures} cannot be written: {error.strerror or error}.") from error
        result = plain(
            {"entry": entry.name, "title": entry.title, "claim": entry.claim, "source": entry.source}
            | run
            | {
                "claims": [claim.describe() for claim in outcome.claims],
                "figures": [{"name": p.name, "title": p.title, "caption": p.caption} for p in outcome.pictures],
                "numbers": outcome.numbers,
            }
        )
        write_text(self.result, json.dumps(result, indent=1) + "\n")
        return result


def write_gallery(out: Path, results: Sequence[dict[str, Any]]) -> Path:
    """One page of all results, which shows the figures of their folders."""
    page = out / "index.html"
    write_text(page, gallery_page("What was published, and what is found here", results))
    return page


def summary_line(result: dict[str, Any]) -> str:
    """How many claims of a result hold, as on the command line."""
    verdicts = [claim["holds"] for claim in result["claims"]]
    parts = [(True, "hold"), (False, "do not hold"), (None, "not resolved")]
    counts = [f"{verdicts.count(value)} {words}" for value, words in parts if verdicts.count(value)]
    return f"{result['entry']}: {len(verdicts)} claims: {', '.join(counts)} ({result['seconds']:.0f} s)"


def claim_line(claim: Claim | dict[str, Any]) -> str:
    """A claim as one line of text."""
    found = claim.describe() if isinstance(claim, Claim) else claim
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "not resolved"}[found["holds"]]
    measured = "nothing" if found["measured"] is None else f"{found['measured']:.4g}"
    error = f" ± {found['uncertainty']:.2g}" if found["uncertainty"] else ""
    return f"  {verdict}: {found['statement']} Measured {measured}{error}, expected {found['expected']}."
