"""What a taste model must beat: popularity, last purchase, conditional logit, on the same occasions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.heads import SHARE_FLOOR
from malles_env.alignment.losses import LARGEST_QUANTITY
from malles_env.alignment.prediction import Prediction, log_softmax

FloatArray = NDArray[np.float64]
LOGIT_FEATURES = (
    "log price",
    "discount",
    "promotion",
    "log share",
    "share deviation",
    "bought before",
    "own share",
    "log urn",
    "last",
    "buys here",
    "own rate",
    "market rate",
)
_URN = 1.0  # weight of the population in the household's urn, in purchases (data: .96)


@dataclass(frozen=True)
class MarketRates:
    """Base rates of each market in the training sample, by market name.

    Attributes:
        odds: Log odds of a purchase per shopping week, the sampling of no-purchase visits undone.
        extra: Log of the mean units beyond the first.
    """

    odds: dict[str, float]
    extra: dict[str, float]

    @classmethod
    def fit(cls, train: TasteData) -> MarketRates:
        """Count purchases and no-purchase visits."""
        names = dict.fromkeys(train.markets)
        odds, extra = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        for at, name in enumerate(train.markets):
            rows = train.market == at
            bought = rows & (train.chosen > 0)
            idle = rows & (train.chosen == 0)
            units = np.minimum(train.quantity[bought], LARGEST_QUANTITY)
            odds[name] = float(np.log((bought.sum() + 0.5) / (idle.sum() + 0.5)) + train.log_sampling[rows].mean())
            extra[name] = float(np.log((units - 1).mean() + 0.01)) if bought.any() else -1.0
        return cls(odds, extra)

    def of(self, data: TasteData) -> tuple[FloatArray, FloatArray]:
        """Return both rates for each occasion [B]; the mean over markets for an unknown one."""
        columns = []
        for table in (self.odds, self.extra):
            usual = float(np.mean(list(table.values())))
            columns.append(np.array([table.get(name, usual) for name in data.markets])[data.market])
        return columns[0], columns[1]


@dataclass(frozen=True)
class Popularity:
    """Long-run shares, and each market's purchase rate."""

    rates: MarketRates

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions without prices or history."""
        odds, extra = self.rates.of(data)
        shelf = np.where(data.mask, np.log(data.reference_share + SHARE_FLOOR), -np.inf)
        return _with_outside(log_softmax(shelf), odds, extra, data)


@dataclass(frozen=True)
class LastPurchase:
    """The last purchase with probability `weight`, else popularity."""

    rates: MarketRates
    weight: float

    @classmethod
    def fit(cls, train: TasteData, rates: MarketRates) -> LastPurchase:
        """Choose the weight of the last purchase by maximum likelihood on a grid."""
        grid = np.linspace(0.05, 0.95, 19)
        buyers = train.take(train.chosen > 0)
        place = (np.arange(len(buyers)), buyers.chosen - 1)
        scores = [cls(rates, float(w)).predict(buyers).inside()[place].mean() for w in grid]
        return cls(rates, float(grid[int(np.argmax(scores))]))

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions from the last purchase where it is on the shelf."""
        popular = Popularity(self.rates).predict(data)
        share = np.exp(popular.inside())
        last = data.last & data.mask
        weight = self.weight * last.any(1, keepdims=True)
        mixed = weight * last + (1 - weight) * share
        odds, extra = self.rates.of(data)
        shelf = np.where(data.mask, np.log(np.maximum(mixed, 1e-12)), -np.inf)
        return _with_outside(shelf, odds, extra, data)


@dataclass(frozen=True)
class ConditionalLogit:
    """Plain conditional logit with the same facts as numbers, the outside option included.

    Attributes:
        rates: Base rates per market.
        coefficients: One per entry of `LOGIT_FEATURES`.
        quantity: Coefficients of the units' log rate: constant, market rate, discount, own share.
    """

    rates: MarketRates
    coefficients: FloatArray
    quantity: FloatArray

    @classmethod
    def fit(cls, train: TasteData, rates: MarketRates) -> ConditionalLogit:
        """Fit by maximum likelihood (L-BFGS, double precision)."""
        features = torch.from_numpy(logit_features(train, rates))
        mask, outside = torch.from_numpy(train.mask), torch.from_numpy(train.log_sampling)
        chosen = torch.from_numpy(train.chosen)

        def loss(weights: torch.Tensor) -> torch.Tensor:
            inside = (features @ weights).masked_fill(~mask, -torch.inf)
            whole = torch.cat([outside[:, None], inside], dim=1)
            return torch.nn.functional.cross_entropy(whole, chosen)

        coefficients = _minimize(loss, features.shape[-1])
        return cls(rates, coefficients, _fit_quantity(train, rates))

    def predict(self, data: TasteData) -> Prediction:
        """Return predictions with one price sensitivity for all."""
        inside = np.where(data.mask, logit_features(data, self.rates) @ self.coefficients, -np.inf)
        size = len(data)
        named = dict(zip(LOGIT_FEATURES, self.coefficients, strict=True))
        return Prediction(
            utilities=np.concatenate([data.log_sampling[:, None], inside], axis=1),
            log_rate=_quantity_features(data, self.rates) @ self.quantity,
            beta=np.full(size, -named["log price"]),
            gamma=np.full(size, named["discount"]),
            delta=np.full(size, self.quantity[2]),
        )


def logit_features(data: TasteData, rates: MarketRates) -> FloatArray:
    """Return the conditional logit's features [B, J, F], in the order of `LOGIT_FEATURES`."""
    total = data.history_total[:, None].astype(float)
    own = data.bought / (total + 1.0)
    urn = np.log((data.bought + _URN * (data.reference_share + SHARE_FLOOR)) / (total + _URN))
    odds, _ = rates.of(data)
    rate = np.log((data.history_total + 0.5) / (data.weeks_seen + 5.0))
    ones = np.ones(data.mask.shape)
    columns = [
        data.log_price,
        data.discount,
        data.promotion,
        np.log(data.reference_share + SHARE_FLOOR),
        data.share - data.reference_share,
        data.bought > 0,
        own,
        urn,
        data.last,
        ones,
        rate[:, None] * ones,
        odds[:, None] * ones,
    ]
    return np.where(data.mask[:, :, None], np.stack([np.asarray(c, dtype=np.float64) for c in columns], -1), 0.0)


def _with_outside(inside: FloatArray, odds: FloatArray, extra: FloatArray, data: TasteData) -> Prediction:
    """Return a prediction of given inside log shares and log odds of buying at all."""
    whole = np.concatenate([data.log_sampling[:, None], inside + odds[:, None]], axis=1)
    return Prediction(whole, np.broadcast_to(extra[:, None], inside.shape).copy())


def _quantity_features(data: TasteData, rates: MarketRates) -> FloatArray:
    _, extra = rates.of(data)
    ones = np.ones(data.mask.shape)
    own = data.bought / (data.history_total[:, None] + 1.0)
    return np.stack([ones, extra[:, None] * ones, data.discount, own], axis=-1)


def _fit_quantity(train: TasteData, rates: MarketRates) -> FloatArray:
    rows = np.flatnonzero(train.chosen > 0)
    features = torch.from_numpy(_quantity_features(train, rates)[rows, train.chosen[rows] - 1])
    extra = torch.from_numpy(np.minimum(train.quantity[rows], LARGEST_QUANTITY) - 1.0)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        rate = (features @ weights).clamp(max=4.0)
        return (torch.exp(rate) - extra * rate).mean()

    return _minimize(loss, features.shape[-1])


def _minimize(loss, size: int) -> FloatArray:  # type: ignore[no-untyped-def]
    weights = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        value = loss(weights)
        value.backward()
        return value

    solver.step(closure)
    return weights.detach().numpy().copy()
