"""Held-out price regimes: a logit that never saw a deep discount predicts what deep discounts sell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.validate.deals import DEEP
from malles_env.evaluation.validate.estimation.estimates import Estimate, Fit, mean_of
from malles_env.evaluation.validate.estimation.likelihood import fit_binary, fit_logit, logit_scores, shares
from malles_env.evaluation.validate.rows import FACTS, LEAST_CHOICES, ChoiceRows
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

LEAST_DEEP = 50
"""Purchases at deep discounts that the check needs, and as many at shallow prices."""
BINS = ((0.1, 0.2), (0.2, 0.3), (0.3, 1.0))
"""Discount depths distinguished in the plot."""


@dataclass(frozen=True)
class Regime:
    """How predictions fit the products at a discount of 10% or more.

    Attributes:
        name: Who predicts.
        observed: Mean share of choices, given a purchase, per product at a deep discount.
        predicted: The same as predicted.
        slope: Coefficient of predicted log odds in a logit of observed choices with a constant: 1 where they are right.
        observed_lift: What a deep discount adds to the log odds on average, everything else as predicted.
        predicted_lift: The same as predicted.
        bins: By depth: (mean depth, observed share, predicted share).
        visits: Purchases with such a product on the shelf.
    """

    name: str
    observed: Estimate
    predicted: Estimate
    slope: Estimate
    observed_lift: Estimate
    predicted_lift: Estimate
    bins: tuple[tuple[float, Estimate, Estimate], ...]
    visits: int


@dataclass(frozen=True)
class RegimeCheck:
    """The check of one market.

    Attributes:
        coefficient: Price coefficient of the logit trained on shallow prices alone.
        trained: Purchases it was trained on.
        regimes: The logit's predictions, then those of taste models.
    """

    coefficient: Estimate
    trained: int
    regimes: tuple[Regime, ...]


@dataclass(frozen=True)
class Forecast:
    """What is predicted of shelves with a deep discount on them.

    Attributes:
        rows: The shelves.
        utility: Utilities, up to a constant per visit [N].
        lift: What each product's own discount adds to its utility, 0 where it is less than 10% [N].
    """

    rows: ChoiceRows
    utility: FloatArray
    lift: FloatArray

    @property
    def deep(self) -> BoolArray:
        """The products at a deep discount [N]."""
        return self.rows.depth >= DEEP


Predictor = Callable[[FloatArray], Forecast]
"""Coefficients -> forecast."""
First = tuple[Fit, Predictor]
"""Coefficients behind a forecast, and the forecast as a function of them."""


def regime_check(rows: ChoiceRows) -> tuple[RegimeCheck, ChoiceRows]:
    """Train a conditional logit on alternatives less than 10% off and judge it on shelves with deeper discounts.

    Alternatives at deep discounts are taken off the shelves of training, with the purchases that chose them: a
    conditional logit holds for every subset of a shelf. Errors are the larger of those clustered by household and by
    week, and count those of the training.

    Args:
        rows: The market's purchases.

    Returns:
        The check, and the shelves it judged on.

    Raises:
        InvalidInput: Too few purchases at shallow or at deep prices, or an estimate that is no number.
    """
    shallow = rows.settled(rows.depth < DEEP)
    names = np.unique(shallow.product)
    judging = with_deals(rows.keep(np.isin(rows.product, names)))
    trained = int(shallow.chosen.sum())
    _check_numbers(trained, int((judging.chosen & (judging.depth >= DEEP)).sum()))
    # What never differs at shallow prices, as advertising may, has no coefficient.
    facts = shallow.moving(range(len(FACTS)))
    known = _features(shallow, facts, names)
    first = fit_logit("regimes.logit", known, shallow.visit, shallow.chosen, rows.visits).fit(rows.clusters)
    features = _features(judging, facts, names)
    discount = np.where(judging.depth >= DEEP, np.log(judging.price / judging.regular), 0.0)

    def forecast(values: FloatArray) -> Forecast:
        return Forecast(judging, features @ values, discount * values[0])

    regime = judged("logit on shallow prices", forecast(first.values), (first, forecast))
    return RegimeCheck(first.estimate("regimes.price", 0), trained, (regime,)), judging


def with_deals(rows: ChoiceRows) -> ChoiceRows:
    """Return the visits with a product at a deep discount on their shelf, all their rows."""
    deals = np.bincount(rows.visit, rows.depth >= DEEP, minlength=rows.visits)
    return rows.keep(deals[rows.visit] > 0)


def judged(name: str, said: Forecast, first: First | None = None) -> Regime:
    """Compare a forecast of deep discounts with what was chosen.

    Args:
        name: Who predicts.
        said: The forecast.
        first: Where the forecast is estimated, what it was estimated by; its errors count too.

    Raises:
        InvalidInput: An estimate that is no number.
    """
    at = said.deep
    depth, visit, chosen = said.rows.depth[at], said.rows.visit[at], said.rows.chosen[at]
    share = shares(said.utility, said.rows.visit)[at]
    observed, predicted = _means(name, said.rows, visit, chosen, share)
    bins = []
    for low, high in BINS:
        here = (depth >= low) & (depth < high)
        if chosen[here].sum() >= LEAST_CHOICES:
            means = _means(f"{name}, depth {low:.0%}", said.rows, visit[here], chosen[here], share[here])
            bins.append((float(depth[here].mean()), *means))
    observed_lift, predicted_lift = _lifts(name, said, first)
    slope = _slope(name, said, first)
    return Regime(name, observed, predicted, slope, observed_lift, predicted_lift, tuple(bins), len(np.unique(visit)))


def _means(
    name: str, rows: ChoiceRows, visit: IntArray, chosen: BoolArray, share: FloatArray
) -> tuple[Estimate, Estimate]:
    clusters = {key: np.unique(code[visit], return_inverse=True)[1] for key, code in rows.clusters.items()}
    ones = np.ones(len(visit))
    observed = mean_of(f"regimes.observed, {name}", chosen.astype(float), ones, clusters)
    return observed, mean_of(f"regimes.predicted, {name}", share, ones, clusters)


def _slope(name: str, said: Forecast, first: First | None) -> Estimate:
    label, rows, at = f"regimes.slope, {name}", said.rows, said.deep

    def features(forecast: Forecast) -> FloatArray:
        inside = np.clip(shares(forecast.utility, rows.visit)[at], 1e-12, 1 - 1e-12)
        return np.column_stack([np.log(inside) - np.log1p(-inside), np.ones(len(inside))])

    none = np.zeros(int(at.sum()))
    found, scores_at = fit_binary(label, features(said), none, rows.chosen[at], rows.visit[at], rows.visits)
    if first is None:
        return found.fit(rows.clusters).estimate(label, 0)
    fit, forecast = first
    return found.after(fit, lambda values: scores_at(features(forecast(values)), none)).estimate(label, 0)


def _lifts(name: str, said: Forecast, first: First | None) -> tuple[Estimate, Estimate]:
    """Return observed and predicted lift: the coefficient of the lift over its mean, beside what is left of utility."""
    rows, at = said.rows, said.deep
    label, mean = f"regimes.observed_lift, {name}", float(said.lift[at].mean())
    if not abs(mean) > 1e-12:
        raise invalid(label, f"a predicted lift of {mean:g}", "forecasts that answer to a product's own price")

    def parts(forecast: Forecast) -> tuple[FloatArray, FloatArray]:
        return (forecast.lift / forecast.lift[at].mean())[:, None], forecast.utility - forecast.lift

    feature, offset = parts(said)
    found = fit_logit(label, feature, rows.visit, rows.chosen, rows.visits, offset)
    clusters = {key: np.unique(code[rows.visit[at]], return_inverse=True)[1] for key, code in rows.clusters.items()}
    predicted = mean_of(f"regimes.predicted_lift, {name}", said.lift[at], np.ones(int(at.sum())), clusters)
    if first is None:
        return found.fit(rows.clusters).estimate(label, 0), predicted
    fit, forecast = first

    def scores_at(values: FloatArray) -> FloatArray:
        feature, offset = parts(forecast(values))
        probability = shares(offset + feature @ found.values, rows.visit)
        sums: FloatArray = logit_scores(feature, probability, rows.visit, rows.chosen, rows.visits).sum(0)
        return sums

    # The logit's lift is its price coefficient times the mean discount, whose own error is far smaller.
    predicted = fit.estimate(f"regimes.predicted_lift, {name}", 0).scaled(mean / float(fit.values[0]))
    return found.after(fit, scores_at).estimate(label, 0), predicted


def _features(rows: ChoiceRows, facts: list[int], names: IntArray) -> FloatArray:
    """Return log price, some of the facts and a dummy per product of `names` but the first [N, K]."""
    dummies = np.eye(len(names))[np.searchsorted(names, rows.product)][:, 1:]
    return np.column_stack([np.log(rows.price), rows.facts[:, facts], dummies])


def _check_numbers(shallow: int, deep: int) -> None:
    others = "--checks instruments,events run without"
    for where, number in (("less than 10% off", shallow), ("10% off or more", deep)):
        if number < LEAST_DEEP:
            raise invalid(
                "regimes", f"{number} purchases at prices {where}", f"at least {LEAST_DEEP} for the check; {others}"
            )
