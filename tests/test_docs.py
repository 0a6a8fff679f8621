"""What the documentation tells to type exists: commands and their options, modules, files behind links."""

from __future__ import annotations

import re
from functools import cache
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
