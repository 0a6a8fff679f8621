"""The parts that batches of markets give, put together: numbered, sorted and with the ids given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.coding import Coded
from malles_env.data.occasion_files import ALTERNATIVE_COLUMNS, OCCASION_COLUMNS, PRODUCT_COLUMNS, PURCHASE_COLUMNS
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings


@dataclass(frozen=True)
class Part:
    """What some markets give.

    Attributes:
        visits: One row per visit; visit counts from 0.
        shelf: One row per visit and line, by visit: visit, line, position and columns of the alternatives, in the
            types in which they are kept.
        purchases: The purchases that histories point into.
    """

    visits: pl.DataFrame
    shelf: pl.DataFrame
    purchases: pl.DataFrame


def assemble(
    given: pl.DataFrame,
    coded: Coded,
    parts: list[Part],
    meta: dict[str, Any],
    settings: BuildSettings,
) -> Occasions:
    """Number all occasions, give the ids back and put the columns in order.

    Args:
        given: The product table.
        coded: The log; its id lists and lines are used.
        parts: What the batches of markets gave, in the order of their markets; their shelves are used up.
        meta: Kept with the occasions.
        settings: Splits.

    Returns:
        The occasions, sorted by period, market and household.
    """
    order = ["period", "market", "household", "time", "store", "line"]
    bought = _bought(parts, coded.lines)
    # Two baskets of one moment may hold the same line: they keep the order of the log.
    visits = _all_visits(parts).sort(order, maintain_order=True).with_row_index("occasion_id")
    visits = visits.with_columns(pl.col("occasion_id").cast(pl.Int64))
    alternatives = _alternatives(parts, visits, coded.lines)
    built = coded.markets.gather(visits["market"].unique())
    products = _products(given, coded).filter(pl.col("market").is_in(built.implode()))
    return Occasions(_occasions(visits, coded, products, settings), alternatives, products, bought, meta)


def _occasions(visits: pl.DataFrame, coded: Coded, products: pl.DataFrame, settings: BuildSettings) -> pl.DataFrame:
    """Return the numbered visits as occasions: with ids for codes, the market's category, and their split."""
    categories = products.select("market", "category").unique()
    at = {name: getattr(coded, name).alias(name) for name in ("households", "stores", "markets")}
    occasions = visits.select(
        "occasion_id",
        "period",
        "chosen",
        "quantity",
        "log_sampling",
        "history_total",
        "history_end",
        "elsewhere",
        "elsewhere_private",
        "elsewhere_deal",
        pl.col("seen").alias("weeks_seen"),
        "buyer",
        household_id=at["households"].gather(visits["household"]),
        store_id=at["stores"].gather(visits["store"]),
        market=at["markets"].gather(visits["market"]),
        split=settings.splits.name("period"),
    )
    occasions = occasions.join(categories, on="market", how="left", maintain_order="left")
    occasions = occasions.with_columns(held_out=settings.splits.held_out())
    return occasions.select(OCCASION_COLUMNS.keys()).cast(OCCASION_COLUMNS)  # type: ignore[arg-type]


def _all_visits(parts: list[Part]) -> pl.DataFrame:
    """Return the visits of all parts with their part, the size of their shelf, and histories that count on."""
    first = np.cumsum([0, *(len(part.purchases) for part in parts)])
    return pl.concat(
        [
            part.visits.with_columns(
                pl.col("history_end") + int(first[i]),
                part=pl.lit(i),
                size=pl.Series(np.bincount(part.shelf["visit"].to_numpy(), minlength=len(part.visits)), dtype=pl.Int64),
            )
            for i, part in enumerate(parts)
        ]
    )


def _alternatives(parts: list[Part], visits: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Put every alternative where its occasion and position belong; the shelves of `parts` are used up.

    Nothing is sorted: the sizes of the shelves give each row's place. Column by column the old rows make room for the
    new ones, so that at no time both stand in memory.
    """
    size = visits["size"].to_numpy()
    first = np.cumsum(size) - size
    places = []
    for i, part in enumerate(parts):
        own = pl.DataFrame({"visit": visits["visit"], "first": first}).filter(visits["part"] == i).sort("visit")
        row = part.shelf.drop_in_place("visit").to_numpy()
        places.append(own["first"].to_numpy()[row] + part.shelf.drop_in_place("position").to_numpy() - 1)

    def placed(name: str) -> npt.NDArray[Any]:
        old = [part.shelf.drop_in_place(name).to_numpy() for part in parts]
        out = np.empty(int(size.sum()), dtype=old[0].dtype)
        for place in reversed(places):
            out[place] = old.pop()
        return out

    line = pl.Series(placed("line")).cast(pl.UInt32)
    of_line = {"product_id": "name", "regular_price": "regular_price", "reference_share": "reference_share"}
    columns = {new: lines[old].gather(line) for new, old in of_line.items()}
    del line
    columns["occasion_id"] = pl.Series(np.repeat(visits["occasion_id"].to_numpy(), size))
    columns["position"] = pl.Series((np.arange(int(size.sum())) - np.repeat(first, size) + 1).astype(np.int16))
    for name in ALTERNATIVE_COLUMNS.keys() - columns.keys():
        columns[name] = pl.Series(placed(name))
    return pl.DataFrame({name: columns[name] for name in ALTERNATIVE_COLUMNS}, schema=ALTERNATIVE_COLUMNS)


def _bought(parts: list[Part], lines: pl.DataFrame) -> pl.DataFrame:
    """Return the purchases of all parts in the order that `history_end` counts in."""
    rows = pl.concat([part.purchases for part in parts]).join(
        lines.select("line", product_id="name"), on="line", how="left", maintain_order="left"
    )
    rows = rows.rename({"price": "unit_price", "regular": "regular_price"})
    return rows.select(PURCHASE_COLUMNS.keys()).cast(PURCHASE_COLUMNS)  # type: ignore[arg-type]


def _products(given: pl.DataFrame, coded: Coded) -> pl.DataFrame:
    """Return one row per kept line, described by the product it is named after or else its first product."""
    kept = coded.lines.filter("kept").select("name", "variants")
    empty = [pl.lit(None, kind).alias(name) for name, kind in PRODUCT_COLUMNS.items() if name not in given.columns]
    line = pl.coalesce("line", "product_id") if "line" in given.columns else pl.col("product_id")
    listed = given.with_columns(*empty, line.alias("name")).sort(pl.col("product_id") != pl.col("name"), "product_id")
    described = listed.unique(subset="name", keep="first", maintain_order=True).join(kept, on="name")
    described = described.with_columns(pl.col("name").alias("product_id")).sort("market", "product_id")
    return described.select(PRODUCT_COLUMNS.keys()).cast(PRODUCT_COLUMNS)  # type: ignore[arg-type]
