"""Are the products that were bought on the shelf that the rules build, at the price that was paid?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from malles_env.data.building.shelf import Shelves
from malles_env.data.building.visits import purchase_visits
from malles_env.data.checks.agreement import FEW, TOLERANCE
from malles_env.data.checks.report import Check, graded, skipped, worse
from malles_env.data.coding import Coded, code_tables
from malles_env.data.hashing import mix, text_keys, uniform
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput
from malles_env.type_aliases import FloatArray

LIMIT = 100_000
"""Purchases drawn for these checks; the error of a share is then below 0.2 points."""
COVERED_WARN, COVERED_ERROR = 0.95, 0.70
LARGE_WARN, LARGE_ERROR = 0.25, 0.05
EXACT_WARN, EXACT_ERROR = 0.75, 0.40
_COVERED, _EXACT = "coverage", "price_of_others"


def check_shelves(tables: Tables, settings: BuildSettings) -> tuple[Check, Check]:
    """Build the shelves of a sample of purchases and compare them with what was bought at which price.

    Args:
        tables: Canonical tables, validated.
        settings: Windows and thresholds of the build.

    Returns:
        The check of coverage and the check of prices.
    """
    try:
        coded = code_tables(tables, settings)
    except InvalidInput as error:
        advice = "Lower min_market_purchases in the settings."
        return tuple(Check(n, None, None, "error", str(error), advice) for n in (_COVERED, _EXACT))  # type: ignore[return-value]
    visits = _sample(purchase_visits(coded, settings), coded, settings)
    found = pl.concat([_compare(part, visits, settings) for part in _batches(coded, settings)])
    if len(found) < FEW:
        why = f"only {len(found)} purchases after the burn-in are of a line that sells enough"
        if (found["alternatives"] >= settings.min_alternatives).any():
            return skipped(_COVERED, why), skipped(_EXACT, why)
        why += f", and no shelf has {settings.min_alternatives} alternatives: nothing can be built"
        advice = (
            "Lower min_line_purchases, min_line_households or min_alternatives in the settings, or take a longer log."
        )
        return Check(_COVERED, None, None, "error", why, advice), skipped(_EXACT, "nothing can be built")
    return _coverage(found, settings), _exactness(found, offers=coded.offers is not None)


def _sample(visits: pl.DataFrame, coded: Coded, settings: BuildSettings) -> pl.DataFrame:
    household = text_keys(coded.households)[visits["household"].to_numpy()]
    keys = mix(settings.seed, household, visits["market"].to_numpy(), visits["time"].to_numpy())
    return visits.filter(pl.Series(uniform(keys) < LIMIT / max(len(visits), 1)))


def _batches(coded: Coded, settings: BuildSettings) -> Iterator[Coded]:
    """Yield the log a few markets at a time, which bounds memory."""
    size = settings.markets_per_batch
    for start in range(0, len(coded.markets), size):
        wanted = pl.col("market").is_between(start, start + size - 1)
        lines = coded.lines.filter(wanted)
        own = lines.select("line")
        yield replace(
            coded,
            lines=lines,
            purchases=coded.purchases.filter(wanted),
            promoted=coded.promoted.join(own, on="line", how="semi"),
            offers=None if coded.offers is None else coded.offers.join(own, on="line", how="semi"),
        )


def _compare(coded: Coded, visits: pl.DataFrame, settings: BuildSettings) -> pl.DataFrame:
    """Return one row per visit of these markets: alternatives, on_shelf, price (by the rule), paid."""
    own = visits.join(coded.lines.select("line"), on="line", how="semi")
    own = own.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("visit"))
    shelves = Shelves(coded, replace(settings, min_alternatives=1))
    shelf = shelves.fill(own)
    sizes = shelf.group_by("visit").agg(pl.len().alias("alternatives"))
    chosen = shelf.select("visit", "line", pl.col("price").alias("offered"))
    paid = coded.purchases.select("household", "market", "time", "line", pl.col("price").alias("paid"))
    rows = (
        own.join(sizes, on="visit", how="left", maintain_order="left")
        .join(chosen, on=["visit", "line"], how="left", maintain_order="left")
        .join(paid.unique(["household", "time", "line"]), on=["household", "market", "time", "line"], how="left")
    )
    price = rows["offered"].to_numpy() if coded.offers is not None else _others(shelves, rows)
    return rows.select(
        coded.markets.alias("market").gather(rows["market"]),
        pl.col("alternatives").fill_null(0).cast(pl.Int64),
        on_shelf=pl.col("offered").is_not_null(),
        price=pl.Series(price, dtype=pl.Float64).fill_null(float("nan")),
        paid="paid",
    )


def _others(shelves: Shelves, rows: pl.DataFrame) -> FloatArray:
    names = ("line", "store", "period", "household")
    return shelves.others_price(*(rows[name].to_numpy().astype(np.int64) for name in names))


def _coverage(found: pl.DataFrame, settings: BuildSettings) -> Check:
    share = float(found["on_shelf"].cast(pl.Float64).sum()) / len(found)
    enough = float((found["alternatives"] >= settings.min_alternatives).cast(pl.Float64).sum()) / len(found)
    size = float(found["alternatives"].to_numpy().mean())
    worst = _worst(found)
    low = ", ".join(f"{market} {value:.0%}" for market, value in worst.items())
    return Check(
        _COVERED,
        share,
        COVERED_WARN,
        worse(graded(share, COVERED_WARN, COVERED_ERROR), graded(enough, LARGE_WARN, LARGE_ERROR)),
        f"{share:.1%} of {len(found):,} purchases are of a product on the shelf that the rules build ({size:.1f} "
        f"alternatives on average; {enough:.1%} of shelves have the {settings.min_alternatives} needed)"
        + (f"; lowest: {low}" if low else ""),
        "Give a table of offers, or raise availability_periods, max_alternatives or price_memory in the settings."
        if enough >= LARGE_WARN
        else "Most shelves are too small: pool markets, or lower min_alternatives and min_line_purchases.",
        {"mean_alternatives": size, "shelves_large_enough": enough, "lowest_markets": worst},
    )


def _worst(found: pl.DataFrame) -> dict[str, float]:
    """Return up to three markets below the threshold, the lowest first."""
    shares = found.group_by("market").agg(pl.col("on_shelf").mean().alias("share"), pl.len().alias("rows"))
    low = shares.filter((pl.col("share") < COVERED_WARN) & (pl.col("rows") >= FEW)).sort("share", "market").head(3)
    return dict(zip(low["market"].to_list(), low["share"].to_list(), strict=True))


def _exactness(found: pl.DataFrame, *, offers: bool) -> Check:
    known = found.filter(pl.col("price").is_finite() & pl.col("paid").is_finite())
    if len(known) < FEW:
        return skipped(_EXACT, "hardly any price is known from other households")
    error = np.abs(known["price"].to_numpy() / known["paid"].to_numpy() - 1)
    exact, mean = float((error <= TOLERANCE).mean()), float(error.mean())
    rule = "of the table of offers" if offers else "that other households paid"
    return Check(
        _EXACT,
        exact,
        EXACT_WARN,
        graded(exact, EXACT_WARN, EXACT_ERROR),
        f"the price {rule} is the price paid (within {TOLERANCE:.0%}) for {exact:.1%} of {len(known):,} purchases; "
        f"mean absolute error {mean:.1%}; known for {len(known) / len(found):.1%}",
        "Check that offers and receipts are both per package and after store discounts."
        if offers
        else "Give a table of offers, which replaces this rule; else price responses will come out too small.",
        {"mape": mean, "known": len(known) / len(found)},
    )
