"""Transactions -> choice occasions: visits, shelves, prices and histories joined."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.building.assemble import Part, assemble
from malles_env.data.building.dropped import count_purchases, with_shelves
from malles_env.data.building.elsewhere import Elsewhere, with_elsewhere
from malles_env.data.building.history import Histories, with_histories
from malles_env.data.building.shelf import Shelves
from malles_env.data.building.visits import buyers, idle_visits, purchase_visits, sample_idle, shopping_weeks
from malles_env.data.coding import Coded, code_tables
from malles_env.data.hashing import Keys, mix, text_keys
from malles_env.data.log.tables import Tables
from malles_env.data.occasion_files import ALTERNATIVE_COLUMNS
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput
from malles_env.type_aliases import IntArray

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
    sources = {name: Path(path).name for name, path in tables.sources.items()}
    bought = count_purchases(tables, coded, settings)
    # From here on the log is needed in integers only; the texts of its rows take more memory than the rest.
    products = tables.products
    del tables
    parts = _parts(coded, settings)
    if not any(len(part.visits) for part in parts):
        limit = settings.min_alternatives
        raise InvalidInput(
            f"min_alternatives: no occasion has a shelf of {limit} or more lines; allowed: a lower number, or lower "
            "thresholds of lines"
        )
    built = sum(int((part.visits["line"] >= 0).sum()) for part in parts)
    meta = {"settings": _plain(settings), "sources": sources, "purchases": with_shelves(bought, built)}
    return assemble(products, coded, parts, meta, settings)


def _parts(coded: Coded, settings: BuildSettings) -> list[Part]:
    weeks, elsewhere = shopping_weeks(coded), Elsewhere(coded)
    return [_build_batch(batch, weeks, elsewhere, settings) for batch in _batches(coded, settings)]


def _batches(coded: Coded, settings: BuildSettings) -> Iterator[Coded]:
    for start in range(0, len(coded.markets), settings.markets_per_batch):
        wanted = pl.col("market").is_between(start, start + settings.markets_per_batch - 1)
        lines = coded.lines.filter(wanted)
        # Lines are numbered by market.
        some = pl.col("line").is_between(
            *lines.select(pl.min("line").alias("low"), pl.max("line").alias("high")).row(0)
        )
        offers = None if coded.offers is None else coded.offers.filter(some)
        yield Coded(
            coded.households,
            coded.stores,
            coded.markets,
            lines,
            coded.trips,
            coded.purchases.filter(wanted),
            coded.past,
            coded.promoted.filter(some),
            offers,
            coded.num_periods,
        )


def _build_batch(coded: Coded, weeks: pl.DataFrame, elsewhere: Elsewhere, settings: BuildSettings) -> Part:
    bought = purchase_visits(coded, settings)
    idle = idle_visits(coded, weeks, settings)
    visits = pl.concat([bought, sample_idle(idle, bought, coded, settings)])
    # Histories are asked for by household and time: neighbours then search the same few rows.
    visits = visits.sort("household", "time", maintain_order=True)
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
    return Part(*_shuffle(visits, shelf, coded, settings), histories.purchases)


def _keep_complete(visits: pl.DataFrame, shelf: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Drop visits without a shelf and purchases whose line is not on it; renumber visits from 0."""
    row, bought = shelf["visit"].to_numpy(), visits["line"].to_numpy()
    kept = (bought < 0) & (np.bincount(row, minlength=len(visits)) > 0)
    kept[row[shelf["line"].to_numpy() == bought[row]]] = True
    number = np.cumsum(kept) - 1
    visits = visits.filter(pl.Series(kept)).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("visit"))
    return visits, shelf.with_columns(visit=number[row]).filter(pl.Series(kept[row]))


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
    household = text_keys(coded.households)[visits["household"].to_numpy()]
    market = text_keys(coded.markets)[visits["market"].to_numpy()]
    own = mix(settings.seed + 1, household, market, visits["period"].to_numpy(), visits["time"].to_numpy())
    names = np.zeros(int(coded.lines["line"].to_numpy().max()) + 1, dtype=np.uint64)
    names[coded.lines["line"].to_numpy()] = text_keys(coded.lines["name"])
    row, line = shelf["visit"].to_numpy(), shelf["line"].to_numpy()
    # The same numbers as mix(seed, own, names), with the first step once per visit.
    keys = mix(0, mix(settings.seed, own)[row] ^ names[line])
    position = _ranks(keys, np.bincount(row, minlength=len(visits)))
    chosen = np.zeros(len(visits), dtype=np.int16)
    taken = line == visits["line"].to_numpy()[row]
    chosen[row[taken]] = position[taken]
    narrow = {name: kind for name, kind in ALTERNATIVE_COLUMNS.items() if name in shelf.columns}
    shelf = shelf.cast(narrow).cast({"visit": pl.Int32, "line": pl.Int32})  # type: ignore[arg-type]
    return visits.with_columns(chosen=chosen), shelf.with_columns(position=position)


def _ranks(keys: Keys, size: IntArray) -> npt.NDArray[np.int16]:
    """Return the place 1..J of each key [n] within its group; groups of `size` [g] follow one another."""
    first, ranks = np.cumsum(size) - size, np.zeros(len(keys), dtype=np.int16)
    for number in np.unique(size):
        # Groups of one size form a matrix, whose rows are sorted at once.
        block = first[size == number][:, None] + np.arange(number)
        order = np.argsort(keys[block], axis=1, kind="stable")
        ranks[np.take_along_axis(block, order, axis=1)] = np.arange(1, number + 1, dtype=np.int16)
    return ranks


def _plain(settings: BuildSettings) -> dict[str, Any]:
    values = asdict(settings)
    values["splits"]["held_out_categories"] = sorted(settings.splits.held_out_categories)
    return values
