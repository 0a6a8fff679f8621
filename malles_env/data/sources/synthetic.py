"""A synthetic log of purchases with known tastes, in the canonical schema; small, seeded, offline."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from malles_env.data.log.tables import Tables
from malles_env.data.sources.synthetic_truth import SyntheticTruth, Week, draw_truth, draw_week
from malles_env.errors import invalid
from malles_env.type_aliases import IntArray

_START = datetime(2024, 1, 1)
_SIZES = (12.0, 16.0, 24.0, 32.0)


def synthetic_transactions(
    seed: int = 0,
    num_households: int = 200,
    num_weeks: int = 53,
    *,
    num_markets: int = 2,
    num_products: int = 6,
    num_stores: int = 3,
    num_classes: int = 2,
    with_offers: bool = False,
) -> tuple[Tables, SyntheticTruth]:
    """Draw a log of purchases from a latent-class logit with loyalty and an outside option.

    Prices are chain-wide and change by week; about a quarter of the offers is discounted by 10-40%.
    Households shop in nine weeks of ten, mostly in their own store, and buy from each market at most once a
    week.

    Args:
        seed: Seed; the same seed gives the same log.
        num_households: Households, at least 1.
        num_weeks: Weeks, at least 1; `period` runs 1..num_weeks.
        num_markets: Markets, at least 1; the last one is in a category of its own.
        num_products: Products per market, at least 2.
        num_stores: Stores, at least 1.
        num_classes: Taste classes, at least 1.
        with_offers: Add the table of all offers instead of the displays only.

    Returns:
        The canonical tables and the truth.

    Raises:
        InvalidInput: A number below its minimum.
    """
    _check_sizes(
        num_households=num_households, num_weeks=num_weeks, num_markets=num_markets, num_products=num_products,
        num_stores=num_stores, num_classes=num_classes,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng, num_households, num_markets, num_products, num_classes)
    weeks = [draw_week(rng, truth, num_stores) for _ in range(num_weeks)]
    transactions = _transactions(rng, truth, weeks, num_stores)
    return _tables(truth, weeks, transactions, with_offers), truth


def _check_sizes(**sizes: int) -> None:
    """Refuse a number below its minimum: two products, one of everything else."""
    for name, value in sizes.items():
        least = 2 if name == "num_products" else 1
        if value < least:
            raise invalid(name, value, f"a whole number, at least {least}")


def _tables(truth: SyntheticTruth, weeks: list[Week], transactions: pl.DataFrame, with_offers: bool) -> Tables:
    """Return the canonical tables: with all offers, or with the displays among them as promotions."""
    offers = _offers(truth, weeks)
    displays = offers.filter("display").select("store_id", "product_id", period="period_start")
    return Tables(
        transactions,
        _products(truth),
        offers if with_offers else None,
        None if with_offers else displays,
        pl.DataFrame({"household_id": [_household(h) for h in range(len(truth.class_of))]}),
        {name: f"synthetic {name}" for name in ("transactions", "products", "offers", "promotions", "households")},
    )


def _transactions(rng: np.random.Generator, truth: SyntheticTruth, weeks: list[Week], stores: int) -> pl.DataFrame:
    households, markets = len(truth.class_of), len(truth.markets)
    home = rng.integers(stores, size=households)
    last = np.full((markets, households), -1)
    parts = []
    for number, week in enumerate(weeks, start=1):
        visits = rng.random(households) < 0.9
        store = np.where(rng.random(households) < 0.85, home, rng.integers(stores, size=households))
        moment = rng.integers(7 * 24 * 60, size=households)
        for m in range(markets):
            chosen = _choose(rng, truth, week, m, store, last[m])
            buys = visits & (chosen >= 0)
            last[m] = np.where(buys, chosen, last[m])
            parts.append(_rows(rng, truth, week, m, number, np.flatnonzero(buys), store, moment, chosen))
        # Something outside the markets, so that every visit leaves a trace.
        parts.append(_other_rows(number, np.flatnonzero(visits), store, moment))
    return pl.concat(parts).sort("timestamp", "basket_id", "product_id")


def _choose(
    rng: np.random.Generator, truth: SyntheticTruth, week: Week, market: int, store: IntArray, last: IntArray
) -> IntArray:
    """Return the product each household would buy, -1 for none [H]."""
    kind = truth.class_of
    price, shown = week.prices[market][store], week.displays[market][store]
    utility = truth.alpha[market][kind] - truth.beta[kind][:, None] * np.log(price / truth.regular_price[market])
    utility = utility + truth.promotion * shown
    utility += truth.loyalty[kind][:, None] * (np.arange(price.shape[1]) == last[:, None])
    utility = np.concatenate([np.zeros((len(kind), 1)), utility], axis=1)
    return np.argmax(utility + rng.gumbel(size=utility.shape), axis=1) - 1


def _rows(
    rng: np.random.Generator,
    truth: SyntheticTruth,
    week: Week,
    market: int,
    number: int,
    who: IntArray,
    store: IntArray,
    moment: IntArray,
    chosen: IntArray,
) -> pl.DataFrame:
    product = chosen[who]
    frame = _visit_columns(number, who, store, moment)
    return frame.with_columns(
        product_id=pl.Series([truth.product_ids[market][j] for j in product], dtype=pl.String),
        quantity=pl.Series(1 + rng.poisson(truth.mean_extra_units, len(who)), dtype=pl.Int32),
        unit_price=pl.Series(week.prices[market][store[who], product], dtype=pl.Float64),
        regular_price=pl.Series(truth.regular_price[market][product], dtype=pl.Float64),
        period=pl.lit(number, pl.Int32),
    )


def _other_rows(number: int, who: IntArray, store: IntArray, moment: IntArray) -> pl.DataFrame:
    return _visit_columns(number, who, store, moment).with_columns(
        product_id=pl.lit("other"),
        quantity=pl.lit(1, pl.Int32),
        unit_price=pl.lit(1.0),
        regular_price=pl.lit(1.0),
        period=pl.lit(number, pl.Int32),
    )


def _visit_columns(number: int, who: IntArray, store: IntArray, moment: IntArray) -> pl.DataFrame:
    monday = _START + timedelta(weeks=number - 1)
    return pl.DataFrame(
        {
            "household_id": [_household(h) for h in who],
            "basket_id": [f"b{number:03d}-{h:05d}" for h in who],
            "timestamp": [monday + timedelta(minutes=int(moment[h])) for h in who],
            "store_id": [f"s{store[h]}" for h in who],
        },
        schema={
            "household_id": pl.String,
            "basket_id": pl.String,
            "timestamp": pl.Datetime("us"),
            "store_id": pl.String,
        },
    )


def _household(number: int) -> str:
    return f"h{number:05d}"


def _products(truth: SyntheticTruth) -> pl.DataFrame:
    rows = []
    for m, market in enumerate(truth.markets):
        for j, product in enumerate(truth.product_ids[m]):
            brand, size = ("store brand" if j == 0 else f"maker {j}"), _SIZES[j % len(_SIZES)]
            title = f"{brand}, {size:g} oz"
            rows.append((product, market.split(" | ")[0], market, title, brand, j == 0, size, "oz"))
    rows.append(("other", "OTHER", "OTHER | OTHER", "other goods", "maker 0", False, 1.0, "ct"))
    names = ["product_id", "category", "market", "title", "brand", "private_label", "size_value", "size_unit"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _offers(truth: SyntheticTruth, weeks: list[Week]) -> pl.DataFrame:
    ids = np.array(truth.product_ids)
    markets, products = ids.shape
    stores = weeks[0].prices.shape[1]
    store = np.broadcast_to(np.array([f"s{s}" for s in range(stores)])[None, :, None], (markets, stores, products))
    parts = []
    for number, week in enumerate(weeks, start=1):
        regular = np.broadcast_to(truth.regular_price[:, None, :], week.prices.shape)
        parts.append(
            pl.DataFrame(
                {
                    "store_id": store.ravel(),
                    "product_id": np.broadcast_to(ids[:, None, :], week.prices.shape).ravel(),
                    "unit_price": week.prices.ravel(),
                    "regular_price": regular.ravel(),
                    "display": week.displays.ravel(),
                }
            ).with_columns(period_start=pl.lit(number, pl.Int32), period_end=pl.lit(number, pl.Int32))
        )
    return pl.concat(parts)
