"""The pages without a browser: Streamlit's own harness clicks through them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from malles_env.consumers.discussion.transcript import Discussion, TranscriptFile, Turn, Verdict
from malles_env.scenarios import list_scenarios
from malles_env.studio.logic import own_log
from malles_env.studio.settings import Settings, choose
from malles_env.studio.state import Session
from tests.data.exports import shop

Open = Callable[..., AppTest]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a page of a studio of its own."""

    def opened(view: str, scenario: str = "bertrand-duopoly", upload: int = 1) -> AppTest:
        choose(Settings(scenario, tmp_path / "runs", tmp_path / "out", upload))
        script = f"from malles_env.studio.frame import framed\nfrom malles_env.studio.views import {view}\n"
        found = AppTest.from_string(f"{script}framed({view}.show)\n", default_timeout=600).run()
        assert not found.exception and not found.error
        return found

    yield opened
    choose(Settings())


def session(page: AppTest) -> Session:
    found: Session = page.session_state["studio"]
    return found


def button(page: AppTest, label: str):
    return next(found for found in page.button if found.label == label)


def metric(page: AppTest, label: str) -> str:
    return next(found.value for found in page.metric if found.label.startswith(label))


def test_a_visitor_plays_undoes_and_begins_anew(studio: Open) -> None:
    page = studio("seller")
    page.slider[0].set_value(1.6)
    button(page, "Play a period").click().run()
    assert not page.error and session(page).play.moves[0].prices == (1.6,)
    first = metric(page, "Profit in 1 period")
    button(page, "Play to the end").click().run()
    assert session(page).play.left == 0 and button(page, "Play a period").disabled
    assert metric(page, "Profit in 52 periods") != first
    for _ in range(2):
        button(page, "Undo").click().run()
    assert metric(page, "Profit in 50 periods")
    button(page, "Begin anew").click().run()
    assert not session(page).play.moves and not page.metric
    assert not page.exception and not page.error


def test_other_rivals_begin_another_episode(studio: Open) -> None:
    page = studio("seller")
    button(page, "Play a period").click().run()
    rival = next(box for box in page.selectbox if box.key.startswith("rival"))
    rival.set_value("grim").run()
    assert session(page).play.rivals == {"seller_1": "grim"} and not session(page).play.moves


def test_visitors_do_not_see_each_others_markets(studio: Open) -> None:
    one, other = studio("seller"), studio("seller")
    button(one, "Play to the end").click().run()
    other.run()
    assert session(one).play.left == 0 and not session(other).play.moves
    assert session(one).folder.path != session(other).folder.path


def test_an_error_of_the_package_is_one_readable_line(studio: Open) -> None:
    page = studio("compare")
    page.text_input[0].set_value("cost-plus:a*b")
    button(page, "Compare").click().run()
    assert not page.exception
    (result,) = page.error
    words = result.value.replace("\\", "")  # Markdown shows every mark as it stands
    assert words == "seller: got 'cost-plus:a*b'; allowed: a finite number after the colon, e.g. cost-plus:0.5"


def test_a_missing_market_is_one_readable_line(studio: Open) -> None:
    page = studio("what_if")
    session(page).source = "/nowhere/gone.yaml"
    page.run()
    assert not page.exception
    assert all("no such scenario file" in result.value.replace("\\", "") for result in page.error) and page.error


def test_what_if_shows_curves_elasticities_and_rules(studio: Open) -> None:
    page = studio("what_if")
    assert any("Price of the highest profit" in found.value for found in page.caption)
    page.session_state["what-if"] = "All prices"
    page.run()
    assert not page.exception and [found.value for found in page.subheader] == ["Elasticities", "Diversion"]
    page.session_state["what-if"] = "Taxes, caps, mergers"
    page.run()
    assert page.info
    page.slider(key="sales tax").set_value(20).run()
    assert not page.exception and not page.error
    assert float(metric(page, "Tax paid").split()[0].replace(",", "")) > 0
    page.multiselect[0].set_value(["seller_a"]).run()
    assert "two or more sellers" in page.error[0].value


def test_sellers_are_compared(studio: Open) -> None:
    page = studio("compare")
    page.multiselect[0].set_value(["cost-plus"])
    page.number_input[0].set_value(4)
    button(page, "Compare").click().run()
    assert not page.exception and not page.error
    table = page.dataframe[0].value
    assert list(table["seller"]) == ["best constant", "cost-plus"] and table["profit"].is_monotonic_decreasing


def test_consumers_and_a_discussion_turn_by_turn(studio: Open, tmp_path: Path) -> None:
    turns = [Turn(1, "blind", "keeper", "note", "Too dear.", ("A",)), Turn(2, "vote", "judge", "ballot", "", ("A",), 2)]
    talk = Discussion("a buyer", {"A": "Tea"}, turns, ("A",), Verdict({"A": 0.75, "N": 0.25}))
    TranscriptFile(tmp_path / "runs" / "talks.jsonl").add([talk])
    page = studio("consumers")
    assert list(page.dataframe[0].value["segment"]) == ["everyone"]
    page.session_state["consumers"] = "A new product"
    page.run()
    assert "tastes of this market stand in its file" in page.info[0].value
    page.session_state["consumers"] = "Discussions"
    page.run()
    page.selectbox(key="talks").set_value(tmp_path / "runs" / "talks.jsonl").run()
    assert len(page.chat_message) == 1 and not page.exception
    page.slider[0].set_value(2).run()
    assert len(page.chat_message) == 2
    assert list(page.dataframe[-1].value["choice"]) == ["Tea", "nothing"]


def test_learning_curves_of_runs_on_disk(studio: Open, tmp_path: Path) -> None:
    page = studio("runs")
    assert "No runs in" in page.info[0].value
    folder = tmp_path / "runs" / "tea"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"scenario": "tea", "algo": "ppo", "seed": 3, "steps": 20}))
    (folder / "curve.json").write_text(json.dumps([{"steps": 10, "profit": 1.0}, {"steps": 20, "profit": 2.0}]))
    page.run()
    assert not page.exception and list(page.dataframe[0].value["run"]) == ["tea"]


def test_an_upload_is_read_and_its_columns_are_shown(studio: Open) -> None:
    page = studio("own_log")
    data = shop.plain(shop.receipts(weeks=4))
    page.file_uploader(key="export").set_value(("till.csv", data, "text/csv")).run()
    assert not page.exception and not page.error
    saved = session(page).files
    assert [path.name for path in saved] == ["till.csv"] and saved[0].read_bytes() == data
    assert saved[0].is_relative_to(session(page).folder.path)
    assert len([box for box in page.selectbox if (box.key or "").startswith("column")]) == len(
        own_log.column_meanings()
    )


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list_scenarios())
def test_every_bundled_market_is_played_and_questioned(studio: Open, scenario: str) -> None:
    page = studio("seller", scenario)
    period = session(page).play.world.scenario.period
    button(page, f"Play a {period}").click().run()
    assert not page.exception and not page.error and len(session(page).play.moves) == 1
    for view, parts in (("what_if", ("All prices", "Taxes, caps, mergers")), ("consumers", ())):
        page = studio(view, scenario)
        for part in parts:
            page.session_state["what-if"] = part
            page.run()
            assert not page.exception and not page.error
    page = studio("what_if", scenario)
    page.session_state["what-if"] = "Taxes, caps, mergers"
    page.run()
    page.slider(key="sales tax").set_value(10).run()
    assert not page.exception and not page.error and metric(page, "Tax paid")


@pytest.mark.slow
def test_an_export_becomes_a_market_to_play(studio: Open) -> None:
    page = studio("own_log")
    data = shop.plain(shop.receipts(weeks=40))
    page.file_uploader(key="export").set_value(("till.csv", data, "text/csv")).run()
    button(page, "Read the log").click().run()
    assert not page.exception and not page.error
    assert session(page).imported.report.verdict in ("ok", "warn", "skipped")
    button(page, "Build and open it").click().run()
    assert not page.exception and not page.error
    (built,) = session(page).own
    assert session(page).source == str(built) and built.is_relative_to(session(page).folder.path)
    page = page.run()
    assert page.selectbox(key="market").value == str(built)
