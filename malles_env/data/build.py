"""Transactions -> choice occasions: visits, shelves, prices and histories joined."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_env.data import hashing
from malles_env.data.coding import Coded, code_tables
from malles_env.data.elsewhere import Elsewhere, with_elsewhere
from malles_env.data.history import Histories, with_histories
from malles_env.data.occasion_files import ALTERNATIVE_COLUMNS, OCCASION_COLUMNS, PRODUCT_COLUMNS, PURCHASE_COLUMNS
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.shelf import Shelves
from malles_env.data.tables import Tables
from malles_env.data.visits import buyers, idle_visits, purchase_visits, sample_idle, shopping_weeks
from malles_env.errors import InvalidInput

_LOG = logging.getLogger(__name__)


def build_occasions(
    tables: Tables, settings: BuildSettings | None = None, markets: list[str] | None = None
) -> Occasions:
    """Turn a log of purchases into choice occasions.

    Args:
        tables: Canonical tables; checked first.
        settings: Windows, thresholds, splits and seed.
        markets: Markets to build; None builds every market with enough purchases.

    Returns:
        The occasions, sorted by period, market and household.

    Raises:
        InvalidInput: A table breaks the schema, a market is unknown, or nothing is left to build.
    """
    settings = settings or BuildSettings()
    tables = tables.validated()
    coded = code_tables(tables, settings, markets)
    weeks = shopping_weeks(coded)
    elsewhere = Elsewhere(coded)
    parts = [_build_batch(batch, weeks, elsewhere, settings) for batch in _batches(coded, settings)]
    if not any(len(part.visits) for part in parts):
        limit = settings.min_alternatives
        raise InvalidInput(
            f"no occasion has a shelf of {limit} or more lines; lower min_alternatives or the thresholds"
        )
    return _assemble(tables, coded, parts, settings)


def _batches(coded: Coded, settings: BuildSettings) -> Iterator[Coded]:
    for start in range(0, len(coded.markets), settings.markets_per_batch):
        wanted = pl.col("market").is_between(start, start + settings.markets_per_batch - 1)
        lines = coded.lines.filter(wanted)
        some = lines.select("line")
        offers = None if coded.offers is None else coded.offers.join(some, on="line", how="semi")
        yield Coded(
            coded.households,
            coded.stores,
            coded.markets,
            lines,
            coded.trips,
            coded.purchases.filter(wanted),
            coded.past,
            coded.promoted.join(some, on="line", how="semi"),
            offers,
            coded.num_periods,
        )


@dataclass(frozen=True)
class _Part:
    """What some markets give: visits, their shelves, and the purchases that histories point into."""

    visits: pl.DataFrame
    shelf: pl.DataFrame
    purchases: pl.DataFrame


def _build_batch(coded: Coded, weeks: pl.DataFrame, elsewhere: Elsewhere, settings: BuildSettings) -> _Part:
    bought = purchase_visits(coded, settings)
    idle = idle_visits(coded, weeks, settings)
    visits = pl.concat([bought, sample_idle(idle, bought, coded, settings)])
    visits = visits.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("visit"))
    shelf = Shelves(coded, settings).fill(visits)
    visits, shelf = _keep_complete(visits, shelf)
    offsets = _offsets(visits, coded, idle, settings)
    visits = visits.join(offsets, on="market", how="left", maintain_order="left")
    visits = visits.join(
        weeks.select("household", "period", "seen"),
        on=["household", "period"],
        how="left",
        maintain_order="left",
    )
    visits = visits.join(
        buyers(coded, settings).with_columns(buyer=True),
        on=["household", "market"],
        how="left",
        maintain_order="left",
    ).with_columns(pl.col("buyer").fill_null(False))
    histories = Histories(coded)
    visits, shelf = with_histories(visits, shelf, histories)
    visits, shelf = with_elsewhere(visits, shelf, coded, elsewhere)
    _LOG.info("built %d occasions of %d markets", len(visits), visits["market"].n_unique())
    return _Part(*_shuffle(visits, shelf, coded, settings), histories.purchases)


def _keep_complete(visits: pl.DataFrame, shelf: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drop visits without a shelf and purchases whose line is not on it; renumber visits from 0."""
    on_shelf = shelf.select("visit", "line").join(visits.select("visit", "line"), on=["visit", "line"], how="semi")
    idle = (pl.col("line") < 0) & pl.col("visit").is_in(shelf["visit"].unique().implode())
    kept = visits.filter(pl.col("visit").is_in(on_shelf["visit"].implode()) | idle)
    kept = kept.rename({"visit": "old"}).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("visit"))
    shelf = shelf.rename({"visit": "old"}).join(
        kept.select("old", "visit"), on="old", how="inner", maintain_order="left"
    )
    return kept.drop("old"), shelf.drop("old")


def _offsets(visits: pl.DataFrame, coded: Coded, idle: pl.DataFrame, settings: BuildSettings) -> pl.DataFrame:
    """Return the log of (no-purchase visits kept / all) over (purchases kept / buying weeks) per market."""
    known = pl.col("period") <= settings.splits.validation_end
    after = known & (pl.col("period") > settings.splits.burn_in_end)
    kept = (
        visits.filter(known)
        .group_by("market")
        .agg((pl.col("line") < 0).sum().alias("idle_kept"), (pl.col("line") >= 0).sum().alias("bought_kept"))
    )
    every = idle.filter(known).group_by("market").agg(pl.len().alias("idle"))
    weeks = coded.purchases.filter(after).select("market", "household", "period").unique()
    counts = kept.join(every, on="market", how="left").join(
        weeks.group_by("market").agg(pl.len().alias("bought")), on="market", how="left"
    )
    rate = (pl.col("idle_kept") / pl.col("idle")) / (pl.col("bought_kept") / pl.col("bought"))
    usable = (pl.col("idle_kept") > 0) & (pl.col("bought_kept") > 0)
    return counts.select("market", log_sampling=pl.when(usable).then(rate.log()).otherwise(0.0))


def _shuffle(
    visits: pl.DataFrame, shelf: pl.DataFrame, coded: Coded, settings: BuildSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the alternatives of each visit 1..J in a random order and note which was chosen (0 = none)."""
    household = hashing.text_keys(coded.households)[visits["household"].to_numpy()]
    market = hashing.text_keys(coded.markets)[visits["market"].to_numpy()]
    own = hashing.mix(settings.seed + 1, household, market, visits["period"].to_numpy(), visits["time"].to_numpy())
    names = np.zeros(int(coded.lines["line"].to_numpy().max()) + 1, dtype=np.uint64)
    names[coded.lines["line"].to_numpy()] = hashing.text_keys(coded.lines["name"])
    keys = hashing.mix(settings.seed, own[shelf["visit"].to_numpy()], names[shelf["line"].to_numpy()])
    shelf = shelf.with_columns(pl.Series("key", keys)).sort("visit", "key")
    shelf = shelf.with_columns(pl.int_range(1, pl.len() + 1).over("visit").cast(pl.Int16).alias("position"))
    chosen = shelf.select("visit", "line", chosen="position")
    visits = visits.join(chosen, on=["visit", "line"], how="left", maintain_order="left")
    return visits.with_columns(pl.col("chosen").fill_null(0)), shelf.drop("key")


def _assemble(
    tables: Tables,
    coded: Coded,
    parts: list[_Part],
    settings: BuildSettings,
) -> Occasions:
    """Number all occasions, give the ids back and put the columns in order."""
    order = ["period", "market", "household", "time", "store", "line"]
    first = np.cumsum([0, *(len(part.purchases) for part in parts)])
    visits = pl.concat(
        [
            part.visits.with_columns(pl.col("history_end") + int(first[i]), part=pl.lit(i))
            for i, part in enumerate(parts)
        ]
    )
    visits = visits.sort(order).with_row_index("occasion_id").with_columns(pl.col("occasion_id").cast(pl.Int64))
    built = coded.markets.gather(visits["market"].unique())
    names = coded.lines.select("line", pl.col("name").alias("product_id"), "regular_price", "reference_share")
    shelves = []
    for i in range(len(parts)):
        ids = visits.filter(pl.col("part") == i).select("visit", "occasion_id")
        shelf = parts[i].shelf.join(ids, on="visit").join(names, on="line")
        shelves.append(shelf.select(ALTERNATIVE_COLUMNS.keys()).cast(ALTERNATIVE_COLUMNS))  # type: ignore[arg-type]
        parts[i] = replace(parts[i], visits=parts[i].visits.clear(), shelf=parts[i].shelf.clear())
    alternatives = pl.concat(shelves).sort("occasion_id", "position")
    products = _products(tables, coded).filter(pl.col("market").is_in(built.implode()))
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
    meta = {"settings": _plain(settings), "sources": {k: Path(v).name for k, v in tables.sources.items()}}
    return Occasions(
        occasions.select(OCCASION_COLUMNS.keys()).cast(OCCASION_COLUMNS),  # type: ignore[arg-type]
        alternatives,
        products,
        _bought(parts, names),
        meta,
    )


def _bought(parts: list[_Part], names: pl.DataFrame) -> pl.DataFrame:
    """Return the purchases of all parts in the order that `history_end` counts in."""
    rows = pl.concat([part.purchases for part in parts]).join(
        names.select("line", "product_id"), on="line", how="left", maintain_order="left"
    )
    rows = rows.rename({"price": "unit_price", "regular": "regular_price"})
    return rows.select(PURCHASE_COLUMNS.keys()).cast(PURCHASE_COLUMNS)  # type: ignore[arg-type]


def _products(tables: Tables, coded: Coded) -> pl.DataFrame:
    """Return one row per kept line, described by the product it is named after or else its first product."""
    kept = coded.lines.filter("kept").select("name", "variants")
    given = tables.products
    empty = [pl.lit(None, kind).alias(name) for name, kind in PRODUCT_COLUMNS.items() if name not in given.columns]
    line = pl.coalesce("line", "product_id") if "line" in given.columns else pl.col("product_id")
    listed = given.with_columns(*empty, line.alias("name")).sort(pl.col("product_id") != pl.col("name"), "product_id")
    described = listed.unique(subset="name", keep="first", maintain_order=True).join(kept, on="name")
    described = described.with_columns(pl.col("name").alias("product_id")).sort("market", "product_id")
    return described.select(PRODUCT_COLUMNS.keys()).cast(PRODUCT_COLUMNS)  # type: ignore[arg-type]


def _plain(settings: BuildSettings) -> dict[str, Any]:
    values = asdict(settings)
    values["splits"]["held_out_categories"] = sorted(settings.splits.held_out_categories)
    return values
