"""Event studies of discounts: what sells before they start, while they last and after they stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.validate.choice import fit_counts
from malles_env.evaluation.validate.estimates import BoolArray, Estimate, Fit, FloatArray, IntArray, JointTest, codes
from malles_env.evaluation.validate.rows import LEAST_CHOICES, ChoiceRows

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
        known: Whether the log reaches far enough back and ahead to tell these numbers [R].
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


@dataclass(frozen=True)
class EventStudy:
    """Log changes against weeks at the regular price far from any deal.

    Attributes:
        outcome: What was counted.
        start: Event week (-4..8, 0 the deal's first week) -> log change; from week 0 on weeks of the deal only, those
            of at least two deals.
        stop: Event week (-4..8, 0 the first week after the deal) -> log change; before week 0 weeks of the deal.
        leads: Joint test that the weeks before a start sell as usual.
        lead: Mean log change over these weeks.
        deal: Mean log change over the weeks of deals.
        dip: Mean log change over the first weeks after a stop.
    """

    outcome: str
    start: dict[int, Estimate]
    stop: dict[int, Estimate]
    leads: JointTest
    lead: Estimate
    deal: Estimate
    dip: Estimate


@dataclass(frozen=True)
class LagStudy:
    """Log counts on the log price of this week, of the weeks before and of the weeks to come.

    Attributes:
        outcome: What was counted.
        current: Elasticity to this week's price.
        leads: Joint test that the prices of the next weeks do not matter.
        lead: Sum of their elasticities.
        lag: Sum of the elasticities to the prices of the last weeks; above 0 where buyers store.
        borrowed: lag over minus current: share of a price cut's additional sales that the next weeks lack.
        rows: Product weeks it rests on.
    """

    outcome: str
    current: Estimate
    leads: JointTest
    lead: Estimate
    lag: Estimate
    borrowed: Estimate
    rows: int


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
    usable = _selling(product, week, purchases[there].astype(float), known[there])
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


def event_study(name: str, weeks: Weeks, counts: FloatArray) -> EventStudy:
    """Regress counts on the weeks around deals by Poisson regression, with product and week effects.

    The weeks of a deal are counted from its start in one regression and back from its stop in another; both have the
    weeks before starts and after stops, among weeks without a deal and at the same log price, so that a lead is never
    an earlier deal. Errors are the larger of those clustered by product and by week.

    Args:
        name: What is counted.
        weeks: The weeks.
        counts: One count per week and product, whole or expected [R].

    Raises:
        InvalidInput: The weeks do not identify an estimate.
    """
    starts = _Design.of(weeks, weeks.into, range(LAGS + 1), range(DIP))
    stops = _Design.of(weeks, -weeks.left, range(-LEADS, 0), range(LAGS + 1))
    begun, ended = starts.fit(f"events.start, {name}", counts), stops.fit(f"events.stop, {name}", counts)
    lead, during, after = (starts.places(kind) for kind in ("lead", "deal", "after"))
    dip = [after[k] for k in range(DIP) if k in after]
    size = np.array([(starts.columns[:, at] > 0).sum() for at in during.values()], dtype=float)
    every = {**lead, **during}
    back = stops.places("deal") | stops.places("after")
    return EventStudy(
        name,
        {k: begun.estimate(f"events.start[{k}], {name}", at) for k, at in sorted(every.items())},
        {k: ended.estimate(f"events.stop[{k}], {name}", at) for k, at in sorted(back.items())},
        begun.joint(f"events.leads, {name}", list(lead.values())),
        begun.estimate(f"events.lead, {name}", _mean(begun, list(lead.values()))),
        begun.estimate(f"events.deal, {name}", _mean(begun, list(during.values()), size)),
        begun.estimate(f"events.dip, {name}", _mean(begun, dip)),
    )


@dataclass(frozen=True)
class _Design:
    """Dummies of event weeks, then of products and weeks.

    Attributes:
        columns: [R, K].
        names: Kind and event week of the first columns.
        product: Code of the product [R].
        week: Code of the week [R].
        known: Weeks of the log that are used.
    """

    columns: FloatArray
    names: tuple[tuple[str, int], ...]
    product: IntArray
    week: IntArray
    known: BoolArray

    @classmethod
    def of(cls, weeks: Weeks, clock: IntArray, deal_weeks: range, after: range) -> _Design:
        low, high = deal_weeks[0], deal_weeks[-1]
        dummies = {("lead", -k): (weeks.until == k) & ~weeks.deal for k in range(LEADS, 0, -1)}
        dummies |= {("deal", k): weeks.deal & (np.clip(clock, low, high) == k) for k in deal_weeks}
        dummies |= {("after", k): (weeks.since == k) & ~weeks.deal for k in after}
        known = weeks.known
        # A week that one deal alone reaches says nothing but that deal.
        kept = {name: flag[known] for name, flag in dummies.items() if (flag & known).sum() > 1}
        product, week = codes(weeks.product[known]), codes(weeks.week[known])
        # Weeks without a deal are compared at the same price; those of a deal are what it does, price and all.
        price = np.where(weeks.deal, 0.0, weeks.prices[:, LEADS])[known]
        moving = [price] if price.std() > 0 else []
        columns = np.column_stack([*kept.values(), *moving, _effects(product, week)])
        return cls(columns, tuple(kept), product, week, known)

    def fit(self, name: str, counts: FloatArray) -> Fit:
        found = fit_counts(name, self.columns, counts[self.known])
        return found.fit({"product": self.product, "week": self.week})

    def places(self, kind: str) -> dict[int, int]:
        return {k: at for at, (own, k) in enumerate(self.names) if own == kind}


def lag_study(name: str, weeks: Weeks, counts: FloatArray) -> LagStudy:
    """Regress counts on prices of this week, `LEADS` weeks ahead and `DIP` back; product and week effects, Poisson.

    Errors are the larger of those clustered by product and by week.

    Args:
        name: What is counted.
        weeks: The weeks.
        counts: One count per week and product, whole or expected [R].

    Raises:
        InvalidInput: The weeks do not identify an estimate.
    """
    used = _selling(weeks.product, weeks.week, weeks.purchases, ~np.isnan(weeks.prices.sum(1)))
    product, week = codes(weeks.product[used]), codes(weeks.week[used])
    columns = np.column_stack([weeks.prices[used], _effects(product, week)])
    label = f"events.prices, {name}"
    fit = fit_counts(label, columns, counts[used]).fit({"product": product, "week": week})
    ahead, now, back = np.zeros((3, len(fit.values)))
    ahead[:LEADS], now[LEADS], back[LEADS + 1 : LEADS + 1 + DIP] = 1.0, 1.0, 1.0
    current = float(fit.values @ now)
    share = -float(fit.values @ back) / current
    error = fit.estimate(f"{label}: borrowed", -(back + share * now) / current)
    return LagStudy(
        name,
        fit.estimate(f"{label}: current", now),
        fit.joint(f"{label}: leads", list(range(LEADS))),
        fit.estimate(f"{label}: leads", ahead),
        fit.estimate(f"{label}: lags", back),
        replace(error, value=share),
        int(used.sum()),
    )


def _effects(product: IntArray, week: IntArray) -> FloatArray:
    return np.column_stack([np.eye(product.max() + 1)[product], np.eye(week.max() + 1)[week][:, 1:]])


def _around(price: FloatArray) -> FloatArray:
    """Return each week's price with those ahead and back [P, T, LEADS + 1 + DIP], NaN beyond the log's ends."""
    length = price.shape[1]
    padded = np.pad(price, ((0, 0), (DIP, LEADS)), constant_values=np.nan)
    return np.stack([padded[:, DIP + k : DIP + k + length] for k in range(LEADS, -DIP - 1, -1)], axis=2)


def _mean(fit: Fit, columns: list[int], sizes: FloatArray | None = None) -> FloatArray:
    weights = np.zeros(len(fit.values))
    weights[columns] = 1.0 if sizes is None else sizes
    return weights / max(weights.sum(), 1e-300)


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


def _selling(product: IntArray, week: IntArray, purchases: FloatArray, known: BoolArray) -> BoolArray:
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
