"""The tournament: fair, resumable, open to newcomers, and its table where it belongs."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.studies.leaderboard import BEGIN, END, as_markdown, overall, standings, write_leaderboard
from malles_agents.studies.tournament import (
    KINDS,
    Match,
    Tournament,
    load_entry,
    play_match,
    run_tournament,
    seller_name,
)
from malles_env.cli import app
from malles_env.errors import InvalidInput, MissingResource

SMALL = Tournament(("bertrand-duopoly", "clearance"), ("nash", "monopoly", "undercut"), episodes=3, cycles=20)
ENTRY = Path(__file__).parents[3] / "examples" / "enter_leaderboard.py"


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    out = tmp_path_factory.mktemp("tournament")
    return out, run_tournament(SMALL, out, workers=1)


def test_everybody_meets_everybody(played):
    _, matches = played
    duopoly = [(m.seller, m.others, m.agent) for m in matches if m.scenario == "bertrand-duopoly"]
    assert len(duopoly) == len(set(duopoly)) == 9 * 2
    assert {(m.seller, m.others) for m in matches if m.scenario == "clearance"} == {(s, s) for s in SMALL.sellers}


def test_a_seller_is_scored_as_every_agent():
    """Agents of cereal have unlike products: each is held against its own Nash profit."""
    first, second = (play_match(SMALL, "cereal", "nash", "nash", f"seller_{n}") for n in range(2))
    assert first.nash != pytest.approx(second.nash, rel=0.05)
    for match in (first, second):
        assert np.mean(match.profit) == pytest.approx(match.nash, rel=0.03)
    alike = [play_match(SMALL, "bertrand-duopoly", "monopoly", "nash", f"seller_{n}") for n in range(2)]
    assert alike[0].profit != alike[1].profit and alike[0].nash == pytest.approx(alike[1].nash)


def test_who_cannot_be_distinguished_from_the_best_shares_its_rank():
    def match(seller: str, *profit: float) -> Match:
        return Match("one", seller, seller, "seller_0", list(profit), list(profit), [], [0.0] * 3, 1.0, 1.0, 0.0)

    ranks = dict(
        overall([match("steady", 1.0, 1.1, 1.2), match("close", 1.2, 1.1, 1.0), match("worse", 0.8, 0.9, 1.0)])
    )
    assert ranks == {"steady": 1.0, "close": 1.0, "worse": 2.0}


def test_measures_are_those_of_the_textbook(played):
    _, matches = played
    rows = {row.seller: row for row in standings(matches, "bertrand-duopoly")}
    by_pair = {(m.seller, m.others): m for m in matches if m.scenario == "bertrand-duopoly" and m.agent == "seller_0"}
    cartel = by_pair["monopoly", "monopoly"]
    assert cartel.nash == pytest.approx(222.927, abs=1e-2)
    assert np.mean(cartel.profit) == pytest.approx(337.49, rel=0.03)
    assert rows["monopoly"].self_play == pytest.approx(337.49 / 222.93, rel=0.03)
    assert rows["monopoly"].worst < 0.7
    assert rows["nash"].worst > 0.95
    assert min(row.gap[0] for row in rows.values()) >= -1e-12
    assert rows["nash"].surplus[0] < 0  # its rivals' prices are higher than Nash on average


def test_identical_candidates_score_the_same_whatever_is_drawn():
    names = ("cost-plus", "cost-plus:0.5")
    for others in ("random", "thompson"):
        first, second = (play_match(SMALL, "bertrand-duopoly", name, others) for name in names)
        assert (first.profit, first.rivals, first.surplus) == (second.profit, second.rivals, second.surplus)


def test_regular_prices_are_named_for_what_they_are():
    assert "regular-price" in KINDS and "fixed" not in KINDS
    assert seller_name("fixed") == "regular-price" and seller_name("fixed:1.5") == "fixed:1.5"
    with pytest.raises(InvalidInput, match="names used once"):
        Tournament(sellers=("fixed", "regular-price"))
    old, new = (play_match(SMALL, "bertrand-duopoly", name, "nash") for name in ("fixed", "regular-price"))
    assert old == new and old.seller == "regular-price"


def test_a_second_run_plays_only_what_is_missing(played):
    out, matches = played
    (out / "bertrand-duopoly" / "nash--undercut--seller_1.json").unlink()
    stamp = (out / "bertrand-duopoly" / "nash--nash--seller_0.json").stat().st_mtime_ns
    again = run_tournament(SMALL, out, workers=1)
    assert again == matches  # the match played anew gives the same numbers
    assert (out / "bertrand-duopoly" / "nash--nash--seller_0.json").stat().st_mtime_ns == stamp
    with pytest.raises(InvalidInput, match="cycles"):
        run_tournament(Tournament(SMALL.scenarios, SMALL.sellers, 3, 30), out)


@pytest.mark.slow
def test_other_processes_play_the_same(played):
    """The quick twin plays in this process; that processes are used at all is tested with `spread`."""
    out, matches = played
    for others in ("nash", "monopoly"):
        (out / "bertrand-duopoly" / f"undercut--{others}--seller_0.json").unlink()
    assert run_tournament(SMALL, out, workers=2) == matches


def test_a_newcomer_enters_with_one_file_and_one_command(tmp_path):
    out = tmp_path / "t"
    answer = CliRunner().invoke(
        app,
        ["tournament", "--scenario", "bertrand-duopoly", "--seller", "nash", "--seller", "monopoly", "--episodes", "2",
         "--cycles", "10", "--entry", str(ENTRY), "--out", str(out), "--workers", "1"],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert "enter_leaderboard" in answer.output
    (file,) = (out / "bertrand-duopoly").glob("enter_leaderboard-*--monopoly--seller_0.json")
    match = json.loads(file.read_text())
    assert np.mean(match["late"]) > 222.9 * 1.2  # it follows a monopolist upwards


def test_a_changed_entry_plays_anew(tmp_path):
    entry = tmp_path / "mine.py"
    profits = []
    for kind in ("fixed:1.5", "fixed:1.9"):
        entry.write_text(
            "from malles_agents.registry import make_seller as known\n\n"
            f"def make_seller(view):\n    return known('{kind}', view.scenario, view.agent)\n"
        )
        what = Tournament(("bertrand-duopoly",), ("nash", str(entry)), episodes=2, cycles=5)
        matches = run_tournament(what, tmp_path / "t", workers=1)
        profits.append(next(m.profit for m in matches if (m.seller, m.others, m.agent) == ("mine", "nash", "seller_0")))
    assert np.mean(profits[1]) < 0.9 * np.mean(profits[0])


def test_broken_entries_say_so(tmp_path):
    with pytest.raises(MissingResource):
        load_entry(tmp_path / "nothing.py")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(InvalidInput, match="make_seller"):
        load_entry(tmp_path / "empty.py")
    (tmp_path / "wrong.py").write_text("raise RuntimeError('oh')\n")
    with pytest.raises(InvalidInput, match="RuntimeError: oh"):
        load_entry(tmp_path / "wrong.py")


def test_the_table_goes_between_the_marks(played, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_leaderboard(as_markdown(played[1], "malles tournament"), readme)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`malles tournament`" in text
    clearance = text[text.index("**clearance**") :]
    assert "| profit / dynamic optimum |" in clearance and "| profit / Nash |" not in clearance
    assert "| profit / Nash |" in text
    (tmp_path / "bare.md").write_text("nothing\n")
    with pytest.raises(InvalidInput, match="leaderboard"):
        write_leaderboard("x", tmp_path / "bare.md")


def test_a_seller_on_its_own_matches_itself():
    match = play_match(SMALL, "clearance", "fixed", "fixed")
    assert match.rivals == []
    assert np.mean(match.profit) > 0


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InvalidInput, match="episodes"):
        Tournament(episodes=0)
    with pytest.raises(InvalidInput, match="sellers"):
        Tournament(sellers=("nash", "nash"))


def test_a_single_held_out_seed_has_no_standard_error(tmp_path):
    what = Tournament(("clearance",), ("nash", "monopoly"), episodes=1, cycles=52)
    text = as_markdown(run_tournament(what, tmp_path, workers=1), "malles tournament --episodes 1")
    row = next(line for line in text.splitlines() if line.startswith("| nash | 0."))
    assert "±" not in row and "nan" not in text
    assert "one held-out seed" in text
