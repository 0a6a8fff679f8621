"""Five journeys through the studio in Chromium, on a running server; no page asks anything of another machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from malles_env.consumers.discussion.transcript import Discussion, TranscriptFile, Turn, Verdict
from tests.data.exports import shop
from tests.studio.browser import Studio, Visitor, chromium, started_studio

NARROW = 390
"""Pixels of a telephone."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    chromium()
    folder = tmp_path_factory.mktemp("studio")
    run = folder / "runs" / "tea"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"scenario": "tea", "algo": "ppo", "seed": 3, "steps": 20}))
    (run / "curve.json").write_text(json.dumps([{"steps": 10, "profit": 1.0}, {"steps": 20, "profit": 2.0}]))
    turns = [
        Turn(1, "blind", "keeper", "note", "Too dear."),
        Turn(2, "vote", "judge", "ballot", "So it is.", ("A",), 2),
    ]
    talk = Discussion("a buyer", {"A": "Tea"}, turns, ("A",), Verdict({"A": 0.75, "N": 0.25}))
    TranscriptFile(folder / "runs" / "talks.jsonl").add([talk])
    with started_studio(folder, "bertrand-duopoly") as found:
        yield found
    assert found.called() == [], "the server asked another machine"


@pytest.fixture(scope="module")
def browser(studio: Studio) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visitor(browser: Any, studio: Studio) -> Iterator[Visitor]:
    found = Visitor(browser, studio)
    yield found
    assert found.outside == [], "the page asked another machine"
    found.page.context.close()


def test_be_the_seller(visitor: Visitor, browser: Any, studio: Studio) -> None:
    visitor.open()
    assert "Be the seller" in visitor.text()
    price = visitor.page.get_by_role("slider").first
    price.focus()
    for _ in range(5):
        price.press("ArrowLeft")
    visitor.click("Play a period")
    visitor.sees("against the best")
    visitor.sees("Profit in 1 period")
    visitor.click("Play to the end")
    visitor.sees("Profit in 52 periods")
    visitor.click("Undo")
    visitor.sees("Profit in 51 periods")
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Export the moves (JSON)").click()
    record = json.loads(Path(download.value.path()).read_text())
    assert len(record["moves"]) == 51 and record["moves"][0]["prices"][0] < 2.0
    other = Visitor(browser, studio)
    other.open()
    assert "Profit in" not in other.text(), "another visitor sees this market"
    other.page.context.close()


@pytest.mark.slow
def test_what_if(visitor: Visitor) -> None:
    visitor.open("what-if")
    assert "Price of the highest profit" in visitor.text()
    visitor.click("All prices", "tab")
    assert visitor.page.get_by_test_id("stVegaLiteChart").count() >= 2
    visitor.click("Taxes, caps, mergers", "tab")
    visitor.page.get_by_role("slider").first.focus()
    for _ in range(10):
        visitor.page.keyboard.press("ArrowRight")
    visitor.sees("Welfare")
    visitor.sees("Tax paid")


@pytest.mark.slow
def test_compare_sellers(visitor: Visitor) -> None:
    visitor.open("compare")
    visitor.page.get_by_label("Episodes").fill("8")
    visitor.click("Compare")
    visitor.sees("What they ask")
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Export the scores (CSV)").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("seller,profit,profit s.e.") and lines[1].startswith("best constant,")
    visitor.page.get_by_label("More kinds, separated by commas").fill("nobody")
    visitor.click("Compare")
    result = visitor.page.get_by_test_id("stAlertContentError").inner_text()
    assert result.startswith("seller: got 'nobody'; allowed: regular-price") and "\n" not in result


@pytest.mark.slow
def test_consumers_a_discussion_and_runs(visitor: Visitor) -> None:
    visitor.open("consumers")
    assert "What moves them" in visitor.text()
    visitor.click("Discussions", "tab")
    visitor.page.get_by_label("Transcripts on disk").click()
    visitor.page.get_by_role("option", name="talks.jsonl").click()
    visitor.settle()
    assert "Too dear." in visitor.text() and "So it is." not in visitor.text()
    visitor.page.get_by_role("slider").last.focus()
    visitor.page.keyboard.press("ArrowRight")
    visitor.sees("The moderator decides")
    visitor.sees("So it is.")
    visitor.go("Runs")
    assert "Learning curves" in visitor.text()


@pytest.mark.slow
def test_your_log_becomes_a_market_to_play(visitor: Visitor, studio: Studio) -> None:
    visitor.open("your-log")
    data = shop.plain(shop.receipts(weeks=40))
    export = {"name": "../till.csv", "mimeType": "text/csv", "buffer": data}
    visitor.page.locator("input[type=file]").first.set_input_files(files=[export])
    visitor.sees("2. Which column is which")
    visitor.click("Read the log")
    visitor.sees("4. Build the market")
    visitor.sees("agreeing prices")
    visitor.click("Build and open it")
    visitor.page.wait_for_function("[...document.querySelectorAll('input')].some(box => box.value.includes('(yours)'))")
    visitor.go("Be the seller")
    visitor.click("Play a week")
    visitor.sees("Profit in 1 week")
    written = [path for path in studio.folder.rglob("*") if path.is_file() and path.name.endswith((".csv", ".yaml"))]
    assert written and all(path.is_relative_to(studio.folder / "runs" / "studio") for path in written)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "what-if", "compare", "consumers", "your-log", "runs"])
def test_pages_fit_a_telephone(browser: Any, studio: Studio, path: str) -> None:
    visitor = Visitor(browser, studio, NARROW, 844, "dark")
    visitor.open(path)
    assert visitor.wide() <= 0
    heading = visitor.page.get_by_role("heading", level=2).first.bounding_box()
    assert heading is not None and heading["x"] >= 0 and heading["x"] + heading["width"] <= NARROW
    assert not visitor.outside
    visitor.page.context.close()
