"""Calibrating prompted consumers on a synthetic log: visits are the log's, weeks stay apart, a killed run goes on."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from malles_env.cli.fitting.calibrate import calibrate_command
from malles_env.consumers.language import CachedModel
from malles_env.consumers.language.cache import AnswerCache
from malles_env.consumers.prompted import PromptedConsumers, ask_visits
from malles_env.data.building.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.data.statistics import market_statistics
from malles_env.errors import InvalidInput, LanguageModelError
from malles_env.market import Offer
from malles_env.scenarios import Scenario, load_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.prompted import opening_offer, prompted_consumers, with_prompted
from malles_env.scenarios.from_log.build import scenario_from
from malles_env.scenarios.from_log.choices import BuildChoices
from malles_env.scenarios.from_log.segments import Buyers
from malles_env.workflows.calibration import KNOWN, as_json, calibrate, entered
from malles_env.workflows.calibration_visits import find_visits, nearest_segment, product_lines
from tests.consumers.prompted.models import Formula, Wrapped, tiny_model

MARKET = "PANTRY | MARKET 0"
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset()), min_market_purchases=100, min_line_purchases=5,
    min_line_households=2,
)  # fmt: skip
World = tuple[Scenario, Occasions]


@pytest.fixture(scope="module")
def world() -> World:
    tables, _ = synthetic_transactions(seed=5, num_households=300)
    statistics = market_statistics(tables, MARKET, settings=SETTINGS, max_lines=5)
    scenario = scenario_from(statistics, BuildChoices("pantry", "Pantry", segments=3))
    return scenario, build_occasions(tables, SETTINGS, [MARKET])


def shopper(prompt, labels) -> list[float]:
    """Looks at prices and at the last purchase, and is much too sure of itself."""
    if labels[0] == "1":
        return [-0.5 * float(label) for label in labels]
    price = dict(re.findall(r"^([A-Z]): .*?; price ([\d.]+)", prompt.shared, re.MULTILINE))
    last = re.search(r"last purchase was ([A-Z])", prompt.own)
    return [
        -6.0,
        *(-9.0 * np.log(float(price[x])) + 6.0 * (last is not None and last[1] == x) for x in labels[1:]),
    ]


def test_visits_are_those_of_the_log(world) -> None:
    scenario, occasions = world
    visits = find_visits(scenario, occasions, MARKET, KNOWN, 10**6)
    log = occasions.select(split=list(KNOWN), markets=[MARKET])
    lines = [row["product_id"] for row in occasions.products.iter_rows(named=True) if row["market"] == MARKET]
    assert len(scenario.products) == 5 < len(lines), "one line of the log is no product of the scenario"
    known = log.occasions.filter(pl.col("buyer") & (pl.col("history_total") > 0))
    idle = known.filter(pl.col("chosen") == 0)
    assert len(known) > len(visits) > 500 and (visits.chosen == 0).sum() == len(idle)
    place = {product.title: j for j, product in enumerate(scenario.products)}
    assert len(place) == 5
    assert (visits.quantity[visits.chosen > 0] >= 1).all() and (visits.quantity[visits.chosen == 0] == 0).all()
    np.testing.assert_allclose(visits.mean_field.sum(axis=1), 1.0)
    prices = log.alternatives["price"].unique().to_numpy()
    assert np.isin(visits.prices[visits.available], prices).all()
    assert (visits.last[visits.chosen > 0] == visits.chosen[visits.chosen > 0]).mean() > 0.3, "households are loyal"
    some = find_visits(scenario, occasions, MARKET, ("test",), 50, seed=1)
    assert len(some) == 50 and not np.array_equal(
        some.prices, find_visits(scenario, occasions, MARKET, ("test",), 50).prices
    )


def test_last_purchases_and_segments_come_from_before_the_visit(world) -> None:
    """The log marks on each shelf what the household had bought last; most-bought and last are counted anew here."""
    scenario, occasions = world
    log = occasions.select(split=list(KNOWN), markets=[MARKET])
    visits, dense = find_visits(scenario, occasions, MARKET, KNOWN, 10**6), log.arrays()
    product = np.full(len(log.products), -1)
    product[product_lines(scenario, log, MARKET)] = np.arange(5)
    own = np.where(dense["mask"], product[dense["product"]], -1)
    chosen = np.where(dense["chosen"] > 0, own[np.arange(len(own)), dense["chosen"] - 1], 0)
    rows = np.flatnonzero((chosen >= 0) & (dense["history_total"] > 0))
    assert len(rows) == len(visits)
    marked = (np.where(dense["last"], own, -1) + 1).max(axis=1)[rows]
    seen = marked > 0
    np.testing.assert_array_equal(visits.last[seen], marked[seen])
    assert seen.mean() > 0.5 and not (visits.last[~seen, None] == own[rows][~seen] + 1)[visits.last[~seen] > 0].any()
    bought = scenario.bought().astype(np.int64)
    total = np.array([segment.history_total for segment in scenario.segments])
    weeks = np.array([segment.weeks_seen for segment in scenario.segments])
    typical = Buyers(bought, total - bought.sum(axis=1), weeks, np.minimum(total, weeks), np.full(len(total), -1))
    np.testing.assert_array_equal(nearest_segment(scenario, typical), np.arange(len(total)))


def test_answers_are_those_of_the_consumers(world) -> None:
    scenario, occasions = world
    asked = with_prompted(scenario, orders=2)
    consumers = prompted_consumers(asked, model=tiny_model())
    visits = find_visits(asked, occasions, MARKET, KNOWN, 3, seed=4)
    found = ask_visits(consumers, visits, asked.catalog().regular_price)
    for n in range(3):
        loyalty = np.zeros((1, 3, 6))
        loyalty[0, :, visits.last[n]] = 1.0
        offer = Offer(
            visits.prices[n][None], visits.available[n][None], asked.catalog().regular_price,
            visits.mean_field[n][None], loyalty,
        )  # fmt: skip
        answer = consumers.respond(offer)
        own = consumers.fitted.choice(found.log_choice[n][None], visits.segment[n][None], visits.perceived[n][None])[0]
        np.testing.assert_allclose(own, answer.probability[0, visits.segment[n]], atol=1e-5)
        if visits.chosen[n]:
            units = answer.quantity[0, visits.segment[n], visits.chosen[n] - 1]
            np.testing.assert_allclose(consumers.fitted.mean_units(found.log_units[n]), units, atol=1e-4)


def test_later_weeks_are_predicted_better_and_the_file_carries_the_numbers(world, tmp_path) -> None:
    scenario, occasions = world
    found = calibrate(
        scenario, occasions, visits=400, test_visits=300, answered_by=Formula(shopper), orders=2,
        price_sensitivity=True,
    )  # fmt: skip
    gain = found.scores["calibrated"].gains
    for name in ("nats", "nats_all", "units_nats"):
        assert gain[name].mean < -2 * gain[name].se < 0
    assert found.pooled.pool.temperature[0] > 2.0, "it was too sure of itself"
    bare = found.scores["without the model"].values["nats"].mean
    assert found.scores["calibrated"].values["nats"].mean < bare, "its answers tell more than personas alone"
    again = load_scenario(save_scenario(found.scenario, tmp_path / "pantry.yaml"))
    assert again == found.scenario and again.consumers.kind == "prompted"
    consumers = prompted_consumers(again, model=Formula(shopper))
    np.testing.assert_allclose(consumers.fitted.temperature, found.pooled.personas.temperature, atol=1e-4)
    np.testing.assert_allclose(consumers.fitted.outside, found.pooled.personas.outside, atol=1e-4)
    assert _answers_to_prices(consumers, again) and np.isfinite(consumers.respond(opening_offer(again)).surplus).all()
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["visits"]["test"]["visits"] == 300


def _answers_to_prices(consumers: PromptedConsumers, scenario: Scenario) -> bool:
    """Return whether each product sells less to every segment once its own price rises."""
    usual, raised = opening_offer(scenario), opening_offer(scenario)
    before = consumers.respond(usual).probability[0]
    for j in range(consumers.num_products):
        raised.prices[:] = usual.prices
        raised.prices[0, j] *= 1.2
        if not (consumers.respond(raised).probability[0, :, j + 1] < before[:, j + 1]).all():
            return False
    return True


def test_a_killed_run_goes_on_where_it_was(world, tmp_path) -> None:
    scenario, occasions = world
    how = {"visits": 20, "test_visits": 10, "orders": 2}
    straight = Formula(shopper)
    expected = calibrate(scenario, occasions, answered_by=straight, **how)
    broken = Formula(shopper)
    dying = CachedModel(Wrapped(broken, lambda call: call > 12), AnswerCache(tmp_path / "answers"))
    with pytest.raises(LanguageModelError, match="server is gone"):
        calibrate(scenario, occasions, answered_by=dying, **how)
    mended = CachedModel(broken, AnswerCache(tmp_path / "answers"))
    found = calibrate(scenario, occasions, answered_by=mended, **how)
    assert broken.asked <= straight.asked, "no question twice"
    assert as_json(found) == as_json(expected)


def test_scenarios_and_logs_that_do_not_fit_are_refused(world) -> None:
    scenario, occasions = world
    duopoly = load_scenario("bertrand-duopoly")
    with pytest.raises(InvalidInput, match="name no market"):
        calibrate(duopoly, occasions, answered_by=Formula(shopper))
    with pytest.raises(InvalidInput, match="no such line"):
        calibrate(duopoly, occasions, market=MARKET, answered_by=Formula(shopper))
    with pytest.raises(InvalidInput, match="markets: got 'NONE'; allowed: PANTRY"):
        calibrate(scenario, occasions, market="NONE", answered_by=Formula(shopper))
    with pytest.raises(InvalidInput, match="temperatur"):
        calibrate(scenario, occasions, answered_by=Formula(shopper), temperatur=1.0)
    early = occasions.rows(np.flatnonzero(occasions.occasions["split"].to_numpy() == "train"))
    with pytest.raises(InvalidInput, match="no visit of the test weeks"):
        calibrate(scenario, early, answered_by=Formula(shopper))
    bare = scenario.segments[0].model_copy(update={"history_total": None, "bought": {}})
    with pytest.raises(InvalidInput, match="history_total"):
        calibrate(scenario.model_copy(update={"segments": (bare,)}), occasions, answered_by=Formula(shopper))
    assert entered(with_prompted(scenario), prompted_consumers(with_prompted(scenario), None, tiny_model()).fitted)


def test_the_command_writes_a_scenario_and_numbers(world, tmp_path) -> None:
    scenario, occasions = world
    model = tiny_model()
    model.model.save_pretrained(tmp_path / "model")
    model.wording.tokenizer.save_pretrained(tmp_path / "model")
    app = typer.Typer()
    app.command()(calibrate_command)
    own, out, numbers = tmp_path / "own.yaml", tmp_path / "new" / "out.yaml", tmp_path / "numbers.json"
    save_scenario(scenario, own)
    words = [own, "--model", tmp_path / "model", "--occasions", occasions.save(tmp_path / "occasions"), "--orders", 1]
    words += ["--visits", 12, "--test-visits", 8, "--out", out, "--json", numbers]
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    for result in ("calibrated", "nats all", "12 visits fitted to", "for all: temperature"):
        assert result in answer.output
    written = load_scenario(out)
    assert written.consumers.temperature == tuple(json.loads(numbers.read_text())["consumers"]["temperature"])
    assert "12 visits" in written.notes[-1]
    for place in (tmp_path / "out.txt", tmp_path / "folder.yaml"):
        (tmp_path / "folder.yaml").mkdir(exist_ok=True)
        refused = CliRunner().invoke(app, [str(own), "--out", str(place)])
        assert isinstance(refused.exception, InvalidInput)
