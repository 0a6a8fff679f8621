"""What is known of every buyer of a market at one moment, as a taste model reads it, all before the same shelf.

Each buyer visits once more, the week after the last known one, and finds every line at its regular price: the facts of
that visit come from the same build as those the models were trained on, and from nothing later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.errors import InvalidInput
from malles_env.market import Tastes
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    import polars as pl

VISIT = "the visit after the last known week"
"""Product, market and basket of the visits that are added; in no category that anybody bought before."""
_RECENT = 5
_SHELF = (
    "product", "price", "regular_price", "display", "feature_ad", "bought", "last", "share", "reference_share",
    "long_share", "store_sales", "mean_quantity", "brand_elsewhere", "brand_share", "mask",
)  # fmt: skip


@dataclass(frozen=True)
class TwinShelves:
    """S households before the same K lines, of which the first J are the market's products.

    Attributes:
        data: One visit per household, shelves in the same order.
        household_ids: Who they are [S].
        num_products: J.
    """

    data: TasteData
    household_ids: tuple[str, ...]
    num_products: int

    @property
    def loyalty(self) -> FloatArray:
        """1 at the product bought last, in front 1 where it is none of them [S, J + 1]."""
        last = self.data.last[:, : self.num_products].astype(np.float64)
        return np.hstack([1.0 - last.sum(axis=1, keepdims=True), last])

    @property
    def covered(self) -> float:
        """Share of the market's purchases that fell on the J products, 0..1."""
        return float(self.data.long_share[0, : self.num_products].sum())

    def tastes(self, reading: TasteReading) -> Tastes:
        """Return tastes for the J products alone.

        What the other lines at their regular prices and long-run shares are worth joins the outside option, and the
        mean field, which counts shares among the J products, is brought to shares of the whole market.

        Args:
            reading: Coefficients over the K lines.
        """
        own = self.num_products
        others = (reading.alpha + reading.lambda_[:, None] * self.data.last)[:, own:]
        outside = np.logaddexp.reduce(np.hstack([np.zeros((len(others), 1)), others]), axis=1, keepdims=True)
        return Tastes(
            alpha=reading.alpha[:, :own] - outside,
            beta=reading.beta[:, :own],
            gamma=reading.gamma,
            rho=self.covered * reading.rho,
            lambda_=reading.lambda_,
            kappa=reading.kappa[:, :own],
            delta=reading.delta,
            display=reading.display,
            feature=reading.feature,
        )


def known_until(tables: Tables, end: int) -> Tables:
    """Return the log up to period `end`; offers are left out, since nobody saw those of later periods."""
    import polars as pl

    from malles_env.data.coding import number_periods

    log = number_periods(tables.transactions).filter(pl.col("period") <= end)
    promotions = tables.promotions
    promotions = None if promotions is None else promotions.filter(pl.col("period") <= end)
    return replace(tables, transactions=log, promotions=promotions, offers=None)


def twin_shelves(
    tables: Tables, market: str, lines: Sequence[str], settings: BuildSettings | None = None
) -> TwinShelves:
    """Return what is known of every buyer at the end of `settings.splits.validation_end`.

    Args:
        tables: The log; later periods are not looked at.
        market: Name of the market.
        lines: The lines that are the market's products [J]; other lines stand behind them on the shelf.
        settings: Windows and splits of the occasions that models were trained on.

    Raises:
        InvalidInput: A line that the market does not sell often enough.
    """
    import polars as pl

    from malles_env.data.building.build import build_occasions

    settings = settings or BuildSettings()
    end = settings.splits.validation_end
    rules = replace(
        settings,
        splits=Splits(max(end - _RECENT, 0), end, end, settings.splits.held_out_categories),
        ranking_periods=end,
        max_alternatives=max(settings.max_alternatives, len(lines)),
        min_alternatives=1,
        outside_ratio=1e9,
    )
    occasions = build_occasions(_with_visits(known_until(tables, end), market, end + 1), rules, [market])
    rows = np.flatnonzero(occasions.occasions["period"].to_numpy() == end + 1)
    visits = occasions.rows(rows)
    data = _in_order(from_occasions(visits), lines)
    data = replace(data, price=data.regular_price, log_sampling=np.zeros_like(data.log_sampling))
    ids = visits.occasions.select(pl.col("household_id")).to_series().to_list()
    return TwinShelves(data, tuple(ids), len(lines))


def _in_order(data: TasteData, lines: Sequence[str]) -> TasteData:
    """Return the same visits with the wanted lines first, then the others by name."""
    names = np.array(data.products.names)
    missing = sorted(set(lines) - set(names[np.unique(data.product[data.mask])]))
    if missing:
        raise InvalidInput(f"line {missing[0]!r}: got no shelf with it; allowed: the market's lines that sell often")
    place = {name: at for at, name in enumerate([*lines, *sorted(set(names) - set(lines))])}
    rank = np.array([place[name] for name in names])
    order = np.argsort(np.where(data.mask, rank[data.product], len(rank)), axis=1)
    moved: dict[str, Any] = {name: np.take_along_axis(getattr(data, name), order, 1) for name in _SHELF}
    return replace(data, **moved)


def _with_visits(tables: Tables, market: str, period: int) -> Tables:
    """Return the log with one more visit of each buyer to its usual store, and all lines on offer there."""
    import polars as pl

    log, products = tables.transactions, tables.products
    inside = products.filter(pl.col("market") == market)
    buyers = log.join(inside.select("product_id"), on="product_id", how="semi").select("household_id").unique()
    usual = (
        log.join(buyers, on="household_id", how="semi")
        .group_by("household_id", "store_id")
        .agg(pl.col("basket_id").n_unique().alias("trips"))
        .sort("household_id", "trips", "store_id", descending=[False, True, False])
        .unique(subset="household_id", keep="first", maintain_order=True)
    )
    last: datetime = log.select(pl.col("timestamp").max()).item()
    visits = usual.select(
        "household_id",
        "store_id",
        basket_id=pl.format("{}: {}", pl.lit(VISIT), "household_id"),
        timestamp=pl.lit(last + timedelta(days=1)).cast(pl.Datetime("us")),
        product_id=pl.lit(VISIT),
        quantity=pl.lit(1, pl.Int32),
        unit_price=pl.lit(1.0),
        period=pl.lit(period, pl.Int32),
    )
    nothing = pl.DataFrame({"product_id": [VISIT], "category": [VISIT], "market": [VISIT], "title": [VISIT]})
    return replace(
        tables,
        transactions=pl.concat([log, visits], how="diagonal_relaxed"),
        products=pl.concat([products, nothing], how="diagonal_relaxed"),
        offers=_everything(usual, inside, period),
        promotions=None,
    )


def _everything(usual: pl.DataFrame, products: pl.DataFrame, period: int) -> pl.DataFrame:
    """Return offers of all products in all usual stores; their price is replaced by the regular one later."""
    import polars as pl

    now = pl.lit(period, pl.Int32)
    return (
        usual.select("store_id")
        .unique()
        .join(products.select("product_id"), how="cross")
        .with_columns(period_start=now, period_end=now, unit_price=pl.lit(1.0))
    )
