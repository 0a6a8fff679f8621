"""Fidelity: how well a model's choices, units and price responses agree with households', with errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.prediction import Prediction
from malles_env.errors import InvalidInput

FloatArray = NDArray[np.float64]
PRICE_STEP = 0.1
"""Elasticities compare prices this much above and below the observed one."""
METRICS = ("hit", "top3", "nll_purchase", "nll", "quantity_error", "quantity_bias")


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, clustered by household."""

    mean: float
    se: float

    def __str__(self) -> str:
        """Return e.g. ``0.574 ± 0.003``."""
        return f"{self.mean:.3f} ± {self.se:.3f}"


@dataclass(frozen=True)
class Elasticity:
    """Own-price elasticities of one market, share weighted, and the sensitivities behind them.

    Attributes:
        market: Its name.
        choice: Of the choice probability given a purchase.
        units: Of units per shopping week, incidence and quantity included.
        beta: Mean sensitivity to log price.
        gamma: Mean worth of discount depth.
        occasions: Occasions it was measured on.
    """

    market: str
    choice: Estimate
    units: Estimate
    beta: float
    gamma: float
    occasions: int


def fidelity(prediction: Prediction, data: TasteData) -> dict[str, Estimate]:
    """Return the metrics of `METRICS`.

    hit, top3 and nll_purchase are for purchases, given that something was bought (the field's hit rate);
    nll includes the outside option, in the sample's proportion of no-purchase visits; quantity_error is
    the summed absolute error of the predicted median over summed units; quantity_bias is mean predicted
    minus mean observed units.
    """
    rows = np.flatnonzero(data.chosen > 0)
    place = data.chosen[rows] - 1
    inside = prediction.inside()[rows]
    better = (inside > inside[np.arange(len(rows)), place][:, None]).sum(1)
    every = prediction.log_probability()[np.arange(len(data)), data.chosen]
    rate = np.exp(np.minimum(prediction.log_rate[rows, place], 4.0))
    units = data.quantity[rows].astype(float)
    who = data.household[rows]
    return {
        "hit": clustered(better < 1, who),
        "top3": clustered(better < 3, who),
        "nll_purchase": clustered(-inside[np.arange(len(rows)), place], who),
        "nll": clustered(-every, data.household),
        "quantity_error": clustered_ratio(np.abs(1 + poisson.median(rate) - units), units, who),
        "quantity_bias": clustered(1 + rate - units, who),
    }


def paired(first: Prediction, second: Prediction, data: TasteData) -> dict[str, Estimate]:
    """Return first minus second on the same occasions: hit and nats given a purchase, nats in all."""
    rows = np.flatnonzero(data.chosen > 0)
    place = (np.arange(len(rows)), data.chosen[rows] - 1)
    gains = {"hit": [], "nll_purchase": [], "nll": []}  # type: dict[str, list[FloatArray]]
    for prediction in (first, second):
        inside = prediction.inside()[rows]
        gains["hit"].append((inside.max(1) <= inside[place]).astype(float))
        gains["nll_purchase"].append(-inside[place])
        gains["nll"].append(-prediction.log_probability()[np.arange(len(data)), data.chosen])
    who = {"hit": data.household[rows], "nll_purchase": data.household[rows], "nll": data.household}
    return {name: clustered(pair[0] - pair[1], who[name]) for name, pair in gains.items()}


def elasticities(prediction: Prediction, data: TasteData, markets: tuple[str, ...]) -> list[Elasticity]:
    """Return finite-difference own-price elasticities per market; empty for a model without prices."""
    if prediction.beta is None or prediction.gamma is None:
        return []
    choice, units = _responses(prediction, data)
    rows = []
    for name in markets:
        if name not in data.markets:
            continue
        at = np.flatnonzero(data.market == data.markets.index(name))
        if not len(at):
            continue
        rows.append(
            Elasticity(
                market=name,
                choice=_arc(choice, data, at),
                units=_arc(units, data, at),
                beta=float(prediction.beta[at].mean()),
                gamma=float(prediction.gamma[at].mean()),
                occasions=len(at),
            )
        )
    return rows


def clustered(values: NDArray[np.generic], cluster: NDArray[np.int64]) -> Estimate:
    """Return the mean with a standard error robust to dependence within clusters."""
    numbers = np.asarray(values, dtype=np.float64)
    return clustered_ratio(numbers, np.ones_like(numbers), cluster)


def clustered_ratio(top: FloatArray, bottom: FloatArray, cluster: NDArray[np.int64]) -> Estimate:
    """Return sum(top) / sum(bottom) with its clustered, linearised standard error."""
    if not len(top):
        return Estimate(float("nan"), float("nan"))
    ratio = float(top.sum() / bottom.sum())
    groups, code = np.unique(cluster, return_inverse=True)
    sums = np.bincount(code, weights=top - ratio * bottom)
    correction = len(groups) / max(len(groups) - 1, 1)
    return Estimate(ratio, float(np.sqrt(correction * (sums**2).sum()) / abs(bottom.sum())))


def _responses(prediction: Prediction, data: TasteData) -> tuple[FloatArray, FloatArray]:
    """Return demand per option at 1 -/+ the step times its own price: given purchase, units [2, B, J]."""
    beta, gamma, delta = prediction.beta, prediction.gamma, prediction.delta
    if beta is None or gamma is None or delta is None:
        raise InvalidInput("prediction: got one without price sensitivities; allowed: beta, gamma and delta given")
    free = prediction.utilities.copy()
    free[:, 0] = 0.0  # the outside option's true utility
    share = np.exp(Prediction(free, prediction.log_rate).log_probability()[:, 1:])
    inside = np.exp(prediction.inside())
    ratio = np.exp(data.log_price)
    choice, units = [], []
    for factor in (1 - PRICE_STEP, 1 + PRICE_STEP):
        deeper = np.maximum(0.0, 1.0 - ratio * factor) - data.discount
        lift = np.exp(-beta[:, None] * np.log(factor) + gamma[:, None] * deeper)
        rate = np.exp(np.minimum(prediction.log_rate + delta[:, None] * deeper, 4.0))
        choice.append(inside * lift / (1 - inside + inside * lift))
        units.append(share * lift / (1 - share + share * lift) * (1 + rate))
    return np.where(data.mask, np.stack(choice), 0.0), np.where(data.mask, np.stack(units), 0.0)


def _arc(demand: FloatArray, data: TasteData, at: NDArray[np.int64]) -> Estimate:
    """Return the arc elasticity of summed own demand; no-purchase visits count for those not sampled."""
    weight = np.where(data.chosen[at] == 0, np.exp(-data.log_sampling[at]), 1.0)
    low, high = (demand[side][at].sum(1) * weight for side in (0, 1))
    span = np.log((1 + PRICE_STEP) / (1 - PRICE_STEP))
    middle = 0.5 * (low + high)
    return clustered_ratio((high - low) / span, middle, data.household[at])
