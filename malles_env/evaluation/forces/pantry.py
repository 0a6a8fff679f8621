"""Pantry: whether deals of the last weeks lower what is bought now, weeks held fixed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from malles_env.evaluation.baselines.table import SHELF_AT
from malles_env.evaluation.forces.choice import SAME
from malles_env.evaluation.forces.estimates import LAG_TEST, Finding, ForceEstimate, absent, judge
from malles_env.evaluation.forces.likelihood import Choices, Model, Shared, best, covariances, errors, fit, gains
from malles_env.evaluation.forces.log import MarketLog
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

WINDOW = 4
"""Weeks whose deals the test looks back on; purchases in them decide nothing that the test is estimated beside."""
LAGS = 8
"""Weeks of deals that a stock is made of."""
DECAYS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Shares of a deal's mark on later units that are left a week later, which the training rows choose from."""
CONTROLS = ("log elsewhere", "store brands elsewhere", "deals elsewhere", "log options")
_STEP = 1e-3


@dataclass(frozen=True)
class Exposed:
    """Visits of households that bought before the window, by week.

    Attributes:
        choices: A week a group, a visit a row; what is bought are units [V].
        shared: What the visits differ in besides past deals, how cheap the shelf is now among it.
        cheap: How cheap the household's products are now (column 0) and were 1..`LAGS` weeks ago [V, 1 + LAGS].
        visit: Row of the visit in the log [V].
    """

    choices: Choices
    shared: Shared
    cheap: FloatArray
    visit: IntArray

    def stock(self, decay: float) -> FloatArray:
        """Return what past deals left in the pantry, per unit of the present response to them [V]."""
        return self.cheap[:, 1:] @ decay ** np.arange(LAGS)

    def model(self, past: FloatArray, signed: bool) -> Model:
        """Return the model with a force that lowers purchases by `past` [V]."""
        return Model(self.shared, -past[:, None], signed=signed)

    @cached_property
    def everything(self) -> BoolArray:
        """All rows [V]."""
        return np.ones(len(self.visit), dtype=bool)


def pantry(log: MarketLog) -> ForceEstimate:
    """Return the dip after deals, and the pantry of the market's form that would make it.

    Units of visits are regressed on how cheap the household's products are now and were in the last `WINDOW` weeks,
    with an effect per week (the conditional likelihood of a Poisson regression). A household's products are weighed by
    its purchases before that window: who bought on a deal last week must not seem exposed to it by having bought.
    """
    seen = _exposed(log)
    if not (np.abs(seen.cheap) > SAME).any():
        return absent("pantry", "no earlier buyer met a price that changes")
    effect, error, against = _lag_test(seen)
    models = [seen.model(seen.stock(decay), signed=True) for decay in DECAYS]
    fitted = _stock(log, seen, models) if effect["now"] > 0 else None
    if fitted is None:
        against.append("no pantry of the market's form fits")
    else:
        effect, error = effect | fitted[0], error | fitted[1]
        keep = float(f"{fitted[0]['keep']:.3g}")  # as a scenario would hold it
        if keep >= 1.0:
            against.append(f"no pantry of the market's form: keep {keep:g}, not below 1")
    purchases = (seen.choices.bought > 0).astype(np.float64)
    plain = Model(seen.shared, models[0].own[:, :0])
    judged = {}
    for kind, splits in log.splits().items():
        rows = [(train[seen.visit], test[seen.visit]) for train, test in splits]
        judged[kind] = gains(plain, models, seen.choices, rows, purchases, True)
    return judge(Finding("pantry", effect, error, judged, tuple(against)), log.market)


def _lag_test(seen: Exposed) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Return effects of present and past cheapness on log units, the borrowed part of a bump, and objections."""
    model = seen.model(seen.cheap[:, 1 : 1 + WINDOW].mean(1), signed=False)
    found = fit(model, seen.choices, seen.everything)
    matrices = covariances(model, found, seen.choices, seen.cheap[:, :0], True)
    now, lag = float(found.weights[-2]), -float(found.weights[-1])
    now_error, lag_error = map(float, errors(matrices)[-2:])
    # Each of the window's weeks sells less by a part of `lag`, in all by `lag`; the bump itself is `now`.
    slope = np.array([lag / now**2, 1.0 / now])
    dip_error = max(float(np.sqrt(slope @ matrix[-2:, -2:] @ slope)) for matrix in matrices)
    effect = {"now": now, "lag": lag, "dip": -lag / now}
    ratio = lag / lag_error
    against = (
        [] if ratio < LAG_TEST else [f"past deals lower present units with t = {ratio:.1f}, not below {LAG_TEST:g}"]
    )
    return effect, {"now": now_error, "lag": lag_error, "dip": dip_error}, against


def _stock(log: MarketLog, seen: Exposed, models: list[Model]) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return theta and keep of the market's pantry with their errors; None where none fits.

    See `as_pantry`; its `past` is the coefficient of `Exposed.stock`.
    """
    at, found = best(models, seen.choices, seen.everything)
    now, past = map(float, found.weights[-2:])
    if past <= 0 or now <= 0:
        return None
    decay = DECAYS[at]
    derivative = -past * (seen.stock(decay + _STEP) - seen.stock(decay - _STEP)) / (2 * _STEP)
    matrices = covariances(models[at], found, seen.choices, derivative[:, None], True)
    idle = np.exp(-log.data.log_sampling[seen.visit]) * (seen.choices.bought == 0)
    staying = float(idle.sum() / (idle.sum() + (seen.choices.bought > 0).sum()))
    ratio = np.array([-past / now**2, 1.0 / now, 0.0])
    slopes = {"theta": ratio / staying, "keep": ratio + np.array([0.0, 0.0, 1.0])}
    error = {
        name: max(float(np.sqrt(slope @ matrix[-3:, -3:] @ slope)) for matrix in matrices)
        for name, slope in slopes.items()
    }
    theta, keep = as_pantry(now, past, decay, staying)
    return {"theta": theta, "keep": keep}, error


def as_pantry(now: float, past: float, decay: float, staying: float) -> tuple[float, float]:
    """Return theta and keep of the market's pantry behind units x that follow past deals.

    Around usual prices a deal that makes products cheaper by c sells about now c more of the mean, and utility -theta I
    moves log units by -theta n I, with n the chance of buying nothing: x / x_usual - 1 = now c - theta n I. So the
    market's I' = keep I + x / x_usual - 1 is I' = (keep - theta n) I + now c: a stock that keeps people from buying
    shrinks faster than it is used up. Where units fall by `past` per sum of decay^i c over the deals i weeks before the
    last, -theta n I is that fall, so that theta = past / (now n) and keep = decay + past / now.

    Args:
        now: Response of log units to a deal of the week.
        past: Fall of log units per unit of that sum.
        decay: Of the sum, in [0, 1).
        staying: n, the chance of buying nothing.
    """
    return past / (now * staying), decay + past / now


def _exposed(log: MarketLog) -> Exposed:
    data = log.data
    older = data.past_known & (data.past_ago > WINDOW)
    match = (data.product[:, :, None] == data.past[:, None, :]) & older[:, None, :]
    # What is past the last purchases shown one by one is older than the window wherever those fill their places.
    total = data.history_total - (data.past_known & ~older).sum(1)
    visit = np.flatnonzero((total > 0) & (log.week >= WINDOW))
    visit = visit[np.argsort(log.week[visit], kind="stable")]
    worth = (match.sum(2) + data.long_share)[data.mask]
    cheap = _cheapness(log, worth.astype(np.float64))[visit]
    rate = np.log((total + 0.5) / (np.maximum(data.weeks_seen - WINDOW, 0) + 5.0))
    features = log.rows.shelf[:, [SHELF_AT[name] for name in CONTROLS]]
    columns = np.column_stack([rate, np.log1p(total), features])[visit].astype(np.float64)
    shared = Shared(np.column_stack([columns, cheap[:, 0]]), np.zeros(columns.shape[1] + 1))
    offset = np.where(data.chosen > 0, 0.0, -data.log_sampling)[visit]
    week, household = log.week[visit], data.household[visit]
    units = data.quantity[visit].astype(np.float64)
    return Exposed(Choices(week, units, offset, household, week), shared, cheap, visit)


def _cheapness(log: MarketLog, worth: FloatArray) -> FloatArray:
    """Return how far below their products' usual the prices are, weighed by `worth` [N]: now and before [B, 1 + LAGS].

    A product's usual is its mean over stores and weeks; weeks before the first one count as usual.
    """
    usual = np.nanmean(log.prices, axis=(0, 2))[log.product]
    columns = []
    for back in range(1 + LAGS):
        below = usual - log.at(log.prices, back)
        weight = np.where(np.isfinite(below), worth, 0.0)
        sums = [np.bincount(log.rows.row, weights=value) for value in (weight * np.nan_to_num(below), weight)]
        columns.append(sums[0] / np.maximum(sums[1], 1e-12))
    return np.stack(columns, axis=1)
