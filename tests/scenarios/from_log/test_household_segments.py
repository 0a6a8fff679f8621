"""Digital twins made from a synthetic log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.data.statistics import market_statistics
from malles_env.errors import InvalidInput
from malles_env.market.demand.choice import respond
from malles_env.market.offer import Offer
from malles_env.preference.data.dataset import from_occasions
from malles_env.preference.model import TasteModel
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.scenarios.from_log.household_segments import TwinMarket, cluster_tastes, find_ground, twin_market
from malles_env.scenarios.from_log.household_shelves import known_until, twin_shelves
from tests.preference.conftest import tiny_model

MARKET = "PANTRY | MARKET 0"
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset()),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return synthetic_transactions(seed=7, num_households=120)[0]


@pytest.fixture(scope="module")
def tiny() -> TasteModel:
    return tiny_model()


@pytest.fixture(scope="module")
def twins(tables: Tables, tiny: TasteModel) -> TwinMarket:
    return twin_market(MARKET, model=tiny, tables=tables, settings=SETTINGS)


def test_every_buyer_is_a_segment_with_its_own_past(tables: Tables, twins: TwinMarket) -> None:
    known = market_statistics(known_until(tables, 40), MARKET, settings=SETTINGS)
    lines = known.lines["product_id"].to_list()
    shelves = twin_shelves(tables, MARKET, lines, SETTINGS)
    assert twins.household_ids == shelves.household_ids == known.household_ids
    assert np.array_equal(shelves.data.bought, known.counts)
    assert np.array_equal(shelves.data.weeks_seen, known.weeks)
    assert np.array_equal(shelves.data.history_total, known.counts.sum(1) + known.other_counts)
    assert (shelves.data.product == shelves.data.product[0]).all()
    assert [shelves.data.products.names[at] for at in shelves.data.product[0]] == lines
    assert np.array_equal(shelves.loyalty[:, 1:].argmax(1), known.last)
    assert twins.population.weights == pytest.approx(known.weeks / known.weeks.sum())
    assert twins.population.size == pytest.approx(known.weeks.sum() / 40)


def test_facts_are_those_of_the_first_real_visit_after_validation(tables: Tables) -> None:
    lines = market_statistics(known_until(tables, 40), MARKET, settings=SETTINGS).lines["product_id"].to_list()
    shelves = twin_shelves(tables, MARKET, lines, SETTINGS)
    later = build_occasions(tables, replace(SETTINGS, outside_ratio=1e9), [MARKET])
    rows = np.flatnonzero(later.occasions["period"].to_numpy() == 41)
    real, who = from_occasions(later.rows(rows)), later.occasions["household_id"].gather(rows).to_list()
    at = [shelves.household_ids.index(name) for name in who]
    assert len(at) > 80
    for name in ("history_total", "weeks_seen", "elsewhere", "elsewhere_private", "elsewhere_deal"):
        assert np.array_equal(getattr(real, name), getattr(shelves.data, name)[at])
    for name in ("past_known", "past_ago", "past_quantity", "past_depth"):
        assert np.array_equal(getattr(real, name), getattr(shelves.data, name)[at])
    order = [[lines.index(real.products.names[j]) for j in row] for row in real.product]
    for name in ("bought", "last", "long_share", "share", "regular_price", "mean_quantity", "brand_share"):
        assert np.array_equal(
            getattr(real, name), np.take_along_axis(getattr(shelves.data, name)[at], np.array(order), 1)
        )


def test_nothing_after_validation_moves_the_twins(tables: Tables, tiny: TasteModel, twins: TwinMarket) -> None:
    late = pl.col("period") > 40
    changed = tables.transactions.with_columns(
        unit_price=pl.when(late).then(pl.col("unit_price") * 0.5).otherwise("unit_price"),
        quantity=pl.when(late).then(pl.col("quantity") + 3).otherwise("quantity"),
        product_id=pl.when(late).then(pl.lit("p0-0")).otherwise("product_id"),
    ).filter(~late | (pl.col("household_id") < "h00060"))
    assert not changed.equals(tables.transactions)
    again = twin_market(MARKET, model=tiny, tables=replace(tables, transactions=changed), settings=SETTINGS)
    assert again.household_ids == twins.household_ids
    for name in ("alpha", "beta", "gamma", "rho", "lambda_", "kappa", "delta"):
        assert np.array_equal(getattr(again.consumers.tastes, name), getattr(twins.consumers.tastes, name))
    assert np.array_equal(again.population.initial_loyalty, twins.population.initial_loyalty)
    assert np.array_equal(again.population.weights, twins.population.weights)
    assert np.array_equal(again.mean_field, twins.mean_field)


def test_what_was_bought_before_moves_the_twins(tables: Tables, tiny: TasteModel, twins: TwinMarket) -> None:
    early = (pl.col("period") < 20) & (pl.col("household_id") == twins.household_ids[3])
    fewer = replace(tables, transactions=tables.transactions.filter(~early))
    again = twin_market(MARKET, model=tiny, tables=fewer, settings=SETTINGS)
    moved = np.abs(again.consumers.tastes.alpha - twins.consumers.tastes.alpha).max(1)
    assert moved.argmax() == 3
    assert moved[3] > 0.01


def test_twins_play_in_the_engine(twins: TwinMarket) -> None:
    expected, drawn = twins.market(demand="expected"), twins.market(num_markets=400)
    drawn.reset(seeds=1)
    assert expected.num_segments == len(twins.household_ids)
    price = twins.catalog.regular_price
    first, sampled = expected.step(price, True), drawn.step(price, True)
    spread = sampled.units.std(axis=0) / np.sqrt(400)
    assert (np.abs(sampled.units.mean(axis=0) - first.units[0]) < 4 * spread).all()
    assert 0 < first.units.sum() <= 24 * twins.population.size


def test_other_lines_join_the_outside_option(tables: Tables) -> None:
    """Folded tastes give the products the probabilities they have on the whole shelf."""
    lines = market_statistics(known_until(tables, 40), MARKET, settings=SETTINGS).lines["product_id"].to_list()
    whole, part = (twin_shelves(tables, MARKET, chosen, SETTINGS) for chosen in (lines, lines[:4]))
    size, rng = len(part.household_ids), np.random.default_rng(0)
    reading = TasteReading(
        alpha=rng.normal(-1.0, 1.0, (size, 6)),
        beta=np.full((size, 6), 2.0),
        gamma=np.zeros(size),
        rho=rng.normal(0.0, 1.0, size),
        lambda_=np.zeros(size),
        kappa=np.zeros((size, 6)),
        delta=np.zeros(size),
        display=np.zeros(size),
        feature=np.zeros(size),
    )
    share = whole.data.long_share[0]
    answers = []
    for shelves in (whole, part):
        count = shelves.num_products
        order = [lines.index(shelves.data.products.names[j]) for j in shelves.data.product[0]]
        moved = replace(reading, alpha=reading.alpha[:, order])
        regular = shelves.data.regular_price[0, :count].astype(np.float64)
        perceived = share[:count] / share[:count].sum()
        nobody = np.tile(np.eye(count + 1)[0], (1, size, 1))
        offer = Offer(
            regular[None], np.ones((1, count), bool), regular, perceived[None], nobody, centre=perceived[None]
        )
        answers.append(respond(shelves.tastes(moved), offer).probability[0, :, 1:5])
    assert np.abs(answers[0] - answers[1]).max() < 1e-6


def test_clusters_are_read_from_the_same_market(tables: Tables, tiny: TasteModel) -> None:
    ground = find_ground(MARKET, tables=tables, settings=SETTINGS)
    tastes, population = cluster_tastes(ground, tiny)
    assert tastes.alpha.shape == (population.num_segments, len(ground.lines))
    assert 1 <= population.num_segments < len(ground.shelves.household_ids)


def test_a_scenario_that_is_no_market_of_a_log_is_refused(tables: Tables) -> None:
    with pytest.raises(InvalidInput, match=r"bertrand-duopoly.*tastes stand in its file"):
        find_ground("bertrand-duopoly", tables=tables)
