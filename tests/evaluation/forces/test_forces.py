"""Forces are recovered from logs drawn from them, absent ones are not kept, and what cannot be said is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.consumers import LogitConsumers
from malles_env.errors import InvalidInput
from malles_env.evaluation.forces import FORCES, ForceEstimate, as_block, estimate_forces
from malles_env.evaluation.forces.choice import inertia, promotion, reference_price, references
from malles_env.evaluation.forces.estimates import Finding, judge
from malles_env.evaluation.forces.likelihood import RIDGE, Choices, Model, Shared, best, covariances, errors, fit
from malles_env.evaluation.forces.log import LEARNED, read_market
from malles_env.evaluation.forces.pantry import as_pantry, pantry
from malles_env.evaluation.forces.report import as_json, cells
from malles_env.evaluation.forces.seasons import Effects, Seasons, Visits, fit_seasons, seasons, week_effects
from malles_env.evaluation.metrics import Estimate
from malles_env.market import Catalog, Dynamics, Market, Population, Product, Tastes
from malles_env.scenarios.blocks.forces import ForcesEntry, PantryEntry
from tests.evaluation.forces.forces_cases import MARKET, Truth, drawn, drawn_market, season

PROMOTED = Truth(display=0.5, feature=0.3)
GOOD, NONE = Estimate(0.004, 0.001), Estimate(0.0, 0.0)
BOTH = {"households": GOOD, "time": GOOD}


def near(found: ForceEstimate, name: str, truth: float, errors: float = 2.5) -> bool:
    """Return whether a parameter was found within some standard errors."""
    assert 0 < found.error[name] < 1.0
    return abs(found.effect[name] - truth) < errors * found.error[name]


def test_promotion_is_recovered_and_kept() -> None:
    found = promotion(drawn_market(PROMOTED).purchases())
    assert near(found, "display", 0.5) and near(found, "feature", 0.3)
    assert found.error["display"] < 0.06
    assert found.kept
    assert as_block([found])["promotion"].keys() == {"display", "feature"}


def test_absent_promotion_is_not_kept() -> None:
    found = promotion(drawn_market(Truth()).purchases())
    assert near(found, "feature", 0.0) and not found.kept
    assert as_block([found]) == {}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_reference_price_is_recovered(seed: int) -> None:
    found = reference_price(drawn_market(Truth(gain=2.0, loss=0.5), seed).purchases())
    assert near(found, "gain", 2.0) and near(found, "loss", 0.5) and near(found, "memory", 0.8)
    assert found.effect["gain"] > 3 * found.error["gain"]


def test_fading_is_recovered_and_kept() -> None:
    found = inertia(drawn_market(Truth(fade=0.3, loyalty=1.5, spread=0.0)).purchases())
    assert near(found, "fade", 0.3) and near(found, "loyalty", 1.5)
    assert found.effect["constant"] < found.effect["loyalty"]
    assert found.kept


@pytest.mark.slow
def test_lasting_loyalty_does_not_fade() -> None:
    found = inertia(drawn_market(Truth(loyalty=1.5, spread=0.0)).purchases())
    assert found.effect["fade"] <= 0.02 and near(found, "constant", 1.5)
    assert not found.kept


def test_seasons_of_a_log_are_kept_and_net_of_noise() -> None:
    truth = Truth(season=0.35)
    found = seasons(drawn_market(truth))
    # The log of purchases moves by less than the log odds: by the chance of not buying, here some 0.5 to 0.7.
    assert 0.4 * 0.35 < found.effect["sd"] < 0.85 * 0.35
    assert found.kept


def drawn_visits(sd: float, persistence: float, seed: int, weeks: int = 300, size: int = 150) -> Visits:
    """Return visits whose odds move with known seasons."""
    rng = np.random.default_rng(seed)
    xi = season(rng, Truth(season=sd, persistence=persistence), weeks)
    week = np.repeat(np.arange(weeks), size)
    score = rng.normal(-0.5, 0.7, len(week))
    bought = rng.random(len(week)) < 1.0 / (1.0 + np.exp(-(score + xi[week])))
    return Visits(score, bought.astype(np.float64), rng.integers(0, 400, len(week)), week)


def test_season_moments() -> None:
    found = fit_seasons(week_effects(drawn_visits(0.3, 0.6, 0)))
    assert found.sd == pytest.approx(0.3, abs=0.04) and found.persistence == pytest.approx(0.6, abs=0.12)


@pytest.mark.parametrize("seed", range(4))
def test_sampling_noise_is_no_season(seed: int) -> None:
    effects = week_effects(drawn_visits(0.0, 0.0, seed))
    assert effects.value.std() > 0.12
    assert fit_seasons(effects).sd < 0.09  # 3 standard errors of the variance


def test_seasons_average_out() -> None:
    """The factor exp(xi - sd^2 / 2) that a market puts on its consumers has mean 1 under the estimate."""
    found = Seasons(0.0, 0.3, 0.6)
    covariance = found.covariance(np.arange(40), np.arange(40))
    xi = np.random.default_rng(0).multivariate_normal(np.zeros(40), covariance, 20_000)
    assert np.exp(xi - found.sd**2 / 2).mean() == pytest.approx(1.0, abs=0.01)


def test_shrinking_pulls_noisy_weeks_to_the_level() -> None:
    effects = Effects(np.array([0, 1]), np.array([0.5, 0.5]), np.array([0.01, 3.0]))
    mean, variance = Seasons(0.0, 0.2, 0.0).given(effects, np.array([0, 1, 2]))
    assert mean == pytest.approx([0.5, 0.0, 0.0], abs=0.01)
    assert variance == pytest.approx([0.0, 0.04, 0.04], abs=0.001)


def test_stock_after_deals_is_seen() -> None:
    found = pantry(drawn_market(Truth(theta=0.6, beta=4.0)))
    assert found.effect["lag"] < -2 * found.error["lag"] and found.effect["now"] > 0
    assert near(found, "theta", 0.6) and near(found, "keep", 0.8)
    assert 0 < found.effect["dip"] < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("theta", "keep"), [(0.6, 0.8), (0.4, 0.6)])
def test_large_logs_show_theta_and_keep(theta: float, keep: float, seed: int) -> None:
    found = pantry(drawn_market(Truth(theta=theta, keep=keep, beta=4.0), seed, 2500))
    assert near(found, "theta", theta) and near(found, "keep", keep)
    assert found.effect["theta"] > 3 * found.error["theta"]


@pytest.mark.parametrize(("theta", "keep"), [(0.3, 0.8), (0.6, 0.8), (0.2, 0.95), (0.4, 0.3)])
def test_the_market_plays_the_pantry_that_its_deals_show(theta: float, keep: float) -> None:
    """Small deals at random in a market with a known pantry: the best decay's regression gives it back."""
    weeks, lags = 3000, 80
    cheap = np.random.default_rng(0).uniform(0.0, 0.004, weeks)
    shop = Market(
        Catalog((Product("p", "seller", 1.0, 2.0),)),
        Population.uniform(1),
        LogitConsumers(Tastes(alpha=[[-0.5]], beta=2.0, pantry=theta)),
        demand="expected",
        dynamics=Dynamics(pantry_keep=keep),
    )
    outcomes = [shop.step(2.0 * np.exp(-below), True) for below in cheap]
    units = np.log([outcome.units[0, 0] for outcome in outcomes])
    past = np.stack([np.roll(cheap, 1 + lag) for lag in range(lags)], axis=1)

    def regression(decay: float) -> tuple[float, np.ndarray]:
        columns = np.column_stack([np.ones(weeks), cheap, past @ decay ** np.arange(lags)])[lags:]
        weights, (rest,), *_ = np.linalg.lstsq(columns, units[lags:], rcond=None)
        return float(rest), weights

    decays = np.linspace(-0.2, 0.99, 600)
    decay = float(decays[int(np.argmin([regression(d)[0] for d in decays]))])
    _, (_, now, late) = regression(decay)
    staying = float(np.mean([outcome.outside[0] for outcome in outcomes[lags:]]))
    assert as_pantry(now, -late, decay, staying) == pytest.approx((theta, keep), rel=0.02)


def test_a_pantry_that_was_kept_is_in_the_block() -> None:
    effect = {"now": 1.5, "lag": -1.0, "dip": 0.7, "theta": 0.33333, "keep": 0.8765}
    found = judge(Finding("pantry", effect, dict.fromkeys(effect, 0.1), BOTH), MARKET)
    assert as_block([found]) == {"pantry": {"theta": 0.333, "keep": 0.876}}
    assert ForcesEntry.model_validate(as_block([found])).pantry == PantryEntry(theta=0.333, keep=0.876)
    assert as_block([judge(Finding("pantry", effect, effect, BOTH, ("no dip",)), MARKET)]) == {}


def test_no_stock_no_dip() -> None:
    found = pantry(drawn_market(Truth()))
    assert abs(found.effect["lag"]) < 2.5 * found.error["lag"] and not found.kept


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_market_without_forces_keeps_none(seed: int) -> None:
    found = estimate_forces(drawn(Truth(), seed), MARKET, seed)
    assert [force.name for force in found] == list(FORCES)
    assert [force.name for force in found if force.kept] == []


@pytest.mark.slow
def test_a_large_log_shows_reference_prices() -> None:
    found = reference_price(drawn_market(Truth(gain=2.0, loss=0.5), 1, 2500).purchases())
    assert near(found, "gain", 2.0) and near(found, "loss", 0.5)
    assert found.kept


def test_reference_knows_the_past_alone() -> None:
    prices = np.log(np.random.default_rng(0).uniform(0.6, 1.0, (2, 3, 10)))
    prices[0, 1, 4:6] = np.nan
    before = np.array([-0.1, np.nan, -0.2])
    found = references(prices, 0.8, before)
    assert found[:, 0, 0] == pytest.approx(-0.1) and np.isnan(found[:, 1, 0]).all()
    assert found[0, 0, 1] == pytest.approx(0.8 * -0.1 + 0.2 * prices[0, 0, 0])
    assert found[0, 1, 6] == found[0, 1, 4]  # while it is not listed
    later = prices.copy()
    later[..., 5:] = 0.0
    assert np.array_equal(references(later, 0.8, before)[..., :6], found[..., :6], equal_nan=True)


def test_the_test_weeks_change_nothing() -> None:
    whole = drawn(PROMOTED, households=150)
    assert set(LEARNED) == {"train", "validation"}
    late = whole.occasions.with_columns(split=pl.when(pl.col("period") > 38).then(pl.lit("test")).otherwise("split"))
    changed = replace(whole, occasions=late)
    dropped = replace(whole, occasions=late.filter(pl.col("split") != "test"))
    first, second = (promotion(read_market(part, MARKET).purchases()) for part in (changed, dropped))
    assert first == second


def choices_of(size: int = 400, options: int = 3) -> tuple[Choices, np.ndarray]:
    """Return purchases that follow the first of three columns with 1."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(size * options, 3))
    group = np.repeat(np.arange(size), options)
    picked = (columns[:, 0] + rng.gumbel(size=len(group))).reshape(size, options).argmax(1)
    bought = np.zeros(len(group))
    bought[np.arange(size) * options + picked] = 1.0
    return Choices(group, bought, np.zeros(len(group)), group // 2, group % 30), columns


def test_newton_reaches_the_maximum() -> None:
    choices, columns = choices_of()
    model = Model(Shared(columns[:, :2], np.zeros(2)), columns[:, 2:], signed=False)
    everything = np.ones(len(columns), dtype=bool)
    found = fit(model, choices, everything)
    share = np.exp(columns @ found.weights)
    share /= np.add.reduceat(share, np.arange(0, len(share), 3))[choices.group]
    assert columns.T @ (choices.bought - share) == pytest.approx(np.zeros(3), abs=0.05 + RIDGE)
    (matrix,) = covariances(model, found, choices, columns[:, :0], weekly=False)
    assert abs(found.weights[0] - 1.0) < 3 * errors([matrix])[0] < 0.5


def test_a_coefficient_of_the_wrong_sign_is_left_out() -> None:
    choices, columns = choices_of()
    everything = np.ones(len(columns), dtype=bool)
    shared = Shared(columns[:, 1:2], np.zeros(1))
    found = fit(Model(shared, -columns[:, [0, 2]]), choices, everything)
    assert found.weights[1] == 0.0 and (found.weights[1:] >= 0).all()
    at, _ = best([Model(shared, columns[:, :1] * scale) for scale in (0.0, 1.0, 0.0)], choices, everything)
    assert at == 1


@pytest.mark.parametrize(
    ("households", "time", "kept"),
    [
        (GOOD, GOOD, True),
        (Estimate(0.004, 0.003), GOOD, False),
        (GOOD, Estimate(-0.001, 0.001), False),
        (NONE, NONE, False),
    ],
)
def test_rule(households: Estimate, time: Estimate, kept: bool) -> None:
    effect = {"sd": 0.123456, "persistence": 0.5}
    found = judge(Finding("seasons", effect, effect, {"households": households, "time": time}), MARKET)
    assert found.kept is kept
    assert as_block([found]) == ({"seasons": {"sd": 0.123, "persistence": 0.5}} if kept else {})


def test_an_objection_outweighs_the_gains() -> None:
    found = judge(Finding("pantry", {"theta": 1.0}, {"theta": 1.0}, BOTH, ("no dip",)), MARKET)
    assert not found.kept and found.reason == "no dip"


@pytest.mark.parametrize("effect", [{"sd": float("nan")}, {"sd": float("inf")}])
def test_numbers_that_are_none_are_errors(effect: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=r"SNACKS.*seasons: sd is (nan|inf)"):
        judge(Finding("seasons", effect, {"sd": 0.1}, BOTH), MARKET)
    with pytest.raises(InvalidInput, match="error of the gain"):
        judge(Finding("seasons", {"sd": 0.1}, {"sd": 0.1}, BOTH | {"time": Estimate(0.1, float("nan"))}), MARKET)


def test_a_log_without_promotions_or_deals_says_so() -> None:
    log = drawn_market(Truth(deals=False, promoted=False))
    for found in (promotion(log.purchases()), reference_price(log.purchases()), pantry(log)):
        assert found.reason.startswith("not in this log: ")
        assert not found.kept and not found.effect and not found.gains
    table = cells([found])
    assert len(table) == 2 and len(table[1]) == len(table[0])


def test_unknown_or_small_markets_are_refused() -> None:
    occasions = drawn(PROMOTED)
    with pytest.raises(InvalidInput, match=r"'PANTRY \| SNAKS'.*near: 'PANTRY \| SNACKS'"):
        estimate_forces(occasions, "PANTRY | SNAKS")
    with pytest.raises(InvalidInput, match=r"purchases in the learned weeks.*at least 500"):
        estimate_forces(occasions.select(limit=600), MARKET)
    hole = occasions.occasions.filter(~pl.col("period").is_between(20, 30))
    with pytest.raises(InvalidInput, match="no purchase in 5 weeks in a row"):
        estimate_forces(replace(occasions, occasions=hole), MARKET)
    with pytest.raises(InvalidInput, match=r"12 weeks.*at least 16"):
        estimate_forces(replace(occasions, occasions=occasions.occasions.filter(pl.col("period") <= 16)), MARKET)


def test_plain_values() -> None:
    found = [
        judge(
            Finding("promotion", {"display": 0.5, "feature": 0.25}, {"display": 0.1, "feature": 0.1}, BOTH),
            MARKET,
        )
    ]
    plain = as_json({MARKET: found})[MARKET]
    assert plain["block"] == {"promotion": {"display": 0.5, "feature": 0.25}}
    assert plain["forces"][0]["gains"] == {"households": (0.004, 0.001), "time": (0.004, 0.001)}


def test_command_refuses_unknown_markets(tmp_path: Path) -> None:
    folder = drawn(PROMOTED).save(tmp_path / "occasions")
    answer = CliRunner().invoke(app, ["consumers", "forces", "PANTRY | SNAKS", "--occasions", str(folder)])
    assert answer.exit_code == 2
    assert "near: 'PANTRY | SNACKS'" in answer.stderr


@pytest.mark.slow
def test_command_writes_what_it_prints(tmp_path: Path) -> None:
    folder, out = drawn(PROMOTED).save(tmp_path / "occasions"), tmp_path / "forces.json"
    answer = CliRunner().invoke(app, ["consumers", "forces", "--occasions", str(folder), "--json", str(out)])
    assert answer.exit_code == 0, answer.output
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["seed"] == 0 and list(content["markets"]) == [MARKET]
    block = content["markets"][MARKET]["block"]
    assert list(block) == ["promotion"]
    assert f"display: {block['promotion']['display']}" in answer.output
