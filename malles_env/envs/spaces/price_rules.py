"""Compiled price rules: move prices to the nearest ones that obey, and count what breaks the rules that do not bind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from malles_env.compiling import njit
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.market.seller_rules.price_rules import CLOSE, RULES, PriceRules
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

LADDER, STEP, CHANGE, MARGIN = range(4)  # columns of what is counted, as in RULES
ROUNDING = 1e-6  # of a price: float32 actions cannot ask for every price, so a smaller distance is none


class Limits(NamedTuple):
    """What binding needs to know; a rule that does not bind has limits that nothing meets.

    Attributes:
        low, high: Price bounds, with the least margin, money, shape ``(J,)``.
        rungs: Prices that the ladder allows, product by product, ascending, money.
        first: Where each product's rungs begin, shape ``(J + 1,)``; all 0 without a ladder.
        step: Least change of a price, money.
        change: Largest change, money.
        change_share: Largest change, share of the last price.
    """

    low: FloatArray
    high: FloatArray
    rungs: FloatArray
    first: IntArray
    step: float
    change: float
    change_share: float


class Measures(NamedTuple):
    """What counting needs to know; a rule that is not counted has limits that every price obeys.

    Attributes:
        endings: Of the ladder, money; empty: none.
        step, change, change_share: As in `Limits`.
        floor: Lowest price with the least margin, money, shape ``(J,)``.
    """

    endings: FloatArray
    step: float
    change: float
    change_share: float
    floor: FloatArray


class RuledPrices:
    """The price rules of a catalog at work on batches of markets.

    Args:
        slot_layout: Who owns what.
        rules: The rules.

    Attributes:
        keys: Names in infos of what `apply` returns: ``moved_prices`` if a rule binds, then ``cost_<rule>`` of
            each rule that is counted.
    """

    def __init__(self, slot_layout: SlotLayout, rules: PriceRules) -> None:
        self.slot_layout, self.bound = slot_layout, rules.bound
        counted = [name for name in rules.given if name not in rules.bound]
        self._columns = [RULES.index(name) for name in counted]
        self.keys = (*(("moved_prices",) if self.bound else ()), *(f"cost_{name}" for name in counted))
        catalog = slot_layout.catalog
        self._floor = np.array([rules.floor(cost, catalog.net_of_tax) for cost in catalog.unit_cost.tolist()])
        self._limits = self._limits_of(rules)
        shown = rules.endings if "ladder" in counted else ()
        at_least = self._floor if "margin" in counted else np.zeros_like(self._floor)
        self._measures = Measures(np.array(shown, dtype=np.float64), *_changes(rules, counted), at_least)

    @property
    def lowest(self) -> FloatArray:
        """Lowest prices, with the least margin where it binds, money, shape ``(J,)``."""
        return self._limits.low

    def _limits_of(self, rules: PriceRules) -> Limits:
        catalog, bound = self.slot_layout.catalog, rules.bound
        low, high = catalog.price_low.copy(), catalog.price_high.copy()
        if "margin" in bound:
            low = np.minimum(np.maximum(low, self._floor), high)
        rungs = [rules.ladder(a, b) if "ladder" in bound else np.empty(0) for a, b in zip(low, high, strict=True)]
        first = np.cumsum([0, *map(len, rungs)]).astype(np.int64)
        return Limits(low, high, np.concatenate(rungs), first, *_changes(rules, bound))

    def apply(self, prices: FloatArray, listed: BoolArray, last: FloatArray) -> FloatArray:
        """Move the prices of what is listed, in place, and count.

        Args:
            prices: As asked, money, shape ``(B, J)``; changed in place.
            listed: What is on the shelf, shape ``(B, J)``; other prices stay.
            last: Prices at which the products were listed last, money, shape ``(B, J)``.

        Returns:
            What `keys` name, of each seller, fresh, shape ``(B, N, K)``: prices moved, and for each counted rule the
            money between the prices and the nearest ones that obey it, summed over the seller's listed products.
        """
        books = np.zeros((len(prices), self.slot_layout.count, len(self.keys)))
        if self.bound:
            bind(prices, listed, last, self._limits, self.slot_layout.seller_of, books)
        if self._columns:
            costs = np.zeros((len(prices), self.slot_layout.count, len(RULES)))
            count(prices, listed, last, self._measures, self.slot_layout.seller_of, costs)
            books[:, :, len(self.keys) - len(self._columns) :] = costs[:, :, self._columns]
        return books


def _changes(rules: PriceRules, names: Any) -> tuple[float, float, float]:
    """Return least step, largest change in money and as a share; those not among `names` as ones that do nothing."""
    step = float(rules.step or 0.0) if "step" in names else 0.0
    if "change" not in names:
        return step, np.inf, 0.0
    return step, float(rules.change or 0.0), float(rules.change_share or 0.0)


@njit(cache=True)
def on_ladder(asked: float, before: float, low: float, high: float, step: float, rungs: Any) -> float:
    """Return the rung nearest to `asked` that obeys all; if none does, the one nearest to the last price."""
    best, nearest = np.nan, rungs[0]
    for rung in rungs:
        if abs(rung - before) < abs(nearest - before) - CLOSE:
            nearest = rung
        moved = abs(rung - before)
        if rung < low - CLOSE or rung > high + CLOSE or CLOSE < moved < step - CLOSE:
            continue
        if np.isnan(best) or abs(rung - asked) < abs(best - asked) - CLOSE:
            best = rung
    return nearest if np.isnan(best) else best


@njit(cache=True)
def in_reach(asked: float, before: float, low: float, high: float, step: float) -> float:
    """Return the price from `low` to `high` nearest to `asked` that stays or changes by at least `step`."""
    found = min(max(asked, low), high)
    if abs(found - before) < CLOSE or abs(found - before) >= step - CLOSE:
        return found
    best = np.nan
    for price in (before - step, before, before + step):
        if low - CLOSE <= price <= high + CLOSE and (np.isnan(best) or abs(price - asked) < abs(best - asked) - CLOSE):
            best = min(max(price, low), high)
    return found if np.isnan(best) else best


@njit(cache=True)
def bind(prices: Any, listed: Any, last: Any, limits: Any, seller_of: Any, books: Any) -> None:
    """Move listed prices to the nearest that obey (ties down); count those moved in column 0 of `books`.

    Where bounds, margin and ladder leave no price within the largest change, the price goes as near to the last one as
    they let it.
    """
    for b in range(prices.shape[0]):
        for j in range(prices.shape[1]):
            if not listed[b, j]:
                continue
            asked, before = prices[b, j], last[b, j]
            most = limits.change + limits.change_share * before
            low, high = max(limits.low[j], before - most), min(limits.high[j], before + most)
            if limits.first[j + 1] > limits.first[j]:
                rungs = limits.rungs[limits.first[j] : limits.first[j + 1]]
                found = on_ladder(asked, before, low, high, limits.step, rungs)
            elif low > high:
                found = min(max(before, limits.low[j]), limits.high[j])
            else:
                found = in_reach(asked, before, low, high, limits.step)
            prices[b, j] = found
            if abs(found - asked) > ROUNDING * asked:
                books[b, seller_of[j], 0] += 1.0


@njit(cache=True)
def count(prices: Any, listed: Any, last: Any, measures: Any, seller_of: Any, costs: Any) -> None:
    """Add up how far listed prices are from the nearest that obey each rule alone, money, in `costs` ``(B, N, 4)``."""
    away = np.empty(4)
    for b in range(prices.shape[0]):
        for j in range(prices.shape[1]):
            if not listed[b, j]:
                continue
            price, moved = prices[b, j], abs(prices[b, j] - last[b, j])
            away[:] = 0.0
            for e in range(len(measures.endings)):
                beyond = price - measures.endings[e]
                gap = abs(beyond - max(np.rint(beyond), 0.0))
                away[LADDER] = gap if e == 0 else min(away[LADDER], gap)
            if moved < measures.step:
                away[STEP] = min(moved, measures.step - moved)
            most = measures.change + measures.change_share * last[b, j]
            away[CHANGE] = max(0.0, moved - most)
            away[MARGIN] = max(0.0, measures.floor[j] - price)
            for rule in range(4):
                if away[rule] > ROUNDING * price:
                    costs[b, seller_of[j], rule] += away[rule]
