"""Evaluation is fair, repeatable and on held-out seeds; its tables, files and pictures say what was measured."""

from __future__ import annotations

import csv
import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from malles_agents import plots
from malles_agents.demo import Demo
from malles_agents.evaluation.comparison import Comparison, compare_in_console
from malles_agents.evaluation.evaluate import MEASURES, Played, compare, play, summary
from malles_agents.evaluation.report import as_json, draws_table, results_table
from malles_agents.registry import make_seller
from malles_agents.standard_errors import mean_se, plus_minus
from malles_env.errors import InvalidInput
from malles_env.scenarios import load_scenario

DUOPOLY = "bertrand-duopoly"
RESULTS = {
    kind: {
        "profit": {"mean": mean, "se": 12.0},
        "share": {"mean": 0.4, "se": 0.01},
        "surplus": {"mean": 0.7, "se": 0.0},
    }
    for kind, mean in (("fixed", 5527.0), ("ppo", 12174.0))
}


def nash(agent: str = "seller_0"):
    return make_seller("fixed:1.47292666", DUOPOLY, agent)


def test_profit_of_the_textbook_equilibrium():
    """Both at the Nash price: 0.22292666 per consumer and period, share one half, within four standard errors."""
    played = play(DUOPOLY, nash(), rivals={"seller_1": nash("seller_1")}, episodes=64)
    profit = summary([played])["profit"]
    assert abs(profit["mean"] - 0.22292666 * 52_000) < 4 * profit["se"]
    assert 0 < profit["se"] < 40
    assert abs(played.share.mean() - 0.5) < 0.005
    assert played.prices.shape == (52, 2)
    np.testing.assert_allclose(played.surplus, 0.715098, atol=1e-5)


def test_the_same_seeds_give_the_same_numbers():
    first, again = (play(DUOPOLY, nash(), episodes=4) for _ in range(2))
    np.testing.assert_array_equal(first.profit, again.profit)
    other = play(DUOPOLY, nash(), episodes=4, seed=4)
    assert not np.intersect1d(first.profit, other.profit).size
    shifted = play(DUOPOLY, nash(), episodes=4, seed=1)
    np.testing.assert_array_equal(shifted.profit[:3], first.profit[1:])


def test_identical_sellers_score_the_same_against_rivals_that_draw():
    """Common random numbers: the rival's draws, like the demand's, are those of the seed and not of the order."""
    rivals = {"seller_1": make_seller("random", DUOPOLY, "seller_1")}
    sellers = {name: [nash()] for name in ("first", "second")} | {"dearer": [make_seller("fixed:1.6", DUOPOLY)]}
    played = compare(DUOPOLY, sellers, rivals=rivals, episodes=3, max_cycles=20)
    np.testing.assert_array_equal(played["first"][0].profit, played["second"][0].profit)
    assert not np.array_equal(played["dearer"][0].profit, played["first"][0].profit)
    assert len(set(played["first"][0].profit)) == 3
    explorer = make_seller("thompson", DUOPOLY)
    once, twice = (play(DUOPOLY, explorer, episodes=3, max_cycles=20) for _ in range(2))
    np.testing.assert_array_equal(once.profit, twice.profit)


def test_either_seller_of_a_symmetric_market_earns_alike():
    first = play(DUOPOLY, make_seller("cost-plus:0.6", DUOPOLY), episodes=64)
    second = play(DUOPOLY, make_seller("cost-plus:0.6", DUOPOLY, "seller_1"), "seller_1", episodes=64)
    error = summary([first])["profit"]["se"]
    assert abs(first.profit.mean() - second.profit.mean()) < 6 * error


def test_knowing_demand_pays():
    sellers = {kind: [make_seller(kind, DUOPOLY)] for kind in ("fixed", "random", "best-response")}
    played = compare(DUOPOLY, sellers, episodes=8)
    profit = {kind: runs[0].profit.mean() for kind, runs in played.items()}
    assert profit["best-response"] > max(profit["fixed"], profit["random"])


def test_standard_errors_of_one_and_of_several_sellers():
    def run(profit: list[float]) -> Played:
        nothing = np.zeros(len(profit))
        return Played(np.array(profit), nothing, nothing, nothing, nothing > 0, nothing)

    one = summary([run([1.0, 2.0, 3.0, 4.0])])["profit"]
    assert one["mean"] == 2.5
    assert one["se"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    three = summary([run([1.0, 3.0]), run([2.0, 4.0]), run([3.0, 5.0])])["profit"]
    assert three["mean"] == 3.0
    assert three["se"] == pytest.approx(1 / np.sqrt(3))
    alone = summary([run([7.0])])["profit"]
    assert alone["mean"] == 7.0 and np.isnan(alone["se"])


def test_an_unknown_error_is_not_written():
    assert plus_minus(1234.5, 6.7) == "1,234 ± 7"
    assert plus_minus(0.12345, 0.0067, ".4g", ".2g") == "0.1235 ± 0.0067"
    assert plus_minus(*mean_se([7.0]), ".1f") == "7.0"


def test_no_episodes_is_refused():
    with pytest.raises(InvalidInput, match="episodes"):
        play(DUOPOLY, nash(), episodes=0)


def test_the_table_ranks_sellers_and_shows_errors():
    out = StringIO()
    table = results_table(RESULTS, title="t", currency="USD", best=12_200.0, note="64 seeds")
    Console(file=out, width=100).print(table)
    text = out.getvalue()
    assert text.index("ppo") < text.index("fixed")
    assert "12,174 ± 12" in text
    assert "0.998" in text
    assert "USD" in text


def test_json_of_an_evaluation_is_plain():
    written = json.loads(json.dumps(as_json(RESULTS, scenario=DUOPOLY)))
    assert set(written["sellers"]["ppo"]) == set(MEASURES)


def test_pictures_are_drawn(tmp_path):
    rows = [{"steps": float(i), "profit": 10.0 * i} for i in range(1, 30)]
    paths = [
        plots.learning_curve({"seed 0": rows}, {"best": 300.0, "cost-plus": 290.0}, tmp_path / "a.png"),
        plots.episode(
            np.full((8, 2), 1.5), np.ones((8, 2), dtype=bool), np.full((8, 2), 0.5), ["one", "two"],
            np.array([True, False]), tmp_path / "b.png",
        ),
        plots.comparison({kind: row["profit"] for kind, row in RESULTS.items()}, 12_200.0, tmp_path / "c.png"),
        plots.two_worlds(
            [np.linspace(1.5, 1.2, 8), np.linspace(1.5, 1.9, 8)], np.array([1.2, 1.9]), 1.5,
            {"ppo": (0.99, 0.01), "robust-stationary": (0.95, 0.02)}, tmp_path / "d.png",
        ),
    ]  # fmt: skip
    from matplotlib.image import imread

    for path in paths:
        image = imread(path)
        assert image.shape[0] > 250
        assert image.shape[1] > 700
        colours = (255 * image[..., :3]).astype(np.int64) @ [1, 256, 65536]
        assert len(np.unique(colours)) > 20, "an empty picture"


def test_the_demo_writes_what_it_promises(tmp_path):
    out, shown = tmp_path / "demo", StringIO()
    demo = Demo(DUOPOLY, seeds=2, steps=4000, out=out, console=Console(file=shown, width=120))
    demo.run()
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {
        "scenario", "seeds", "profit", "best_stationary", "ratio", "wall_seconds", "consumers", "tastes",
        "robust_stationary", "clairvoyant",
    }  # fmt: skip
    assert results["tastes"] == "mean"
    assert results["robust_stationary"] is results["clairvoyant"] is None
    kinds = {"regular-price", "cost-plus", "random", "best-response", "best-stationary", "ppo"}
    assert set(results["profit"]) == kinds
    assert all(set(row) == {"mean", "se"} for row in results["profit"].values())
    assert results["consumers"] == {"kind": "logit", "model": None, "weights_hash": None}
    assert results["ratio"] == pytest.approx(results["profit"]["ppo"]["mean"] / results["best_stationary"])
    assert results["profit"]["best-stationary"]["mean"] >= results["profit"]["random"]["mean"]
    assert len(json.loads((out / "details.json").read_text())["ratios"]) == results["seeds"] == 2
    text = shown.getvalue()
    for name in ("learning.png", "episode.png", "profit.png"):
        assert (out / name).stat().st_size > 5000
        assert name in text
    assert "malles evaluate" in text


@pytest.mark.slow
def test_the_demo_on_real_products_with_shipped_weights(tmp_path):
    """The learner comes within 5% of the best stationary action, above every rule; measured: 0.1%."""
    out = tmp_path / "demo"
    demo = Demo("soft-drinks", tastes="mean", seeds=1, steps=300_000, out=out, console=Console(file=StringIO()))
    demo.run()
    results = json.loads((out / "results.json").read_text())
    assert results["consumers"]["kind"] == "aligned"
    assert results["consumers"]["model"] == "embedded"
    assert len(results["consumers"]["weights_hash"]) >= 8
    assert results["ratio"] > 0.95
    profit = {kind: row["mean"] for kind, row in results["profit"].items()}
    assert all(profit["ppo"] > profit[kind] for kind in ("regular-price", "cost-plus", "random"))


@pytest.mark.slow
def test_the_demo_with_hidden_tastes(tmp_path):
    """The learner moves its price with what it sells: up where customers are less sensitive. Both bounds hold."""
    out, shown = tmp_path / "demo", StringIO()
    Demo(seeds=1, steps=200_000, out=out, console=Console(file=shown, width=120)).run()
    results = json.loads((out / "results.json").read_text())
    assert results["tastes"] == "draws"
    profit = {kind: row["mean"] for kind, row in results["profit"].items()}
    assert results["robust_stationary"] == profit["robust-stationary"] < results["clairvoyant"] == profit["clairvoyant"]
    assert profit["best-stationary"] < profit["robust-stationary"]
    assert profit["cost-plus"] < profit["ppo"] < profit["clairvoyant"]
    assert (out / "worlds.png").stat().st_size > 5000
    assert "worlds.png" in shown.getvalue()


def test_a_demo_of_hidden_tastes_needs_draws(tmp_path):
    with pytest.raises(InvalidInput, match="tastes"):
        Demo(DUOPOLY, tastes="draws", out=tmp_path, console=Console(file=StringIO())).run()
    with pytest.raises(InvalidInput, match="tastes"):
        Demo(DUOPOLY, tastes="hidden", out=tmp_path)


def test_episodes_are_written_as_csv(tmp_path):
    file = tmp_path / "episodes.csv"
    question = Comparison(DUOPOLY, ["regular-price", "fixed:1.5"], episodes=3)
    compare_in_console(question, csv_file=file)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["seller"], row["episode"]) for row in rows] == [
        (kind, str(episode)) for kind in ("regular-price", "fixed:1.5") for episode in range(3)
    ]
    market = load_scenario(DUOPOLY)
    played = play(market, make_seller("fixed:1.5", market), episodes=3)
    for measure in MEASURES:
        assert [float(row[measure]) for row in rows[3:]] == getattr(played, measure).tolist()


def test_a_table_over_draws_keeps_its_numbers_whole_at_80_columns() -> None:
    row = {
        "profit": {"mean": 224_512.3, "se": 1_613.2}, "cvar10": 206_312.0, "worst": 201_000.0, "regret": 31_537.0,
        "regret_se": 976.0, "of_best": 0.876, "least_of_best": 0.826,
    }  # fmt: skip
    out = StringIO()
    names = ("iterated-least-squares", "robust-stationary:max-min", "clairvoyant")
    table = draws_table(dict.fromkeys(names, row), title="t", currency="USD", note="32 draws")
    Console(file=out, width=80).print(table)
    assert "\u2026" not in out.getvalue()
    assert out.getvalue().count("224,512 ± 1,613") == out.getvalue().count("31,537 ± 976") == len(names)
