"""Choice probabilities, loyalty flow, quantities and consumer surplus: the NumPy formulas.

These are the reference the compiled kernel is tested against, and what every slow path calls.
"""

from __future__ import annotations

import numpy as np

from malles_env.market.demand.surplus import consumer_surplus, worth_of_purchase
from malles_env.market.offer import Offer, Response
from malles_env.market.seller_rules.tiers import answer_tiers, worth_with_tiers
from malles_env.market.tastes import PriceTransform, Tastes
from malles_env.type_aliases import FloatArray


def price_feature(prices: FloatArray, regular_price: FloatArray, transform: PriceTransform) -> FloatArray:
    """Return f(p): ``log(p / regular price)`` or ``p`` itself, same shape as `prices`."""
    return np.log(prices / regular_price) if transform == "log" else np.asarray(prices, dtype=np.float64)


def discount_depth(prices: FloatArray, regular_price: FloatArray) -> FloatArray:
    """Return d = max(0, 1 - p / regular price), between 0 and 1, same shape as `prices`."""
    return np.maximum(0.0, 1.0 - prices / regular_price)


def utilities(tastes: Tastes, offer: Offer) -> FloatArray:
    """Return utilities without the loyalty term, shape ``(B, S, J)``; minus infinity where not available."""
    feature = price_feature(offer.prices, offer.regular_price, tastes.price_transform)[:, None, :]
    depth = discount_depth(offer.prices, offer.regular_price)[:, None, :]
    centre = 1.0 / tastes.num_products if offer.centre is None else offer.centre[:, None, :]
    coupling = offer.mean_field[:, None, :] - centre
    utility = tastes.alpha - tastes.beta * feature + tastes.gamma[:, None] * depth + tastes.rho[:, None] * coupling
    if offer.display is not None:
        utility = utility + tastes.display[:, None] * offer.display[:, None, :]
    if offer.feature_ad is not None:
        utility = utility + tastes.feature[:, None] * offer.feature_ad[:, None, :]
    if offer.reference is not None:
        below = (offer.reference - np.log(offer.prices))[:, None, :]
        utility = utility + tastes.gain * np.maximum(below, 0.0) + tastes.loss * np.minimum(below, 0.0)
    if offer.pantry is not None:
        utility = utility - (tastes.pantry * offer.pantry)[:, :, None]
    if offer.tier_prices is not None:
        utility = utility + answer_tiers(tastes, offer, more_wanted(tastes, offer)).utility
    return np.where(offer.available[:, None, :], utility, -np.inf)


def more_wanted(tastes: Tastes, offer: Offer) -> FloatArray:
    """Return exp(kappa + delta d), the mean units that a buyer wants beyond the first, shape ``(B, S, J)``."""
    depth = discount_depth(offer.prices, offer.regular_price)[:, None, :]
    return np.asarray(np.exp(tastes.kappa + tastes.delta[:, None] * depth))


def mean_quantity(tastes: Tastes, offer: Offer) -> FloatArray:
    """Return the mean units of a buyer, q = 1 + exp(kappa + delta d), with tiers as these make it, ``(B, S, J)``."""
    more = more_wanted(tastes, offer)
    if offer.tier_prices is None:
        return 1.0 + more
    tiers = answer_tiers(tastes, offer, more)
    return 1.0 + tiers.more + tiers.orders.raised


def purchases(tastes: Tastes, offer: Offer) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what is bought under latent-class logit with loyalty to the last purchase, without its worth in money.

    With E_j = exp(u_j) without the loyalty term, D = 1 + sum E, L = exp(lambda) - 1, D_k = D + L E_k (D_0 = D)
    and l_k the share whose last purchase was k, averaging the conditional logit over k gives exactly

        P(j) = E_j (sum_k l_k / D_k + L l_j / D_j),   P(0) = sum_k l_k / D_k,   l'_j = P(j) + l_j / D_j,

    at O(J) cost instead of O(J^2).

    Args:
        tastes: Coefficients of S segments over J products.
        offer: Shelves of B markets.

    Returns:
        Choice probabilities and shares by last purchase afterwards, each ``(B, S, J + 1)``, and the mean over last
        purchases of the log-sum, ``(B, S)``.
    """
    utility = utilities(tastes, offer)
    shift = np.maximum(utility.max(axis=2, keepdims=True), 0.0)
    exp_u = np.exp(utility - shift)
    bonus = np.expm1(tastes.lambda_)[:, None]
    denominator = np.exp(-shift) + exp_u.sum(axis=2, keepdims=True)
    denominator_j = denominator + bonus * exp_u
    loyal, new = offer.loyalty[:, :, 1:], offer.loyalty[:, :, :1]
    stay_j = loyal / denominator_j
    stay_0 = new / denominator
    total = stay_0 + stay_j.sum(axis=2, keepdims=True)
    probability_j = exp_u * (total + bonus * stay_j)
    outside = np.exp(-shift)
    probability = np.concatenate([outside * total, probability_j], axis=2)
    loyalty = np.concatenate([outside * stay_0, probability_j + outside * stay_j], axis=2)
    log_sum = (new * np.log(denominator) + (loyal * np.log(denominator_j)).sum(axis=2, keepdims=True) + shift)[..., 0]
    return probability, loyalty, log_sum


def respond(tastes: Tastes, offer: Offer) -> Response:
    """Answer an offer: `purchases`, with the units of a buyer and a surplus that is `surplus.consumer_surplus`.

    Args:
        tastes: Coefficients of S segments over J products.
        offer: Shelves of B markets.
    """
    probability, loyalty, log_sum = purchases(tastes, offer)
    worth = worth_of_purchase(tastes, offer.prices, offer.regular_price)
    tier = None
    if offer.tier_prices is not None:
        tiers = answer_tiers(tastes, offer, more_wanted(tastes, offer))
        worth = worth_with_tiers(tastes, offer, tiers, worth)
        tier = np.stack([tiers.orders.meet, tiers.orders.units, tiers.orders.raised], axis=1)
    surplus = consumer_surplus(tastes, offer.regular_price, probability, log_sum, worth)
    return Response(probability, mean_quantity(tastes, offer), loyalty, surplus, tier)


def own_price_elasticity(tastes: Tastes, offer: Offer) -> FloatArray:
    """Return d log P_j / d log p_j per segment without loyalty and discount terms, shape ``(B, S, J)``.

    For linear prices this is -beta p (1 - P), for log prices -beta (1 - P); see Train (2009), section 3.6.
    """
    probability = respond(tastes, offer).probability[:, :, 1:]
    slope = tastes.beta * (offer.prices[:, None, :] if tastes.price_transform == "linear" else 1.0)
    return -slope * (1.0 - probability)
