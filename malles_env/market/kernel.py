"""The compiled hot loop: how a population with known tastes answers the shelves of many markets.

The batch is walked in blocks of markets, the innermost loop running over the markets of a block, so that one
vector instruction serves several markets and the constant exp(alpha) is read once per block. Segments that share
their sensitivities (a class) share the exponentials of the price, discount and mean-field terms:
exp(u_sj) = exp(alpha_sj) * g_kj, so a block needs K * J exponentials instead of S * J. `choice.respond` states the
same formulas in NumPy and is the reference. Results do not depend on the size of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from malles_env.errors import invalid
from malles_env.market.arrays import FloatArray, IntArray
from malles_env.market.lanes import exp_lane, log_lane
from malles_env.market.mean_field import NOBODY
from malles_env.market.population import Population
from malles_env.market.tastes import Tastes

STEP = 4
LARGEST_UTILITY = 300.0


class Coefficients(NamedTuple):
    """Tastes in the form the kernel reads. S segments, J products, K sensitivity classes."""

    level: FloatArray
    """exp(utility at the regular price without discount or coupling), ``(S, J)`` padded with 0 to full steps."""
    level_extra: FloatArray
    """The same times exp(kappa), same shape; all zero when buyers always take one unit."""
    members: IntArray
    """Segments in the order of their class, shape ``(S,)``."""
    class_start: IntArray
    """Where each class begins in `members`, shape ``(K + 1,)``."""
    beta: FloatArray
    """Shape ``(K, J)``."""
    slopes: FloatArray
    """gamma, rho and delta of each class, shape ``(3, K)``."""
    bonus: FloatArray
    """exp(lambda) - 1, shape ``(S,)``."""
    weights: FloatArray
    """Shape ``(S,)``."""
    money: FloatArray
    """Consumers in each segment times money per util, shape ``(S,)``."""
    regular_price: FloatArray
    """Shape ``(J,)``."""
    linear: bool
    loyal: bool
    quantities: bool


def coefficients(tastes: Tastes, population: Population, regular_price: FloatArray) -> Coefficients:
    """Prepare tastes for the kernel.

    Args:
        tastes: Coefficients of S segments over J products.
        population: Weights of the S segments and number of consumers.
        regular_price: Money, shape ``(J,)``.

    Raises:
        InvalidInput: A utility at the regular price exceeds 300, where exponentials lose their meaning.
    """
    linear = tastes.price_transform == "linear"
    utility = tastes.alpha - tastes.beta * regular_price if linear else tastes.alpha
    if utility.max() > LARGEST_UTILITY:
        raise invalid("tastes.alpha", float(utility.max()), f"utility at the regular price <= {LARGEST_UTILITY}")
    padding = ((0, 0), (0, -utility.shape[1] % STEP))
    # fresh writable arrays in C order, whatever the caller has: another flag would compile the period once more
    level = np.exp(np.ascontiguousarray(utility))
    slopes = [tastes.class_table(getattr(tastes, name)) for name in ("gamma", "rho", "delta")]
    return Coefficients(
        level=np.pad(level, padding),
        level_extra=np.pad(level * np.exp(tastes.kappa), padding),
        members=np.argsort(tastes.sensitivity_class, kind="stable"),
        class_start=np.concatenate([[0], np.cumsum(np.bincount(tastes.sensitivity_class))]),
        beta=tastes.class_table(tastes.beta),
        slopes=np.stack(slopes),
        bonus=np.expm1(tastes.lambda_),
        weights=np.array(population.weights),
        money=population.size * population.weights * tastes.money_per_util(regular_price),
        regular_price=np.array(regular_price),
        linear=linear,
        loyal=bool(np.any(tastes.lambda_ != 0.0)),
        quantities=bool(np.any(np.isfinite(tastes.kappa))),
    )


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_denominator(level, s, g, k, denominator):  # type: ignore[no-untyped-def]
    """Write 1 + sum_j level_sj g_kj."""
    lanes = len(denominator)
    for w in range(lanes):
        denominator[w] = 1.0
    for j in range(0, level.shape[1], STEP):  # several products at a time: fewer loads and stores
        a0, a1, a2, a3 = level[s, j], level[s, j + 1], level[s, j + 2], level[s, j + 3]
        for w in range(lanes):
            pair = a0 * g[k, j, w] + a1 * g[k, j + 1, w]
            denominator[w] += pair + (a2 * g[k, j + 2, w] + a3 * g[k, j + 3, w])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def add_products(level, members, start, stop, factor, num):  # type: ignore[no-untyped-def]
    """Add sum_s level_sj factor_s to num_j over the members of a class, a matrix product."""
    products, lanes = num.shape
    whole = stop - (stop - start) % STEP
    for i in range(start, whole, STEP):
        s0, s1, s2, s3 = members[i], members[i + 1], members[i + 2], members[i + 3]
        for j in range(products):
            a0, a1, a2, a3 = level[s0, j], level[s1, j], level[s2, j], level[s3, j]
            for w in range(lanes):
                pair = a0 * factor[i, w] + a1 * factor[i + 1, w]
                num[j, w] += pair + (a2 * factor[i + 2, w] + a3 * factor[i + 3, w])
    for i in range(whole, stop):
        for j in range(products):
            a0 = level[members[i], j]
            for w in range(lanes):
                num[j, w] += a0 * factor[i, w]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_loyal(  # type: ignore[no-untyped-def]
    c,
    s,
    g,
    k,
    loyalty,
    next_loyalty,
    block,
    denominator,
    total,
    log_sum,
    stay,
    outside,
    surplus,
    num,
    num_extra,
):
    """Answer of one segment whose last purchase matters."""
    weight, money, bonus = c.weights[s], c.money[s], c.bonus[s]
    products, lanes = stay.shape
    for w in range(lanes):
        total[w] = loyalty[block, s, 0, w] / denominator[w]
        next_loyalty[block, s, 0, w] = total[w]
        log_sum[w] = loyalty[block, s, 0, w] * log_lane(denominator[w])
    for j in range(products):
        level = bonus * c.level[s, j]
        for w in range(lanes):
            own = denominator[w] + level * g[k, j, w]
            stay[j, w] = loyalty[block, s, j + 1, w] / own
            total[w] += stay[j, w]
            log_sum[w] += loyalty[block, s, j + 1, w] * log_lane(own)
    for w in range(lanes):
        outside[w] += weight * total[w]
        surplus[w] += money * log_sum[w]
    for j in range(products):
        level, level_extra = c.level[s, j], c.level_extra[s, j]
        for w in range(lanes):
            pull = total[w] + bonus * stay[j, w]
            next_loyalty[block, s, j + 1, w] = level * g[k, j, w] * pull + stay[j, w]
            num[j, w] += weight * level * pull
            num_extra[j, w] += weight * level_extra * pull


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_once(c, g, h, loyalty, next_loyalty, block, share, extra, outside, surplus):  # type: ignore[no-untyped-def]
    """Answer of all segments to one block of offers."""
    classes, products = c.beta.shape
    lanes = loyalty.shape[3]
    num, num_extra, stay = (
        np.empty((products, lanes)),
        np.empty((products, lanes)),
        np.empty((products, lanes)),
    )
    denominator, total, log_sum = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    factor = np.empty((len(c.weights), lanes))
    share[:] = 0.0
    extra[:] = 0.0
    outside[:] = 0.0
    surplus[:] = 0.0
    for k in range(classes):
        start, stop = c.class_start[k], c.class_start[k + 1]
        num[:] = 0.0
        num_extra[:] = 0.0
        for i in range(start, stop):
            s = c.members[i]
            fill_denominator(c.level, s, g, k, denominator)
            if c.loyal:
                respond_loyal(
                    c, s, g, k, loyalty, next_loyalty, block, denominator, total, log_sum, stay, outside, surplus,
                    num, num_extra,
                )  # fmt: skip
            else:
                weight, money = c.weights[s], c.money[s]
                for w in range(lanes):
                    factor[i, w] = weight / denominator[w]
                    outside[w] += factor[i, w]
                    surplus[w] += money * log_lane(denominator[w])
        if not c.loyal:
            add_products(c.level, c.members, start, stop, factor, num)
            if c.quantities:
                add_products(c.level_extra, c.members, start, stop, factor, num_extra)
        for j in range(products):
            for w in range(lanes):
                share[j, w] += num[j, w] * g[k, j, w]
            if c.quantities:
                for w in range(lanes):
                    extra[j, w] += num_extra[j, w] * g[k, j, w] * h[k, j, w]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_block(  # type: ignore[no-untyped-def]
    prices,
    listed,
    stock,
    mean_field,
    loyalty,
    next_loyalty,
    block,
    c,
    rules,
    out_share,
    out_extra,
    sums,
    seen,
):
    """Write how the markets of block number `block` answer their offers.

    Args:
        prices: Of all B markets, shape ``(B, J)``; so are the next three.
        listed: On the shelf.
        stock: On hand; a product without stock is not available.
        mean_field: What consumers feel, or where the fixed-point iteration starts.
        loyalty: In blocks of markets, shape ``(blocks, S, J + 1, lanes)``.
        next_loyalty: Written, same shape.
        block: Which block of markets.
        c: `Coefficients`.
        rules: Whether the coupling is an equilibrium and its shares are of buyers, relaxation, tolerance, most
            iterations.
        out_share: Written: share of the population that buys each product, shape ``(B, J)``.
        out_extra: Written: units beyond one per buyer, per consumer of the population, shape ``(B, J)``.
        sums: Written: outside share, surplus, residual, iterations, shape ``(4, B)``.
        seen: Written: the mean field that was felt, shape ``(B, J)``.

    Arrays are passed whole with an index: a view inside a loop would cost an atomic reference count each.
    """
    equilibrium, buyers, relaxation, tolerance, max_iterations = rules
    classes, products = c.beta.shape
    lanes = loyalty.shape[3]
    batch, first = len(prices), block * lanes
    padded = c.level.shape[1]
    base, h = np.empty((classes, products, lanes)), np.ones((classes, products, lanes))
    g = np.zeros((classes, padded, lanes))
    feature, depth = np.empty((products, lanes)), np.empty((products, lanes))
    open_, mean = np.empty((products, lanes)), np.empty((products, lanes))
    share, extra = np.empty((products, lanes)), np.empty((products, lanes))
    outside, surplus, residual, count = np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for w in range(lanes):
        b = min(first + w, batch - 1)  # a short last block repeats its last market
        for j in range(products):
            feature[j, w] = prices[b, j]
            open_[j, w] = 1.0 if listed[b, j] and stock[b, j] > 0.0 else 0.0
            mean[j, w] = mean_field[b, j]
    for j in range(products):
        regular = c.regular_price[j]
        for w in range(lanes):
            ratio = feature[j, w] / regular
            depth[j, w] = max(0.0, 1.0 - ratio)
            feature[j, w] = feature[j, w] - regular if c.linear else log_lane(ratio)
    for k in range(classes):
        gamma, delta = c.slopes[0, k], c.slopes[2, k]
        for j in range(products):
            beta = c.beta[k, j]
            for w in range(lanes):
                base[k, j, w] = gamma * depth[j, w] - beta * feature[j, w]
            if c.quantities and delta != 0.0:
                for w in range(lanes):
                    h[k, j, w] = exp_lane(delta * depth[j, w])
    residual[:] = 0.0
    count[:] = 0.0
    for iteration in range(max_iterations + 1):
        for k in range(classes):
            rho = c.slopes[1, k]
            for j in range(products):
                for w in range(lanes):
                    coupled = base[k, j, w] + rho * (mean[j, w] - 1.0 / products)
                    g[k, j, w] = open_[j, w] * exp_lane(coupled)
        respond_once(c, g, h, loyalty, next_loyalty, block, share, extra, outside, surplus)
        if not equilibrium:
            break
        moving = False
        for w in range(lanes):
            if iteration > 0 and residual[w] < tolerance:
                continue  # this market has settled; the others of its block must not move it
            residual[w] = 0.0
            inside = 1.0 - outside[w]
            if buyers and inside < NOBODY:
                continue
            scale = 1.0 / inside if buyers else 1.0
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
