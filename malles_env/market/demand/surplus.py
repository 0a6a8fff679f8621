"""Consumer surplus in money when buyers take several units and prices enter utility in logs: the NumPy formulas."""

from __future__ import annotations

import numpy as np

from malles_env.market.tastes import Tastes
from malles_env.type_aliases import FloatArray

HELD = 8.0
"""Changes of utility beyond it are held there, as in the kernel."""


def mean_decay(x: FloatArray) -> FloatArray:
    """Return (1 - exp(-x)) / x, the mean of exp(-t) over 0 <= t <= x, same shape; x beyond +-8 is held there."""
    held = np.where(x == 0.0, 1.0, np.clip(x, -HELD, HELD))
    return np.where(x == 0.0, 1.0, -np.expm1(-held) / held)


def worth_of_purchase(tastes: Tastes, prices: FloatArray, regular_price: FloatArray) -> FloatArray:
    """Return omega, what a purchase is worth to its buyer above the price paid when purchases are rare.

    It is the area under units times exp(utility) from the price upwards, over exp(utility) at the price, as demand
    is proportional to exp(utility) where few buy. Between the price and the regular one units times exp(utility) is
    taken as a power of the price (an exponential with linear prices); beyond, demand is taken to die out exponentially
    with the regular price's slope, so that omega at the regular price is the units times `Tastes.worth_at_regular`.

    Args:
        tastes: Coefficients of S segments over J products.
        prices: Money, shape ``(B, J)``.
        regular_price: Money, shape ``(J,)``.

    Returns:
        Money, shape ``(B, S, J)``. With log prices it falls below 0 where the price exceeds the regular one times
        beta^(1 / (beta - 1)), 2 at beta = 2: nobody is counted as willing to pay that much.
    """
    log = tastes.price_transform == "log"
    fall = (np.log(regular_price / prices) if log else regular_price - prices)[:, None, :]
    depth = tastes.delta[:, None] * np.maximum(0.0, 1.0 - prices / regular_price)[:, None, :]
    change = tastes.utility_of_price(prices, regular_price)
    span, change = (fall * regular_price, change - fall) if log else (fall, change)
    beyond = tastes.worth_at_regular(regular_price)
    one = beyond + (span - beyond * change) * mean_decay(change)
    more = beyond + (span - beyond * (change + depth)) * mean_decay(change + depth)
    worth = one + np.exp(tastes.kappa + depth) * more
    return worth * (prices / regular_price)[:, None, :] if log else worth


def consumer_surplus(
    tastes: Tastes, regular_price: FloatArray, probability: FloatArray, log_sum: FloatArray, worth: FloatArray
) -> FloatArray:
    """Return money per consumer: m log-sum + sum_j P_j (omega_j - m), shape ``(B, S)``.

    m is `Tastes.money_per_util`, omega `worth_of_purchase`. With linear prices, one beta for all products and one unit
    per buyer omega = m and this is the log-sum over beta (Small and Rosen 1981). In general demand has no exact
    surplus, as its cross derivatives differ. Here a small rise of price j costs the segment its expected units times
    1 - (slope of u_j / units of j) sum_i P_i (omega_i - m): exactly its units at regular prices with all products on
    the shelf, without loyalty and coupling, or where few buy. Errors in the bundled scenarios: docs/design/market.md.

    Args:
        tastes: Coefficients of S segments over J products.
        regular_price: Money, shape ``(J,)``.
        probability: Choice probabilities, shape ``(B, S, J + 1)``; index 0 is the outside option.
        log_sum: Mean over last purchases of log(1 + sum_j exp(u_j)), utils, shape ``(B, S)``.
        worth: omega, money, shape ``(B, S, J)``.
    """
    money = tastes.money_per_util(regular_price)
    bought = probability[:, :, 1:]
    return np.asarray(money * (log_sum - bought.sum(axis=2)) + (bought * worth).sum(axis=2))
