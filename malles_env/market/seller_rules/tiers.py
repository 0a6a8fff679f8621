"""Quantity discounts: a lower price for every unit of an order that reaches a threshold, and what buyers make of it.

The NumPy formulas; `tier_kernel` is compiled and tested against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from malles_env.errors import invalid
from malles_env.market.arrays import as_floats
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from malles_env.market.offer import Offer
    from malles_env.market.tastes import Tastes

Posted = tuple[Any, ...] | None
"""A period's tier prices, where to write the units sold at them, and `TierTerms`; None: no discount is posted."""
LARGEST = 500
"""Largest threshold, units: sums over order sizes stay short, and exp(-mean) cannot lose what they need."""
CLOSE = 1e-9
"""An order counts as dearer than the threshold's only beyond this many units' worth."""
MEET, UNITS, RAISED = range(3)


@dataclass(frozen=True)
class Tier:
    """The quantity discount that a product may carry.

    Attributes:
        threshold: Units of an order from which all of them have the tier price, 2 to `LARGEST`.
        most: Deepest discount from the list price, more than 0 and at most 1 - 1 / threshold: a whole order at the
            threshold then never costs less than a single unit.
    """

    threshold: int
    most: float

    def problems(self) -> Iterator[tuple[str, object, str]]:
        """Yield the field, its value and what is allowed for each value out of range."""
        if not 2 <= self.threshold <= LARGEST or self.threshold != int(self.threshold):
            yield "threshold", self.threshold, f"a whole number from 2 to {LARGEST}"
        elif not 0.0 < self.most <= 1.0 - 1.0 / self.threshold:
            highest = f"{1.0 - 1.0 / self.threshold:.4g}, so that {self.threshold} units cost no less than one"
            yield "most", self.most, f"more than 0 and at most {highest}"


@dataclass(frozen=True)
class Tiers:
    """Which products may carry a quantity discount.

    Attributes:
        by_product: The tier of each product that may, by product name.

    Raises:
        InvalidInput: A threshold or a deepest discount out of range.
    """

    by_product: Mapping[str, Tier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, tier in self.by_product.items():
            for field_, value, allowed in tier.problems():
                raise invalid(f"tiers.{name}.{field_}", value, allowed)

    def check(self, product_ids: Sequence[str]) -> None:
        """Refuse tiers of products that are not there.

        Raises:
            InvalidInput: Names the product.
        """
        for name in self.by_product:
            if name not in product_ids:
                raise invalid("tiers", name, f"one of the products {', '.join(product_ids)}")

    def thresholds(self, product_ids: Sequence[str]) -> IntArray:
        """Return the threshold of each product, units, shape ``(J,)``; 0 where it carries no tier."""
        found = [self.by_product[name].threshold if name in self.by_product else 0 for name in product_ids]
        return np.array(found, dtype=np.int64)

    def deepest(self, product_ids: Sequence[str]) -> FloatArray:
        """Return the deepest discount of each product, share of the list price, ``(J,)``; 0 where it has no tier."""
        return np.array([self.by_product[name].most if name in self.by_product else 0.0 for name in product_ids])


def checked_tiers(
    tiers: Tiers | None,
    product_ids: Sequence[str],
    tier_prices: ArrayLike | None,
    prices: FloatArray,
    listed: BoolArray,
) -> FloatArray | None:
    """Return tier prices as a fresh array of shape ``(B, J)``, or None where there are none.

    Args:
        tiers: Which products may carry one; None: none may.
        product_ids: The J products.
        tier_prices: Money, broadcastable to ``(B, J)``; None: no discounts.
        prices: List prices, money, shape ``(B, J)``.
        listed: What is on the shelf; tier prices of what is not are ignored.

    Raises:
        InvalidInput: A tier price above the list price or below what the deepest discount leaves of it, or one that
            differs from the list price where a product carries no tier.
    """
    if tier_prices is None:
        return None
    tier = as_floats("tier_prices", tier_prices, prices.shape, low=1e-12).copy()
    deepest = np.zeros(len(product_ids)) if tiers is None else tiers.deepest(product_ids)
    lowest = prices * (1.0 - deepest)
    bad = listed & ((tier > prices) | (tier < lowest * (1.0 - CLOSE)))
    for b, j in np.argwhere(bad)[:1]:
        allowed = f"at least {lowest[b, j]:g} and at most the list price {prices[b, j]:g}"
        if deepest[j] == 0.0:
            allowed = f"the list price {prices[b, j]:g}, as the product carries no tier"
        raise invalid(f"tier price of {product_ids[j]}", float(tier[b, j]), allowed)
    return tier


class Orders(NamedTuple):
    """What buyers order of each product under its tier price, per buyer, shape ``(B, S, J)`` each.

    Attributes:
        meet: Chance that an order reaches the threshold.
        units: Mean units bought at the tier price.
        raised: Mean units that buyers add to reach the threshold.
        paid: What a wanted unit costs on average, as a share of the list price.
    """

    meet: FloatArray
    units: FloatArray
    raised: FloatArray
    paid: FloatArray


def orders_of(more: FloatArray, ratio: FloatArray, thresholds: IntArray) -> Orders:
    """Return how orders answer to an all-units discount.

    A buyer wants n = 1 + Poisson(more) units and pays the least that gets them: n p below the threshold T, n t at or
    beyond it, or T t for T units where that is less than n p. So orders of more than T t / p units, but fewer than T,
    are raised to T.

    Args:
        more: Mean units wanted beyond the first, shape ``(B, S, J)``.
        ratio: Tier price t over list price p, at most 1, shape ``(B, J)``; 1: no discount.
        thresholds: T, units, shape ``(J,)``; 0: no tier.
    """
    posted = ((ratio < 1.0) & (thresholds > 0))[:, None, :]
    first = (np.floor(thresholds * ratio + CLOSE) + 1.0)[:, None, :]
    chance = np.exp(-more)
    below, below_units, raised = (np.zeros_like(more) for _ in range(3))
    for n in range(1, int(thresholds.max(initial=0))):
        small = n < first
        below = below + small * chance
        below_units = below_units + small * n * chance
        raised = raised + (~small & (n < thresholds)) * (thresholds - n) * chance
        chance = chance * more / n
    wanted = np.maximum(1.0 + more - below_units, 0.0)
    meet, units = np.maximum(1.0 - below, 0.0), wanted + raised
    saved = wanted - ratio[:, None, :] * units
    paid = np.where(posted, 1.0 - saved / (1.0 + more), 1.0)
    meet, units, raised = (np.where(posted, part, 0.0) for part in (meet, units, raised))
    return Orders(meet, units, raised, paid)


class TierAnswer(NamedTuple):
    """How segments answer to tier prices, shape ``(B, S, J)`` each.

    Attributes:
        orders: At the sizes they want in view of the discount.
        more: Mean units wanted beyond the first.
        deeper: By how much the tier deepens the discount against the regular price.
        fall: f(p) - f(paid p), by how much it lowers the price that enters utility.
        utility: What it adds to utility.
    """

    orders: Orders
    more: FloatArray
    deeper: FloatArray
    fall: FloatArray
    utility: FloatArray


def answer_tiers(tastes: Tastes, offer: Offer, more: FloatArray) -> TierAnswer:
    """Return how segments answer to the tier prices of an offer that has some.

    A segment takes the average price that a wanted unit costs it for its price: in f(p), and in the discount depth d,
    there at the sizes it would order at the list price's depth. Sizes then respond to that depth. So where every order
    reaches the threshold, a tier price acts as the same list price does.

    Args:
        tastes: Coefficients.
        offer: Shelves of B markets.
        more: Mean units wanted beyond the first at list prices, exp(kappa + delta d), shape ``(B, S, J)``.
    """
    assert offer.tier_prices is not None and offer.thresholds is not None
    prices, ratio = offer.prices[:, None, :], offer.tier_prices / offer.prices
    over = prices / offer.regular_price
    paid = orders_of(more, ratio, offer.thresholds).paid
    deeper = np.maximum(0.0, 1.0 - paid * over) - np.maximum(0.0, 1.0 - over)
    more = more * np.exp(tastes.delta[:, None] * deeper)
    orders = orders_of(more, ratio, offer.thresholds)
    fall = -np.log(orders.paid) if tastes.price_transform == "log" else prices * (1.0 - orders.paid)
    return TierAnswer(orders, more, deeper, fall, tastes.beta * fall + tastes.gamma[:, None] * deeper)


def worth_with_tiers(tastes: Tastes, offer: Offer, found: TierAnswer, worth: FloatArray) -> FloatArray:
    """Return what a purchase is worth above its cost where tiers lower it, money, shape ``(B, S, J)``.

    `surplus.worth_of_purchase` is the area under units times exp(utility) above the list price. Tiers add the area
    between the average price paid and the list price, over which units times exp(utility) are taken as a power of the
    price (an exponential with linear prices), as there. As buyers pay the least that gets what they want, a fall of the
    tier price saves them the units they buy at it: where discounts as such do nothing (gamma and delta are 0), the
    area is exact (the envelope theorem).

    Args:
        tastes: Coefficients.
        offer: Shelves of B markets.
        found: From `answer_tiers`.
        worth: From `surplus.worth_of_purchase` at list prices, shape ``(B, S, J)``.
    """
    log = tastes.price_transform == "log"
    scale = offer.prices[:, None, :] * found.orders.paid if log else 1.0
    steep = found.utility - (found.fall if log else 0.0)
    area = mean_fall(steep) + found.more * mean_fall(steep + tastes.delta[:, None] * found.deeper)
    return np.asarray(scale * found.fall * area + np.exp(-found.utility) * worth)


def mean_fall(x: FloatArray) -> FloatArray:
    """Return (1 - exp(-x)) / x, the mean of exp(-t) over 0 <= t <= x, same shape."""
    held = np.where(x == 0.0, 1.0, x)
    return np.where(x == 0.0, 1.0, -np.expm1(-held) / held)
