"""What the pages show, without Streamlit: playing by hand, what-if, comparing, new products, runs and tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from malles_env.consumers.discussion.transcript import Discussion, TranscriptFile, Turn, Verdict
from malles_env.errors import CorruptFile, InvalidInput, MallesError
from malles_env.market.solvers import closed_form
from malles_env.market.solvers.game import Game
from malles_env.market.solvers.metrics import welfare
from malles_env.scenarios import load_scenario
from malles_env.studio.folders import MOST_FILES, Folder
from malles_env.studio.logic import compare, consumers, own_log, runs, tables, what_if
from malles_env.studio.logic.market import World, open_world, taste_models
from malles_env.studio.logic.play import HandPlay, best_constant, constant_profits, replay, usual_move


@pytest.fixture(scope="module")
def duopoly() -> World:
    return open_world("bertrand-duopoly")


def test_undoing_and_playing_again_gives_the_same_weeks(duopoly: World) -> None:
    play = HandPlay(duopoly, "seller_0", {"seller_1": "random"}, seed=5)
    first = usual_move(duopoly, "seller_0")
    play.play(replace(first, prices=(1.6,)), 3)
    kept = play.rows()
    play.play(first)
    play.undo()
    assert play.rows() == kept
    play.undo()
    play.play(replace(first, prices=(1.6,)))
    assert play.rows() == kept, "the random rival and the demand must draw as before"
    assert replay(duopoly, json.loads(json.dumps(play.record()))).rows() == kept


def test_an_episode_ends_and_says_so(duopoly: World) -> None:
    play = HandPlay(duopoly, "seller_1")
    play.play(usual_move(duopoly, "seller_1"), 1000)
    assert (len(play.moves), play.left) == (duopoly.scenario.max_cycles, 0)
    with pytest.raises(MallesError, match="are played; undo one"):
        play.play(usual_move(duopoly, "seller_1"))


@pytest.mark.parametrize(("prices", "listed", "message"), [
    ((99.0,), (True,), "price of .*: got 99.0; allowed: "),
    ((float("nan"),), (True,), "got nan; allowed: "),
])  # fmt: skip
def test_a_move_that_is_not_allowed_changes_nothing(duopoly: World, prices, listed, message) -> None:
    play = HandPlay(duopoly, "seller_0")
    with pytest.raises(InvalidInput, match=message):
        play.play(replace(usual_move(duopoly, "seller_0"), prices=prices, listed=listed))
    assert not play.moves and not play.rows()


def test_more_than_the_shelf_holds_is_refused() -> None:
    world = open_world("wholesale")
    agent = next(agent for agent in world.agents if len(world.products(agent)) == 3)
    move = usual_move(world, agent)
    assert sum(move.listed) == 2
    with pytest.raises(InvalidInput, match="products on the shelf: got 3; allowed: at most 2"):
        HandPlay(world, agent).play(replace(move, listed=(True, True, True)))


def test_the_best_constant_price_is_the_best_reply_and_beats_the_regular_one(duopoly: World) -> None:
    rivals = {"seller_1": "nash"}
    best = best_constant(duopoly, "seller_0", rivals)
    exact = closed_form.nash([2.0, 2.0], 1.0, [0, 1], 0.25).prices[0]
    assert best.prices[0] == pytest.approx(exact, abs=1e-3)
    play = HandPlay(duopoly, "seller_0", rivals)
    play.play(usual_move(duopoly, "seller_0"), 52)
    known = constant_profits(duopoly, "seller_0", rivals, 0, best)
    assert len(known) == 52 and sum(known) > sum(play.profits())
    own = HandPlay(duopoly, "seller_0", rivals)
    own.play(replace(usual_move(duopoly, "seller_0"), prices=(float(best.prices[0]),)), 52)
    assert own.profits() == pytest.approx(known), "the line beside yours is the same market on the same seed"


def test_taxes_caps_and_mergers_end_where_theory_says(duopoly: World) -> None:
    before = what_if.competition(duopoly, what_if.Rules())
    exact = closed_form.nash([2.0, 2.0], 1.0, [0, 1], 0.25).prices[0]
    np.testing.assert_allclose(before.prices, exact, atol=1e-4)
    taxed = what_if.competition(duopoly, what_if.Rules(sales_tax=0.1))
    np.testing.assert_allclose(taxed.prices, closed_form.nash([2.0, 2.0], 1.1, [0, 1], 0.25).prices[0], atol=1e-4)
    assert taxed.tax > 0 == before.tax and taxed.surplus < before.surplus
    for found, rules in ((before, what_if.Rules()), (taxed, what_if.Rules(sales_tax=0.1))):
        game = Game.of(rules.on(duopoly.scenario).market())
        parts = sum(found.profit.values()) + found.surplus + found.tax
        assert parts == pytest.approx(welfare(game, found.prices)[0], rel=1e-9)
    capped = what_if.competition(duopoly, what_if.Rules(price_cap=1.4))
    np.testing.assert_allclose(capped.prices, 1.4)
    merged = what_if.competition(duopoly, what_if.Rules(merged=("seller_a", "seller_b")))
    np.testing.assert_allclose(merged.prices, closed_form.joint_optimum([2.0, 2.0], 1.0, 0.25).prices[0], atol=1e-3)
    assert set(merged.profit) == {"seller_a", "seller_b"}
    rows = what_if.price_rows(duopoly, before, merged)
    assert [row["change %"] > 0 for row in rows] == [True, True]
    with pytest.raises(InvalidInput, match=r"merger: got .*; allowed: two or more"):
        what_if.competition(duopoly, what_if.Rules(merged=("seller_a",)))


def test_the_profit_curve_peaks_at_the_best_reply(duopoly: World) -> None:
    exact = closed_form.nash([2.0, 2.0], 1.0, [0, 1], 0.25).prices[0]
    found = what_if.curve(duopoly, 0, np.array([exact, exact]))
    peak = found.prices[int(np.argmax(found.profit["tastes"]))]
    assert abs(peak - exact) <= np.diff(found.prices)[0]
    assert np.all(np.diff(found.units["tastes"]) < 0)
    assert found.band is None and not what_if.drawn_tastes(duopoly)


def test_sellers_are_ranked_on_the_same_seeds(duopoly: World) -> None:
    question = compare.Question("seller_0", ("cost-plus:0.4", "fixed:1.9"), rivals="nash", episodes=4)
    seen: list[str] = []
    found = compare.compared(duopoly, question, seen.append)
    assert seen == ["cost-plus:0.4", "fixed:1.9", compare.BEST]
    rows = compare.score_rows(found)
    assert rows[0]["seller"] == compare.BEST and rows[-1]["seller"] == "fixed:1.9"
    curves = compare.price_curves(duopoly, question, found)
    assert len(curves) == 3 * duopoly.scenario.max_cycles
    with pytest.raises(InvalidInput, match="episodes: got 0"):
        compare.compared(duopoly, replace(question, episodes=0))
    with pytest.raises(InvalidInput, match="seller: got 'nobody'"):
        compare.compared(duopoly, replace(question, sellers=("nobody",)))


def test_runs_are_found_and_broken_ones_named(tmp_path: Path) -> None:
    for name, curve in (("good", [{"steps": 10, "profit": float("nan")}, {"steps": 20, "profit": 7.0}]), ("bad", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"scenario": "ice-cream", "algo": "ppo", "steps": 20}))
        (tmp_path / name / "curve.json").write_text(json.dumps(curve))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "curve.json").write_text("[{")
    found, complaints = runs.find_runs(tmp_path)
    assert [run.name for run in found] == ["good"] and len(complaints) == 2
    assert runs.run_rows(found)[0]["last profit"] == 7.0
    assert runs.curve_rows(found) == [{"run": "good", "steps": 20, "profit": 7.0}]
    assert runs.find_runs(tmp_path / "none") == ([], [])


def test_discussions_are_read_turn_by_turn(tmp_path: Path) -> None:
    turns = [Turn(1, "blind", "keeper", "note", "Too dear."), Turn(2, "vote", "keeper", "ballot", "", ("A",), 2)]
    verdict = Verdict({"A": 0.75, "N": 0.25}, {"A": 2.0})
    TranscriptFile(tmp_path / "talks.jsonl").add([Discussion("a buyer", {"A": "Tea"}, turns, ("A",), verdict)])
    (talk,) = consumers.discussions(tmp_path / "talks.jsonl")
    assert consumers.turn_words(talk, talk["turns"][0]) == ("Too dear.", "")
    assert consumers.turn_words(talk, talk["turns"][1]) == ("(silent)", "Votes for Tea, 2 of it")
    assert [row["choice"] for row in consumers.verdict_rows(talk)] == ["Tea", "nothing"]
    (tmp_path / "other.jsonl").write_text("{}\n")
    assert len(consumers.transcripts(tmp_path)) == 2
    with pytest.raises(CorruptFile, match="line 1 is no discussion"):
        consumers.discussions(tmp_path / "other.jsonl")


def test_uploads_stay_in_the_visitors_folder(tmp_path: Path) -> None:
    folder, other = Folder(tmp_path, 10), Folder(tmp_path, 10)
    assert folder.path != other.path
    for name in ("../../evil.csv", "/etc/passwd", "..\\..\\evil.csv", "a/b\x00c.csv"):
        path = folder.save(name, b"x")
        assert path.resolve().is_relative_to(folder.path.resolve()) and path.read_bytes() == b"x"
    with pytest.raises(InvalidInput, match="size: got '11 bytes'; allowed: at most 10 bytes"):
        folder.save("large.csv", b"x" * 11)
    with pytest.raises(InvalidInput, match=r"upload: got '\.\.'; allowed: a file with a name"):
        folder.save("..", b"x")
    for n in range(MOST_FILES):
        other.save(f"{n}.csv", b"")
    other.save("0.csv", b"again")
    with pytest.raises(InvalidInput, match="uploads: got 21; allowed: at most 20"):
        other.save("more.csv", b"")


def test_an_uploaded_scenario_reaches_no_server_file_or_foreign_model() -> None:
    text = (Path(own_log.__file__).parents[2] / "scenarios").rglob("ice-cream.yaml")
    yaml = next(iter(text)).read_text()
    assert own_log.checked_scenario("a.yaml", yaml.encode()).name == "ice-cream"
    for old, new, result in (
        ("kind: aligned", "kind: prompted", "consumers"),
        (
            "kind: aligned",
            "kind: aligned\n  model: /tmp/mine",
            "consumers.model: got '/tmp/mine'; allowed: embedded, smollm2",
        ),
    ):
        assert old in yaml
        with pytest.raises(InvalidInput, match=result):
            own_log.checked_scenario("a.yaml", yaml.replace(old, new).encode())
    with pytest.raises(InvalidInput, match="UTF-8"):
        own_log.checked_scenario("a.yaml", b"\xff\xfe")


def test_consumers_that_are_asked_every_week_are_not_opened(tmp_path: Path) -> None:
    from malles_env.scenarios import save_scenario
    from malles_env.scenarios.consumer_kinds.prompted import with_prompted

    path = save_scenario(with_prompted(load_scenario("bertrand-duopoly")), tmp_path / "asked.yaml")
    with pytest.raises(InvalidInput, match=r"consumers\.kind: got 'prompted'; allowed: logit or aligned"):
        open_world(str(path))


def test_both_shipped_models_are_offered_where_a_model_reads() -> None:
    assert taste_models(load_scenario("ice-cream")) == ("embedded", "smollm2")
    assert taste_models(load_scenario("bertrand-duopoly")) == ()


def test_files_hold_no_formulas() -> None:
    rows = [{"seller": "=1+1", "profit": -2.5}, {"seller": "plain", "profit": 1.0}]
    assert tables.as_csv(rows) == "seller,profit\n'=1+1,-2.5\nplain,1.0\n"
    assert tables.as_csv([]) == ""


@pytest.mark.slow
def test_a_new_product_takes_most_of_its_buyers_from_nothing_and_fewer_when_dear() -> None:
    world = open_world("ice-cream")
    cheap = consumers.reception(world, consumers.NewProduct("maker 955", 3.0, False, 48.0, "oz"))
    dear = consumers.reception(world, consumers.NewProduct("maker 955", 6.0, False, 48.0, "oz"))
    assert 0 < dear.total < cheap.total < 1
    assert max(cheap.taken_from, key=lambda name: cheap.taken_from[name]) == "nobody"
    assert sum(cheap.taken_from.values()) == pytest.approx(1.0)
    weights = world.scenario.population().weights
    assert cheap.total == pytest.approx(float(weights @ cheap.share))
    with pytest.raises(InvalidInput, match="size_unit"):
        consumers.reception(world, consumers.NewProduct("maker 955", 3.0, unit="x" * 61))
