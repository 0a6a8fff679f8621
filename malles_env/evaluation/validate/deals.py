"""The weeks of a market's products, and the deals around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.validate.rows import LEAST_CHOICES, ChoiceRows
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

DEEP = 0.1
"""Discount depth from which a week counts as a deal."""
LEADS, LAGS = 4, 8
"""Weeks followed before and after an event."""
DIP = 4
"""Weeks after a deal in which its buyers may still live on what they stored."""
LEAST_EVENTS = 8
"""Starts, and stops, that a market needs."""
_UNKNOWN = -1


@dataclass(frozen=True)
class Weeks:
    """R weeks of products on the shelf, with the deals around them.

    Attributes:
        product: Code [R].
        week: Period [R].
        units: Packages bought [R].
        purchases: Visits that chose the product [R].
        prices: Median of log(shelf price / regular price) this week and around it, from LEADS weeks ahead to DIP
            weeks back; NaN where the product was not on the shelf [R, LEADS + 1 + DIP].
        deal: Whether this week's price is 10% or more below the regular price [R].
        into: Weeks since the deal started, 0 in its first week; -1 without a deal or where its start is not seen [R].
        left: Weeks until the deal stops, 1 in its last week; -1 likewise [R].
        until: Weeks until the next deal starts, at most LEADS + 1, which stands for later; 0 on a deal [R].
        since: Weeks since the last deal, 0 in the first one without, at most LAGS + 1, which stands for longer ago; -1
            on a deal [R].
        known: Whether the log reaches far enough back and ahead for these numbers [R].
        starts: Deals whose start is seen.
        stops: Deals whose stop is seen.
    """

    product: IntArray
    week: IntArray
    units: FloatArray
    purchases: FloatArray
    prices: FloatArray
    deal: BoolArray
    into: IntArray
    left: IntArray
    until: IntArray
    since: IntArray
    known: BoolArray
    starts: int
    stops: int


def product_weeks(rows: ChoiceRows) -> Weeks:
    """Return the weeks of a market's products; products bought less than `LEAST_CHOICES` times are left out.

    Raises:
        InvalidInput: Too few starts or stops of deals.
    """
    often = np.bincount(rows.product[rows.chosen], minlength=len(rows.products)) >= LEAST_CHOICES
    first, last = int(rows.week.min()), int(rows.week.max())
    shape = (len(rows.products), last - first + 1)
    cell = rows.product * shape[1] + rows.week[rows.visit] - first
    price = _median(cell, np.log(rows.price / rows.regular), shape)
    deal = np.nan_to_num(price) <= np.log1p(-DEEP) + 1e-9
    bought = cell[rows.chosen]
    purchases = np.bincount(bought, minlength=shape[0] * shape[1]).reshape(shape)
    units = np.bincount(bought, rows.units[rows.visit[rows.chosen]], minlength=shape[0] * shape[1]).reshape(shape)
    until, since, into, left, known = (np.stack(c) for c in zip(*(_clock(row) for row in deal), strict=True))
    there = np.isfinite(price) & often[:, None]
    product, week = np.nonzero(there)
    usable = selling(product, week, purchases[there].astype(float), known[there])
    change = np.diff(deal[often].astype(int), axis=1)
    found = Weeks(
        product, week + first, units[there].astype(float), purchases[there].astype(float), _around(price)[there],
        deal[there], into[there], left[there], until[there], since[there], usable, int((change == 1).sum()),
        int((change == -1).sum()),
    )  # fmt: skip
    for name, number in (("starts", found.starts), ("stops", found.stops)):
        if number < LEAST_EVENTS:
            raise invalid(
                f"events.{name}",
                f"{number} {name} of discounts of {DEEP:.0%} or more",
                f"at least {LEAST_EVENTS} for event studies; --checks instruments,regimes run without",
            )
    return found


def _around(price: FloatArray) -> FloatArray:
    """Return each week's price with those ahead and back [P, T, LEADS + 1 + DIP], NaN beyond the log's ends."""
    length = price.shape[1]
    padded = np.pad(price, ((0, 0), (DIP, LEADS)), constant_values=np.nan)
    return np.stack([padded[:, DIP + k : DIP + k + length] for k in range(LEADS, -DIP - 1, -1)], axis=2)


def _clock(deal: BoolArray) -> tuple[IntArray, IntArray, IntArray, IntArray, BoolArray]:
    """Return until, since, into, left and known of one product's weeks [T]; see `Weeks`."""
    ahead, back = _distance(deal[::-1])[::-1], _distance(deal)
    quiet_ahead, quiet_back = _distance(~deal[::-1])[::-1], _distance(~deal)
    place = np.arange(len(deal))
    # Nothing is known beyond the ends of the log.
    far = np.where(deal, True, (ahead >= 0) | (len(deal) - 1 - place >= LEADS + 1))
    near = np.where(deal, quiet_back > 0, (back >= 0) | (place >= LAGS + 1))
    stops = np.where(deal, quiet_ahead > 0, True)
    until = np.where(deal, 0, np.where(ahead < 0, LEADS + 1, np.minimum(ahead, LEADS + 1)))
    since = np.where(deal, _UNKNOWN, np.where(back < 0, LAGS + 1, np.minimum(back - 1, LAGS + 1)))
    into = np.where(deal, quiet_back - 1, _UNKNOWN)
    left = np.where(deal, quiet_ahead, _UNKNOWN)
    return until, since, into, left, far & near & stops


def _distance(flags: BoolArray) -> IntArray:
    """Return how many weeks ago the last true flag was, 0 where it is true, -1 where there was none [T]."""
    place = np.arange(len(flags))
    last = np.maximum.accumulate(np.where(flags, place, -1))
    return np.where(last < 0, -1, place - last)


def selling(product: IntArray, week: IntArray, purchases: FloatArray, known: BoolArray) -> BoolArray:
    """Return the known rows without products and weeks that sold nothing, whose effects have no finite value."""
    kept = known.copy()
    while True:
        before = kept.copy()
        for group in (product, week):
            sold = np.bincount(group[kept], purchases[kept], minlength=int(group.max(initial=0)) + 1)
            kept &= sold[group] > 0
        if (kept == before).all():
            return kept


def _median(cell: IntArray, values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return the median of each cell, NaN where it is empty."""
    order = np.lexsort((values, cell))
    there, start, size = np.unique(cell[order], return_index=True, return_counts=True)
    ranked, medians = values[order], np.full(shape[0] * shape[1], np.nan)
    medians[there] = (ranked[start + (size - 1) // 2] + ranked[start + size // 2]) / 2
    return medians.reshape(shape)
