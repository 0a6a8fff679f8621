"""Purchases of assortments -> choice occasions in the form that `malles align` reads.

A customer takes several products of a category at once, so what is observed is a set. If each product is taken with log
odds u_j + c, whatever c is that day, then the probability that of one product bought and some not bought it is the
former that was bought is exp(u_j) / sum exp(u): the constant falls out (conditional logit). So every product bought is
an occasion whose shelf holds it and a uniform draw of the available products that were *not* bought; a uniform draw of
alternatives leaves the likelihood consistent (McFadden 1978).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from malles_env.data import hashing
from malles_env.data.occasion_files import ALTERNATIVE_COLUMNS, ELSEWHERE_COLUMNS, OCCASION_COLUMNS, PRODUCT_COLUMNS
from malles_env.data.occasions import Occasions
from malles_env.data.sources.gifts.catalogue import Catalogue, GiftSettings
from malles_env.data.sources.gifts.history import Past, Shares
from malles_env.data.sources.gifts.shelves import Draw, draw_shelves
from malles_env.errors import InvalidInput, invalid

SELLER = "wholesaler"


def build_gift_occasions(log: Catalogue, settings: GiftSettings) -> Occasions:
    """Return the choice occasions of a log, by period, category and customer.

    Args:
        log: The log.
        settings: Splits, windows and limits.

    Raises:
        InvalidInput: Nothing is left to build, or a held-out category that no product has.
    """
    unknown = sorted(settings.splits.held_out_categories - set(log.markets))
    if unknown:
        raise invalid("held_out_categories", unknown[0], f"categories of the log: {', '.join(log.markets[:-1])}")
    report = dict(log.report)
    visits = _visits(log, settings)
    report["bought after the burn-in, in a category"] = len(visits)
    visits = _thinned(visits, settings)
    report[f"after drawing {settings.together} of those bought together"] = len(visits)
    past = Past(log, settings)
    earlier = past.elsewhere(visits, settings.fewest_earlier)["rows"].list.len()
    visits = visits.filter(earlier >= settings.fewest_earlier)
    report[f"of customers with {settings.fewest_earlier} other products before"] = len(visits)
    draw = draw_shelves(log, visits, settings)
    visits = visits[draw.kept]
    report["on a shelf: available by others' purchases, with alternatives"] = len(visits)
    if not len(visits):
        raise InvalidInput("the log: no purchase stands on a shelf with alternatives; allowed: a longer log")
    return assembled(log, visits, draw, past, settings, report)


def assembled(
    log: Catalogue, visits: pl.DataFrame, draw: Draw, past: Past, settings: GiftSettings, report: dict[str, int]
) -> Occasions:
    """Return visits and their shelves in the columns of `Occasions`.

    Args:
        log: The log.
        visits: household, day, period, product, market, cases; by period, market, household and product.
        draw: Their shelves.
        past: The customers' purchases.
        settings: Splits and windows.
        report: Counts, kept in `Occasions.meta`.
    """
    products = log.products.select(
        "product_id", "title", "category", market="category", variants=pl.lit(1, pl.Int32), **_empty_product_columns()
    )
    meta = {
        "source": "UCI Online Retail (CC0, doi 10.1057/dbm.2012.17)",
        "settings": _plain(settings),
        "report": report,
    }
    return Occasions(
        _occasions(log, visits, draw, past, settings),
        _alternatives(log, visits, draw, past, settings),
        products.select(PRODUCT_COLUMNS.keys()).cast(PRODUCT_COLUMNS),  # type: ignore[arg-type]
        past.purchases(log),
        meta,
        past.elsewhere(visits, settings.elsewhere).cast(ELSEWHERE_COLUMNS),  # type: ignore[arg-type]
    )


def _occasions(log: Catalogue, visits: pl.DataFrame, draw: Draw, past: Past, settings: GiftSettings) -> pl.DataFrame:
    """Return one row per visit, with counts of what its customer bought before."""
    household, day, period, market = (visits[name].to_numpy() for name in ("household", "day", "period", "market"))
    total, end = past.history(household, market, day)
    names = pl.Series("market", log.markets)
    occasions = visits.select(
        occasion_id=pl.int_range(pl.len(), dtype=pl.Int64),
        household_id=log.customers.gather(visits["household"]),
        store_id=pl.lit(SELLER),
        period="period",
        market=names.gather(visits["market"]),
        category=names.gather(visits["market"]),
        chosen=pl.Series(draw.chosen),
        quantity="cases",
        log_sampling=pl.lit(0.0),
        split=settings.splits.name("period"),
        history_total=pl.Series(total),
        history_end=pl.Series(end),
        elsewhere=pl.Series(past.before(household, day) - total),
        elsewhere_private=pl.lit(0),
        elsewhere_deal=pl.lit(0),
        weeks_seen=pl.Series(past.weeks(household, period)),
        buyer=pl.Series(past.history(household, market, np.full_like(day, past.known_until))[0] > 0),
    ).with_columns(held_out=settings.splits.held_out())
    return occasions.select(OCCASION_COLUMNS.keys()).cast(OCCASION_COLUMNS)  # type: ignore[arg-type]


def _empty_product_columns() -> dict[str, pl.Expr]:
    missing = ("brand", "private_label", "size_value", "size_unit")
    return {name: pl.lit(None, PRODUCT_COLUMNS[name]) for name in missing}


def _alternatives(log: Catalogue, visits: pl.DataFrame, draw: Draw, past: Past, settings: GiftSettings) -> pl.DataFrame:
    """Return one row per occasion and option, with what the log says of it before the visit's week."""
    row, product = draw.row, draw.product
    household, day, period = (visits[name].to_numpy()[row] for name in ("household", "day", "period"))
    shares = Shares(log, settings)
    last = past.last(household, log.market[product], day)
    columns = {
        "occasion_id": row,
        "position": draw.position,
        "price": log.prices[product, period],
        "regular_price": log.products["regular_price"].to_numpy()[product],
        "bought": past.of_product(household, product, day),
        "last": product == last,
        "share": shares.trailing[product, period],
        "reference_share": shares.reference[product],
        "long_share": shares.whole[product, period],
        "store_sales": shares.sold[product, period],
        "mean_quantity": shares.cases[product, period],
    }
    none = {"promotion": False, "display": False, "feature_ad": False, "brand_elsewhere": 0, "brand_share": 0.0}
    ids = log.products["product_id"].gather(pl.Series(product))
    frame = pl.DataFrame(columns).with_columns(product_id=ids, **{name: pl.lit(value) for name, value in none.items()})
    return frame.select(ALTERNATIVE_COLUMNS.keys()).cast(ALTERNATIVE_COLUMNS)  # type: ignore[arg-type]


def _visits(log: Catalogue, settings: GiftSettings) -> pl.DataFrame:
    """Return the purchases that may become occasions, by period, category, customer and product."""
    wanted = (pl.col("market") < len(log.markets) - 1) & (pl.col("period") > settings.splits.burn_in_end)
    return log.bought.filter(wanted).sort("period", "market", "household", "day", "product")


def _thinned(visits: pl.DataFrame, settings: GiftSettings) -> pl.DataFrame:
    """Return at most `together` products of each customer, day and category, drawn by hash."""
    parts = (visits[name].to_numpy() for name in ("household", "day", "market", "product"))
    keyed = visits.with_columns(key=pl.Series(hashing.mix(settings.seed, *parts)))
    rank = pl.col("key").rank("ordinal").over("household", "day", "market")
    return keyed.filter(rank <= settings.together).drop("key")


def _plain(settings: GiftSettings) -> dict[str, Any]:
    splits = settings.splits
    ends = {name: getattr(splits, name) for name in ("burn_in_end", "train_end", "validation_end")}
    own = {name: getattr(settings, name) for name in GiftSettings.__dataclass_fields__ if name != "splits"}
    return {"splits": ends | {"held_out_categories": sorted(splits.held_out_categories)}} | own
