"""Segments of a market's buyers, from who bought what how often: only group statistics leave this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malles_env.scenarios.from_log.clusters import cluster
from malles_env.type_aliases import FloatArray, IntArray

HISTORY_WEEKS = 36
"""Shopping weeks in the history of a segment's typical household."""
MIN_CELL = 5
"""A share of fewer households than this is not published; they count among those who bought nothing listed."""


@dataclass(frozen=True)
class Buyers:
    """What each of H households bought of a market's J products.

    Attributes:
        counts: Purchases, shape ``(H, J)``.
        other: Purchases of products not in the scenario, shape ``(H,)``.
        weeks: Shopping weeks, shape ``(H,)``, at least 1.
        buying_weeks: Shopping weeks with a purchase in the market, shape ``(H,)``.
        last: Product bought last, -1 where it is not in the scenario, shape ``(H,)``.
    """

    counts: IntArray
    other: IntArray
    weeks: IntArray
    buying_weeks: IntArray
    last: IntArray


def find_segments(
    buyers: Buyers, product_ids: Sequence[str], brands: Sequence[str], words: Sequence[str],
    *, groups: int, min_size: int, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one mapping of `SegmentEntry` fields per segment, the largest share of shopping weeks first.

    Args:
        buyers: Households.
        product_ids: J names.
        brands: Brand of each product; segments are named after the one they buy most.
        words: What to call each product in the descriptions.
        groups: Segments wanted.
        min_size: Fewest households in a segment.
        seed: Seed of the grouping.
    """
    labels = cluster(features(buyers), groups, min_size=min_size, seed=seed)
    parts = [_summary(buyers, labels == group, product_ids) for group in range(int(labels.max()) + 1)]
    parts.sort(key=lambda part: -part["weight"])
    used: dict[str, int] = {}
    for part in parts:
        stem = _name(part, dict(zip(product_ids, brands, strict=True)))
        used[stem] = used.get(stem, 0) + 1
        part["name"] = stem if used[stem] == 1 else f"{stem}_{used[stem]}"
        part["description"] = _describe(part, dict(zip(product_ids, words, strict=True)))
    return parts


def features(buyers: Buyers, prior: float = 2.0) -> FloatArray:
    """Return what households are grouped by, shape ``(H, J + 2)``: root shares and log purchase frequency.

    Shares are drawn towards the market's by `prior` purchases: one purchase does not make a loyal buyer.
    """
    bought = np.column_stack([buyers.counts, buyers.other]).astype(np.float64)
    market = bought.sum(axis=0) / bought.sum()
    shares = (bought + prior * market) / (bought.sum(axis=1, keepdims=True) + prior)
    rate = np.log((buyers.buying_weeks + 0.5) / (buyers.weeks + 1.0))
    return np.column_stack([np.sqrt(shares), 0.25 * (rate - rate.mean()) / max(rate.std(), 1e-9)])


def _summary(buyers: Buyers, rows: FloatArray, product_ids: Sequence[str]) -> dict[str, Any]:
    weeks = int(buyers.weeks[rows].sum())
    counts = np.append(buyers.counts[rows].sum(axis=0), buyers.other[rows].sum())
    total = max(1, round(HISTORY_WEEKS * counts.sum() / weeks))
    typical = largest_remainders(counts / counts.sum(), total)[:-1]
    last = buyers.last[rows]
    holders = [int(np.sum(last == j)) for j in range(len(product_ids))]
    loyalty = _rounded_shares([n if n >= MIN_CELL else 0 for n in holders], len(last))
    return {
        "name": "",
        "description": "",
        "weight": round(weeks / float(buyers.weeks.sum()), 4),
        "loyalty": {name: share for name, share in zip(product_ids, loyalty, strict=True) if share > 0},
        "history_total": int(total),
        "weeks_seen": HISTORY_WEEKS,
        "bought": {name: int(n) for name, n in zip(product_ids, typical, strict=True) if n > 0},
        "households": int(np.sum(rows)),
    }


def _rounded_shares(counts: Sequence[int], total: int) -> list[float]:
    """Return counts as shares of `total` with three decimals; they add up to at most 1."""
    shares = [round(n / total, 3) for n in counts]
    if sum(shares) <= 1.0:
        return shares
    rest = total - sum(counts)
    return [int(n) / 1000 for n in largest_remainders(np.append(counts, rest) / total, 1000)[:-1]]


def largest_remainders(shares: FloatArray, total: int) -> IntArray:
    """Split `total` into whole numbers in the proportions `shares` (sum 1), same shape."""
    target = shares * total
    whole = np.floor(target + 1e-9).astype(np.int64)
    whole[np.argsort(whole - target, kind="stable")[: total - int(whole.sum())]] += 1
    return whole


def _name(part: Mapping[str, Any], brand_of: Mapping[str, str]) -> str:
    """Return e.g. ``maker_131_often``: the brand with half of the purchases or more, and the pace."""
    totals: dict[str, int] = {}
    for product, count in part["bought"].items():
        totals[brand_of[product]] = totals.get(brand_of[product], 0) + count
    top = max(totals, key=lambda brand: totals[brand], default="")
    kind = top if totals.get(top, 0) * 2 >= part["history_total"] else "mixed"
    gap = part["weeks_seen"] / part["history_total"]
    pace = "often" if gap <= 3 else "sometimes" if gap <= 9 else "rarely"
    return f"{kind.replace(' ', '_')}_{pace}"


def _describe(part: Mapping[str, Any], words_of: Mapping[str, str]) -> str:
    total = part["history_total"]
    ranked = sorted(part["bought"].items(), key=lambda pair: -pair[1])[:3]
    parts = "; ".join(f"{count / total:.0%} {words_of[name]}" for name, count in ranked)
    times = {1: "once", 2: "twice"}.get(total, f"{total} times")
    return f"Bought {times} in {part['weeks_seen']} shopping weeks" + (f": {parts}." if parts else ".")
