"""Makes the pages of the gallery and their pictures from the results of `nonlazy reproduce`.

python docs/images/gallery.py DIR
python docs/images/gallery.py DIR --size full --commit 1a2b3c4
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from nonlazy.reproduce import ENTRIES

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "benchmarks" / "reproduce"
# Pixels along the longer side of a picture on the page, and its largest size in bytes.
WIDTHS = (1000, 850, 700, 550)
LARGEST = 150_000
VERDICTS = {True: "holds", False: "**does not hold**", None: "not resolved"}
JUDGED = """`nonlazy reproduce` computes published figures again and judges each claim by a number: it holds if the measured
value with two standard errors on either side lies in what the claim allows, does not hold if that lies outside, and is
not resolved otherwise.
"""
HEADS = {
    "quick": f"""# Gallery: what was published, and what is found here

{JUDGED}This page is made from the results of `nonlazy reproduce --all --quick`, small networks that take a minute or two each;
[full sizes](gallery-full.md) have a page of their own. [Reproduce a figure](howto/reproduce.md) says how.
""",
    "full": f"""# Gallery: the published sizes

{JUDGED}This page is made from the results of `nonlazy reproduce` at its full sizes; as JSON they lie in
`benchmarks/reproduce/`. The [gallery](gallery.md) of small networks shows all entries.
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder that nonlazy reproduce wrote")
    parser.add_argument("--size", choices=list(HEADS), default="quick")
    parser.add_argument("--commit", default="", help="of the code that made the results")
    options = parser.parse_args()
    page = HERE.parent / ("gallery.md" if options.size == "quick" else "gallery-full.md")
    pictures = HERE / ("gallery" if options.size == "quick" else "gallery-full")
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    found = [name for name in ENTRIES if current(options.results, name, options.size)]
    sections = [section(options.results, name, pictures, options.commit) for name in found]
    missing = ", ".join(f"`{name}`" for name in ENTRIES if name not in found)
    if missing:
        sections.append(f"## Not shown\n\nWithout a result at the present {options.size} size: {missing}.\n")
    page.write_text("\n".join([HEADS[options.size], *sections]), encoding="utf-8")
    if options.size == "full":
        RESULTS.mkdir(exist_ok=True)
        for name in found:
            shutil.copy(options.results / name / "result.json", RESULTS / f"{name}.json")
    sizes = [picture.stat().st_size for picture in pictures.glob("*.png")]
    print(
        f"wrote {page} and {len(sizes)} pictures, {sum(sizes) / 1e6:.2f} MB, the largest {max(sizes, default=0) / 1e3:.0f} kB"
    )


def current(folder: Path, name: str, size: str) -> bool:
    """Whether there is a result of this entry at its present settings."""
    file = folder / name / "result.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["settings"] == ENTRIES[name].settings(size)


def section(folder: Path, name: str, pictures: Path, commit: str) -> str:
    """Claim, figures and verdicts of one entry."""
    result = json.loads((folder / name / "result.json").read_text(encoding="utf-8"))
    machine = result["machine"]
    lines = [
        f"## {result['title']}",
        "",
        result["claim"],
        "",
        f"*{result['source']}.* `nonlazy reproduce {name}{' --quick' if result['size'] == 'quick' else ''}`, "
        f"{result['cpu_seconds']:.0f} s of one core of {machine['processor']}{f', commit {commit}' if commit else ''}.",
        "",
    ]
    for figure in result["figures"]:
        shrink(folder / name / "figures" / f"{figure['name']}.png", pictures / f"{figure['name']}.png")
        lines += [
            f"![{figure['title']}](images/{pictures.name}/{figure['name']}.png)",
            "",
            f"*{figure['caption']}*",
            "",
        ]
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
