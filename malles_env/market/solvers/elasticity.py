"""Price elasticities and diversion ratios of any consumers: exact where they carry tastes, by differences elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.market.demand.choice import mean_quantity, respond, utilities
from malles_env.market.demand.mean_field import NOBODY, MeanField
from malles_env.market.demand.pantry import Pantry
from malles_env.market.offer import Consumers, Offer
from malles_env.market.solvers.game import settle_offer
from malles_env.market.tastes import Tastes, tastes_of
from malles_env.type_aliases import FloatArray

Hold = Literal["state", "steady"]
Of = Literal["units", "choice"]


@dataclass(frozen=True, slots=True)
class Elasticities:
    """How demand answers to a small rise of each price, in B markets with J products.

    Attributes:
        matrix: d log D_j / d log p_k, shape ``(B, J, J)``: row j is the product whose demand changes, column k the one
            whose price rises. Rows of products that nobody buys are NaN.
        diversion: Of the buyers that product j loses when its price rises, the share that goes to the outside option
            (index 0) and to each product k (index k + 1), shape ``(B, J, J + 1)``. Rows sum to 1; a product's own
            entry is 0. An entry is negative where k loses buyers too, as it may when consumers follow each other. Rows
            of products that lose nobody are NaN.
    """

    matrix: FloatArray
    diversion: FloatArray


class _Answer(NamedTuple):
    """Demand and its derivatives with respect to log prices: the column is the price."""

    chosen: FloatArray
    """Share of consumers who choose each option, ``(B, J + 1)``; index 0 is the outside option."""
    units: FloatArray
    """Units per consumer, ``(B, J)``."""
    d_chosen: FloatArray
    """Shape ``(B, J + 1, J)``."""
    d_units: FloatArray
    """Shape ``(B, J, J)``."""


def elasticities(
    consumers: Consumers,
    weights: ArrayLike,
    offer: Offer,
    *,
    hold: Hold = "state",
    of: Of = "units",
    settings: MeanField | None = None,
    fade: float = 0.0,
    pantry: Pantry | None = None,
    step: float = 1e-4,
) -> Elasticities:
    """Return own- and cross-price elasticities and diversion ratios of the whole population.

    All are those of a price rise. It matters only at exactly the regular price, where utility and quantities have a
    kink: below it a rise also takes away discount depth, at it and above it there is none. Likewise at exactly the
    reference price a rise is a loss.

    Consumers that carry `tastes` are differentiated exactly, any others by one-sided differences of second order. So
    are offers with quantity discounts, whose tier prices move with the list prices: the discount stays the same share.

    Args:
        consumers: Who buys.
        weights: Segment weights, any unit, shape ``(S,)``.
        offer: Shelves of B markets.
        hold: ``"state"`` keeps the offer's loyalty, mean field and pantry as they are: the next period's answer.
            ``"steady"`` lets them settle at the given prices, starting from the offer's, and move with them: the
            long-run answer to a lasting price change, by the implicit function theorem on the fixed point. Reference
            prices then equal prices, and a mean field centred at long-run shares has no effect.
        of: Demand D: expected ``"units"``, or the share of consumers who buy (``"choice"``). Diversion always counts
            buyers.
        settings: Of the mean field, for ``"steady"``; default `MeanField()`.
        fade: Share of the loyal who forget in a period, for ``"steady"``; see `Dynamics`.
        pantry: How stocks at home move, for ``"steady"``; None: they stay as the offer has them.
        step: Of the differences, in log price.

    Raises:
        InvalidInput: `hold` or `of` is unknown, weights, prices or `step` have a wrong shape or are not positive.
    """
    _check_options(hold, of, step)
    share = _checked(consumers, weights, offer)
    settings, tastes = settings or MeanField(), None if offer.tier_prices is not None else tastes_of(consumers)
    if tastes is None:
        found = _by_differences(consumers, share, offer, hold, settings, fade, step)
    elif hold == "steady":
        settled = settle_offer(consumers, share, settings, offer, fade, pantry)[0]
        found = _steady(tastes, share, settled, settings, fade, pantry)
    else:
        found = _sum_segments(tastes, share, offer, _held(tastes, offer), np.zeros_like(offer.prices[:, :, None]))
    return _ratios(found, of)


def _check_options(hold: str, of: str, step: float) -> None:
    for name, value, known in (("hold", hold, get_args(Hold)), ("of", of, get_args(Of))):
        if value not in known:
            raise invalid(name, value, " or ".join(map(repr, known)))
    if not 0.0 < step < 0.5:
        raise invalid("step", step, "more than 0 and less than 0.5")


def _checked(consumers: Consumers, weights: ArrayLike, offer: Offer) -> FloatArray:
    """Return the weights with sum 1 after checking them and the offer's prices."""
    share = as_floats("weights", weights, (consumers.num_segments,), low=0.0)
    if not share.sum() > 0:
        raise invalid("weights", share.tolist(), "numbers that are not all zero")
    shape = np.shape(offer.prices)
    if len(shape) != 2 or shape[1] != consumers.num_products:
        raise invalid("offer.prices", shape, f"shape (B, {consumers.num_products})")
    as_floats("offer.prices", offer.prices, shape, low=1e-12)
    return np.asarray(share / share.sum())


def _ratios(found: _Answer, of: Of) -> Elasticities:
    level, slope = (found.units, found.d_units) if of == "units" else (found.chosen[:, 1:], found.d_chosen[:, 1:])
    matrix = slope / np.where(level > 0, level, np.nan)[:, :, None]
    products = np.arange(level.shape[1])
    lost = found.d_chosen[:, products + 1, products]
    gained = np.swapaxes(found.d_chosen, 1, 2).copy()
    gained[:, products, products + 1] = 0.0
    return Elasticities(matrix, gained / np.where(lost < 0, -lost, np.nan)[:, :, None])


def _slopes(tastes: Tastes, offer: Offer) -> tuple[FloatArray, FloatArray]:
    """Return du / d log p and dq / d log p of each product's own price, ``(B, S, J)``, for a price rise."""
    ratio = (offer.prices / offer.regular_price)[:, None, :]
    deeper = np.where(ratio < 1.0, -ratio, 0.0)
    scale = 1.0 if tastes.price_transform == "log" else offer.prices[:, None, :]
    extra = mean_quantity(tastes, offer) - 1.0
    slope = tastes.gamma[:, None] * deeper - tastes.beta * scale
    if offer.reference is not None:
        slope = slope - np.where((np.log(offer.prices) < offer.reference)[:, None, :], tastes.gain, tastes.loss)
    return slope, tastes.delta[:, None] * deeper * extra


def _held(tastes: Tastes, offer: Offer) -> list[FloatArray]:
    """Return dP / du of each segment with loyalty held, ``(B, J + 1, J)`` each.

    Given last purchase k, dP(j | k) / du_i = P(j | k) (1[i = j] - P(i | k)); in the notation of `choice.respond` the
    mean over k of P(j | k) P(i | k) is E_j E_i (sum_k l_k / D_k^2 + L l_i / D_i^2 + L l_j / D_j^2 +
    1[i = j] L^2 l_j / D_j^2), and for the outside option that of P(0 | k) P(i | k) is E_i (sum_k l_k / D_k^2 +
    L l_i / D_i^2).
    """
    exp_u, one, total = _exponentials(tastes, offer)
    probability = respond(tastes, offer).probability[:, :, 1:]
    bonus, found = np.expm1(tastes.lambda_), []
    for s in range(tastes.num_segments):
        e, d, loyal = exp_u[:, s], total[:, s, None], offer.loyalty[:, s]
        own = loyal[:, 1:] / (d + bonus[s] * e) ** 2
        every = loyal[:, :1] / d**2 + own.sum(axis=1, keepdims=True)
        own = bonus[s] * own
        outside = -one[:, s, None] * e * (every + own)
        pairs = -e[:, :, None] * e[:, None, :] * (every[:, :, None] + own[:, :, None] + own[:, None, :])
        both = probability[:, s] - e**2 * bonus[s] * own
        found.append(np.concatenate([outside[:, None], pairs + _diagonal(both)], axis=1))
    return found


def _moving(tastes: Tastes, offer: Offer, fade: float) -> list[FloatArray]:
    """Return dP / du of each segment when loyalty settles with it, ``(B, J + 1, J)`` each.

    With the last purchases of `game.steady_loyalty`, e = sum_i E_i, L = exp(lambda) - 1 and k = 1 - fade a steady state
    has P(j) = G_j / F and P(0) = 1 / F, where G_j = E_j (1 + L s_j), F = 1 + sum_j G_j and
    s_j = k E_j / (e + 1 - k + (1 - k) L E_j).
    """
    exp_u, one, _ = _exponentials(tastes, offer)
    bonus, kept, found = np.expm1(tastes.lambda_), 1.0 - fade, []
    for s in range(tastes.num_segments):
        e, none = exp_u[:, s], one[:, s, None]
        below = e.sum(axis=1, keepdims=True) + fade * none + fade * bonus[s] * e
        below = np.where(below > 0, below, 1.0)
        stay = kept * e / below
        flow = np.concatenate([none, e * (1.0 + bonus[s] * stay)], axis=1)
        own = flow[:, 1:] + e * bonus[s] * stay * (1.0 - fade * bonus[s] * e / below)
        moves = _diagonal(own) - (e * bonus[s] * stay / below)[:, :, None] * e[:, None, :]
        moves = np.concatenate([np.zeros_like(moves[:, :1]), moves], axis=1)
        whole = flow.sum(axis=1, keepdims=True)
        change = moves - (flow / whole)[:, :, None] * moves.sum(axis=1, keepdims=True)
        found.append(change / whole[:, :, None])
    return found


def _exponentials(tastes: Tastes, offer: Offer) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return exp(u) ``(B, S, J)``, that of the outside option and their sum ``(B, S)``, on a common scale."""
    utility = utilities(tastes, offer)
    shift = np.maximum(utility.max(axis=2, keepdims=True), 0.0)
    exp_u, one = np.exp(utility - shift), np.exp(-shift[:, :, 0])
    return exp_u, one, one + exp_u.sum(axis=2)


def _sum_segments(
    tastes: Tastes, weights: FloatArray, offer: Offer, by_utility: list[FloatArray], d_felt: FloatArray,
    beside: list[FloatArray] | None = None,
) -> _Answer:  # fmt: skip
    """Add up the segments' answers.

    Args:
        tastes: Coefficients.
        weights: Of the segments, sum 1.
        offer: Shelves of B markets.
        by_utility: dP / du of each segment, ``(B, J + 1, J)`` each.
        d_felt: How the mean field moves with log prices, ``(B, J, J)`` or broadcastable.
        beside: dP / d log p of each segment that does not come by u, ``(B, J + 1, J)`` each; None: nothing.
    """
    slope, more = _slopes(tastes, offer)
    response = respond(tastes, offer)
    probability, quantity = response.probability, response.quantity
    batch, products = offer.prices.shape
    d_chosen, d_units = np.zeros((batch, products + 1, products)), np.zeros((batch, products, products))
    for s, jacobian in enumerate(by_utility):
        change = jacobian * slope[:, s, None, :] + tastes.rho[s] * (jacobian @ d_felt)
        if beside is not None:
            change = change + beside[s]
        d_chosen += weights[s] * change
        d_units += weights[s] * (
            quantity[:, s, :, None] * change[:, 1:] + _diagonal(probability[:, s, 1:] * more[:, s])
        )
    return _Answer(
        np.einsum("s,bsj->bj", weights, probability),
        np.einsum("s,bsj->bj", weights, probability[:, :, 1:] * quantity),
        d_chosen,
        d_units,
    )


def _storing(
    tastes: Tastes, offer: Offer, pantry: Pantry, by_utility: list[FloatArray]
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return dP / du of each segment when its stock at home settles too, and dP / d log p that comes by quantities.

    With x = sum_j P_j q_j a steady state has (1 - keep) x_usual dI = dx, where dx = sum_j (q_j dP_j + P_j dq_j) and
    dP = dP/du (du - theta dI): linear in dI.
    """
    probability, quantity = respond(tastes, offer).probability[:, :, 1:], mean_quantity(tastes, offer)
    by_quantity, used = probability * _slopes(tastes, offer)[1], (1.0 - pantry.keep) * pantry.usual
    used = np.broadcast_to(used, probability.shape[:2])
    stored, beside = [], []
    for s, jacobian in enumerate(by_utility):
        by_stock, theta = jacobian.sum(axis=2), tastes.pantry[s]
        units = np.einsum("bj,bji->bi", quantity[:, s], jacobian[:, 1:])
        perceived = (theta / (used[:, s] + theta * units.sum(axis=1)))[:, None, None] * by_stock[:, :, None]
        stored.append(jacobian - perceived * units[:, None, :])
        beside.append(-perceived * by_quantity[:, s, None, :])
    return stored, beside


def _steady(
    tastes: Tastes, weights: FloatArray, offer: Offer, settings: MeanField, fade: float, pantry: Pantry | None
) -> _Answer:
    """Differentiate the fixed point m = Phi(m, p): dm = (I - dPhi/dm)^-1 dPhi/dp."""
    by_utility, beside = _moving(tastes, offer, fade), None
    if pantry is not None and np.any(tastes.pantry):
        by_utility, beside = _storing(tastes, offer, pantry, by_utility)
    batch, products = offer.prices.shape
    nothing = np.zeros((batch, products, products))
    if not np.any(tastes.rho) or settings.centre == "long_run":
        return _sum_segments(tastes, weights, offer, by_utility, nothing, beside)
    first = _sum_segments(tastes, weights, offer, by_utility, nothing, beside)
    by_felt: FloatArray = nothing
    for weight, rho, jacobian in zip(weights, tastes.rho, by_utility, strict=True):
        by_felt = by_felt + weight * rho * jacobian[:, 1:]
    by_price = first.d_chosen[:, 1:]
    if settings.shares == "buyers":
        bought = first.chosen[:, 1:]
        total = bought.sum(axis=1)[:, None, None]
        share = bought[:, :, None] / np.maximum(total, NOBODY)
        by_felt, by_price = (
            np.where(total < NOBODY, 0.0, (x - share * x.sum(axis=1, keepdims=True)) / np.maximum(total, NOBODY))
            for x in (by_felt, by_price)
        )
    d_felt = np.asarray(np.linalg.solve(np.eye(products) - by_felt, by_price), dtype=np.float64)
    return _sum_segments(tastes, weights, offer, by_utility, d_felt, beside)


def _by_differences(
    consumers: Consumers, weights: FloatArray, offer: Offer, hold: Hold, settings: MeanField, fade: float, step: float
) -> _Answer:
    """Ask at the prices and one and two steps above each; the error is of the order of step squared."""
    batch, products = offer.prices.shape
    rises = np.concatenate([np.zeros((1, products)), step * np.eye(products), 2.0 * step * np.eye(products)])
    prices = offer.prices[:, None] * np.exp(rises)

    asked = replace(offer.take(np.repeat(np.arange(batch), len(rises))), prices=prices.reshape(-1, products))
    if offer.tier_prices is not None:
        tier = offer.tier_prices[:, None] * np.exp(rises)
        asked = replace(asked, tier_prices=tier.reshape(-1, products))
    answer = (
        settle_offer(consumers, weights, settings, asked, fade)[1] if hold == "steady" else consumers.respond(asked)
    )
    taken = answer.probability[:, :, 1:] * answer.quantity
    chosen = np.einsum("s,bsj->bj", weights, answer.probability).reshape(batch, len(rises), -1)
    units = np.einsum("s,bsj->bj", weights, taken).reshape(batch, len(rises), -1)

    def slope(values: FloatArray) -> FloatArray:
        near, far = values[:, 1 : products + 1], values[:, products + 1 :]
        return np.swapaxes(4.0 * near - far - 3.0 * values[:, :1], 1, 2) / (2.0 * step)

    return _Answer(chosen[:, 0], units[:, 0], slope(chosen), slope(units))


def _diagonal(values: FloatArray) -> FloatArray:
    """Return ``(B, J)`` on the diagonals of ``(B, J, J)``."""
    return np.asarray(values[:, :, None] * np.eye(values.shape[1]))
