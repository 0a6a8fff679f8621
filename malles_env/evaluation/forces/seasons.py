"""Seasons: weeks in which more or fewer consumers buy at all than households, shelves and prices explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.baselines.incidence import IncidenceLogit
from malles_env.evaluation.baselines.logit import inclusive
from malles_env.evaluation.forces.estimates import Finding, ForceEstimate, judge
from malles_env.evaluation.forces.likelihood import Model, fit, per_purchase
from malles_env.evaluation.forces.log import REPEATS, MarketLog
from malles_env.evaluation.metrics import Estimate, clustered
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

HIGHEST = 0.95
"""Largest persistence; a year of weeks distinguishes none above it from a trend."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


@dataclass(frozen=True)
class Seasons:
    """A stationary AR(1) of weekly effects on the log odds of buying.

    Attributes:
        level: Their mean.
        sd: Standard deviation net of sampling noise, at least 0.
        persistence: Lag-1 autocorrelation, in [0, `HIGHEST`].
    """

    level: float
    sd: float
    persistence: float

    def covariance(self, first: IntArray, second: IntArray) -> FloatArray:
        """Return covariances of the effects of weeks [n] and [m], [n, m]."""
        gap = np.abs(first[:, None] - second)
        # The only power that NumPy would give as 1: without persistence other weeks say nothing.
        return self.sd**2 * np.where(gap == 0, 1.0, self.persistence**gap)

    def given(self, effects: Effects, weeks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of weeks' effects less the level, shrunk, given noisy ones of some weeks [m] each.

        Args:
            effects: What was measured; may be of no week.
            weeks: Weeks asked for [m].
        """
        across = self.covariance(weeks, effects.week)
        known = self.covariance(effects.week, effects.week) + np.diag(effects.error**2)
        gained = np.linalg.solve(known, across.T).T if len(effects.week) else across
        mean = gained @ (effects.value - self.level)
        return mean, np.maximum(self.sd**2 - (gained * across).sum(1), 0.0)


@dataclass(frozen=True)
class Effects:
    """Weekly effects on the log odds of buying with their sampling errors.

    Attributes:
        week: [W].
        value: [W].
        error: Standard errors, clustered by household, above 0 [W].
    """

    week: IntArray
    value: FloatArray
    error: FloatArray

    def take(self, rows: BoolArray) -> Effects:
        """Return some weeks."""
        return Effects(self.week[rows], self.value[rows], self.error[rows])


@dataclass(frozen=True)
class Visits:
    """Visits of households that had bought before: their scores, and whether they bought, [n] each."""

    score: FloatArray
    bought: FloatArray
    household: IntArray
    week: IntArray

    def take(self, rows: BoolArray) -> Visits:
        """Return some visits."""
        return Visits(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def likelihood(self, shift: FloatArray | float) -> FloatArray:
        """Return the log-likelihood of each visit with scores shifted [n]."""
        moved = self.score + shift
        return self.bought * moved - np.logaddexp(0.0, moved)


def seasons(log: MarketLog) -> ForceEstimate:
    """Return standard deviation and persistence of the log number of consumers, net of prices and sampling noise."""
    known = log.data.history_total > 0
    everything = np.ones(len(log.data), dtype=bool)
    visits = _scored(log, everything).take(known)
    effects = week_effects(visits)
    found = fit_seasons(effects)
    share = _buying_less(visits, log.data.log_sampling[known].astype(np.float64))
    drops = [fit_seasons(effects.take(effects.week != week)) for week in effects.week]
    effect = {"sd": share * found.sd, "persistence": found.persistence}
    error = {
        "sd": share * _jackknife([drop.sd for drop in drops]),
        "persistence": _jackknife([drop.persistence for drop in drops]),
    }
    against = () if found.sd > 0 else ("weeks differ no more than sampling noise",)
    gains = {"households": _new_households(log), "time": _later_weeks(log)}
    return judge(Finding("seasons", effect, error, gains, against), log.market)


def week_effects(visits: Visits) -> Effects:
    """Return the effect of each week, others' prices and households held fixed, by maximum likelihood."""
    found = []
    for week in np.unique(visits.week):
        part = visits.take(visits.week == week)
        if 0 < part.bought.sum() < len(part.bought):
            found.append((week, *_week_effect(part)))
    week, value, error = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return Effects(week.astype(np.int64), value, error)


def fit_seasons(effects: Effects) -> Seasons:
    """Return the seasons behind noisy effects: moments of DerSimonian and Laird, and the lag-1 autocovariance.

    Sampling noise is independent between weeks, so it adds to the variance and not to the autocovariance.
    """
    weight = effects.error**-2.0
    level = float(weight @ effects.value / weight.sum())
    spread = float(weight @ (effects.value - level) ** 2) - (len(weight) - 1)
    variance = max(0.0, spread / float(weight.sum() - (weight**2).sum() / weight.sum()))
    if variance > 0:
        pooled = 1.0 / (effects.error**2 + variance)
        level = float(pooled @ effects.value / pooled.sum())
    rest = effects.value - level
    beside = np.diff(effects.week) == 1
    lagged = float((rest[1:] * rest[:-1])[beside].mean()) if beside.any() else 0.0
    persistence = float(np.clip(lagged / variance, 0.0, HIGHEST)) if variance > 0 else 0.0
    return Seasons(level, float(np.sqrt(variance)), persistence)


def _week_effect(part: Visits) -> tuple[float, float]:
    """Return the shift of one week's scores and its error."""
    shift = 0.0
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-(part.score + shift)))
        step = float((part.bought - chance).sum() / (chance * (1.0 - chance)).sum())
        shift += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-9:
            break
    _, code = np.unique(part.household, return_inverse=True)
    scores = np.bincount(code, weights=part.bought - chance)
    return shift, float(np.sqrt((scores**2).sum()) / (chance * (1.0 - chance)).sum())


def _scored(log: MarketLog, train: BoolArray) -> Visits:
    """Return all visits with scores of a purchase logit fitted to some of them, worth of the shelf included.

    Only households with an earlier purchase are fitted to: among the others, those who never buy later are missing.
    """
    data, rows = log.data, log.rows
    bought, features = log.purchases(), log.features()
    model = Model(bought.features(), np.zeros((len(bought.rows.row), 0)))
    part = train[data.chosen > 0][bought.rows.row]
    weights = fit(model, bought.choices(), part).weights
    worth = inclusive(rows, features.columns @ weights)
    used = train & (data.history_total > 0)
    logit = IncidenceLogit.fit(data.take(used), rows.shelf[used], worth[used])
    score = logit.odds(data, rows.shelf, worth) - data.log_sampling
    return Visits(score, (data.chosen > 0).astype(np.float64), data.household, log.week)


def _new_households(log: MarketLog) -> Estimate:
    """Return the gain of one half's shrunk week effects for the other half's visits."""
    known, value = log.data.history_total > 0, np.zeros(len(log.data))
    for train, test in log.splits()["households"]:
        visits = _scored(log, train)
        effects = week_effects(visits.take(known & train))
        found = fit_seasons(effects)
        shift = np.zeros(log.weeks)
        shift[effects.week] = found.given(effects, effects.week)[0]
        part = visits.take(test)
        value[test] += (part.likelihood(found.level + shift[part.week]) - part.likelihood(found.level)) / REPEATS
    bought = (log.data.chosen > 0).astype(np.float64)
    return per_purchase(value[known], bought[known], (log.data.household[known], log.week[known]))


def _later_weeks(log: MarketLog) -> Estimate:
    """Return the gain of seasons whose draws are not known for later weeks, each forecast from the weeks before it.

    The log score of all visits of a week together, its effect integrated out: the way a market draws its seasons.
    """
    known, gained, bought = log.data.history_total > 0, [], []
    for train, test in log.splits()["time"]:
        visits = _scored(log, train)
        found = fit_seasons(week_effects(visits.take(known & train)))
        for week in np.unique(log.week[test]):
            before = week_effects(visits.take(known & (log.week < week)))
            part = visits.take(known & (log.week == week))
            gained.append(_week_gain(part, found, before))
            bought.append(part.bought.sum())
    weeks = np.arange(len(gained))
    return per_purchase(np.array(gained), np.array(bought), (weeks,))


def _week_gain(part: Visits, found: Seasons, before: Effects) -> float:
    if found.sd == 0:
        return 0.0
    mean, variance = found.given(before, part.week[:1])
    shifts = mean[0] + np.sqrt(variance[0]) * _NODES
    whole = np.array([part.likelihood(found.level + shift).sum() for shift in shifts])
    top = whole.max()
    chance = float(_WEIGHTS @ np.exp(whole - top) / _WEIGHTS.sum())
    return top + float(np.log(chance)) - float(part.likelihood(found.level).sum())


def _buying_less(visits: Visits, log_sampling: FloatArray) -> float:
    """Return how much the log of purchases moves per unit of log odds, the sampling of idle visits undone."""
    chance = 1.0 / (1.0 + np.exp(-(visits.score + log_sampling)))
    weight = np.where(visits.bought > 0, 1.0, np.exp(-log_sampling))
    return 1.0 - float(weight @ chance**2 / (weight @ chance))


def _jackknife(values: list[float]) -> float:
    """Return the standard error of a statistic from its values without each week."""
    return clustered(np.array(values), np.arange(len(values))).se * (len(values) - 1)
