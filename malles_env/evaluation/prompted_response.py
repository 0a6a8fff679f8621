"""Price response of a prompted consumer, by asking again with one price changed in the prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.evaluation.metrics import PRICE_STEP, Estimate, clustered, clustered_ratio
from malles_env.preference.prompted.data import PromptData
from malles_env.preference.prompted.model import PromptedModel
from malles_env.type_aliases import FloatArray, IntArray


@dataclass(frozen=True)
class PriceResponse:
    """How own prices move choices.

    Attributes:
        elasticity: Own-price arc elasticity of the choice probability given a purchase, share weighted.
        incidence: The same of the probability to buy the product at all, in the sample's proportions.
        violations: Share of (occasion, product) pairs whose probability rises with the own price.
        pairs: Pairs asked about.
    """

    elasticity: Estimate
    incidence: Estimate
    violations: Estimate
    pairs: int


def price_response(
    model: PromptedModel, data: PromptData, *, products: int = 4, orders: int = 1, seed: int = 0
) -> PriceResponse:
    """Ask about each occasion with the price of one product 10 % lower and 10 % higher, products in turn.

    Args:
        model: The model.
        data: Occasions, the more that share a shelf the faster.
        products: Products per shelf whose price is moved, drawn at random.
        orders: Cyclic shelf orders to average over; the same at both prices.
        seed: Seed of the draw and of the orders.

    Raises:
        InvalidInput: No occasions.
    """
    if not len(data):
        raise InvalidInput("data: got no occasions; allowed: at least one")
    rows, place = _pairs(data, products, seed)
    whole = data.take(rows)
    inside, every = [], []
    for factor in (1 - PRICE_STEP, 1 + PRICE_STEP):
        price = whole.price.copy()
        price[np.arange(len(rows)), place] *= factor
        prediction = model.predict(replace(whole, price=price), orders=orders, seed=seed, units=False)
        at = (np.arange(len(rows)), place)
        inside.append(np.exp(prediction.inside()[at]))
        every.append(np.exp(prediction.log_probability()[:, 1:][at]))
    return PriceResponse(
        elasticity=_arc(inside[0], inside[1], whole.household),
        incidence=_arc(every[0], every[1], whole.household),
        violations=clustered(inside[1] > inside[0] * (1 + 1e-6), whole.household),
        pairs=len(rows),
    )


def _pairs(data: PromptData, products: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return occasions and the place of the product to move; a shelf's occasions share their products."""
    from malles_env.preference.prompted.questions import ask

    rng = np.random.default_rng(seed)
    rows: list[IntArray] = []
    places: list[IntArray] = []
    for question in ask(data, len(data)):
        size = len(question.order)
        for line in rng.permutation(size)[:products]:
            rows.append(question.rows)
            places.append(question.places[:, line])
    return np.concatenate(rows), np.concatenate(places)


def _arc(low: FloatArray, high: FloatArray, household: IntArray) -> Estimate:
    span = np.log((1 + PRICE_STEP) / (1 - PRICE_STEP))
    return clustered_ratio((high - low) / span, 0.5 * (low + high), household)
