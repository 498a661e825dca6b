"""Turns the formulas of the pages into MathML when the site is built: reading them needs no script and no network."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    return FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    tag, text = match.groups()
    formula = html.unescape(text).strip()[2:-2]
    rendered = convert(formula, display="block" if tag == "div" else "inline")
    return f"<{tag}>{rendered}</{tag}>"
