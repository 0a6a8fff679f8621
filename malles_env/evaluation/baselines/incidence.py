"""Whether anything is bought at all: base rates of markets, and a logit on the household and its shelf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from malles_env.evaluation.baselines.fitting import Scale, minimize
from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class MarketRates:
    """Log odds of a purchase per shopping week by market name, the sampling of no-purchase visits undone."""

    odds: dict[str, float]

    @classmethod
    def fit(cls, train: TasteData) -> MarketRates:
        """Count purchases and no-purchase visits of each market that occurs."""
        odds = {}
        for at in np.unique(train.market):
            rows = train.market == at
            bought = int((rows & (train.chosen > 0)).sum())
            idle = int(rows.sum()) - bought
            sampling = float(train.log_sampling[rows].mean())
            odds[train.markets[at]] = float(np.log((bought + 0.5) / (idle + 0.5))) + sampling
        return cls(odds)

    def of(self, data: TasteData) -> FloatArray:
        """Return the log odds for each occasion [B]; the mean over markets for an unknown one or a cold start."""
        usual = float(np.mean(list(self.odds.values())))
        known = np.array([self.odds.get(name, usual) for name in data.markets])[data.market]
        return np.where(data.known, known, usual)


@dataclass(frozen=True)
class IncidenceLogit:
    """Logit of buying at all on the base rate, the household's facts and the worth of the shelf."""

    rates: MarketRates
    scale: Scale
    weights: FloatArray

    @classmethod
    def fit(cls, train: TasteData, shelf: NDArray[np.floating], worth: FloatArray) -> IncidenceLogit:
        """Fit by maximum likelihood.

        Args:
            train: Occasions, no-purchase visits included.
            shelf: Facts of the households [B, G].
            worth: Log of the summed exponentials of the shelf's utilities [B].
        """
        rates = MarketRates.fit(train)
        raw = _features(rates, train, shelf, worth)
        scale = Scale.of(raw)
        features, offset = scale(raw), -train.log_sampling.astype(np.float64)
        bought = (train.chosen > 0).astype(np.float64)

        def loss(weights: FloatArray) -> tuple[float, FloatArray]:
            score = features @ weights + offset
            slope = 1.0 / (1.0 + np.exp(-score)) - bought
            value = np.logaddexp(0.0, score) - bought * score
            return float(value.mean()), features.T @ slope / len(slope)

        return cls(rates, scale, minimize(loss, np.zeros(features.shape[1])))

    def odds(self, data: TasteData, shelf: NDArray[np.floating], worth: FloatArray) -> FloatArray:
        """Return the log odds of a purchase per shopping week [B]."""
        whole: FloatArray = self.scale(_features(self.rates, data, shelf, worth)) @ self.weights
        return whole


def _features(rates: MarketRates, data: TasteData, shelf: NDArray[np.floating], worth: FloatArray) -> FloatArray:
    deal = np.where(data.mask, data.discount, 0.0).max(1)
    shown = (data.promotion & data.mask).mean(1)
    return np.column_stack([shelf, rates.of(data), worth, deal, shown]).astype(np.float64)
