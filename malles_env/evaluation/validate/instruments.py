"""Own-store prices against other stores' prices as instrument: are the prices that choices answer to mismeasured?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.validate.estimation.estimates import Clusters, Estimate, Fit, codes, finite, grouped
from malles_env.evaluation.validate.estimation.likelihood import fit_logit, logit_scores, shares
from malles_env.evaluation.validate.estimation.linear import absorbed, two_stage
from malles_env.evaluation.validate.rows import FACTS, PROMOTION, ChoiceRows
from malles_env.type_aliases import FloatArray

LEAST_SPREAD = 1e-4
"""Standard deviation of log prices across stores below which stores count as asking the same."""
LEAST_VISITS = 100
"""Purchases an estimate needs."""


@dataclass(frozen=True)
class PriceRow:
    """A price coefficient d log odds / d log price, and the elasticity of choice given a purchase that it implies."""

    name: str
    coefficient: Estimate
    elasticity: Estimate
    visits: int


@dataclass(frozen=True)
class InstrumentCheck:
    """What other stores' prices say of the own store's.

    Attributes:
        rows: Price coefficients, the own store's first.
        residuals: Coefficient of the first stage's residual in the logits of the control function, by price used: far
            from 0, that price is mismeasured or moves with local demand.
        first_stage: F statistics of the instrument, by price used and in the panel.
        store_spread: Standard deviation of log prices across stores, within product and week.
        stores: Number of stores.
        known: Purchases for which prices paid by others in the own store are known; with less than `LEAST_VISITS` there
            are no estimates on them.
    """

    rows: tuple[PriceRow, ...]
    residuals: dict[str, Estimate]
    first_stage: dict[str, float]
    store_spread: float
    stores: int
    known: int


OWN, SHELF = "own store", "whole shelf"
"""Prices used: those that others paid in the store of the visit, where known; those of the occasions' shelves."""
_LABELS = {
    OWN: ("own store's price", "other stores' price", "control function"),
    SHELF: ("shelf price", "other stores' price, whole shelf", "control function, whole shelf"),
}


def instrument_check(rows: ChoiceRows) -> InstrumentCheck:
    """Estimate the price response of a market by the own store's prices, by other stores', and with both.

    Logits are of choice given a purchase, with a constant per product and the controls of `FACTS`; errors are the
    larger of those clustered by household and by week, and count the first stage's. The control function (Petrin and
    Train 2010) adds the residual of a regression of log price on other stores' log price, controls and a fixed effect
    per product and store. The panel has cells of product, store and week.

    Args:
        rows: The market's purchases.

    Raises:
        InvalidInput: One store, stores that ask the same, too few purchases, or an estimate that is no number.
    """
    check_stores(rows)
    measured = {OWN: _measured(rows, rows.own), SHELF: _measured(rows, np.log(rows.price))}
    shelf, known = measured[SHELF], _number(measured[OWN])
    if (every := _number(shelf)) < LEAST_VISITS:
        raise invalid(
            "occasions",
            f"{every} purchases with prices of other stores",
            f"at least {LEAST_VISITS} for the check of instruments; {_OTHERS}",
        )
    listed: list[tuple[str, Estimate, int]] = []
    residuals, first_stage = {}, {}
    for name, part in measured.items():
        if (number := _number(part)) >= LEAST_VISITS:
            fits = _logits(name, part)
            listed += [(label, f.estimate(label, 0), number) for label, f in zip(_LABELS[name], fits, strict=True)]
            residuals[name] = fits[-1].estimate(f"residual, {name}", -1)
            first_stage[name] = _f(f"first stage, {name}", _stage(part)[0])
    bare = "shelf price, promotions left free"
    listed.append((bare, _logit(bare, shelf, shelf.own, promotion=False).estimate(bare, 0), every))
    panel, first_stage["panel"] = _panel(shelf)
    listed += [(name, found, every) for name, found in panel.items()]
    room = _room(shelf)
    found = tuple(PriceRow(name, estimate, estimate.scaled(room), number) for name, estimate, number in listed)
    return InstrumentCheck(found, residuals, first_stage, rows.store_spread, len(np.unique(rows.store)), known)


_OTHERS = "--checks events,regimes run without"


def check_stores(rows: ChoiceRows) -> None:
    """Raise unless there are several stores and their prices differ.

    Raises:
        InvalidInput: One store, or stores that ask the same.
    """
    if (stores := len(np.unique(rows.store))) < 2:
        raise invalid("store_id", f"{stores} store", f"at least 2 stores for the check of instruments; {_OTHERS}")
    if not rows.store_spread > LEAST_SPREAD:
        raise invalid(
            "unit_price",
            f"a standard deviation of {rows.store_spread:.2g} across stores within weeks",
            f"stores whose log prices differ by more than {LEAST_SPREAD:g}; {_OTHERS}",
        )


def _number(rows: ChoiceRows) -> int:
    """Return the number of visits that have rows."""
    return int(rows.chosen.sum())


def _measured(rows: ChoiceRows, price: FloatArray) -> ChoiceRows:
    """Return the rows where a log price and other stores' are known, the price in the place of `own`."""
    return replace(rows, own=price).settled(np.isfinite(price) & np.isfinite(rows.other))


def _f(name: str, stage: Fit) -> float:
    """Return the F statistic of the instrument, the first of a first stage's coefficients."""
    found = stage.estimate(name, 0)
    return finite(f"F of {name}", found.t**2 if found.se else float("inf"))


def _logits(name: str, rows: ChoiceRows) -> tuple[Fit, Fit, Fit]:
    """Return the logit on the price in `own`, on other stores' price, and on both with the residual last."""
    plain = _logit(f"{name}: logit", rows, rows.own)
    other = _logit(f"{name}: logit on other stores' price", rows, rows.other)
    return plain, other, _control_function(f"{name}: control function", rows)


def _features(rows: ChoiceRows, price: FloatArray, promotion: bool) -> FloatArray:
    kept = rows.moving(k for k in range(len(FACTS)) if promotion or k not in PROMOTION)
    return np.column_stack([price, rows.facts[:, kept], rows.constants()])


def _logit(name: str, rows: ChoiceRows, price: FloatArray, *, promotion: bool = True) -> Fit:
    features = _features(rows, price, promotion)
    return fit_logit(name, features, rows.visit, rows.chosen, rows.visits).fit(rows.clusters)


def _control_function(name: str, rows: ChoiceRows) -> Fit:
    first, price, instruments = _stage(rows)
    features = _features(rows, rows.own, True)

    def whole(values: FloatArray) -> FloatArray:
        return np.column_stack([features, price - instruments @ values])

    found = fit_logit(name, whole(first.values), rows.visit, rows.chosen, rows.visits)

    def scores_at(values: FloatArray) -> FloatArray:
        columns = whole(values)
        probability = shares(columns @ found.values, rows.visit)
        sums: FloatArray = logit_scores(columns, probability, rows.visit, rows.chosen, rows.visits).sum(0)
        return sums

    return found.after(first, scores_at)


def _stage(rows: ChoiceRows) -> tuple[Fit, FloatArray, FloatArray]:
    """Return the first stage by visit, and the price and instruments it absorbed the fixed effects from."""
    facts = rows.facts[:, rows.moving(range(len(FACTS)))]
    group = codes(rows.product, rows.store[rows.visit])
    left = absorbed(np.column_stack([rows.own, rows.other, facts]), [group], np.ones(len(group)))
    # A control that is constant within product and store is absorbed whole.
    moving = [1, *(2 + np.flatnonzero(left[:, 2:].std(0) > 1e-10))]
    price, instruments = left[:, 0], left[:, moving]
    fit = two_stage("first stage", price, instruments, instruments, np.ones(len(price)), {"row": rows.visit})
    by_visit = np.zeros((rows.visits, len(fit.values)))
    sums = grouped(fit.influence, rows.visit)
    by_visit[: len(sums)] = sums
    return Fit(fit.values, by_visit, rows.clusters), price, instruments


def _room(rows: ChoiceRows) -> float:
    """Return the share-weighted mean of 1 - P, which turns a coefficient into an elasticity given a purchase."""
    fit = _logit("shelf: logit", rows, rows.own)
    probability = shares(_features(rows, rows.own, True) @ fit.values, rows.visit)
    return float((probability * (1 - probability)).sum() / probability.sum())


def _panel(rows: ChoiceRows) -> tuple[dict[str, Estimate], float]:
    """Return least squares, reduced form and two-stage least squares on cells of product, store and week, and F.

    The outcome is the product's share of the visits whose shelf had it, over its mean share; weights are visits times
    mean share. With fixed effects per store and week this is the conditional logit to first order, zeros included,
    which logs of shares would lose: households' panels have many.
    """
    store, week = rows.store[rows.visit], rows.week[rows.visit]
    cell = codes(rows.product, store, week)
    number = np.bincount(cell).astype(np.float64)

    def mean(values: FloatArray) -> FloatArray:
        means: FloatArray = np.bincount(cell, values) / number
        return means

    first = np.zeros(len(number), dtype=np.int64)
    first[cell] = np.arange(len(cell))
    bought = rows.chosen.astype(np.float64)
    share = (np.bincount(rows.product, bought) / np.maximum(np.bincount(rows.product), 1))[rows.product[first]]
    weights = number * share
    groups = [codes(rows.product[first], store[first]), codes(store[first], week[first])]
    columns = [mean(bought) / share, mean(rows.own), mean(rows.other)]
    controls = [mean(rows.facts[:, k]) for k in PROMOTION]
    left = absorbed(np.column_stack([*columns, *controls]), groups, weights)
    moving = 3 + np.flatnonzero(left[:, 3:].std(0) > 1e-10)
    clusters: Clusters = {"week": codes(week[first]), "store": codes(store[first])}
    return _panel_rows(left[:, 0], left[:, [1, *moving]], left[:, [2, *moving]], weights, clusters)


def _panel_rows(
    outcome: FloatArray, regressors: FloatArray, instruments: FloatArray, weights: FloatArray, clusters: Clusters
) -> tuple[dict[str, Estimate], float]:
    pairs: dict[str, tuple[FloatArray, FloatArray]] = {
        "panel, least squares": (regressors, regressors),
        "panel, reduced form": (instruments, instruments),
        "panel, two-stage least squares": (regressors, instruments),
    }
    found = {}
    for name, (given, by) in pairs.items():
        found[name] = two_stage(name, outcome, given, by, weights, clusters).estimate(name, 0)
    stage = two_stage("panel, first stage", regressors[:, 0], instruments, instruments, weights, clusters)
    return found, _f("first stage, panel", stage)
