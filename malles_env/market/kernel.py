"""The compiled hot loop: how a population with known tastes answers the shelves of many markets.

The batch is walked in blocks of `LANES` markets, the innermost loop running over the markets of a block, so that one
vector instruction serves several markets and the constant exp(alpha) is read once per block. Segments that share
their sensitivities (a class) share the exponentials of the price, discount and mean-field terms:
exp(u_sj) = exp(alpha_sj) * g_kj, so a block needs K * J exponentials instead of S * J. `choice.respond` states the
same formulas in NumPy and is the reference. Results do not depend on the size of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from malles_env.errors import invalid
from malles_env.market.arrays import FloatArray, IntArray
from malles_env.market.lanes import exp_lane, log_lane
from malles_env.market.tastes import Tastes

LANES = 16
LARGEST_UTILITY = 300.0


class Coefficients(NamedTuple):
    """Tastes in the form the kernel reads. S segments, J products, K sensitivity classes."""

    level: FloatArray
    """exp(utility at the regular price without discount or coupling), shape ``(S, J)``."""
    level_extra: FloatArray
    """The same times exp(kappa), shape ``(S, J)``; all zero when buyers always take one unit."""
    class_of: IntArray
    """Class of each segment, shape ``(S,)``."""
    beta: FloatArray
    """Shape ``(K, J)``."""
    slopes: FloatArray
    """gamma, rho and delta of each class, shape ``(3, K)``."""
    bonus: FloatArray
    """exp(lambda) - 1, shape ``(S,)``."""
    weights: FloatArray
    """Shape ``(S,)``."""
    money: FloatArray
    """Weight times money per util, shape ``(S,)``."""
    regular_price: FloatArray
    """Shape ``(J,)``."""
    linear: bool
    coupled: bool
    loyal: bool
    quantities: bool


def coefficients(tastes: Tastes, weights: FloatArray, regular_price: FloatArray) -> Coefficients:
    """Prepare tastes for the kernel.

    Args:
        tastes: Coefficients of S segments over J products.
        weights: Segment weights, shape ``(S,)``, sum 1.
        regular_price: Money, shape ``(J,)``.

    Raises:
        InvalidInput: A utility at the regular price exceeds 300, where exponentials lose their meaning.
    """
    linear = tastes.price_transform == "linear"
    utility = tastes.alpha - tastes.beta * regular_price if linear else tastes.alpha
    if utility.max() > LARGEST_UTILITY:
        raise invalid("tastes.alpha", float(utility.max()), f"utility at the regular price <= {LARGEST_UTILITY}")
    level = np.exp(utility)
    slopes = [tastes.class_table(getattr(tastes, name)) for name in ("gamma", "rho", "delta")]
    return Coefficients(
        level=level,
        level_extra=level * np.exp(tastes.kappa),
        class_of=tastes.sensitivity_class,
        beta=tastes.class_table(tastes.beta),
        slopes=np.stack(slopes),
        bonus=np.expm1(tastes.lambda_),
        weights=np.ascontiguousarray(weights),
        money=weights * tastes.money_per_util(regular_price),
        regular_price=np.ascontiguousarray(regular_price),
        linear=linear,
        coupled=bool(np.any(tastes.rho != 0.0)),
        loyal=bool(np.any(tastes.lambda_ != 0.0)),
        quantities=bool(np.any(np.isfinite(tastes.kappa))),
    )


def make_block_kernel(lanes: int) -> Callable[..., None]:
    """Return the compiled response of a block of `lanes` markets.

    The returned function takes (prices, listed, stock, mean_field, loyalty, next_loyalty, first, coefficients,
    rules, share, extra, sums, seen) and fills, for the markets first .. first + lanes - 1 of the batch: `share`
    (B, J) the share of the population that buys each product, `extra` (B, J) the units beyond one per consumer of
    the population, `sums` (4, B) outside share, surplus, residual and iterations, `seen` (B, J) the mean field that
    was felt, and `next_loyalty`. Loyalty arrays are blocked: (blocks, S, J + 1, lanes).
    """

    @njit(cache=True, fastmath={"contract"}, error_model="numpy")
    def respond_once(c, g, h, loyalty, next_loyalty, share, extra, outside, surplus, num, num_extra):  # type: ignore[no-untyped-def]
        classes, products = c.beta.shape
        denominator, factor, total, buffer = (
            np.empty(lanes),
            np.empty(lanes),
            np.empty(lanes),
            np.empty((products, lanes)),
        )
        share[:] = 0.0
        extra[:] = 0.0
        outside[:] = 0.0
        surplus[:] = 0.0
        num[:] = 0.0
        num_extra[:] = 0.0
        for s in range(len(c.weights)):
            k, weight, money, bonus = c.class_of[s], c.weights[s], c.money[s], c.bonus[s]
            denominator[:] = 1.0
            for j in range(products):
                level = c.level[s, j]
                for w in range(lanes):
                    denominator[w] += level * g[k, j, w]
            if c.loyal:
                for w in range(lanes):
                    total[w] = loyalty[s, 0, w] / denominator[w]
                    next_loyalty[s, 0, w] = total[w]
                    surplus[w] += money * loyalty[s, 0, w] * log_lane(denominator[w])
                for j in range(products):
                    level = bonus * c.level[s, j]
                    for w in range(lanes):
                        own = denominator[w] + level * g[k, j, w]
                        stay = loyalty[s, j + 1, w] / own
                        buffer[j, w] = stay
                        total[w] += stay
                        surplus[w] += money * loyalty[s, j + 1, w] * log_lane(own)
                for w in range(lanes):
                    outside[w] += weight * total[w]
                for j in range(products):
                    level, level_extra = c.level[s, j], c.level_extra[s, j]
                    for w in range(lanes):
                        pull = total[w] + bonus * buffer[j, w]
                        next_loyalty[s, j + 1, w] = level * g[k, j, w] * pull + buffer[j, w]
                        num[k, j, w] += weight * level * pull
                        num_extra[k, j, w] += weight * level_extra * pull
            else:
                for w in range(lanes):
                    factor[w] = weight / denominator[w]
                    outside[w] += factor[w]
                    surplus[w] += money * log_lane(denominator[w])
                for j in range(products):
                    level = c.level[s, j]
                    for w in range(lanes):
                        num[k, j, w] += level * factor[w]
                if c.quantities:
                    for j in range(products):
                        level_extra = c.level_extra[s, j]
                        for w in range(lanes):
                            num_extra[k, j, w] += level_extra * factor[w]
        for k in range(classes):
            for j in range(products):
                for w in range(lanes):
                    share[j, w] += num[k, j, w] * g[k, j, w]
                    extra[j, w] += num_extra[k, j, w] * g[k, j, w] * h[k, j, w]

    @njit(cache=True, fastmath={"contract"}, error_model="numpy")
    def respond_block(  # type: ignore[no-untyped-def]
        prices, listed, stock, mean_field, loyalty, next_loyalty, first, c, rules, out_share, out_extra, sums, seen
    ):
        equilibrium, buyers, relaxation, tolerance, max_iterations = rules
        classes, products = c.beta.shape
        batch = len(prices)
        base, g, h = (
            np.empty((classes, products, lanes)),
            np.empty((classes, products, lanes)),
            np.empty((classes, products, lanes)),
        )
        num, num_extra = np.empty((classes, products, lanes)), np.empty((classes, products, lanes))
        feature, depth, open_, mean = (
            np.empty((products, lanes)),
            np.empty((products, lanes)),
            np.empty((products, lanes)),
            np.empty((products, lanes)),
        )
        share, extra = np.empty((products, lanes)), np.empty((products, lanes))
        outside, surplus, residual, count = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
        for j in range(products):
            for w in range(lanes):
                b = min(first + w, batch - 1)  # a short last block repeats its last market
                ratio = prices[b, j] / c.regular_price[j]
                feature[j, w] = prices[b, j] - c.regular_price[j] if c.linear else ratio
                depth[j, w] = max(0.0, 1.0 - ratio)
                open_[j, w] = 1.0 if listed[b, j] and stock[b, j] > 0.0 else 0.0
                mean[j, w] = mean_field[b, j]
            if not c.linear:
                for w in range(lanes):
                    feature[j, w] = log_lane(feature[j, w])
        for k in range(classes):
            gamma, delta = c.slopes[0, k], c.slopes[2, k]
            for j in range(products):
                beta = c.beta[k, j]
                for w in range(lanes):
                    base[k, j, w] = open_[j, w] * exp_lane(gamma * depth[j, w] - beta * feature[j, w])
                if delta == 0.0:
                    h[k, j, :] = 1.0
                else:
                    for w in range(lanes):
                        h[k, j, w] = exp_lane(delta * depth[j, w])
        residual[:] = 0.0
        count[:] = 0.0
        for iteration in range(max_iterations + 1):
            for k in range(classes):
                rho = c.slopes[1, k]
                for j in range(products):
                    if c.coupled and rho != 0.0:
                        for w in range(lanes):
                            g[k, j, w] = base[k, j, w] * exp_lane(rho * (mean[j, w] - 1.0 / products))
                    else:
                        for w in range(lanes):
                            g[k, j, w] = base[k, j, w]
            respond_once(c, g, h, loyalty, next_loyalty, share, extra, outside, surplus, num, num_extra)
            if not equilibrium:
                break
            moving = False
            for w in range(lanes):
                if iteration > 0 and residual[w] < tolerance:
                    continue  # this market has settled; the others of its block must not move it
                scale = 1.0 / max(1.0 - outside[w], 1e-300) if buyers else 1.0
                residual[w] = 0.0
                for j in range(products):
                    residual[w] = max(residual[w], abs(share[j, w] * scale - mean[j, w]))
                if residual[w] >= tolerance and iteration < max_iterations:
                    moving = True
                    count[w] += 1.0
                    for j in range(products):
                        mean[j, w] += relaxation * (share[j, w] * scale - mean[j, w])
            if not moving:
                break
        for w in range(min(lanes, batch - first)):
            b = first + w
            for j in range(products):
                out_share[b, j] = share[j, w]
                out_extra[b, j] = extra[j, w]
                seen[b, j] = mean[j, w]
            sums[0, b], sums[1, b], sums[2, b], sums[3, b] = outside[w], surplus[w], residual[w], count[w]

    return respond_block
