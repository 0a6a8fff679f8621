"""Purchases of assortments -> choice occasions in the form that `malles align` reads.

A customer takes several products of a category at once, so what is observed is a set. If each product is taken with log
odds u_j + c, whatever c is that day, then the probability that of one product bought and some not bought it is the
former that was bought is exp(u_j) / sum exp(u): the constant falls out (conditional logit). So every product bought is
an occasion whose shelf holds it and a uniform draw of the available products that were *not* bought; a uniform draw of
alternatives leaves the likelihood consistent (McFadden 1978).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data import hashing
from malles_env.data.gifts.categories import OTHER, Categories, shipped_categories
from malles_env.data.gifts.cleaning import Cleaned
from malles_env.data.gifts.prices import case_sizes, quantity_tiers, usual_price, weekly_prices
from malles_env.data.gifts.shelves import Draw, draw_shelves
from malles_env.data.lookup import Events, Ints
from malles_env.data.occasion_files import (
    ALTERNATIVE_COLUMNS,
    ELSEWHERE_COLUMNS,
    OCCASION_COLUMNS,
    PRODUCT_COLUMNS,
    PURCHASE_COLUMNS,
)
from malles_env.data.occasions import Occasions
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput, invalid

SELLER = "wholesaler"


@dataclass(frozen=True)
class GiftSettings:
    """How occasions are made of purchases.

    Attributes:
        splits: Periods, and the categories held out.
        options: Products on a shelf, at most: the chosen one and others that were not bought.
        fewest_options: Smaller shelves are dropped.
        reach: A product somebody else bought within this many weeks counts as available.
        fewest_earlier: Different products the customer must have bought before, in other categories.
        together: Products bought together in a category that become occasions, at most; drawn by hash, so that one
            large order does not drown the others.
        elsewhere: Products bought before in other categories that are kept per occasion, at most, newest first.
        share_periods: Window of the trailing shares.
        seed: Seed of all draws.
    """

    splits: Splits
    options: int = 24
    fewest_options: int = 5
    reach: int = 2
    fewest_earlier: int = 5
    together: int = 3
    elsewhere: int = 50
    share_periods: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below their minimum."""
        for name in ("options", "fewest_options", "together", "elsewhere", "share_periods"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number, at least 1")
        if not 2 <= self.fewest_options <= self.options:
            raise invalid("fewest_options", self.fewest_options, f"from 2 to options ({self.options})")


@dataclass(frozen=True)
class Catalogue:
    """The log in integers: products and customers by code, purchases by customer and day.

    Attributes:
        products: One row per product code: product_id, title, category, case, regular_price.
        markets: Sorted categories that have products [M], `OTHER` last.
        market: Code of each product's category [P].
        prices: List price by product and week [P, weeks + 1].
        customers: Sorted ids [H].
        bought: One row per purchase by customer and day: household, day, period, product, market (codes), cases,
            unit_price.
        weeks: Last week.
        tiers: What a piece costs from which quantity on, see `malles_env.data.gifts.prices.quantity_tiers`.
        report: Counts of the cleaning and of what was found.
    """

    products: pl.DataFrame
    markets: tuple[str, ...]
    market: Ints
    prices: npt.NDArray[np.float64]
    customers: pl.Series
    bought: pl.DataFrame
    weeks: int
    tiers: pl.DataFrame
    report: dict[str, int] = field(default_factory=dict)


def catalogue(cleaned: Cleaned, categories: Categories | None = None) -> Catalogue:
    """Return purchases with categories, list prices, tiers and cases.

    Args:
        cleaned: The purchases.
        categories: What sorts products by their names; by default the file that ships.
    """
    known = categories or shipped_categories()
    lines = cleaned.invoice_lines
    products = cleaned.products.with_columns(known.of(cleaned.products["title"]))
    products = products.join(case_sizes(lines), on="product_id", maintain_order="left")
    products = products.join(usual_price(lines), on="product_id", maintain_order="left")
    markets = (*sorted(set(products["category"]) - {OTHER}), OTHER)
    market = products["category"].replace_strict(markets, range(len(markets)), return_dtype=pl.Int64)
    weeks = int(cleaned.lines["period"].max())  # type: ignore[arg-type]
    prices = weekly_prices(lines, products["product_id"], weeks)
    customers = cleaned.lines["household_id"].unique().sort()
    codes = products.select("product_id", "case", market=market).with_row_index("product")
    first = cleaned.lines["day"].min()
    bought = cleaned.lines.join(codes, on="product_id", how="left", maintain_order="left").select(
        household=pl.Series(customers.search_sorted(cleaned.lines["household_id"]), dtype=pl.Int64),
        day=(pl.col("day") - first).dt.total_days().cast(pl.Int64),
        period=pl.col("period").cast(pl.Int64),
        product=pl.col("product").cast(pl.Int64),
        market="market",
        cases=(pl.col("quantity") / pl.col("case")).ceil().cast(pl.Int64).clip(1),
        unit_price="unit_price",
    )
    row = lines.join(codes.select("product_id", "product"), on="product_id", how="left", maintain_order="left")
    asked = prices[row["product"].to_numpy(), row["period"].to_numpy()]
    tiers = quantity_tiers(lines.with_columns(list_price=pl.Series(asked)))
    sorted_out = int((products["category"] != OTHER).sum())
    report = cleaned.report | {
        "categories": len(markets) - 1,
        "categories that take no name": len(known.categories) - (len(markets) - 1),
        "products in a category": sorted_out,
        "purchases in a category": int((bought["market"] < len(markets) - 1).sum()),
        "products with quantity tiers": int((tiers.group_by("product_id").len()["len"] > 1).sum()),
    }
    return Catalogue(products, markets, market.to_numpy(), prices, customers, bought, weeks, tiers, report)


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
    products = log.products.select(
        "product_id", "title", "category", market="category", variants=pl.lit(1, pl.Int32), **_empty_product_columns()
    )
    meta = {"source": "UCI Online Retail (CC0, doi 10.1057/dbm.2012.17)", "settings": _plain(settings), "report": report}
    return Occasions(
        occasions.select(OCCASION_COLUMNS.keys()).cast(OCCASION_COLUMNS),  # type: ignore[arg-type]
        _alternatives(log, visits, draw, past, settings),
        products.select(PRODUCT_COLUMNS.keys()).cast(PRODUCT_COLUMNS),  # type: ignore[arg-type]
        past.purchases(log),
        meta,
        past.elsewhere(visits, settings.elsewhere).cast(ELSEWHERE_COLUMNS),  # type: ignore[arg-type]
    )


def _empty_product_columns() -> dict[str, pl.Expr]:
    missing = ("brand", "private_label", "size_value", "size_unit")
    return {name: pl.lit(None, PRODUCT_COLUMNS[name]) for name in missing}


def _alternatives(
    log: Catalogue, visits: pl.DataFrame, draw: Draw, past: Past, settings: GiftSettings
) -> pl.DataFrame:
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


class Past:
    """Own purchases, answering "strictly before this day"."""

    def __init__(self, log: Catalogue, settings: GiftSettings) -> None:
        """Index the purchases."""
        self._log, bought = log, log.bought
        self._household, self._day, self._product, self._market, self._period = (
            bought[name].to_numpy() for name in ("household", "day", "product", "market", "period")
        )
        self._days = int(self._day.max()) + 2
        late = self._day[self._period > settings.splits.validation_end]
        self.known_until = int(late.min()) if len(late) else self._days - 1
        self._all = Events(self._household, self._day, self._days)
        self._by_product = Events(self._household * len(log.market) + self._product, self._day, self._days)
        owner = self._market * len(log.customers) + self._household
        # Of one day's products the one bought most comes last, so that it is "the last purchase".
        self._order = np.lexsort((self._product, bought["cases"].to_numpy(), self._day, owner))
        self._sorted = (owner * self._days + self._day)[self._order]
        weeks = np.unique(self._household * (log.weeks + 2) + self._period)
        self._weeks = Events(weeks // (log.weeks + 2), weeks % (log.weeks + 2), log.weeks + 2)

    def before(self, household: Ints, day: Ints) -> Ints:
        """Return own purchases before a day [n]."""
        return self._all.before(household, day)

    def of_product(self, household: Ints, product: Ints, day: Ints) -> Ints:
        """Return own purchases of a product before a day [n]."""
        return self._by_product.before(household * len(self._log.market) + product, day)

    def weeks(self, household: Ints, period: Ints) -> Ints:
        """Return own earlier shopping weeks [n]."""
        return self._weeks.before(household, period)

    def history(self, household: Ints, market: Ints, day: Ints) -> tuple[Ints, Ints]:
        """Return own purchases in a category before a day, and the row of `purchases` behind the last of them [n]."""
        key = (market * len(self._log.customers) + household) * self._days
        end = np.searchsorted(self._sorted, key + day)
        return end - np.searchsorted(self._sorted, key), end

    def last(self, household: Ints, market: Ints, day: Ints) -> Ints:
        """Return the product last bought in a category before a day [n], -1 where none was."""
        total, end = self.history(household, market, day)
        return np.where(total > 0, self._product[self._order][np.maximum(end - 1, 0)], -1)

    def purchases(self, log: Catalogue) -> pl.DataFrame:
        """Return all purchases by category, customer and day: what histories point into; prices per piece."""
        rows = log.bought[self._order]
        at = (rows["product"].to_numpy(), rows["period"].to_numpy())
        frame = rows.select(
            product_id=log.products["product_id"].gather(rows["product"]),
            period="period",
            quantity="cases",
            unit_price=pl.min_horizontal(pl.Series(log.prices[at]), "unit_price"),
            regular_price=pl.Series(log.products["regular_price"].to_numpy()[at[0]]),
        )
        return frame.select(PURCHASE_COLUMNS.keys()).cast(PURCHASE_COLUMNS)  # type: ignore[arg-type]

    def elsewhere(self, visits: pl.DataFrame, length: int) -> pl.DataFrame:
        """Return each visit's last different products of other categories, as rows of `purchases`, newest first.

        Args:
            visits: household, day, market.
            length: Most of them.

        Returns:
            occasion_id (the row of `visits`) and rows (a list).
        """
        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(self._order))
        columns = [visits[name].to_numpy() for name in ("household", "day", "market")]
        asked, visit = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
        first = np.searchsorted(self._household, np.arange(len(self._log.customers) + 1))
        parts: list[Ints] = []
        newest, last = np.zeros(0, dtype=np.int64), (-1, -1)
        for household, day, market in asked.tolist():
            if (household, day) != last:
                start, stop = first[household], first[household + 1]
                newest = np.arange(start, start + np.searchsorted(self._day[start:stop], day))[::-1]
                newest = newest[np.sort(np.unique(self._product[newest], return_index=True)[1])]
                last = (household, day)
            parts.append(place[newest[self._market[newest] != market][:length]])
        lists = pl.Series(parts, dtype=ELSEWHERE_COLUMNS["rows"]).gather(pl.Series(visit.reshape(-1)))
        return pl.DataFrame({"occasion_id": np.arange(len(visits), dtype=np.int64), "rows": lists})


class Shares:
    """Shares of products within their category by week, from everybody's purchases before that week.

    Attributes:
        trailing: Over the trailing window [P, weeks + 1].
        whole: Over all earlier weeks [P, weeks + 1].
        reference: Over the weeks up to the end of validation [P].
        sold: Purchases in the trailing window [P, weeks + 1].
        cases: Mean cases per earlier purchase, 0 where there was none [P, weeks + 1].
    """

    def __init__(self, log: Catalogue, settings: GiftSettings) -> None:
        """Count."""
        shape = (len(log.market), log.weeks + 2)
        at = (log.bought["product"].to_numpy(), log.bought["period"].to_numpy() + 1)
        counts, cases = np.zeros(shape), np.zeros(shape)
        np.add.at(counts, at, 1.0)
        np.add.at(cases, at, log.bought["cases"].to_numpy())
        earlier, units = counts.cumsum(1), cases.cumsum(1)
        back = np.maximum(np.arange(shape[1]) - settings.share_periods, 0)
        recent = earlier - earlier[:, back]
        self.sold = recent.astype(np.int64)
        self.cases = units / np.maximum(earlier, 1)
        self.whole, self.trailing = (_shares(table, log.market, len(log.markets)) for table in (earlier, recent))
        known = earlier[:, min(settings.splits.validation_end + 1, log.weeks + 1)][:, None]
        self.reference = _shares(known, log.market, len(log.markets))[:, 0]


def _shares(table: npt.NDArray[np.float64], market: Ints, markets: int) -> npt.NDArray[np.float64]:
    sums = np.zeros((markets, table.shape[1]))
    np.add.at(sums, market, table)
    whole: npt.NDArray[np.float64] = table / np.maximum(sums[market], 1.0)
    return whole


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
