"""A market's log week by week: who shopped, what was bought, and what the shelf asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

    from malles_env.data.log.tables import Tables
    from malles_env.data.occasions import Occasions
    from malles_env.data.statistics import MarketStatistics


@dataclass(frozen=True)
class Panel:
    """T weeks of a market's J products, as a fixed set of households bought them.

    Attributes:
        product_ids: The products' names [J].
        periods: Numbers of the weeks [T].
        shoppers: Households of the panel that shopped at all [T].
        purchases: Households that bought the product [T, J].
        units: Packages bought [T, J].
        prices: Median price on the chain's shelves, money; the regular price where not listed [T, J].
        listed: Whether half of the visits or more found it on the shelf [T, J].
        display: Share of the visits before such shelves that saw it displayed, 0..1 [T, J].
        feature_ad: Share that saw it advertised, 0..1 [T, J].
    """

    product_ids: tuple[str, ...]
    periods: IntArray
    shoppers: FloatArray
    purchases: FloatArray
    units: FloatArray
    prices: FloatArray
    listed: BoolArray
    display: FloatArray
    feature_ad: FloatArray

    def weeks(self, first: int, last: int) -> Panel:
        """Return the weeks from `first` to `last`, both included.

        Raises:
            InvalidInput: One of them is not in the panel, or nobody shopped in it.
        """
        rows = np.flatnonzero((self.periods >= first) & (self.periods <= last))
        if len(rows) != last - first + 1:
            known = f"{self.periods[0]} to {self.periods[-1]}"
            raise InvalidInput(f"weeks {first} to {last}: got a log of weeks {known}; allowed: weeks in it")
        if not self.shoppers[rows].all():
            empty = self.periods[rows][self.shoppers[rows] == 0][0]
            raise InvalidInput(f"week {empty}: nobody of the panel shopped; allowed: weeks with shoppers")
        names = ("periods", "shoppers", "purchases", "units", "prices", "listed", "display", "feature_ad")
        return Panel(self.product_ids, *(getattr(self, name)[rows] for name in names))

    @property
    def shares(self) -> FloatArray:
        """Shares of the week's purchases [T, J]."""
        return shares_of(self.purchases)


def shares_of(purchases: FloatArray) -> FloatArray:
    """Return each row's shares [T, J]; equal ones where a row has no purchase."""
    total = purchases.sum(axis=1, keepdims=True)
    return np.where(total > 0, purchases / np.maximum(total, 1e-300), 1.0 / purchases.shape[1])


def read_panel(
    tables: Tables, occasions: Occasions, market: str, lines: Sequence[str], households: Sequence[str],
    product_ids: Sequence[str], regular_price: FloatArray,
) -> Panel:  # fmt: skip
    """Count a panel's purchases and read the shelves.

    Args:
        tables: The log.
        occasions: The market's choice occasions; their shelves give prices and availability, so weeks of the burn-in
            count as not listed.
        market: Name of the market.
        lines: The log's lines that the products stand for [J].
        households: Who belongs to the panel.
        product_ids: The products' names [J].
        regular_price: Regular prices, money [J].
    """
    import polars as pl

    from malles_env.data.coding import number_periods

    log = number_periods(tables.transactions).filter(pl.col("household_id").is_in(list(households)))
    periods = np.arange(1, int(log.select(pl.col("period").max()).item()) + 1)
    trips = log.select("household_id", "period").unique().group_by("period").len()
    bought = (
        log.join(_line_of(tables, market), on="product_id")
        .group_by("period", "line")
        .agg(pl.col("household_id").n_unique().alias("buyers"), pl.col("quantity").sum().alias("units"))
    )
    shelf = _shelf(occasions, market)
    grid = _Grid(periods, tuple(lines))
    listed = grid.fill(shelf, "found") >= 0.5
    return Panel(
        tuple(product_ids),
        periods,
        _Grid(periods, ("",)).fill(trips.with_columns(line=pl.lit("")), "len")[:, 0],
        grid.fill(bought, "buyers"),
        grid.fill(bought, "units"),
        np.where(listed, grid.fill(shelf, "price"), regular_price),
        listed,
        grid.fill(shelf, "display"),
        grid.fill(shelf, "feature_ad"),
    )


@dataclass(frozen=True)
class _Grid:
    """Weeks by lines."""

    periods: IntArray
    lines: tuple[str, ...]

    def fill(self, frame: pl.DataFrame, column: str) -> FloatArray:
        """Return a column of a table with `period` and `line` as an array [T, J], 0 where there is no row."""
        place = {name: j for j, name in enumerate(self.lines)}
        values = np.zeros((len(self.periods), len(self.lines)))
        for period, line, value in frame.select("period", "line", column).iter_rows():
            if line in place:
                values[period - self.periods[0], place[line]] = value
        return values


def _line_of(tables: Tables, market: str) -> pl.DataFrame:
    import polars as pl

    own = pl.col("product_id")
    name = pl.coalesce("line", own) if "line" in tables.products.columns else own
    return tables.products.filter(pl.col("market") == market).select("product_id", line=name)


def _shelf(occasions: Occasions, market: str) -> pl.DataFrame:
    """Return each week's and line's median price, visits that found it, and share of these that promoted it."""
    import polars as pl

    visits = occasions.occasions.filter(pl.col("market") == market).select("occasion_id", "period")
    seen = occasions.alternatives.join(visits, on="occasion_id")
    cells = seen.group_by("period", line="product_id").agg(
        pl.col("price").median(), pl.col("display", "feature_ad").mean(), pl.len().alias("visits")
    )
    whole = visits.group_by("period").agg(pl.len().alias("all"))
    return cells.join(whole, on="period").with_columns(found=pl.col("visits") / pl.col("all"))


def matched_lines(scenario: Scenario, statistics: MarketStatistics) -> IntArray:
    """Return the row of `statistics.lines` that each product of a scenario stands for [J].

    Several of a kind come in the order of their shares.

    Raises:
        InvalidInput: The log has no such line.
    """
    where = f"the log's market {statistics.market!r} has no such line"
    return match_products(scenario, enumerate(statistics.lines.iter_rows(named=True)), where, " up to the test weeks")


def match_products(
    scenario: Scenario, lines: Iterable[tuple[int, Mapping[str, Any]]], where: str, when: str = ""
) -> IntArray:
    """Return the row of the line that each product of a scenario stands for [J], by id, or else brand, label and size.

    Args:
        scenario: Its products are looked for.
        lines: Rows and what they hold; of several of a kind the first is taken first.
        where: What is wrong where there is none, in words; the product's brand and size follow.
        when: Words behind those.

    Raises:
        InvalidInput: There is no such line.
    """
    free: dict[tuple[Any, ...], list[int]] = {}
    by_id: dict[str, int] = {}
    for row, line in lines:
        by_id.setdefault(str(line.get("product_id")), row)
        size, unit = float(line.get("size_value") or 0.0), line.get("size_unit") or ""
        key = (str(line.get("brand")), bool(line.get("private_label")), size, unit)
        free.setdefault(key, []).append(row)
    rows = []
    for product in scenario.products:
        if product.source_id:
            if product.source_id not in by_id:
                raise InvalidInput(f"product {product.product_id}: {where} ({product.source_id}){when}")
            rows.append(by_id[product.source_id])
            continue
        key = (product.brand, product.private_label, product.size_value, product.size_unit)
        if not free.get(key):
            raise InvalidInput(
                f"product {product.product_id}: {where} "
                f"({product.brand}, {product.size_value:g} {product.size_unit}){when}"
            )
        rows.append(free[key].pop(0))
    return np.array(rows, dtype=np.int64)
