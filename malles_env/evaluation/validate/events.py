"""Event studies of discounts: what sells before they start, while they last and after they stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.evaluation.validate.deals import DIP, LAGS, LEADS, Weeks, selling
from malles_env.evaluation.validate.estimation.estimates import Estimate, Fit, JointTest, codes
from malles_env.evaluation.validate.estimation.likelihood import fit_counts
from malles_env.type_aliases import BoolArray, FloatArray, IntArray


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
    if not weeks.known.any():
        raise _no_weeks("events")
    starts = _Design.of(weeks, weeks.into, range(LAGS + 1), range(DIP))
    stops = _Design.of(weeks, -weeks.left, range(-LEADS, 0), range(LAGS + 1))
    for kind in ("lead", "deal", "after"):
        if not starts.places(kind) or not stops.places(kind):
            raise _no_weeks(f"events.{kind}")
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
        # A week that one deal alone reaches says nothing but that deal; one that sold nothing has no finite effect.
        sold = {name: weeks.purchases[flag & known] for name, flag in dummies.items()}
        kept = {name: flag[known] for name, flag in dummies.items() if len(sold[name]) > 1 and sold[name].any()}
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
    used = selling(weeks.product, weeks.week, weeks.purchases, ~np.isnan(weeks.prices.sum(1)))
    if not used.any():
        raise _no_weeks("events.prices")
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


def _no_weeks(name: str) -> InvalidInput:
    others = "--checks instruments,regimes run without"
    return invalid(name, "no product week of the kind", f"a log with weeks enough before and after its deals; {others}")


def _effects(product: IntArray, week: IntArray) -> FloatArray:
    return np.column_stack([np.eye(product.max() + 1)[product], np.eye(week.max() + 1)[week][:, 1:]])


def _mean(fit: Fit, columns: list[int], sizes: FloatArray | None = None) -> FloatArray:
    weights = np.zeros(len(fit.values))
    weights[columns] = 1.0 if sizes is None else sizes
    return weights / max(weights.sum(), 1e-300)
