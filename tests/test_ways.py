"""The page that lists the files a call enters lists those, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "design" / "ways.md"


def listed() -> dict[str, list[str]]:
    """Return the files of the page by the way they are listed for."""
    tables = re.findall(r"^\| file \|.*\n\|---\|---\|\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    step, vector, read, build = (re.findall(r"^\| `([^`]+)` \| \S", table, re.MULTILINE) for table in tables)
    return {"step": step, "vector": vector, "log": read + build}


def entered(way: str, folder: Path) -> list[str]:
    """Return the files that a process of its own enters."""
    words = [sys.executable, "-m", "tests.ways", way, *([str(folder)] if way == "log" else [])]
    place = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, cwd=ROOT, env=os.environ | place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("-" * 10 + "\n")[1].split()


@pytest.mark.parametrize("way", ["step", *(pytest.param(way, marks=pytest.mark.slow) for way in ("vector", "log"))])
def test_a_way_enters_the_files_that_the_page_lists_in_their_order(way: str, tmp_path: Path) -> None:
    assert entered(way, tmp_path) == listed()[way]
