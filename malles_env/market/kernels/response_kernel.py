"""The compiled hot loop: how a population with known tastes answers the shelves of many markets.

The batch is walked in blocks of markets, the innermost loop running over the markets of a block, so that one
vector instruction serves several markets and the constant exp(alpha) is read once per block. Segments that share
their sensitivities (a class) share the exponentials of the price, promotion and mean-field terms:
exp(u_sj) = exp(alpha_sj) * g_kj, so a block needs K * J exponentials instead of S * J. All markets of a block share
one draw of the tastes; `Blocks` holds which markets are in it. `choice.respond` states the same formulas in NumPy
and is the reference. Results do not depend on the size of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from malles_env.compiling import njit
from malles_env.errors import invalid
from malles_env.market.arrays import LARGEST_UTILITY
from malles_env.market.demand.mean_field import NOBODY
from malles_env.market.demand.pantry import Pantry
from malles_env.market.kernels.simd_math import exp_lane, log_lane, mean_lane
from malles_env.market.population import Population
from malles_env.market.tastes import Tastes, sensitivity_classes
from malles_env.type_aliases import FloatArray, IntArray

STEP = 4
BETA, GAIN, LOSS, WORTH = range(4)
WEIGHT, BONUS, MONEY, THETA, USUAL = range(5)
GAMMA, RHO, DELTA, DISPLAY, FEATURE = range(5)


class Coefficients(NamedTuple):
    """Tastes in the form the kernel reads. D draws of tastes, S segments, J products, K sensitivity classes."""

    level: FloatArray
    """exp(utility at the regular price without discount or coupling), ``(D, S, J)`` padded with 0 to full steps."""
    level_extra: FloatArray
    """The same times exp(kappa), same shape; all zero when buyers always take one unit."""
    members: IntArray
    """Segments in the order of their class, shape ``(S,)``."""
    class_start: IntArray
    """Where each class begins in `members`, shape ``(K + 1,)``."""
    by_product: FloatArray
    """beta, gain, loss and money per util at regular prices (rows BETA to WORTH), shape ``(D, 4, K, J)``."""
    slopes: FloatArray
    """gamma, rho, delta, display and feature of each class (rows GAMMA to FEATURE), shape ``(D, 5, K)``."""
    by_segment: FloatArray
    """Weight, exp(lambda) - 1, money per util, theta and usual units (rows WEIGHT to USUAL), shape ``(D, 5, S)``."""
    size: float
    """Consumers in all."""
    regular_price: FloatArray
    """Shape ``(J,)``."""
    linear: bool
    loyal: bool
    quantities: bool
    compares: bool
    """Whether a reference price matters."""
    promotes: bool
    """Whether display or advertising matter."""
    keep: float
    """Share of the loyal who still are after a period."""
    stores: bool
    """Whether stocks at home matter."""
    stored: float
    """Share of a stock at home that is still there after a period."""


def coefficients(
    draws: Sequence[Tastes],
    population: Population,
    regular_price: FloatArray,
    fade: float = 0.0,
    pantry: Pantry | None = None,
) -> Coefficients:
    """Prepare tastes for the kernel.

    Args:
        draws: D tastes of S segments over J products, all of one price transform.
        population: Weights of the S segments and number of consumers.
        regular_price: Money, shape ``(J,)``.
        fade: Share of the loyal whose last purchase is forgotten in a period.
        pantry: How stocks at home move, `usual` of shape ``(D, S)``; None: they do not matter.

    Raises:
        InvalidInput: A utility at the regular price exceeds 300, where exponentials lose their meaning.
    """
    linear = draws[0].price_transform == "linear"
    utility = np.stack([t.alpha - t.beta * regular_price if linear else t.alpha for t in draws])
    if utility.max() > LARGEST_UTILITY:
        raise invalid("tastes.alpha", float(utility.max()), f"utility at the regular price <= {LARGEST_UTILITY}")
    padding = ((0, 0), (0, 0), (0, -utility.shape[2] % STEP))
    level, kappa = np.exp(utility), np.stack([t.kappa for t in draws])
    classes = draws[0].sensitivity_class if len(draws) == 1 else sensitivity_classes(draws)
    _, first = np.unique(classes, return_index=True)

    def table(names: Sequence[str]) -> FloatArray:
        return np.stack([[getattr(tastes, name)[first] for name in names] for tastes in draws])

    prices, slopes = table(("beta", "gain", "loss")), table(("gamma", "rho", "delta", "display", "feature"))
    worth = np.stack([tastes.worth_at_regular(regular_price)[first] for tastes in draws])
    usual = np.ones(utility.shape[:2]) if pantry is None else pantry.usual
    segments = [
        (population.weights, np.expm1(t.lambda_), t.money_per_util(regular_price), t.pantry, usual[d])
        for d, t in enumerate(draws)
    ]
    return Coefficients(  # row by row in memory whatever the tastes are: each layout is compiled anew
        level=np.pad(np.ascontiguousarray(level), padding),
        level_extra=np.pad(np.ascontiguousarray(level * np.exp(kappa)), padding),
        members=np.argsort(classes, kind="stable"),
        class_start=np.concatenate([[0], np.cumsum(np.bincount(classes))]),
        by_product=np.ascontiguousarray(np.concatenate([prices, worth[:, None]], axis=1)),
        slopes=slopes,
        by_segment=np.stack([np.stack(rows) for rows in segments]),
        size=population.size,
        regular_price=np.array(regular_price),
        linear=linear,
        loyal=any(bool(np.any(t.lambda_ != 0.0)) for t in draws),
        quantities=bool(np.any(np.isfinite(kappa))),
        compares=bool(np.any(prices[:, GAIN:])),
        promotes=bool(np.any(slopes[:, DISPLAY:])),
        keep=1.0 - fade,
        stores=pantry is not None,
        stored=0.0 if pantry is None else pantry.keep,
    )


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_denominator(level, d, s, g, k, lanes, idle, row, denominator):  # type: ignore[no-untyped-def]
    """Write idle + sum_j level_sj g_kj."""
    for w in range(lanes):
        denominator[w] = idle[row, w]
    for j in range(0, level.shape[2], STEP):  # several products at a time: fewer loads and stores
        a0, a1, a2, a3 = level[d, s, j], level[d, s, j + 1], level[d, s, j + 2], level[d, s, j + 3]
        for w in range(lanes):
            pair = a0 * g[k, j, w] + a1 * g[k, j + 1, w]
            denominator[w] += pair + (a2 * g[k, j + 2, w] + a3 * g[k, j + 3, w])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def add_products(level, d, members, start, stop, factor, lanes, num):  # type: ignore[no-untyped-def]
    """Add sum_s level_sj factor_s to num_j over the members of a class, a matrix product."""
    products = len(num)
    whole = stop - (stop - start) % STEP
    for i in range(start, whole, STEP):
        s0, s1, s2, s3 = members[i], members[i + 1], members[i + 2], members[i + 3]
        for j in range(products):
            a0, a1, a2, a3 = level[d, s0, j], level[d, s1, j], level[d, s2, j], level[d, s3, j]
            for w in range(lanes):
                pair = a0 * factor[i, w] + a1 * factor[i + 1, w]
                num[j, w] += pair + (a2 * factor[i + 2, w] + a3 * factor[i + 3, w])
    for i in range(whole, stop):
        for j in range(products):
            a0 = level[d, members[i], j]
            for w in range(lanes):
                num[j, w] += a0 * factor[i, w]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_loyal(  # type: ignore[no-untyped-def]
    c,
    d,
    s,
    g,
    k,
    loyalty,
    next_loyalty,
    block,
    lanes,
    idle,
    row,
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
    weight, bonus, money = c.by_segment[d, WEIGHT, s], c.by_segment[d, BONUS, s], c.by_segment[d, MONEY, s]
    keep = c.keep
    products = len(stay)
    for w in range(lanes):
        total[w] = loyalty[block, s, 0, w] / denominator[w]
        next_loyalty[block, s, 0, w] = 1.0 - keep + keep * idle[row, w] * total[w]
        log_sum[w] = loyalty[block, s, 0, w] * log_lane(denominator[w])
    for j in range(products):
        level = bonus * c.level[d, s, j]
        for w in range(lanes):
            own = denominator[w] + level * g[k, j, w]
            stay[j, w] = loyalty[block, s, j + 1, w] / own
            total[w] += stay[j, w]
            log_sum[w] += loyalty[block, s, j + 1, w] * log_lane(own)
    for w in range(lanes):
        nothing = idle[row, w] * total[w]
        outside[w] += weight * nothing
        surplus[w] += money * weight * (log_sum[w] - (1.0 - nothing))
    for j in range(products):
        level, level_extra = c.level[d, s, j], c.level_extra[d, s, j]
        for w in range(lanes):
            pull = total[w] + bonus * stay[j, w]
            next_loyalty[block, s, j + 1, w] = keep * (level * g[k, j, w] * pull + stay[j, w])
            num[j, w] += weight * level * pull
            num_extra[j, w] += weight * level_extra * pull


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_taken(  # type: ignore[no-untyped-def]
    c, d, s, g, h, k, next_loyalty, block, lanes, idle, total, stay, taken, surplus
):  # fmt: skip
    """Write the units per consumer of a segment with a pantry; put its loyalty and log-sums on the scale of utility.

    A pass of its own, so that markets without pantries pay nothing for it.
    """
    weight, bonus, money = c.by_segment[d, WEIGHT, s], c.by_segment[d, BONUS, s], c.by_segment[d, MONEY, s]
    for w in range(lanes):
        taken[s, w] = 0.0
        surplus[w] -= money * weight * log_lane(idle[s, w])
    for j in range(len(stay)):
        level, level_extra = c.level[d, s, j], c.level_extra[d, s, j]
        for w in range(lanes):
            bought = g[k, j, w] * (total[w] + bonus * stay[j, w])
            taken[s, w] += (level + level_extra * h[k, j, w]) * bought
        if c.loyal:
            for w in range(lanes):
                bought = g[k, j, w] * (total[w] + bonus * stay[j, w])
                next_loyalty[block, s, j + 1, w] = c.keep * (level * bought + idle[s, w] * stay[j, w])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_idle(c, d, pantry, order, first, idle):  # type: ignore[no-untyped-def]
    """Write exp(theta I), the worth of buying nothing; 1 without pantries.

    Only differences of utilities matter: what a stock at home takes from every product is given to buying nothing.
    """
    segments, lanes = idle.shape
    for s in range(segments):
        for w in range(lanes):
            idle[s, w] = exp_lane(c.by_segment[d, THETA, s] * pantry[order[first + w], s]) if c.stores else 1.0


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def move_pantries(c, d, taken, order, first, pantry):  # type: ignore[no-untyped-def]
    """Move the stocks at home one period on, see `pantry.Pantry`."""
    segments, lanes = taken.shape
    for w in range(lanes):
        for s in range(segments):
            over = taken[s, w] / c.by_segment[d, USUAL, s] - 1.0
            pantry[order[first + w], s] = c.stored * pantry[order[first + w], s] + over


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_once(  # type: ignore[no-untyped-def]
    c, d, g, h, worth, idle, taken, loyalty, next_loyalty, block, lanes, share, extra, outside, surplus
):  # fmt: skip
    """Answer of all segments to one block of offers; `worth` comes from `fill_worth`, `idle` from `fill_idle`."""
    classes, products = c.by_product.shape[2:]
    rows, sides = np.empty((3, products, lanes)), np.empty((3, lanes))
    num, num_extra, stay = rows[0], rows[1], rows[2]
    denominator, total, log_sum = sides[0], sides[1], sides[2]
    factor = np.empty((len(c.members), lanes))
    if c.stores and not c.loyal:
        stay[:] = 0.0
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
            row = s if c.stores else 0
            fill_denominator(c.level, d, s, g, k, lanes, idle, row, denominator)
            if c.loyal:
                respond_loyal(
                    c, d, s, g, k, loyalty, next_loyalty, block, lanes, idle, row, denominator, total, log_sum, stay,
                    outside, surplus, num, num_extra,
                )  # fmt: skip
            else:
                weight, money = c.by_segment[d, WEIGHT, s], c.by_segment[d, MONEY, s]
                for w in range(lanes):
                    factor[i, w] = weight / denominator[w]
                    nothing = idle[row, w] * factor[i, w]
                    outside[w] += nothing
                    surplus[w] += money * (weight * log_lane(denominator[w]) - (weight - nothing))
            if c.stores:
                if not c.loyal:
                    for w in range(lanes):
                        total[w] = 1.0 / denominator[w]
                fill_taken(c, d, s, g, h, k, next_loyalty, block, lanes, idle, total, stay, taken, surplus)
        if not c.loyal:
            add_products(c.level, d, c.members, start, stop, factor, lanes, num)
            if c.quantities:
                add_products(c.level_extra, d, c.members, start, stop, factor, lanes, num_extra)
        for j in range(products):
            for w in range(lanes):
                bought = num[j, w] * g[k, j, w]
                share[j, w] += bought
                surplus[w] += bought * worth[0, k, j, w]
            if c.quantities:
                for w in range(lanes):
                    bought = num_extra[j, w] * g[k, j, w] * h[k, j, w]
                    extra[j, w] += bought
                    surplus[w] += bought * worth[1, k, j, w]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_worth(c, d, feature, depth, turn, base, worth):  # type: ignore[no-untyped-def]
    """Write what a buyer's first unit and each further one are worth above the price: `surplus.worth_of_purchase`."""
    classes, products, lanes = base.shape
    parts = 2 if c.quantities else 1
    shift = 0.0 if c.linear else 1.0
    means = np.empty(worth.shape if lanes == 1 else (1, 1, 1, 1))
    if lanes == 1:  # one market has no lanes to serve at once, but its products and classes can be
        for part in range(parts):
            for k in range(classes):
                for j in range(products):
                    x = base[k, j, 0] + shift * feature[j, 0] + part * c.slopes[d, DELTA, k] * depth[j, 0]
                    worth[part, k, j, 0] = x
        flat, found = worth.reshape(worth.size), means.reshape(means.size)
        for i in range(parts * classes * products):
            found[i] = mean_lane(flat[i])
    for part in range(parts):
        for k in range(classes):
            delta = part * c.slopes[d, DELTA, k]
            for j in range(products):
                beyond = c.by_product[d, WORTH, k, j]
                scale = -1.0 if c.linear else -c.regular_price[j]
                if lanes == 1:
                    x, mean = worth[part, k, j, 0], means[part, k, j, 0]
                    worth[part, k, j, 0] = turn[j, 0] * (beyond + (scale * feature[j, 0] - beyond * x) * mean)
                    continue
                for w in range(lanes):
                    x = base[k, j, w] + shift * feature[j, w] + delta * depth[j, w]
                    worth[part, k, j, w] = turn[j, w] * (beyond + (scale * feature[j, w] - beyond * x) * mean_lane(x))


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_prices(c, d, feature, depth, base, h):  # type: ignore[no-untyped-def]
    """Write what prices add to utility, and the factor that discounts put on the extra units."""
    classes, products, lanes = base.shape
    for k in range(classes):
        gamma, delta = c.slopes[d, GAMMA, k], c.slopes[d, DELTA, k]
        for j in range(products):
            beta = c.by_product[d, BETA, k, j]
            for w in range(lanes):
                base[k, j, w] = gamma * depth[j, w] - beta * feature[j, w]
            if c.quantities and delta != 0.0:
                for w in range(lanes):
                    h[k, j, w] = exp_lane(delta * depth[j, w])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def add_forces(  # type: ignore[no-untyped-def]
    c, d, feature, log_reference, flags, promoted, order, first, base
):  # fmt: skip
    """Add reference prices, display and advertising to the terms of utility that the mean field does not move."""
    classes, products, lanes = base.shape
    if c.compares:
        for k in range(classes):
            for j in range(products):
                gain, loss = c.by_product[d, GAIN, k, j], c.by_product[d, LOSS, k, j]
                for w in range(lanes):
                    below = log_reference[order[first + w], j] - feature[j, w]
                    base[k, j, w] += gain * max(below, 0.0) + loss * min(below, 0.0)
    if promoted:
        there = np.empty((2, lanes))  # gathered once for all classes
        for j in range(products):
            for w in range(lanes):
                b = order[first + w]
                there[0, w], there[1, w] = 1.0 * flags[0, b, j], 1.0 * flags[1, b, j]
            for k in range(classes):
                shown, advertised = c.slopes[d, DISPLAY, k], c.slopes[d, FEATURE, k]
                for w in range(lanes):
                    base[k, j, w] += shown * there[0, w] + advertised * there[1, w]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def fill_factors(c, d, base, mean, middle, open_, g):  # type: ignore[no-untyped-def]
    """Write g, the exponential of all that is not in the level of utility; 0 where a product is not available."""
    classes, products, lanes = base.shape
    if lanes == 1:  # one market has no lanes to serve at once, but its products and classes can be
        for k in range(classes):
            rho = c.slopes[d, RHO, k]
            for j in range(products):
                g[k, j, 0] = base[k, j, 0] + rho * (mean[j, 0] - middle[j, 0])
        flat = g.reshape(g.size)
        for i in range(len(flat)):
            flat[i] = exp_lane(flat[i])
        for k in range(classes):
            for j in range(g.shape[1]):
                g[k, j, 0] *= open_[j, 0] if j < products else 0.0
        return
    for k in range(classes):
        rho = c.slopes[d, RHO, k]
        for j in range(products):
            for w in range(lanes):
                coupled = base[k, j, w] + rho * (mean[j, w] - middle[j, w])
                g[k, j, w] = open_[j, w] * exp_lane(coupled)


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def respond_block(  # type: ignore[no-untyped-def]
    prices,
    listed,
    flags,
    stock,
    mean_field,
    centre,
    log_reference,
    pantry,
    loyalty,
    next_loyalty,
    block,
    order,
    first,
    stop,
    d,
    c,
    rules,
    out_share,
    out_extra,
    sums,
    seen,
):
    """Write how the markets of block number `block` answer their offers.

    Args:
        prices: Of all B markets, shape ``(B, J)``; so are all but the next two up to `log_reference`.
        listed: On the shelf.
        flags: Displayed and advertised, shape ``(2, B, J)``; read only where `rules` says that anything is promoted.
        stock: On hand; a product without stock is not available.
        mean_field: What consumers feel, or where the fixed-point iteration starts.
        centre: Where the mean field has no effect.
        log_reference: Log of reference over regular price; read only where tastes compare.
        pantry: Stocks at home, moved one period on where they matter, shape ``(B, S)``.
        loyalty: In blocks of markets, shape ``(blocks, S, J + 1, lanes)``.
        next_loyalty: Written, same shape.
        block: Which block of markets.
        order: Markets block by block, shape ``(B,)``.
        first: Where the block begins in `order`.
        stop: Where it ends.
        d: Which draw of the tastes its markets have.
        c: `Coefficients`.
        rules: Whether the coupling is an equilibrium and its shares are of buyers, relaxation, tolerance, most
            iterations, and whether anything is promoted.
        out_share: Written: share of the population that buys each product, shape ``(B, J)``.
        out_extra: Written: units beyond one per buyer, per consumer of the population, shape ``(B, J)``.
        sums: Written: outside share, surplus, residual, iterations, shape ``(4, B)``.
        seen: Written: the perceived mean field, shape ``(B, J)``.

    Arrays are passed whole with an index: a view inside a loop would cost an atomic reference count each.
    """
    equilibrium, buyers, relaxation, tolerance, max_iterations, promoted = rules
    classes, products = c.by_product.shape[2:]
    lanes = stop - first
    padded = c.level.shape[2]
    base, h = np.empty((classes, products, lanes)), np.ones((classes, products, lanes))
    g = np.zeros((classes, padded, lanes))
    rows, sides = np.empty((8, products, lanes)), np.empty((4, lanes))  # one allocation costs as much as ten products
    feature, depth, open_, mean, turn, middle, share, extra = (
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7],
    )  # fmt: skip
    outside, surplus, residual, count = sides[0], sides[1], sides[2], sides[3]
    for w in range(lanes):
        b = order[first + w]
        for j in range(products):
            feature[j, w] = prices[b, j]
            open_[j, w] = 1.0 if listed[b, j] and stock[b, j] > 0.0 else 0.0
            mean[j, w] = mean_field[b, j]
            middle[j, w] = centre[b, j]
    for j in range(products):
        regular = c.regular_price[j]
        for w in range(lanes):
            ratio = feature[j, w] / regular
            depth[j, w] = max(0.0, 1.0 - ratio)
            feature[j, w] = feature[j, w] - regular if c.linear else log_lane(ratio)
            turn[j, w] = 1.0 if c.linear else ratio
    fill_prices(c, d, feature, depth, base, h)
    worth = np.empty((2, classes, products, lanes))
    fill_worth(c, d, feature, depth, turn, base, worth)
    if c.compares or promoted:
        add_forces(c, d, feature, log_reference, flags, promoted, order, first, base)
    homes = np.empty((2, len(c.members) if c.stores else 1, lanes))
    idle, taken = homes[0], homes[1]
    fill_idle(c, d, pantry, order, first, idle)
    residual[:] = 0.0
    count[:] = 0.0
    for iteration in range(max_iterations + 1):
        fill_factors(c, d, base, mean, middle, open_, g)
        respond_once(
            c, d, g, h, worth, idle, taken, loyalty, next_loyalty, block, lanes, share, extra, outside, surplus
        )  # fmt: skip
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
    if c.stores:
        move_pantries(c, d, taken, order, first, pantry)
    for w in range(lanes):
        b = order[first + w]
        for j in range(products):
            out_share[b, j] = share[j, w]
            out_extra[b, j] = extra[j, w]
            seen[b, j] = mean[j, w]
        sums[0, b], sums[1, b], sums[2, b], sums[3, b] = outside[w], c.size * surplus[w], residual[w], count[w]
