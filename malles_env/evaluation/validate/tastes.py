"""What a taste model says on the same purchases: choices, and what a product's own price does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from malles_env.evaluation.validate.deals import DEEP
from malles_env.evaluation.validate.estimation.estimates import Estimate, mean_of
from malles_env.evaluation.validate.regimes import Forecast, Regime, judged
from malles_env.evaluation.validate.rows import ChoiceRows
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.preference.data.dataset import TasteData
    from malles_env.preference.prediction import Prediction

STEP = 0.1
"""Own prices are moved by this much to both sides."""
Predict = Callable[["TasteData"], "Prediction"]


@dataclass(frozen=True)
class Said:
    """A taste model before a market's purchases.

    Attributes:
        name: The model's name.
        predict: Its predictions.
        data: The purchases, in the order of the visits of `rows`.
        rows: The same purchases as one long table.
        limit: Purchases that prices are moved on, at most.
        seed: Seed of their draw.
    """

    name: str
    predict: Predict
    data: TasteData
    rows: ChoiceRows
    limit: int
    seed: int

    def expected(self, product: IntArray, week: IntArray) -> FloatArray:
        """Return how many purchases it expects of products in weeks, given the visits that bought something [R]."""
        rows = self.rows
        inside = np.exp(self.predict(self.data).inside())[rows.visit, rows.column]
        first, length = int(rows.week.min()), int(rows.week.max() - rows.week.min()) + 1
        cell = rows.product * length + rows.week[rows.visit] - first
        sums = np.bincount(cell, inside, minlength=len(rows.products) * length)
        return sums[product * length + week - first]

    def price_row(self) -> tuple[Estimate, Estimate, int]:
        """Return price coefficient, elasticity of choice given a purchase, and the purchases they were measured on.

        Each product's own price is moved to 10% less and 10% more, all else as it was. The coefficient is the change of
        its log odds per change of log price, the elasticity that of its log share; both weighted by shares, errors
        clustered by household and week, the larger reported.
        """
        drawn = self._drawn(np.ones(len(self.rows.visit), dtype=bool))
        data = self.data.take(drawn)
        low, high = (own_odds(self.predict, data, data.price * (1 + step)) for step in (-STEP, STEP))
        inside = np.where(data.mask, np.exp(self.predict(data).inside()), 0.0)
        run = np.log((1 + STEP) / (1 - STEP))
        slope = np.where(data.mask, (high - low) / run, 0.0)
        share = np.where(data.mask, (_log_share(high) - _log_share(low)) / run, 0.0)
        # Weights sum to 1 within a visit.
        clusters = self._clusters(drawn)
        ones = np.ones(len(drawn))
        return (
            mean_of(f"instruments.coefficient, {self.name}", (inside * slope).sum(1), ones, clusters),
            mean_of(f"instruments.elasticity, {self.name}", (inside * share).sum(1), ones, clusters),
            len(drawn),
        )

    def regime(self, judging: ChoiceRows) -> Regime:
        """Return how it predicts shelves with deep discounts.

        Args:
            judging: Rows of such shelves, from `regimes.with_deals`.
        """
        drawn = self._drawn(np.isin(self.rows.visit, judging.visit))
        rows = judging.keep(np.isin(judging.visit, drawn))
        data = self.data.take(drawn)
        at = (np.searchsorted(drawn, rows.visit), rows.column)
        utility = self.predict(data).inside()
        undone = data.price.copy()
        deep = rows.depth >= DEEP
        undone[at] = np.where(deep, rows.regular, rows.price)
        # Odds before and after differ by what the own price alone adds to a product's utility.
        lift = _log_odds(utility) - own_odds(self.predict, data, undone)
        return judged(self.name, Forecast(rows, utility[at], np.where(deep, lift[at], 0.0)))

    def _drawn(self, wanted: BoolArray) -> IntArray:
        visits = np.unique(self.rows.visit[wanted])
        if len(visits) <= self.limit:
            return visits
        return np.sort(np.random.default_rng(self.seed).permutation(visits)[: self.limit])

    def _clusters(self, drawn: IntArray) -> dict[str, IntArray]:
        return {key: np.unique(code[drawn], return_inverse=True)[1] for key, code in self.rows.clusters.items()}


def own_odds(predict: Predict, data: TasteData, price: NDArray[np.floating]) -> FloatArray:
    """Return log odds given a purchase after each product's own price alone is changed, one product at a time.

    Works for any model of choices: nothing is assumed of how prices enter, or that a price leaves other products'
    utilities alone.

    Args:
        predict: The model.
        data: The purchases.
        price: New prices in money [B, J].

    Returns:
        Log odds [B, J]; 0 in the padding.
    """
    found = np.zeros(data.mask.shape)
    for place in range(data.mask.shape[1]):
        there = np.flatnonzero(data.mask[:, place])
        if not len(there):
            continue
        part = data.take(there)
        moved = part.price.copy()
        moved[:, place] = price[there, place]
        found[there, place] = _log_odds(predict(replace(part, price=moved)).inside())[:, place]
    return found


def taste_data(occasions: Occasions, market: str) -> TasteData:
    """Return a market's purchases in the order of `choice_rows`."""
    from malles_env.preference.data.dataset import from_occasions

    part = occasions.select(markets=[market])
    return from_occasions(part.rows(np.flatnonzero(part.occasions["chosen"].to_numpy() > 0)))


def _log_odds(inside: FloatArray) -> FloatArray:
    """Return log odds of log probabilities; an option alone on its shelf counts as nearly sure."""
    capped = np.minimum(inside, -1e-12)
    odds: FloatArray = capped - np.log(-np.expm1(capped))
    return odds


def _log_share(odds: FloatArray) -> FloatArray:
    share: FloatArray = -np.logaddexp(0.0, -odds)
    return share
