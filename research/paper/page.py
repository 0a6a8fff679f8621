"""The pages of the paper's claims, written from the JSON files of `python -m research.paper CLAIM --json FILE`.

Run as ``python -m research.paper.page FOLDER PAGE``: FOLDER holds ``paper-....json``, PAGE is the
Markdown file to write, with the other pages and all numbers in a .csv file beside it; pictures are looked for in
``images/`` beside the page's parent.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

from malles_env.errors import invalid
from malles_env.files import read_json_object, write_text
from research.paper import CLAIMS

INTRODUCTION = """# The paper's claims

The paper behind this package (MALLES, arXiv 2603.17694) makes claims about how consumers should be trained. Each is
tested here with one command, on the choice occasions of the Complete Journey, whatever comes out. Training never sees
the judged weeks; ± is one standard error, clustered by household, over the same test purchases for all that is
compared; with several training runs it covers their spread too. "Higher" and "lower" are said where a difference
exceeds two standard errors.

The paper's own figures are not set beside ours: its full text was not read, and its data are another seller's. The runs
are small, so that each command ends in minutes: the scores are not the best ones this package reaches, only comparable
with one another. More `--steps` and more `--sessions` (training runs) make them larger; trained heads are kept in the
user cache, so a command goes on where it stopped.

The language model is frozen SmolLM2; only heads are trained on its readings of the products' texts. The paper trains
the language model itself.

All measured numbers with their standard errors, as a file: [{0}.csv]({0}.csv).

What goes in, and how wording is treated: []({0}-inputs.md). The mean field: []({0}-mean-field.md).
"""
OTHERS = {
    "inputs": ("The paper's claims: inputs", ("augmentation", "attention", "consistency")),
    "mean-field": ("The paper's claims: the mean field", ("window", "stability")),
}
"""Titles and claims of the pages beside the first one, by the end of their names."""


def pages(found: list[dict[str, Any]], stem: str, images: Path | None = None) -> dict[str, str]:
    """Return the pages of some experiments' findings by file name.

    Args:
        found: What `python -m research.paper --json` wrote, one per claim.
        stem: Name of the first page without its suffix; the file of `all_numbers`, which it links to, has the same.
        images: Folder in which their pictures are looked for; None leaves pictures out.
    """
    sections = {of["experiment"].removeprefix("paper-"): _section(of, images) for of in found}
    others = {}
    for end, (title, claims) in OTHERS.items():
        lead = f"# {title}\n\nHow the claims are tested, and on what: []({stem}.md).\n"
        others[f"{stem}-{end}.md"] = "\n".join([lead, *(sections.pop(claim) for claim in claims if claim in sections)])
    return {f"{stem}.md": "\n".join([INTRODUCTION.format(stem), *sections.values()]), **others}


def all_numbers(found: list[dict[str, Any]]) -> str:
    """Return what was measured as CSV: one line per claim and quantity."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["claim", "quantity", "measured", "standard_error"])
    for of in found:
        name = of["experiment"].removeprefix("paper-")
        writer.writerows([name, r["quantity"], f"{r['measured']:.6g}", f"{r['se']:.3g}"] for r in of["rows"])
    return text.getvalue()


def _section(of: dict[str, Any], images: Path | None) -> str:
    name, (finding, *notes) = of["experiment"], of["notes"]
    lines = [f"## {of['title']}", "", f"`python -m research.paper {name.removeprefix('paper-')}`", "", finding, ""]
    if images is not None and (images / f"{name}.png").is_file():
        lines += [f"![{of['title']}](../images/{name}.png)", ""]
    lines += [f"{note}" for note in notes[:-1]]  # the last one is the caveat of all
    settings = ", ".join(f"{key} {_short(value)}" for key, value in of["settings"].items())
    return "\n".join([*lines, "", f"Run with: {settings}.", ""])


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def main(folder: Path, target: Path) -> Path:
    """Write the pages of all experiments whose figures lie in a folder, in the order they are listed.

    Raises:
        InvalidInput: There are none.
    """
    names = [f"paper-{claim}" for claim in CLAIMS if (folder / f"paper-{claim}.json").is_file()]
    if not names:
        raise invalid("folder", str(folder), "a folder with figures such as paper-window.json")
    found = [read_json_object(folder / f"{name}.json") for name in names]
    write_text(target.with_suffix(".csv"), all_numbers(found))
    for name, text in pages(found, target.stem, target.parent.parent / "images").items():
        write_text(target.with_name(name), text)
    return target


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
