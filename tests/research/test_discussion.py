"""The study of discussions: shelves from real occasions, ways to decide, records that survive a kill."""

from __future__ import annotations

import numpy as np
import pytest

from malles_env.consumers.discussion import load_cast
from malles_env.data import BuildSettings, build_occasions, synthetic_transactions
from malles_env.errors import CorruptFile
from research.discussion.arms import cells, study_cast
from research.discussion.report import draw, everywhere, summarise, table, write_summary
from research.discussion.shelves import draw_purchases, habit, shelf_order, table_of
from research.discussion.study import read_records, run_study
from tests.consumers.discussion.models import tiny


@pytest.fixture(scope="module")
def purchases():
    tables, _ = synthetic_transactions(seed=3, num_households=60, num_markets=3, num_products=9)
    settings = BuildSettings(min_line_purchases=10, min_line_households=3, min_market_purchases=50)
    return draw_purchases(build_occasions(tables, settings), 2, 12, seed=0)


def test_shelves_hold_what_was_bought_and_grow_by_other_products(purchases):
    assert len({purchase.household for purchase in purchases}) == len(purchases) > 0
    for purchase in purchases:
        small, bought = table_of(purchase, 4, 0)
        large, place = table_of(purchase, 12, 60)
        title = small.shelf.sheets[bought].title
        assert large.shelf.sheets[place].title == title and len(large.shelf) == 12
        assert {sheet.product_id for sheet in small.shelf.sheets} < {sheet.product_id for sheet in large.shelf.sheets}
        assert all(len(sheet.sections["details"]) <= 60 for sheet in large.shelf.sheets)
        assert purchase.lines[0]["position"] == purchase.visit["chosen"]
        assert all(small.shelf.price > 0) and not small.may_leave


def test_a_study_is_printed_drawn_and_continued(purchases, tmp_path):
    cast, plan, file = study_cast(load_cast("retail"), 300, 3), cells((4,), (0,), 2, 4), tmp_path / "records.jsonl"
    first = run_study(tiny(), cast, purchases, plan, file, limit=0.0, say=str)
    assert first == []
    records = run_study(tiny(), cast, purchases[:1], plan, file, say=str)
    assert [r["arm"] for r in records] == ["habit", "single", "rounds 1", "rounds 2", "summary"]
    assert all(r["hit"] in (0.0, 1.0) and 0 < r["probability"] < 1 for r in records)
    assert [r["tokens"] > 0 for r in records] == [False, True, True, True, True]
    tokens = {r["arm"]: r["tokens"] for r in records}
    assert tokens["single"] < tokens["rounds 1"] < tokens["rounds 2"]
    assert tokens["summary"] == pytest.approx(tokens["rounds 2"], rel=0.5)
    with file.open("a") as grown:
        grown.write('[{"occ')  # a kill in the middle of a line
    model = tiny()
    assert run_study(model, cast, purchases[:1], plan, file, say=str) == records and model.usage.requests == 0
    found = summarise(records)
    assert [cell.arm for cell in found] == ["habit", "single", "summary", "rounds 1", "rounds 2"]
    nats = {r["arm"]: r["nats"] for r in records}
    assert found[1].difference.mean == 0.0
    assert found[4].difference.mean == pytest.approx(nats["rounds 2"] - nats["single"])
    assert "| 4 | 0 | single | 1 |" in table(found, "the command")
    assert "| tokens | seconds |" in table(found, "the command", "seconds")
    write_summary(found, "a table", "the command", {}, tmp_path)
    assert (tmp_path / "discussion.json").exists() and draw(found, tmp_path / "d.png").stat().st_size > 10_000


def test_ways_of_deciding_are_added_to_what_is_on_record(purchases, tmp_path):
    cast, file, model = study_cast(load_cast("retail"), 300, 3), tmp_path / "records.jsonl", tiny()
    alone = run_study(model, cast, purchases[:1], cells((4,), (0,), 0, 4), file, say=str)
    assert [r["arm"] for r in alone] == ["habit", "single"]
    asked = model.usage.requests
    talked = run_study(model, cast, purchases, cells((4,), (0,), 1, 4), file, summary=False, together=2, say=str)
    assert sorted((r["occasion"], r["arm"]) for r in talked) == sorted(
        (purchase.occasion, arm) for purchase in purchases for arm in ("habit", "single", "rounds 1")
    )
    assert talked[:2] == alone and model.usage.requests > asked
    found = {cell.arm: cell for cell in summarise([r for r in talked if r["arm"] != "single"])}
    assert found["rounds 1"].difference is None and found["rounds 1"].purchases == 2
    assert everywhere(talked) == talked
    assert {r["occasion"] for r in everywhere([*talked, *({**r, "size": 8} for r in alone)])} == {purchases[0].occasion}


def test_habit_expects_what_was_taken_before(purchases):
    for purchase in purchases:
        chance = habit(purchase, 12)
        lines = [purchase.lines[at] for at in shelf_order(purchase, 12, 0)]
        own = np.array([line["home"] == purchase.visit["market"] for line in lines])
        bought = np.array([line["bought"] for line in lines], dtype=float)
        assert chance.sum() == pytest.approx(1.0) and np.all(chance[~own] == 0) and np.all(chance[own] > 0)
        total = (bought * own).sum() + 1
        share = np.array([line["share"] for line in lines]) * own
        np.testing.assert_allclose(chance, (bought * own + share / share.sum()) / total)


def test_side_by_side_is_one_by_one(purchases, tmp_path):
    cast, plan = study_cast(load_cast("retail"), 300, 3), cells((4,), (0,), 1, 4)
    each, both = (
        run_study(tiny(), cast, purchases, plan, tmp_path / f"{n}.jsonl", together=n, say=str) for n in (1, 2)
    )
    assert len(purchases) == 2 and len(each) == len(both) == 8
    for arm in ("single", "rounds 1"):  # of summaries there may be more or fewer, as the tokens are counted together
        for name in ("occasion", "hit", "nats", "miss"):
            found = [[r[name] for r in records if r["arm"] == arm] for records in (each, both)]
            np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_damaged_records_are_named(tmp_path):
    (tmp_path / "r.jsonl").write_text("nonsense\n[]\n")
    with pytest.raises(CorruptFile):
        read_records(tmp_path / "r.jsonl")


def test_rounds_go_far_at_one_shelf_only():
    assert cells((8, 16), (0, 150), 5, 16) == [(8, 0, 3), (16, 0, 5), (8, 150, 3), (16, 150, 3)]
    assert np.all([part <= 5 for _, _, part in cells((8,), (0,), 2, 64)])
