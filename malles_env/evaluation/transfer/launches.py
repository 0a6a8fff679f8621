"""Launches: does a model rank new products by their first weeks' sales from their names alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from malles_env.evaluation.metrics import Estimate
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import FloatArray, IntArray

_RESAMPLES = 500


@dataclass(frozen=True)
class Launches:
    """Products launched after training, before the same customers.

    Attributes:
        data: One occasion per launch and customer, cold; `chosen` is the launch.
        launch: Row of the launch [B].
        market: Code of each launch's category [L].
        sales: Purchases in its first weeks [L].
    """

    data: TasteData
    launch: IntArray
    market: IntArray
    sales: FloatArray

    @classmethod
    def of(cls, data: TasteData, products: Sequence[str], markets: Sequence[str], sales: Sequence[int]) -> Launches:
        """Return the launches of trials.

        Args:
            data: The trials.
            products: Names of the launched products [L].
            markets: Their categories [L].
            sales: Purchases in their first weeks [L].
        """
        place = {name: at for at, name in enumerate(products)}
        chosen = data.product[np.arange(len(data)), data.chosen - 1]
        launch = np.array([place[data.products.names[at]] for at in chosen], dtype=np.int64)
        codes = np.unique(np.array(markets), return_inverse=True)[1].astype(np.int64)
        return cls(data.cold(), launch, codes, np.asarray(sales, dtype=np.float64))

    def expected(self, prediction: Prediction) -> FloatArray:
        """Return each launch's mean probability over the customers [L]."""
        place = (np.arange(len(self.data)), self.data.chosen - 1)
        share = np.exp(prediction.inside()[place])
        return np.bincount(self.launch, weights=share) / np.bincount(self.launch)

    def rank_correlation(self, expected: FloatArray, seed: int = 0) -> Estimate:
        """Return Spearman's correlation with sales, both less their category's mean in logs; bootstrap over launches.

        Categories are centred since a launch competes within its category; those with one launch say nothing.

        Args:
            expected: Of each launch [L].
            seed: Seed of the bootstrap.
        """
        predicted, sold = (_centred(np.log(values), self.market) for values in (expected, self.sales))
        many = np.bincount(self.market)[self.market] > 1
        predicted, sold = predicted[many], sold[many]
        rng = np.random.default_rng(seed)
        again = [
            _spearman(predicted[rows], sold[rows])
            for rows in rng.integers(len(predicted), size=(_RESAMPLES, len(predicted)))
        ]
        return Estimate(_spearman(predicted, sold), float(np.std(again, ddof=1)))


def _centred(values: FloatArray, group: IntArray) -> FloatArray:
    means = np.bincount(group, weights=values) / np.maximum(np.bincount(group), 1)
    return np.round(values - means[group], 9)  # what is alike but for rounding ties


def _spearman(one: FloatArray, other: FloatArray) -> float:
    """Return the rank correlation; NaN where either is constant."""
    first, second = rankdata(one), rankdata(other)
    if first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
