"""Makes docs/gallery.md and docs/images/gallery/ from the results of `nonlazy reproduce --all --quick --out DIR`.

python docs/images/gallery.py DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

from nonlazy.reproduce import ENTRIES

HERE = Path(__file__).parent
PICTURES = HERE / "gallery"
PAGE = HERE.parent / "gallery.md"
# Pixels along the longer side of a picture on the page, and its largest size in bytes.
WIDTHS = (1000, 850, 700, 550)
LARGEST = 150_000
VERDICTS = {True: "holds", False: "**does not hold**", None: "not resolved"}
HEAD = """# Gallery: what was published, and what is found here

`nonlazy reproduce` computes published figures again and judges each claim by a number: it holds if the measured value with two
standard errors on either side lies in what the claim allows, does not hold if that lies outside, and is not resolved otherwise.
This page is made from the results of `nonlazy reproduce --all --quick`, small networks that take a minute or two each; without
`--quick` networks have the published sizes. [Reproduce a figure](howto/reproduce.md) says how.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder that nonlazy reproduce wrote")
    folder = parser.parse_args().results
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    sections = [section(folder, name) for name in ENTRIES if current(folder, name)]
    missing = [f"`{name}`" for name in ENTRIES if not current(folder, name)]
    if missing:
        sections.append("## Not shown\n\nWithout a result at the present quick size: " + ", ".join(missing) + ".\n")
    PAGE.write_text("\n".join([HEAD, *sections]), encoding="utf-8")
    sizes = [picture.stat().st_size for picture in PICTURES.glob("*.png")]
    print(
        f"wrote {PAGE} and {len(sizes)} pictures, {sum(sizes) / 1e6:.2f} MB in all, the largest {max(sizes) / 1e3:.0f} kB"
    )


def current(folder: Path, name: str) -> bool:
    """Whether there is a result of this entry at its present quick size."""
    file = folder / name / "result.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["settings"] == ENTRIES[name].settings("quick")


def section(folder: Path, name: str) -> str:
    """Claim, figures and verdicts of one entry."""
    result = json.loads((folder / name / "result.json").read_text(encoding="utf-8"))
    machine = result["machine"]
    lines = [
        f"## {result['title']}",
        "",
        result["claim"],
        "",
        f"*{result['source']}.* `nonlazy reproduce {name} --quick`, {result['cpu_seconds']:.0f} s of one core of",
        f"{machine['processor']}.",
        "",
    ]
    for figure in result["figures"]:
        shrink(folder / name / "figures" / f"{figure['name']}.png", PICTURES / f"{figure['name']}.png")
        lines += [f"![{figure['title']}](images/gallery/{figure['name']}.png)", "", f"*{figure['caption']}*", ""]
    lines += ["| claim | measured | expected | |", "|---|---|---|---|", *map(row, result["claims"]), ""]
    return "\n".join(lines)


def row(claim: dict[str, Any]) -> str:
    measured = "" if claim["measured"] is None else f"{claim['measured']:.4g}"
    if claim["uncertainty"]:
        measured += f" ± {claim['uncertainty']:.2g}"
    text = claim["statement"] + (f"<br>*{claim['explanation']}*" if claim["explanation"] else "")
    return f"| {text.replace('|', chr(92) + '|')} | {measured} | {claim['expected']} | {VERDICTS[claim['holds']]} |"


def shrink(source: Path, target: Path) -> None:
    """A light copy: a palette, and fewer pixels until it is light enough."""
    with Image.open(source) as image:
        for width in WIDTHS:
            light = image.convert("RGB")
            light.thumbnail((width, width), Image.Resampling.LANCZOS)
            light.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(target, optimize=True)
            if target.stat().st_size < LARGEST:
                return


if __name__ == "__main__":
    main()
