"""The yardstick: exact stock plans, calendars measured, hidden draws, what learners close, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.planning.exact_stock import StockProblem, forgetful
from malles_agents.planning.hidden_draws import DrawValues, best_of_draws, robust_action, with_draws
from malles_agents.seller_view import SellerView
from malles_agents.studies.calendar_shape import alike, calendar_shape, line_shape
from malles_agents.studies.dynamic import DynamicStudy, crossing, real_shape, run_dynamic_study
from malles_agents.studies.dynamic_parts import comparing, market_folder, plan_part
from malles_agents.studies.dynamic_report import as_markdown
from malles_agents.studies.learned_share import shares
from malles_env.cli import app
from malles_env.errors import InvalidInput
from malles_env.scenarios import list_scenarios, load_scenario

DUOPOLY = "bertrand-duopoly"
runner = CliRunner()


# -- what calendars look like --------------------------------------------------------------------------------------


def test_measures_of_a_calendar_made_by_hand():
    shape = line_shape(np.array([4.0, 3.0, 4.0, 3.0, 4.0, 4.0, 3.0, 4.0, 3.0, 4.0]))
    assert shape["on_deal"] == 0.4
    assert shape["depth"] == pytest.approx(0.25)
    assert shape["changes"] == pytest.approx(8 / 9)
    assert shape["sd"] == pytest.approx(np.log(4 / 3) * np.sqrt(0.4 * 0.6 * 10 / 9))
    assert shape["autocorrelation"] < -0.5
    flat = line_shape(np.full(10, 2.5))
    assert flat == {"sd": 0.0, "changes": 0.0, "on_deal": 0.0, "depth": 0.0, "autocorrelation": 0.0}


def test_a_calendar_is_measured_line_by_line_in_the_weeks_on_the_shelf():
    prices = np.stack([np.tile([4.0, 3.0], 10), np.full(20, 2.0), np.full(20, 9.0)], axis=1)
    listed = np.ones((20, 3), dtype=bool)
    listed[3:, 2] = False  # three weeks are too few
    found = calendar_shape(prices, listed)
    assert found["lines"] == 2
    assert found["on_deal"] == 0.25  # the median of .5 and 0
    assert calendar_shape(prices, listed, [2]) is None
    real = calendar_shape(prices, listed, [0])
    assert alike(real, real) and not alike(found, real) and not alike(None, real)
    assert alike(real | {"depth": 1.4 * real["depth"]}, real) and not alike(real | {"sd": real["sd"] / 1.6}, real)


def test_real_sellers_run_deals_half_of_the_time():
    for name in ("soft-drinks", "ice-cream"):
        real = real_shape(load_scenario(name))
        assert 0.4 < real["on_deal"] < 0.55 and 0.2 < real["sd"] < 0.3 and 0.25 < real["depth"] < 0.45
    assert real_shape(load_scenario("cereal")) is None
    renamed = load_scenario("wholesale").model_copy(update={"name": "ice-cream"})
    assert real_shape(renamed) is None  # of other products


# -- exact plans of a stock -----------------------------------------------------------------------------------------


def test_the_best_constant_price_of_a_stock_earns_in_the_engine_what_the_recursion_says():
    scenario = load_scenario("clearance")
    problem = StockProblem.of(scenario)
    best, profit = problem.constant()
    market = scenario.market(num_markets=2000)
    market.reset(3)
    price = problem.prices[best]
    earned = np.sum([market.step([[price]], True).seller_profit[:, 0] for _ in range(52)], axis=0)
    assert earned.mean() == pytest.approx(profit, abs=4 * earned.std(ddof=1) / np.sqrt(2000))
    optimum = problem.plan().value[-1, -1]
    assert optimum / profit == pytest.approx(1.0139, abs=5e-4)
    # a constant price plays on as its own tail: splitting the episode changes nothing
    tail = problem.plan(only=best, periods=12).value[-1]
    assert problem.plan(only=best, periods=40, terminal=tail).value[-1, -1] == pytest.approx(profit)
    between = problem.plan(periods=40, terminal=tail).value[-1, -1]
    assert profit < between < optimum


def test_only_a_stock_without_other_memory_is_solved_by_induction():
    assert [name for name in list_scenarios() if StockProblem.fits(load_scenario(name))] == ["clearance"]
    assert forgetful(load_scenario(DUOPOLY)) and not forgetful(load_scenario("wholesale"))
    consumers = load_scenario("clearance").build_consumers()
    stored = replace(consumers, tastes=replace(consumers.tastes, pantry=0.2))
    assert not StockProblem.fits(load_scenario("clearance"), stored)  # what is at home is remembered
    with pytest.raises(InvalidInput, match="scenario: got 'wholesale'; allowed: one product with a stock"):
        StockProblem.of(load_scenario("wholesale"))
    with pytest.raises(InvalidInput, match=r"terminal: got \(3,\)"):
        StockProblem.of(load_scenario("clearance")).plan(terminal=np.zeros(3))


# -- hidden draws and who learns ------------------------------------------------------------------------------------


def test_the_robust_action_can_be_found_for_some_of_the_draws():
    scenario = load_scenario(DUOPOLY)
    view = SellerView.of(scenario, "seller_0")
    drawn = with_draws(view)
    assert len(drawn.draws) == 5
    assert with_draws(replace(view, given=drawn)) is drawn
    table = best_of_draws(replace(view, given=drawn))
    part = table.take(np.array([4]))
    prices, listed = robust_action(view, DrawValues(view, part))
    np.testing.assert_allclose(prices, table.prices[4], atol=2e-3)  # one draw alone: its own best action
    regret = part.value - DrawValues(view, part)(np.arange(1), prices[None], listed[None])[:, 0]
    assert abs(regret[0]) < 1e-4 * part.value[0]


def test_shares_of_the_gap():
    def replicate(learner: float) -> dict[str, list[float]]:
        return {"learner": [learner, learner + 2], "robust": [90.0, 90.0], "clairvoyant": [100.0, 100.0]}

    found = shares([replicate(level) for level in (91.0, 94.0, 95.0, 96.0, 99.0)])
    assert found["share_of_gap"]["iqm"] == pytest.approx(0.6)
    assert 0.2 <= found["share_of_gap"]["low"] < 0.6 < found["share_of_gap"]["high"] <= 1.0
    assert found["of_clairvoyant"]["iqm"] == pytest.approx(0.96)
    assert found["gap"] == pytest.approx(0.1)
    assert shares([replicate(95.0)])["share_of_gap"] == {"iqm": pytest.approx(0.6), "low": None, "high": None}
    narrow = {"learner": [99.0], "robust": [99.8], "clairvoyant": [100.0]}
    assert shares([narrow] * 5)["share_of_gap"] is None
    with pytest.raises(InvalidInput, match="what_if"):
        DynamicStudy(gains=(-1.0,))


def test_where_a_level_is_first_reached():
    points = [(0.5, 1.0), (1.0, 1.02), (1.5, 1.06)]
    assert crossing(points, 1.03) == pytest.approx(1.125)
    assert crossing(points, 1.0) == 0.5
    assert crossing(points, 1.07) is None


def test_an_assumed_reference_price_is_a_copy_and_an_assumption():
    market = load_scenario("ice-cream")
    assumed = comparing(market, 1.5)
    assert assumed.digest() != market.digest()
    assert assumed.forces.reference_price.gain == 1.5 and assumed.forces.inertia == market.forces.inertia
    assert market.forces.reference_price is None


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_keys_and_goes_on_where_it_was_stopped(tmp_path):
    target = tmp_path / "dynamic.json"
    words = ["study", "--dynamic", DUOPOLY, "--algos", "ppo,iterated-least-squares", "--seeds", "2", "--steps", "512",
             "--history", "2", "--workers", "1", "--out", str(tmp_path / "out"), "--json", str(target)]  # fmt: skip
    first = runner.invoke(app, words)
    assert first.exit_code == 0, first.output
    block = json.loads(target.read_text())[DUOPOLY]
    assert block["dynamic_ratio"] == block["dynamic_ratio_without_end"] == block["upper_bound"] == 1.0
    assert 0.0 < block["robust_regret"] < 0.2
    assert block["calendar"]["real"] is None and block["calendar"]["model"]["sd"] == 0.0
    assert set(block["learned"]) == {"ppo", "iterated-least-squares"}
    for score in block["learned"].values():
        assert set(score["share_of_gap"]) == {"iqm", "low", "high"} and score["replicates"] == 2
    assert block["models"]["scenario"]["rivals"]["cost-plus"] == {k: v for k, v in block.items() if k != "models"}
    assert f"{DUOPOLY} | in the file | cost-plus" in first.output
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")}
    again = runner.invoke(app, words)
    assert again.output == first.output
    kept = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns == stamp]
    assert len(kept) == len(stamps)


def test_every_kind_of_rivals_is_a_world_and_nothing_is_trained_where_no_steps_are_asked(tmp_path):
    study = DynamicStudy((DUOPOLY,), rivals=("cost-plus", "fixed"), steps=0, algos=("ppo", "thompson-draws"))
    assert study.learners == ("thompson-draws",)
    worlds = list(study.worlds())
    assert worlds == [(DUOPOLY, None, "cost-plus"), (DUOPOLY, None, "fixed")]
    profit = [plan_part(study, world, None, tmp_path)["best_constant"]["profit"] for world in worlds]
    assert profit[1] > 1.05 * profit[0]  # beside rivals at regular prices there is more to earn
    retail = DynamicStudy(("ice-cream",), algos=())
    assert [model for _, model, _ in retail.worlds()] == ["embedded", "smollm2"]
    assert len(retail.parts()[0]) == 3  # two plans, and draws that the models share


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", DUOPOLY, "--what-if", "1"], "only with --dynamic"),
        (["study", "--dynamic", DUOPOLY, "--what-if", "much"], "numbers separated by commas"),
        (["study", "--dynamic", DUOPOLY, "--algos", "dqn"], "algos: got 'dqn'"),
        (["study", "--dynamic", DUOPOLY, "--rivals", "nobody"], "seller: got 'nobody'"),
        (["study", "--dynamic", DUOPOLY, "--rivals", "calendar"], "calendar: bertrand-duopoly has none"),
        (["study", "--dynamic", DUOPOLY, DUOPOLY], "scenarios with different names"),
        (["study", "--dynamic", "nowhere"], "scenario: got 'nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_named(words, message):
    answer = runner.invoke(app, words)
    assert answer.exit_code == 2
    assert message in answer.stderr


@pytest.mark.slow
def test_a_retail_scenario_under_an_assumed_reference_price(tmp_path):
    study = DynamicStudy(("ice-cream",), model="embedded", algos=(), gains=(2.5,))
    found = run_dynamic_study(study, tmp_path, workers=1)["ice-cream"]
    assert 1.0 <= found["dynamic_ratio_without_end"] < 1.01
    assert found["what_if"]["rows"][0]["dynamic_ratio_without_end"] > found["dynamic_ratio_without_end"] + 0.005
    assert "Assumption, not an estimate" in as_markdown({"ice-cream": found}, "x")


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "🫖", "bertrand-duopoly"])
def test_a_scenario_file_names_no_folder_outside(tmp_path: Path, name: str) -> None:
    folder = market_folder(tmp_path, name)
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder.name == {"../../x": "x", "/etc/x": "etc-x", "🫖": "market"}.get(name, name)
