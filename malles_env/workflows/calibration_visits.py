"""Real visits of a log before a scenario's shelf, each household in the segment that stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.scenarios.from_log.panel import match_products
from malles_env.scenarios.from_log.segments import Buyers, features
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl

    from malles_env.consumers.prompted import Visits
    from malles_env.data.occasions import Occasions


def find_visits(
    scenario: Scenario, occasions: Occasions, market: str, split: tuple[str, ...], limit: int, seed: int = 0
) -> Visits:
    """Return real visits of households that had bought in the market before, drawn at random.

    Each household is put into the segment whose typical history is nearest to its own up to the visit, in the features
    that segments are made from. Visits at which something was bought that the scenario does not sell are left out.

    Args:
        scenario: Products and segments.
        occasions: Of the log.
        market: Name of the market.
        split: Names of splits.
        limit: Most visits, at least 1.
        seed: Seed of the draw.

    Raises:
        InvalidInput: A product that the log does not have, or no such visit.
    """
    if limit < 1:
        raise invalid("visits", limit, "at least 1")
    whole = occasions.select(split=list(split), markets=[market])
    nobody = InvalidInput(f"market {market!r}: got no visit of the {' or '.join(split)} weeks by earlier buyers")
    if not len(whole):
        raise nobody
    lines = product_lines(scenario, whole, market)
    about, dense = whole.occasions, whole.arrays()
    product = _scenario_products(whole, dense, lines)
    bought = dense["chosen"].astype(np.int64)
    taken = np.where(bought > 0, product[np.arange(len(product)), bought - 1] + 1, 0)
    usable = (bought == 0) | (taken > 0)
    usable &= about["buyer"].to_numpy() & (dense["history_total"] > 0) & (product >= 0).any(axis=1)
    rows = np.flatnonzero(usable)
    if not len(rows):
        raise nobody
    if limit < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    return _visits(scenario, whole, dense, rows, lines, product, taken)


def _scenario_products(occasions: Occasions, dense: dict[str, Any], lines: IntArray) -> IntArray:
    """Return the scenario's product on each place of each shelf, -1 for what it does not sell."""
    number = {row: j for j, row in enumerate(lines)}
    own = np.array([number.get(row, -1) for row in range(len(occasions.products))] + [-1])
    product: IntArray = np.where(dense["mask"], own[dense["product"]], -1)
    return product


def _visits(
    scenario: Scenario,
    whole: Occasions,
    dense: dict[str, Any],
    rows: IntArray,
    lines: IntArray,
    product: IntArray,
    taken: IntArray,
) -> Visits:
    """Return the occasions at `rows` as visits to the scenario's shelf.

    Args:
        scenario: Products and segments.
        whole: The occasions.
        dense: Their arrays.
        rows: The occasions wanted.
        lines: Row of `whole.products` of each of the scenario's products.
        product: The scenario's product on each place of each shelf, -1 for others.
        taken: What was bought, 0 for nothing, else the product's number from 1.
    """
    from malles_env.consumers.prompted import Visits

    row, column = np.nonzero(product[rows] >= 0)
    place = row, product[rows][row, column]

    def spread(name: str, empty: FloatArray) -> FloatArray:
        values = np.tile(empty, (len(rows), 1))
        values[place] = dense[name][rows][row, column]
        return values

    listed = np.zeros((len(rows), len(lines)), dtype=bool)
    listed[place] = True
    shares = spread("share", np.zeros(len(lines)))
    total = shares.sum(axis=1, keepdims=True)
    buyers = _buyers(whole, rows, lines)
    return Visits(
        prices=spread("price", scenario.average_price()),
        available=listed,
        mean_field=np.where(total > 0, shares / np.maximum(total, 1e-300), scenario.first_mean_field()),
        last=buyers.last + 1,
        segment=nearest_segment(scenario, buyers),
        chosen=taken[rows],
        quantity=np.where(taken[rows] > 0, dense["quantity"][rows], 0).astype(np.int64),
        household=np.unique(whole.occasions["household_id"].to_numpy()[rows], return_inverse=True)[1],
        offset=dense["log_sampling"][rows].astype(np.float64),
    )


def product_lines(scenario: Scenario, occasions: Occasions, market: str) -> IntArray:
    """Return the row of `occasions.products` that each product of a scenario stands for, shape ``(J,)``.

    Products are recognised by brand, label and size; several of a kind come in the order of their purchases.

    Raises:
        InvalidInput: The log has no such line.
    """
    sold = occasions.purchases["product_id"].value_counts()
    count = dict(zip(sold["product_id"].to_list(), sold["count"].to_list(), strict=True))
    lines = enumerate(occasions.products.iter_rows(named=True))
    often = sorted(lines, key=lambda pair: -count.get(pair[1]["product_id"], 0))
    return match_products(scenario, often, f"the log's market {market!r} has no such line")


def nearest_segment(scenario: Scenario, buyers: Buyers) -> IntArray:
    """Return the segment whose typical history is nearest to each household's, shape ``(H,)``.

    Near is meant in the features that segments are made from (`malles_env.scenarios.from_log.segments.features`).

    Raises:
        InvalidInput: A segment without a purchase history.
    """
    for segment in scenario.segments:
        if not segment.history_total or not segment.weeks_seen:
            raise invalid(f"segment {segment.name}: history_total", segment.history_total, "a purchase history")
    total = np.array([segment.history_total or 0 for segment in scenario.segments])
    weeks = np.array([segment.weeks_seen or 0 for segment in scenario.segments])
    typical, count = scenario.bought().astype(np.int64), len(scenario.segments)
    every = Buyers(
        np.vstack([typical, buyers.counts]),
        np.concatenate([total - typical.sum(axis=1), buyers.other]),
        np.concatenate([weeks, buyers.weeks]),
        np.concatenate([np.minimum(total, weeks), buyers.buying_weeks]),
        np.concatenate([np.full(count, -1), buyers.last]),
    )
    described = features(every)
    far = ((described[count:, None, :] - described[None, :count, :]) ** 2).sum(axis=2)
    nearest: IntArray = far.argmin(axis=1)
    return nearest


def _buyers(occasions: Occasions, rows: IntArray, lines: IntArray) -> Buyers:
    """Return what the household of each visit had bought strictly before it."""
    names = occasions.products["product_id"].to_list()
    number = {names[line]: j for j, line in enumerate(lines)}
    about = occasions.occasions[rows]
    counts = np.zeros((len(rows), len(lines)), dtype=np.int64)
    other, weeks = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    last = np.full(len(rows), -1)
    spans = zip(about["history_end"].to_list(), about["history_total"].to_list(), strict=True)
    for n, (end, total) in enumerate(spans):
        past: pl.DataFrame = occasions.purchases[end - total : end]
        at = np.array([number.get(name, -1) for name in past["product_id"].to_list()])
        counts[n], other[n] = np.bincount(at[at >= 0], minlength=len(lines)), (at < 0).sum()
        weeks[n], last[n] = past["period"].n_unique(), at[-1]
    seen = np.maximum(about["weeks_seen"].to_numpy().astype(np.int64), weeks)
    return Buyers(counts, other, seen, weeks, last)
