"""Conditional logit on all facts, by maximum likelihood: the economist's row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.evaluation.baselines.base import Row, check_size, in_chunks
from malles_env.evaluation.baselines.fitting import Scale, minimize
from malles_env.evaluation.baselines.incidence import IncidenceLogit
from malles_env.evaluation.baselines.shares import option_units, with_odds
from malles_env.evaluation.baselines.table import AT, COLUMNS, Table, purchases, table, thinned
from malles_env.evaluation.baselines.units import OrderedLogit
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction, log_softmax
from malles_env.type_aliases import FloatArray

SAMPLE = 150_000
"""Purchases the 29 coefficients are fitted on; more change nothing."""
VISITS = 150_000
"""Occasions the purchase incidence is fitted on."""
FEWEST = 10 * len(COLUMNS)
"""Training purchases needed: ten per coefficient (Peduzzi et al. 1996, doi 10.1016/S0895-4356(96)00236-3)."""
_RESPONSE_SAMPLE = 2000


@dataclass(frozen=True)
class ConditionalLogit(Row):
    """Conditional logit given a purchase, a logit of buying at all with its inclusive value, and ordered units.

    Attributes:
        weights: One coefficient per entry of `COLUMNS`.
        incidence: The logit of buying at all.
        units: The ordered logit of units.
        delta: How the log of the mean extra units answers to discount depth, on average.
    """

    name = "conditional_logit"
    weights: FloatArray
    incidence: IncidenceLogit
    units: OrderedLogit
    delta: float

    @classmethod
    def fit(
        cls, train: TasteData, validation: TasteData, seed: int = 0, *, identities: bool = True
    ) -> ConditionalLogit:
        """Fit the three parts one after the other."""
        check_size(train, FEWEST, "training")
        bought = purchases(train, SAMPLE, seed)
        rows = table(bought)
        weights = fit_choice(rows)
        visits = thinned(train, VISITS, seed)
        seen = table(visits)
        incidence = IncidenceLogit.fit(visits, seen.shelf, inclusive(seen, seen.options @ weights))
        units = OrderedLogit.fit(rows, bought.quantity)
        return cls(weights, incidence, units, _response(units, table(thinned(bought, _RESPONSE_SAMPLE, seed))))

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions with one price sensitivity for all."""
        return in_chunks(data, self._part)

    def _part(self, data: TasteData) -> Prediction:
        rows = table(data)
        return self.whole(data, rows, rows.options @ self.weights)

    def whole(self, data: TasteData, rows: Table, scores: FloatArray, worth: FloatArray | None = None) -> Prediction:
        """Return predictions from utilities of the alternatives.

        Args:
            data: The occasions.
            rows: Their table.
            scores: Utilities the choice among options follows [N].
            worth: Utilities the purchase follows, by default the same [N].
        """
        odds = self.incidence.odds(data, rows.shelf, inclusive(rows, scores if worth is None else worth))
        units, quantity = option_units(self.units.of(rows), rows)
        return Prediction(
            utilities=with_odds(log_softmax(rows.wide(scores)), odds, data),
            units=units,
            quantity=quantity,
            beta=np.full(rows.shape, -self.weights[AT["log price"]]),
            gamma=np.full(len(data), self.weights[AT["discount"]]),
            delta=np.full(len(data), self.delta),
        )


def fit_choice(rows: Table) -> FloatArray:
    """Return the coefficients of highest likelihood given a purchase, in double precision.

    Args:
        rows: Occasions with a purchase.
    """
    spread = Scale.of(rows.options).spread
    features = rows.options / spread
    bought = features[rows.picked].mean(0)
    count = len(rows.starts)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scores = features @ weights
        top = np.maximum.reduceat(scores, rows.starts)
        mass = np.exp(scores - top[rows.row])
        sums = np.add.reduceat(mass, rows.starts)
        value = float((np.log(sums) + top).mean() - bought @ weights)
        return value, features.T @ (mass / sums[rows.row]) / count - bought

    return minimize(loss, np.zeros(features.shape[1])) / spread


def _response(units: OrderedLogit, rows: Table) -> float:
    """Return how the log of the mean extra units answers to discount depth, from no discount to a quarter."""
    extra = []
    for depth in (0.0, 0.25):
        options = rows.options.copy()
        options[:, AT["discount"]] = depth
        shares = np.exp(units.of(replace(rows, options=options)))
        extra.append(shares @ np.arange(shares.shape[1]))
    return float(np.log(extra[1] / extra[0]).mean() / 0.25)


def inclusive(rows: Table, scores: FloatArray) -> FloatArray:
    """Return the log of the summed exponentials of each shelf's utilities [B]."""
    top = np.maximum.reduceat(scores, rows.starts)
    return top + np.log(np.add.reduceat(np.exp(scores - top[rows.row]), rows.starts))
