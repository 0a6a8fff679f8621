"""Fidelity: how well a model's choices, units and price responses agree with households', with errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.prediction import Prediction
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

PRICE_STEP = 0.1
"""Elasticities compare prices this much above and below the observed one."""
CHOICE_METRICS = ("hit", "top3", "nll", "nll_all", "ece")
QUANTITY_METRICS = ("quantity_nll", "quantity_error", "quantity_exact", "quantity_bias")
METRICS = (*CHOICE_METRICS, *QUANTITY_METRICS)
QUANTITY_CLASSES = 8
"""Units distinguished by quantity_nll: 1..7, and 8 or more."""
BINS = 15
"""Of the confidence in the likeliest option, for the calibration error."""
_RESAMPLES = 200


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
        gamma: Mean worth of discount depth, net of display and advertising.
        occasions: Occasions it was measured on.
    """

    market: str
    choice: Estimate
    units: Estimate
    beta: float
    gamma: float
    occasions: int


def fidelity(prediction: Prediction, data: TasteData, buyer: BoolArray | None = None) -> dict[str, Estimate]:
    """Return the metrics of `METRICS`; those of quantities only for a model that predicts them.

    hit, top3, nll and ece are for purchases, given that something was bought (the field's hit rate); nll_all includes
    the outside option, in the sample's proportion of no-purchase visits. ece is the 15-bin calibration error of the
    likeliest option, its error from resampled households. quantity_nll distinguishes 1..7 and 8 or more units,
    quantity_error is the summed absolute error of the predicted median over summed units, quantity_exact the share of
    medians that are right, and quantity_bias mean predicted minus mean observed units.

    Args:
        prediction: What the model says.
        data: The occasions.
        buyer: Occasions of households that bought in the market before, [B]: others have no no-purchase visits, so
            nll_all leaves them out. None takes all.
    """
    rows = np.flatnonzero(data.chosen > 0)
    who = data.household[rows]
    values = purchase_values(prediction, data)
    found = {name: clustered(values[name], who) for name in ("hit", "top3", "nll")}
    found["nll_all"] = clustered(*visit_values(prediction, data, buyer))
    found["ece"] = calibration_error(prediction.inside()[rows], data.chosen[rows] - 1, who)
    if prediction.quantity is not None:
        found["quantity_nll"] = clustered(values["quantity_nll"], who)
        units = data.quantity[rows].astype(np.float64)
        found["quantity_error"] = clustered_ratio(values["quantity_miss"], units, who)
        found["quantity_exact"] = clustered(values["quantity_miss"] == 0, who)
        found["quantity_bias"] = clustered(values["quantity_mean"] - units, who)
    return found


def purchase_values(prediction: Prediction, data: TasteData) -> dict[str, FloatArray]:
    """Return hit, top3 and nll of each purchase, and of a model with quantities its nll, miss and mean too."""
    rows = np.flatnonzero(data.chosen > 0)
    place = (np.arange(len(rows)), data.chosen[rows] - 1)
    inside = prediction.inside()[rows]
    mine = inside[place][:, None]
    # Options that tie with the chosen one stand before it half of the time, on average.
    before = (inside > mine).sum(1)
    tied = np.isclose(inside, mine, rtol=0.0, atol=1e-12).sum(1)
    values = {
        "hit": np.where(before < 1, 1.0 / tied, 0.0),
        "top3": np.clip((3.0 - before) / tied, 0.0, 1.0),
        "nll": -inside[place],
    }
    if prediction.quantity is not None:
        log_units, units = prediction.quantity[rows], data.quantity[rows]
        classes = np.concatenate(
            [
                log_units[:, : QUANTITY_CLASSES - 1],
                np.logaddexp.reduce(log_units[:, QUANTITY_CLASSES - 1 :], 1)[:, None],
            ],
            axis=1,
        )
        shares = np.exp(log_units)
        median = 1 + (np.cumsum(shares, axis=1) < 0.5).sum(1)
        values["quantity_nll"] = -classes[place[0], np.minimum(units, QUANTITY_CLASSES) - 1]
        values["quantity_miss"] = np.abs(median - units).astype(np.float64)
        values["quantity_mean"] = shares @ np.arange(1, shares.shape[1] + 1)
    return values


def visit_values(
    prediction: Prediction, data: TasteData, buyer: BoolArray | None = None
) -> tuple[FloatArray, IntArray]:
    """Return the nats of each visit of a buyer, no purchase being an answer too, and the visit's household."""
    kept = np.arange(len(data)) if buyer is None else np.flatnonzero(buyer)
    return -prediction.log_probability()[kept, data.chosen[kept]], data.household[kept]


def paired(
    first: Prediction, second: Prediction, data: TasteData, buyer: BoolArray | None = None
) -> dict[str, Estimate]:
    """Return first minus second on the same occasions: hit, nll, nll_all, and quantity_error where both have one."""
    return paired_values(Values.of(first, data), Values.of(second, data), data, buyer)


@dataclass(frozen=True)
class Values:
    """What differences between models need of one model's predictions.

    Attributes:
        purchase: See `purchase_values`, by name [P].
        visit: Nats of each occasion, no purchase being an answer too [B].
    """

    purchase: dict[str, FloatArray]
    visit: FloatArray

    @classmethod
    def of(cls, prediction: Prediction, data: TasteData) -> Values:
        """Return the values of predictions."""
        return cls(purchase_values(prediction, data), visit_values(prediction, data)[0])

    def take(self, places: IntArray, bought: BoolArray) -> Values:
        """Return the values of the occasions at `places`.

        Args:
            places: In ascending order.
            bought: Which of all the occasions are purchases [B].
        """
        rows = (np.cumsum(bought) - 1)[places[bought[places]]]
        return Values({name: values[rows] for name, values in self.purchase.items()}, self.visit[places])


def paired_values(ours: Values, theirs: Values, data: TasteData, buyer: BoolArray | None = None) -> dict[str, Estimate]:
    """Return the first's minus the second's values on the same occasions, as `paired` does."""
    bought = data.chosen > 0
    who = data.household[bought]
    found = {name: clustered(ours.purchase[name] - theirs.purchase[name], who) for name in ("hit", "nll")}
    kept = np.ones(len(data), dtype=bool) if buyer is None else buyer
    found["nll_all"] = clustered((ours.visit - theirs.visit)[kept], data.household[kept])
    if "quantity_miss" in ours.purchase and "quantity_miss" in theirs.purchase:
        units = data.quantity[bought].astype(np.float64)
        missed = ours.purchase["quantity_miss"] - theirs.purchase["quantity_miss"]
        found["quantity_error"] = clustered_ratio(missed, units, who)
    return found


def calibration_error(inside: FloatArray, place: IntArray, cluster: IntArray) -> Estimate:
    """Return the top-label calibration error, its standard error by a bootstrap over households with a fixed seed.

    Args:
        inside: Log choice probabilities [N, J].
        place: The chosen option, from 0 [N].
        cluster: Household [N].
    """
    if not len(place):
        return Estimate(float("nan"), float("nan"))
    confidence = np.exp(inside.max(1))
    gap = (inside.argmax(1) == place) - confidence
    groups, code = np.unique(cluster, return_inverse=True)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sums = np.zeros((len(groups), BINS))
    np.add.at(sums, (code, bins), gap)
    counts = np.bincount(code, minlength=len(groups)).astype(np.float64)
    weights = np.random.default_rng(0).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), _RESAMPLES)
    again = np.abs(weights @ sums).sum(1) / np.maximum(weights @ counts, 1.0)
    return Estimate(float(np.abs(sums.sum(0)).sum() / len(place)), float(again.std(ddof=1)))


def elasticities(prediction: Prediction, data: TasteData, markets: tuple[str, ...]) -> list[Elasticity]:
    """Return finite-difference own-price elasticities per market; empty for a model without prices.

    Prices move alone: displays and leaflets stay as they were observed.
    """
    if prediction.beta is None or prediction.gamma is None or prediction.units is None:
        return []
    choice, units = _responses(prediction, data)
    beta = np.where(data.mask, prediction.beta, 0.0).sum(1) / data.mask.sum(1)
    rows = []
    for name in markets:
        at = np.flatnonzero(data.market == data.markets.index(name)) if name in data.markets else np.zeros(0, int)
        if len(at):
            rows.append(
                Elasticity(
                    market=name,
                    choice=_arc(choice, data, at),
                    units=_arc(units, data, at),
                    beta=float(beta[at].mean()),
                    gamma=float(prediction.gamma[at].mean()),
                    occasions=len(at),
                )
            )
    return rows


def clustered(values: NDArray[np.generic], cluster: IntArray) -> Estimate:
    """Return the mean with a standard error robust to dependence within clusters."""
    numbers = np.asarray(values, dtype=np.float64)
    return clustered_ratio(numbers, np.ones_like(numbers), cluster)


def clustered_ratio(top: FloatArray, bottom: FloatArray, cluster: IntArray) -> Estimate:
    """Return sum(top) / sum(bottom) with its clustered, linearised standard error."""
    if not len(top):
        return Estimate(float("nan"), float("nan"))
    if not np.isfinite(top).all():
        return Estimate(float(top.sum() / bottom.sum()), float("nan"))
    ratio = float(top.sum() / bottom.sum())
    groups, code = np.unique(cluster, return_inverse=True)
    sums = np.bincount(code, weights=top - ratio * bottom)
    correction = len(groups) / max(len(groups) - 1, 1)
    return Estimate(ratio, float(np.sqrt(correction * (sums**2).sum()) / abs(bottom.sum())))


def _responses(prediction: Prediction, data: TasteData) -> tuple[FloatArray, FloatArray]:
    """Return demand per option at 1 -/+ the step times its own price: given purchase, units [2, B, J]."""
    beta, gamma, mean, delta = prediction.beta, prediction.gamma, prediction.units, prediction.delta
    if beta is None or gamma is None or mean is None or delta is None:
        raise InvalidInput("prediction: got one without price sensitivities; allowed: beta, gamma, units, delta given")
    free = prediction.utilities.copy()
    free[:, 0] = 0.0  # the outside option's true utility
    share = np.exp(Prediction(free).log_probability()[:, 1:])
    inside = np.exp(prediction.inside())
    ratio = np.exp(data.log_price.astype(np.float64))
    choice, units = [], []
    for factor in (1 - PRICE_STEP, 1 + PRICE_STEP):
        deeper = np.maximum(0.0, 1.0 - ratio * factor) - data.discount
        lift = np.exp(-beta * np.log(factor) + gamma[:, None] * deeper)
        bought = 1 + (mean - 1) * np.exp(delta[:, None] * deeper)
        choice.append(inside * lift / (1 - inside + inside * lift))
        units.append(share * lift / (1 - share + share * lift) * bought)
    return np.where(data.mask, np.stack(choice), 0.0), np.where(data.mask, np.stack(units), 0.0)


def _arc(demand: FloatArray, data: TasteData, at: IntArray) -> Estimate:
    """Return the arc elasticity of summed own demand; no-purchase visits count for those not sampled."""
    weight = np.where(data.chosen[at] == 0, np.exp(-data.log_sampling[at]), 1.0)
    low, high = (demand[side][at].sum(1) * weight for side in (0, 1))
    span = np.log((1 + PRICE_STEP) / (1 - PRICE_STEP))
    middle = 0.5 * (low + high)
    return clustered_ratio((high - low) / span, middle, data.household[at])
