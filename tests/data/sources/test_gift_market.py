"""Categories of the wholesaler's log as a market: appeals with known answers, launches, houses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from malles_env.data.sources.gifts.catalogue import Catalogue
from malles_env.data.sources.gifts.houses import shipped_houses
from malles_env.data.sources.gifts.market import GiftMarket, appeals
from malles_env.errors import InvalidInput
from tests.data.sources.gift_log import LAUNCHED, WEEKS, small_catalogue


@cache
def log() -> Catalogue:
    return small_catalogue()


@pytest.fixture(scope="module")
def market() -> GiftMarket:
    return GiftMarket.of(log(), ["mug", "sign"], fewest=5)


def test_appeals_are_found_whatever_was_on_sale_when() -> None:
    rng = np.random.default_rng(0)
    true = np.log([0.5, 0.25, 0.15, 0.1])
    there = np.ones((4, 60), bool)
    there[0, :40], there[3, 20:] = False, False
    price = rng.normal(0.0, 0.3, (4, 60))
    share = np.exp(true[:, None] - 2.0 * price) * there
    counts = np.stack([rng.multinomial(4000, week) for week in (share / share.sum(0)).T], axis=1).astype(float)
    found, sd = appeals(counts, there, -2.0 * price)
    assert float(np.logaddexp.reduce(found)) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(found, true, atol=4 * sd.max())
    assert (sd > 0.002).all() and (sd < 0.02).all()


def test_what_was_never_sold_has_a_finite_appeal() -> None:
    found, sd = appeals(np.array([[5.0, 5.0], [0.0, 0.0]]), np.ones((2, 2), bool))
    assert np.isfinite(found).all() and np.isfinite(sd).all() and found[1] < found[0]


def test_a_market_counts_every_purchase_once(market: GiftMarket) -> None:
    assert len(market) == 16 and market.counts.sum() == len(market.lines) == market.orders["bought"].sum()
    assert (market.counts > 0).sum() > 0 and market.available[market.counts > 0].all()
    assert len(market.orders) == market.log.bought.select("household", "day").unique().height
    first = dict(zip(market.titles, market.first.tolist(), strict=True))
    assert first["COMET DESIGN MUG"] >= LAUNCHED["MUG"] and first["OTTER DESIGN SIGN"] >= LAUNCHED["SIGN"]
    assert market.launched.sum() == 4 and market.prices.min() >= 2.0


def test_what_was_known_earlier_is_of_earlier_weeks(market: GiftMarket) -> None:
    known = np.flatnonzero(~market.launched)
    before = market.known(known, 30)
    assert len(before) == 12 and before.counts[:, 31:].sum() == 0
    assert before.counts.sum() == market.counts[known, :31].sum() == len(before.lines)
    assert before.orders["period"].max() <= 30 < WEEKS


def test_tiers_are_the_logs_lower_prices(market: GiftMarket) -> None:
    tiers = [tier for tier in market.tiers() if tier is not None]
    assert tiers and all(tier == (50, pytest.approx(0.2, abs=0.01)) for tier in tiers)


@pytest.mark.parametrize("names", [["hat"], ["mug", "other"], [""]])
def test_categories_that_are_not_there_are_named(names: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"market: got .*allowed: categories of the log"):
        GiftMarket.of(log(), names)


def test_too_small_a_market_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 products have 100000 purchases"):
        GiftMarket.of(log(), ["mug"], fewest=100_000)


def test_houses_go_by_words_and_the_first_one_wins() -> None:
    houses = shipped_houses()
    names = [
        "JUMBO BAG RED RETROSPOT",
        "JUMBO BAG VINTAGE CHRISTMAS",
        "JUMBO BAG OWLS",
        "CABIN BAG VINTAGE RETROSPOT",
        "TOTE",
    ]
    assert houses.of(names) == ["retrospot", "christmas", "woodland", "retrospot", "various"]
    assert set(houses.titles) == {*houses.houses, houses.rest}
