"""Launches: products first sold after training ends, put before customers as they stood that day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from malles_env.data import hashing
from malles_env.data.occasions import Occasions
from malles_env.data.sources.gifts.build import assembled
from malles_env.data.sources.gifts.catalogue import Catalogue, GiftSettings
from malles_env.data.sources.gifts.history import Past
from malles_env.data.sources.gifts.shelves import Draw, availability
from malles_env.errors import InvalidInput
from malles_env.type_aliases import IntArray

WEEKS = 8
"""A launch's sales are the purchases of its first weeks."""
CUSTOMERS = 30
"""Customers every launch is put before, the same for all, drawn by hash among those with enough purchases."""


def launch_trials(log: Catalogue, settings: GiftSettings) -> Occasions:
    """Return one occasion per launch and customer: the launch among products of its category on sale before it.

    All launches of a category meet the same customers and the same alternatives, so that they differ in nothing but
    themselves. `chosen` is the launch's position, not a purchase. `Occasions.meta` holds the launches as columns:
    product_id, market, week (of the first sale) and sales (purchases in the first eight weeks).

    Args:
        log: The log.
        settings: Splits and limits.

    Raises:
        InvalidInput: No product was launched between the end of validation and eight weeks before the log's end.
    """
    past, week = Past(log, settings), settings.splits.validation_end
    launches = _launches(log, week)
    customers = _customers(log, past, settings)
    visits: list[tuple[int, int, int]] = []
    row, option, kept = [], [], []
    there = availability(log, settings.reach)[:, week]
    there[log.bought.group_by("product").agg(pl.col("period").min()).filter(pl.col("period") > week)["product"]] = False
    for at, (product, market) in enumerate(launches.select("product", "market").iter_rows()):
        others = _alternatives(log, there, market, settings)
        if len(others) < settings.fewest_options - 1:
            continue
        kept.append(at)
        first, shelf = len(visits), np.append(others, product)
        visits += [(household, product, market) for household in customers.tolist()]
        row.append(np.repeat(np.arange(first, len(visits)), len(shelf)))
        option.append(np.tile(shelf, len(customers)))
    if not visits:
        raise InvalidInput(
            f"the log: no product of a category was first sold from week {week + 1} to {log.weeks - WEEKS + 1}; "
            "allowed: a longer log"
        )
    whole = pl.DataFrame(visits, schema=["household", "product", "market"], orient="row").with_columns(
        day=pl.lit(past.known_until, pl.Int64), period=pl.lit(week + 1, pl.Int64), cases=pl.lit(1, pl.Int64)
    )
    draw = _drawn(np.concatenate(row), np.concatenate(option), whole["product"].to_numpy(), settings.seed)
    trials = assembled(log, whole, draw, past, settings, {})
    first_sales = launches[kept].with_columns(product_id=log.products["product_id"].gather(launches[kept]["product"]))
    first_sales = first_sales.with_columns(market=pl.Series("market", log.markets).gather(first_sales["market"])).drop(
        "product"
    )
    return replace(trials, meta=trials.meta | {"launches": first_sales.to_dict(as_series=False)})


def _launches(log: Catalogue, week: int) -> pl.DataFrame:
    """Return product, market, week and sales of each launch whose first weeks the log holds."""
    first = log.bought.group_by("product", "market").agg(week=pl.col("period").min())
    new = first.filter(
        (pl.col("market") < len(log.markets) - 1) & (pl.col("week") > week) & (pl.col("week") <= log.weeks - WEEKS + 1)
    )
    early = log.bought.join(new.select("product", "week"), on="product").filter(
        pl.col("period") < pl.col("week") + WEEKS
    )
    sales = early.group_by("product").agg(sales=pl.len().cast(pl.Int64))
    return new.join(sales, on="product").sort("market", "product")


def _customers(log: Catalogue, past: Past, settings: GiftSettings) -> IntArray:
    known = log.bought.filter(pl.col("day") < past.known_until)
    counts = known.group_by("household").agg(pl.col("product").n_unique().alias("products")).sort("household")
    enough = counts.filter(pl.col("products") >= 2 * settings.fewest_earlier)["household"].to_numpy()
    if not len(enough):
        raise InvalidInput(
            "the log: no customer bought enough different products before the test; allowed: a longer log"
        )
    order = np.argsort(hashing.mix(settings.seed + 3, enough), kind="stable")
    return np.sort(enough[order[:CUSTOMERS]])


def _alternatives(log: Catalogue, there: np.ndarray, market: int, settings: GiftSettings) -> IntArray:
    """Return the products on sale before the test that a category's launches stand beside."""
    on_sale = np.flatnonzero((log.market == market) & there)
    order = np.argsort(hashing.mix(settings.seed + 4, on_sale), kind="stable") if len(on_sale) else on_sale
    return on_sale[order[: settings.options - 1]]


def _drawn(row: IntArray, option: IntArray, product: IntArray, seed: int) -> Draw:
    order = np.lexsort((hashing.mix(seed + 2, row, option), row))
    row, option = row[order], option[order]
    size = np.bincount(row)
    position = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size) + 1
    return Draw(np.arange(len(size)), position[option == product[row]], row, position, option)
