"""Fits prompted consumers to a market: their level to observed shares, and what a price means to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from malles_env.consumers.prompted.calibration import Calibration
from malles_env.consumers.prompted.consumers import PromptedConsumers, settled
from malles_env.consumers.prompted.questions import PooledAnswers
from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.market.offer import Offer
from malles_env.type_aliases import FloatArray


class Askable(Protocol):
    """Consumers whose answers are kept apart from what is fitted to them."""

    @property
    def num_products(self) -> int:
        """J."""
        ...

    @property
    def fitted(self) -> Calibration:
        """The numbers fitted so far."""
        ...

    def ask(self, offer: Offer) -> PooledAnswers:
        """Return what the model says about an offer, before any calibration."""
        ...


def fit_to_shares(
    consumers: Askable,
    offer: Offer,
    weights: FloatArray,
    target: FloatArray,
    *,
    tolerance: float = 1e-9,
    max_iterations: int = 5000,
) -> Calibration:
    """Return the calibration whose product shifts give the population observed shares; the model is asked once.

    One set of shares determines the level of J products against buying nothing and nothing else, so temperature and
    outside offsets stay as they are. The iteration is the contraction of Berry, Levinsohn and Pakes (1995), as in
    `malles_env.consumers.calibration`.

    Args:
        consumers: Who answers; their own calibration is where the fit starts.
        offer: One market (B = 1) at which the shares were observed, everything on the shelf.
        weights: Segment weights, shape ``(S,)``, sum 1.
        target: Shares of consumers, shape ``(J + 1,)``, index 0 buying nothing, all above 0, sum 1.
        tolerance: Largest difference of log shares at the end.
        max_iterations: Iterations after which it gives up.

    Raises:
        InvalidInput: Shares that are not positive, or that cannot be reached.
        LanguageModelError: The model failed.
    """
    shares = as_floats("target", target, (consumers.num_products + 1,), low=1e-9, high=1.0)
    if abs(shares.sum() - 1.0) > 1e-6:
        raise invalid("target", float(shares.sum()), "shares that sum to 1")
    if len(offer.prices) != 1 or not offer.available.all():
        raise invalid("offer", offer.available.shape, "one market with every product on the shelf")
    answers, fitted = consumers.ask(offer), consumers.fitted
    step = np.inf
    for _ in range(max_iterations):
        probability = settled(answers, offer, fitted).probability[0]
        step = np.log(shares[1:]) - np.log(np.maximum(weights @ probability[:, 1:], 1e-300))
        fitted = replace(fitted, shift=fitted.shift + step)
        if np.abs(step).max() < tolerance:
            return fitted
    raise invalid("target", shares.tolist(), f"shares that can be reached (still {np.abs(step).max():.1e} off)")


def measured_price_sensitivity(consumers: PromptedConsumers, offer: Offer, *, step: float = 0.2) -> FloatArray:
    """Return by how many utils each segment's taste for a product falls per unit of its log price, shape ``(S,)``.

    Every product's price is moved alone, down and up by `step`, and the difference of ``log P(j) / P(0)`` is divided
    by that of the log price; the mean over products is returned. It is what a reader of these words does, not a
    parameter of the model: it may be 0 or negative, and there is no consumer surplus in money then.

    Args:
        consumers: Who answers, 2 J markets at once.
        offer: One market (B = 1).
        step: Relative change of the price, between 0 and 1.
    """
    if not 0.0 < step < 1.0:
        raise invalid("step", step, "between 0 and 1")
    products = consumers.num_products
    factor = np.ones((2 * products, products))
    for j in range(products):
        factor[j, j], factor[products + j, j] = 1.0 - step, 1.0 + step
    many = Offer(
        offer.prices[:1] * factor,
        np.repeat(offer.available[:1], 2 * products, axis=0),
        offer.regular_price,
        np.repeat(offer.mean_field[:1], 2 * products, axis=0),
        np.repeat(offer.loyalty[:1], 2 * products, axis=0),
    )
    probability = consumers.respond(many).probability
    with np.errstate(divide="ignore"):
        odds = np.log(probability[:, :, 1:]) - np.log(probability[:, :, :1])
    own = np.arange(products)
    slope = (odds[own, :, own] - odds[products + own, :, own]) / np.log((1.0 + step) / (1.0 - step))
    return slope[offer.available[0]].mean(axis=0)
