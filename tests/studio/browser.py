"""A studio in a process of its own, and Chromium to visit it with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WAIT = 300_000
"""Milliseconds that a busy machine may need for one answer, compiling included."""
_START = """
import json, sys
called = open(sys.argv.pop(1), "a")

def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = args[1] if event == "socket.connect" else args[:2]
        if not isinstance(where, (str, bytes)) and str(where[0]) not in ("127.0.0.1", "localhost", "None"):
            print(json.dumps([event, str(where)]), file=called, flush=True)

sys.addaudithook(note)
from malles_env.cli import main
main()
"""
"""Starts `malles` and notes every connection and every name looked up that is not of this machine."""


@dataclass(frozen=True)
class Studio:
    """A running studio.

    Attributes:
        address: Of its page.
        port: Of 127.0.0.1.
        folder: Where it runs; ``runs`` is its folder of runs.
        warm: Seconds from the command to the address.
    """

    address: str
    port: int
    folder: Path
    warm: float

    def called(self) -> list[Any]:
        """Return the connections that the server made to other machines."""
        return [json.loads(line) for line in (self.folder / "called.jsonl").read_text().splitlines()]


@contextmanager
def started_studio(folder: Path, scenario: str) -> Iterator[Studio]:
    """Start `malles studio` as a user would, and stop it by Ctrl-C's signal."""
    (folder / "called.jsonl").touch()
    command = [sys.executable, "-c", _START, str(folder / "called.jsonl"), "studio", scenario, "--port", "0"]
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("studio: http://127.0.0.1:"), line
            address = line.split()[1]
            yield Studio(address, int(address.rpartition(":")[2]), folder, time.monotonic() - begun)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def chromium() -> str:
    """Return where Chromium is, or skip the test."""
    pytest.importorskip("streamlit")
    pytest.importorskip("playwright")
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("needs Chromium")
    return found


class Visitor:
    """A browser window on a studio, which notes every request that leaves the machine.

    Args:
        browser: Playwright's browser.
        studio: What is visited.
        width: Of the window, pixels.
        height: Likewise.
        scheme: ``"light"`` or ``"dark"``.
    """

    def __init__(
        self, browser: Any, studio: Studio, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> None:
        self.studio, self.outside = studio, list[str]()
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.studio.address, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, path: str = "") -> None:
        """Open a page of the studio."""
        self.page.goto(f"{self.studio.address}/{path}")
        self.page.wait_for_selector("h2")
        self.settle()

    def settle(self) -> None:
        """Wait until the page has stopped working."""
        self.page.wait_for_timeout(400)
        busy = "[data-test-script-state=running], [data-testid=stSpinner], [data-stale=true]"
        self.page.wait_for_function(f"!document.querySelector('{busy}')")
        self.page.wait_for_timeout(400)

    def click(self, name: str, role: str = "button") -> None:
        """Click something by its name, and wait for the answer."""
        self.page.get_by_role(role, name=name, exact=True).click()
        self.settle()

    def go(self, page: str) -> None:
        """Go to another page by its link, as a visitor does; what is open stays open."""
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=page).click()
        self.page.get_by_role("heading", level=2).first.wait_for()
        self.settle()

    def sees(self, words: str) -> None:
        """Wait until the page says something."""
        self.page.get_by_test_id("stMain").get_by_text(words).first.wait_for()
        self.settle()

    def text(self) -> str:
        """Return what the page says."""
        return str(self.page.get_by_test_id("stMain").inner_text())

    def wide(self) -> int:
        """Return how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
