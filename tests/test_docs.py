"""What the documentation tells to type exists and runs, links lead somewhere, and no page is long."""

from __future__ import annotations

import re
import struct
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main

from malles_env.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("agents/**/*.md")]
    if "made" not in path.parts and "_build" not in path.parts
)
COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(malles .*|python -m .*)$")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@cache
def root_command() -> Any:
    """Return the command line as click has it, built once."""
    return typer.main.get_command(app)


def typed(page: Path) -> list[str]:
    """Return the commands of a page: lines of code blocks, and code in running text."""
    parts = re.split(r"^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = [part.partition("\n")[2].replace("\\\n", " ") for part in parts[1::2] if not part.startswith("python")]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [" ".join(code.split()) for text in parts[::2] for code in re.findall(r"`([^`]+)`", text)]
    return [found[1] for line in lines if (found := COMMAND.match(line))]


def problem(command: str) -> str:
    """Return what is wrong with a command, empty if nothing."""
    command = re.sub(r"\"[^\"]*\"|'[^']*'", "words", command)
    words = re.split(r" \| | > | && |;| #|[\"']", command)[0].split()
    if words[0] == "python":
        return "" if words[2] == "pip" or find_spec(words[2]) else f"no module {words[2]}"
    place = root_command()
    rest = words[1:]
    while hasattr(place, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in place.commands:
            return "" if rest[0] == "COMMAND" or set(rest[0]) == {"."} else f"no command {rest[0]}"
        place, rest = place.commands[rest[0]], rest[1:]
    known = {name for option in place.params for name in [*option.opts, *option.secondary_opts]} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_links_of_a_page_lead_somewhere(page: Path) -> None:
    wrong = [f"{command}: {why}" for command in typed(page) if (why := problem(command))]
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    wrong += [f"{link}: no such file" for link in links if not (page.parent / link).exists() and "made/" not in link]
    assert not wrong


def test_the_check_finds_what_is_wrong() -> None:
    assert (
        problem("malles nonsense") and problem("malles train x --nonsense") and problem("python -m malles_env.nowhere")
    )
    assert not problem("malles train soft-drinks --algo ppo --out runs/mine # a word")
    assert len([command for page in PAGES for command in typed(page)]) > 100


SCREENS, HEIGHT, WIDTH, PIXELS = 5, 800, 95, 25.4
"""A page in a window of 1280 by 800: screens at most, pixels of a screen, characters and pixels of a line."""
REFERENCES = ("design/ways.md", "reference/glossary.md")
"""Lists to look things up in, which may be of any length."""


def rendered_lines(page: Path) -> float:
    """Return about how many lines a page takes in a browser."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines, paragraph, code = 0.0, 0, False
    for line in [*text.split("\n"), ""]:
        plain = not (code or line.startswith(("```", "#", "|", "![")) or not line.strip())
        if paragraph and not plain:
            lines, paragraph = lines + 1 - (-paragraph // WIDTH), 0
        if line.startswith("```"):
            code, lines = not code, lines + 1
        elif code:
            lines += 1
        elif line.startswith("#"):
            lines += 3
        elif line.startswith("!["):
            lines += 2 + picture_lines(page.parent / re.findall(r"\]\(([^)]+)\)", line)[0])
        elif line.startswith("|"):
            letters = sum(len(re.sub(r"\]\([^)]*\)", "", cell).strip()) + 3 for cell in line.strip("|").split("|"))
            lines += 0 if set(line) <= set("|-: ") else max(1.35, 1.2 * -(-letters // 100))
        elif plain:
            item = re.match(r"\s*([-*]|\d+\.)\s", line)
            paragraph = (-(-paragraph // WIDTH) * WIDTH if item else paragraph) + len(line) + 1
    return lines


def picture_lines(path: Path) -> float:
    """Return the height of a picture in a column of 740 pixels, in lines."""
    if path.suffix != ".png":
        return 20.0
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return float(740 * height / max(width, 740) / PIXELS)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "docs" in page.parts and not page.as_posix().endswith(REFERENCES)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_page_is_no_longer_than_five_screens(page: Path) -> None:
    screens = rendered_lines(page) * PIXELS / HEIGHT
    assert screens <= SCREENS


def test_names_of_other_projects_that_the_reference_links_to_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    inventories = import_module("inventories")
    names = [name for pages in inventories.NAMES.values() for found in pages.values() for name in found]
    for name in {*names, *inventories.SHORT.values()}:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name
        assert inventories.address_of(name), f"{name}: on no page"
    where = inventories.address_of("np.ndarray")
    assert where == "https://numpy.org/doc/stable/reference/generated/numpy.ndarray.html#numpy.ndarray"


TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials" and page.name != "index.md"]


def test_every_tutorial_stands_in_the_index() -> None:
    assert len(TUTORIALS) == 6
    result = (ROOT / "docs/tutorials/index.md").read_text(encoding="utf-8")
    listed = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert all(f"({page.name})" in result and f"tutorials/{page.stem}\n" in listed for page in TUTORIALS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the cells as a script; the documentation runs them as notebooks and keeps what they print."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = re.findall(
        r"^```\{code-cell\}[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {"__name__": page.stem}
    for cell in cells:
        exec(compile(re.sub(r"^:tags:.*$", "", cell, flags=re.MULTILINE), str(page), "exec"), names)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    assert capsys.readouterr().out.strip()
