"""The compiled answer of one market where quantity discounts are posted.

`tiers` and `choice` state the same formulas in NumPy and are the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, expm1, floor, log
from typing import NamedTuple

import numpy as np

from malles_env.compiling import njit
from malles_env.market.catalog import Catalog
from malles_env.market.demand.mean_field import NOBODY
from malles_env.market.kernels.response_kernel import (
    BETA,
    BONUS,
    DELTA,
    GAMMA,
    MONEY,
    THETA,
    USUAL,
    WEIGHT,
    add_forces,
    fill_factors,
    fill_prices,
    fill_worth,
)
from malles_env.market.kernels.simd_math import log_lane
from malles_env.market.seller_rules.tiers import CLOSE, MEET, RAISED, UNITS
from malles_env.market.tastes import Tastes, sensitivity_classes
from malles_env.type_aliases import FloatArray, IntArray

EXTRA = RAISED  # a market's answer holds all units beyond the first in the row of the raised ones


class TierTerms(NamedTuple):
    """What answering tiers needs beside the kernel's coefficients."""

    threshold: FloatArray
    """Units, shape ``(J,)``; 0: the product carries no tier."""
    more: FloatArray
    """exp(kappa), mean units beyond the first without a discount, shape ``(D, S, J)``."""
    group: IntArray
    """Sensitivity class of each segment, shape ``(S,)``."""


def tier_terms(catalog: Catalog, draws: Sequence[Tastes]) -> TierTerms:
    """Return what a market whose catalog has tiers needs; `draws` is empty where consumers must be asked."""
    assert catalog.tiers is not None
    threshold = catalog.tiers.thresholds(catalog.product_ids).astype(np.float64)
    if not draws:
        return TierTerms(threshold, np.zeros((0, 0, len(threshold))), np.zeros(0, dtype=np.int64))
    classes = draws[0].sensitivity_class if len(draws) == 1 else sensitivity_classes(draws)
    return TierTerms(threshold, np.exp(np.stack([t.kappa for t in draws])), classes)


@njit(cache=True, error_model="numpy")
def order_sizes(more: float, threshold: float, ratio: float) -> tuple[float, float, float, float]:
    """Return chance to meet the threshold, units at the tier price, raised units, share paid: `tiers.orders_of`."""
    first = floor(threshold * ratio + CLOSE) + 1.0
    chance, below, below_units, raised = exp(-more), 0.0, 0.0, 0.0
    for n in range(1, int(threshold)):
        if n < first:
            below += chance
            below_units += n * chance
        else:
            raised += (threshold - n) * chance
        chance *= more / n
    wanted = max(1.0 + more - below_units, 0.0)
    units = wanted + raised
    return max(1.0 - below, 0.0), units, raised, 1.0 - (wanted - ratio * units) / (1.0 + more)


@njit(inline="always", error_model="numpy")
def mean_fall(x: float) -> float:
    """Return (1 - exp(-x)) / x, the mean of exp(-t) over 0 <= t <= x."""
    return -expm1(-x) / x if x != 0.0 else 1.0


@njit(cache=True, error_model="numpy")
def fill_orders(b, d, prices, perceived, tier, c, t, h, worth, factor, sizes, omega):  # type: ignore[no-untyped-def]
    """Write what tiers do to each segment of market b.

    Args:
        b: Market.
        d: Its draw of the tastes.
        prices: List prices, money, ``(B, J)``; so are the next two.
        perceived: What consumers take them for.
        tier: Tier prices.
        c: `Coefficients`.
        t: `TierTerms`.
        h: Factor of discounts on units beyond the first, shape ``(K, J, 1)``.
        worth: From `fill_worth`, shape ``(2, K, J, 1)``.
        factor: Written: exp(utility) over what it is at list prices, shape ``(S, J)``.
        sizes: Written: chance to meet the threshold, units at the tier price, units beyond the first, ``(3, S, J)``.
        omega: Written: what a purchase is worth above its cost, money, shape ``(S, J)``.
    """
    for s in range(factor.shape[0]):
        k = t.group[s]
        for j in range(factor.shape[1]):
            more = t.more[d, s, j] * h[k, j, 0]
            own = worth[0, k, j, 0]
            if c.quantities:
                own += more * worth[1, k, j, 0]
            ratio = tier[b, j] / prices[b, j]
            factor[s, j], omega[s, j] = 1.0, own
            sizes[MEET, s, j], sizes[UNITS, s, j], sizes[EXTRA, s, j] = 0.0, 0.0, more
            if ratio >= 1.0 or t.threshold[j] == 0.0:
                continue
            paid = order_sizes(more, t.threshold[j], ratio)[3]
            over = perceived[b, j] / c.regular_price[j]
            deeper = max(0.0, 1.0 - paid * over) - max(0.0, 1.0 - over)
            larger = c.slopes[d, DELTA, k] * deeper
            more *= exp(larger)
            meet, units, raised, paid = order_sizes(more, t.threshold[j], ratio)
            fall = perceived[b, j] * (1.0 - paid) if c.linear else -log(paid)
            gained = c.by_product[d, BETA, k, j] * fall + c.slopes[d, GAMMA, k] * deeper
            steep = gained if c.linear else gained - fall
            scale = 1.0 if c.linear else perceived[b, j] * paid
            factor[s, j] = exp(gained)
            omega[s, j] = scale * fall * (mean_fall(steep) + more * mean_fall(steep + larger)) + own / factor[s, j]
            sizes[MEET, s, j], sizes[UNITS, s, j], sizes[EXTRA, s, j] = meet, units, more + raised


@njit(cache=True, error_model="numpy")
def answer(  # type: ignore[no-untyped-def]
    d, c, g, t, factor, sizes, omega, loyalty, next_loyalty, block, w, share, totals, taken
):  # fmt: skip
    """Write the purchases of one market and its segments' units per consumer, formulas of `choice.respond`.

    Returns:
        Outside share and surplus.
    """
    segments, products = factor.shape
    outside, surplus = 0.0, 0.0
    e, stay = np.empty(products), np.zeros(products)
    share[:] = 0.0
    totals[:] = 0.0
    taken[:] = 0.0
    for s in range(segments):
        weight, bonus, money = c.by_segment[d, WEIGHT, s], c.by_segment[d, BONUS, s], c.by_segment[d, MONEY, s]
        k, whole = t.group[s], 1.0
        for j in range(products):
            e[j] = c.level[d, s, j] * g[k, j, 0] * factor[s, j]
            whole += e[j]
        total, log_sum = 1.0 / whole, log(whole)
        if c.loyal:
            total *= loyalty[block, s, 0, w]
            log_sum *= loyalty[block, s, 0, w]
            next_loyalty[block, s, 0, w] = 1.0 - c.keep + c.keep * total
            for j in range(products):
                own, before = whole + bonus * e[j], loyalty[block, s, j + 1, w]
                stay[j] = before / own
                total += stay[j]
                log_sum += before * log(own)
        for j in range(products):
            bought = e[j] * (total + bonus * stay[j])
            if c.loyal:
                next_loyalty[block, s, j + 1, w] = c.keep * (bought + stay[j])
            taken[s] += bought * (1.0 + sizes[EXTRA, s, j])
            bought *= weight
            share[j] += bought
            surplus += bought * omega[s, j]
            for row in range(3):
                totals[row, j] += bought * sizes[row, s, j]
        outside += weight * total
        surplus += money * weight * (log_sum - (1.0 - total))
    return outside, surplus


@njit(cache=True, error_model="numpy")
def respond_market(  # type: ignore[no-untyped-def]
    i, w, prices, perceived, tier, listed, flags, stock, mean_field, centre, log_reference, before, pantry, loyalty,
    next_loyalty, block, order, d, c, t, rules, out_share, out_extra, out_tier, sums, seen,
):  # fmt: skip
    """Write how the market at `i` in `order`, lane `w` of its block, answers; arguments of `kernel.respond_block`.

    `before` are the stocks at home as the period began, `pantry` is written, ``(B, S)`` each.
    """
    equilibrium, buyers, relaxation, tolerance, max_iterations, promoted = rules
    b = order[i]
    classes, products = c.by_product.shape[2:]
    base, h = np.empty((classes, products, 1)), np.ones((classes, products, 1))
    g, worth = np.zeros((classes, c.level.shape[2], 1)), np.empty((2, classes, products, 1))
    rows = np.empty((6, products, 1))
    feature, depth, open_, mean, turn, middle = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    for j in range(products):
        regular = c.regular_price[j]
        ratio = perceived[b, j] / regular
        depth[j, 0] = max(0.0, 1.0 - ratio)
        feature[j, 0] = perceived[b, j] - regular if c.linear else log_lane(ratio)
        turn[j, 0] = 1.0 if c.linear else ratio
        open_[j, 0] = 1.0 if listed[b, j] and stock[b, j] > 0.0 else 0.0
        mean[j, 0], middle[j, 0] = mean_field[b, j], centre[b, j]
    fill_prices(c, d, feature, depth, base, h)
    fill_worth(c, d, feature, depth, turn, base, worth)
    if c.compares or promoted:
        add_forces(c, d, feature, log_reference, flags, promoted, order, i, base)
    sizes = np.empty((3, len(t.group), products))
    factor, omega = np.empty(sizes.shape[1:]), np.empty(sizes.shape[1:])
    fill_orders(b, d, prices, perceived, tier, c, t, h, worth, factor, sizes, omega)
    if c.stores:
        for s in range(len(t.group)):
            factor[s] *= exp(-c.by_segment[d, THETA, s] * before[b, s])
    share, totals, taken = np.empty(products), np.empty((3, products)), np.empty(len(t.group))
    outside, surplus, residual, count = 0.0, 0.0, 0.0, 0.0
    for iteration in range(max_iterations + 1):
        fill_factors(c, d, base, mean, middle, open_, g)
        outside, surplus = answer(
            d, c, g, t, factor, sizes, omega, loyalty, next_loyalty, block, w, share, totals, taken
        )  # fmt: skip
        inside = 1.0 - outside
        if not equilibrium or (buyers and inside < NOBODY):
            break
        residual, scale = 0.0, 1.0 / inside if buyers else 1.0
        for j in range(products):
            residual = max(residual, abs(share[j] * scale - mean[j, 0]))
        if residual < tolerance or iteration == max_iterations:
            break
        count += 1.0
        for j in range(products):
            mean[j, 0] += relaxation * (share[j] * scale - mean[j, 0])
    if c.stores:
        for s in range(len(t.group)):
            pantry[b, s] = c.stored * before[b, s] + taken[s] / c.by_segment[d, USUAL, s] - 1.0
    for j in range(products):
        out_share[b, j], out_extra[b, j], seen[b, j] = share[j], totals[EXTRA, j], mean[j, 0]
        out_tier[MEET, b, j], out_tier[UNITS, b, j] = totals[MEET, j], totals[UNITS, j]
    sums[0, b], sums[1, b], sums[2, b], sums[3, b] = outside, c.size * surplus, residual, count
