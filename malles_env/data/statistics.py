"""What a scenario needs of a market: lines, prices, shares, incidence, and who bought what how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.building.visits import shopping_weeks
from malles_env.data.coding import Coded, code_tables, number_periods
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput


@dataclass(frozen=True)
class MarketStatistics:
    """Aggregates of one market over the reference periods (training and validation; never test).

    Attributes:
        market: Name.
        category: Group of markets it belongs to.
        lines: One row per line [J], best seller first: product_id, title, brand, private_label, size_value,
            size_unit, mean_price, price_std, regular_price (money per package), share (of the market's
            purchases), share_of_lines (sums to 1 over the rows), purchases, households, mean_quantity
            (packages per purchase).
        share_covered: Share of the market's purchases that the rows make up, 0..1.
        num_buyers: Households with at least one purchase.
        incidence: Share of the buyers' shopping weeks in which they bought, 0..1.
        mean_quantity: Packages per purchase over all rows.
        household_ids: The buyers [H], sorted.
        counts: Purchases by household and line [H, J].
        other_counts: Purchases of lines not listed [H].
        weeks: Shopping weeks [H].
        buying_weeks: Shopping weeks with a purchase in the market [H].
        last: Row of the line last bought [H], -1 where that line is not listed.
        periods: First and last reference period.
    """

    market: str
    category: str
    lines: pl.DataFrame
    share_covered: float
    num_buyers: int
    incidence: float
    mean_quantity: float
    household_ids: tuple[str, ...]
    counts: npt.NDArray[np.int32]
    other_counts: npt.NDArray[np.int32]
    weeks: npt.NDArray[np.int32]
    buying_weeks: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]
    periods: tuple[int, int]


def market_statistics(
    tables: Tables,
    market: str,
    *,
    settings: BuildSettings | None = None,
    min_share: float = 0.015,
    max_lines: int = 12,
) -> MarketStatistics:
    """Summarise one market over the periods up to `settings.splits.validation_end`.

    Args:
        tables: Canonical tables.
        market: Name of the market.
        settings: Splits and thresholds of a line.
        min_share: Smallest share of the market's purchases a line needs, 0..1.
        max_lines: Largest number of lines; the best sellers stay.

    Returns:
        The statistics.

    Raises:
        InvalidInput: Unknown market, or no line in it sells enough.
    """
    settings = settings or BuildSettings()
    tables = tables.validated()
    coded = code_tables(tables, settings, [market])
    end = settings.splits.validation_end
    bought = coded.purchases.filter(pl.col("period") <= end)
    lines = _lines(bought, coded, tables, min_share, max_lines)
    if len(lines) == 0:
        raise InvalidInput(f"market {market!r}: no line has a share of {min_share} and enough purchases")
    weeks = shopping_weeks(coded).filter(pl.col("period") <= end)
    listed = bought.filter(pl.col("line").is_in(lines["line"].implode()))
    households = _households(bought, lines, weeks)
    names = coded.households.gather(households["household"])
    totals = households.select(pl.col("buying_weeks", "weeks").sum()).row(0)
    category = tables.products.filter(pl.col("market") == market)["category"][0]
    return MarketStatistics(
        market=market,
        category=category,
        lines=lines.drop("line"),
        share_covered=float(lines["share"].sum()),
        num_buyers=len(households),
        incidence=totals[0] / totals[1],
        mean_quantity=float(listed["quantity"].to_numpy().mean()),
        household_ids=tuple(names.to_list()),
        counts=_counts(bought, lines, households),
        other_counts=households["other"].to_numpy().astype(np.int32),
        weeks=households["weeks"].to_numpy().astype(np.int32),
        buying_weeks=households["buying_weeks"].to_numpy().astype(np.int32),
        last=households["last"].to_numpy().astype(np.int32),
        periods=(
            int(number_periods(tables.transactions)["period"].to_numpy().min()),
            min(end, coded.num_periods),
        ),
    )


def _lines(bought: pl.DataFrame, coded: Coded, tables: Tables, min_share: float, max_lines: int) -> pl.DataFrame:
    total = len(bought)
    statistics = bought.group_by("line").agg(
        pl.col("price").mean().alias("mean_price"),
        pl.col("price").std().fill_null(0.0).alias("price_std"),
        (pl.len() / total).alias("share"),
        pl.len().alias("purchases"),
        pl.col("household").n_unique().alias("households"),
        pl.col("quantity").mean().alias("mean_quantity"),
    )
    kept = coded.lines.filter("kept").select("line", "regular_price", product_id="name")
    wanted = ["title", "brand", "private_label", "size_value", "size_unit"]
    texts = tables.products.select("product_id", *[name for name in wanted if name in tables.products.columns])
    return (
        statistics.join(kept, on="line")
        .filter(pl.col("share") >= min_share)
        .sort([-pl.col("purchases").cast(pl.Int64), "product_id"])
        .head(max_lines)
        .with_columns(share_of_lines=pl.col("share") / pl.col("share").sum())
        .join(texts, on="product_id", how="left", maintain_order="left")
    )


def _households(bought: pl.DataFrame, lines: pl.DataFrame, weeks: pl.DataFrame) -> pl.DataFrame:
    """Return one row per buyer: household, buying_weeks, other, last, weeks."""
    rows = lines.select("line").with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    known = bought.join(rows, on="line", how="left").with_columns(pl.col("row").fill_null(-1))
    return (
        known.sort("time", "quantity", "line")
        .group_by("household")
        .agg(
            pl.col("period").n_unique().alias("buying_weeks"),
            (pl.col("row") < 0).sum().alias("other"),
            pl.col("row").last().alias("last"),
        )
        .join(weeks.group_by("household").agg(pl.len().alias("weeks")), on="household")
        .sort("household")
    )


def _counts(bought: pl.DataFrame, lines: pl.DataFrame, households: pl.DataFrame) -> npt.NDArray[np.int32]:
    counts = np.zeros((len(households), len(lines)), dtype=np.int32)
    pairs = bought.join(
        lines.select("line").with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row")), on="line"
    )
    place = np.searchsorted(households["household"].to_numpy(), pairs["household"].to_numpy())
    np.add.at(counts, (place, pairs["row"].to_numpy()), 1)
    return counts
