"""The states consumers are asked about: a space-filling conjoint design, and states as they occur in play."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.audit.states import random_states
from malles_env.evaluation.audit.subject import Subject
from malles_env.evaluation.sobol import sobol_points
from malles_env.market import Offer
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

LARGEST = 2**14
"""Most questions of one design; Sobol points come in powers of two."""


@dataclass(frozen=True)
class Design:
    """How questions are spread.

    Discount depth d = max(0, 1 - p / r) and log(p / r) both fall in the price. Below the regular price they differ by
    curvature alone, above it d stays 0 and the price moves on: that is where beta shows itself without gamma. So
    a share of all prices lies above the regular price, beyond the upper price bound if need be.

    Attributes:
        above: Share of prices above the regular price, between 0 and 1.
        headroom: The highest price asked is the upper price bound or this multiple of the regular price, whichever is
            higher; at least 1.
        listed: Chance of each product to be listed; at least one always is.
        popularity: Concentration of the Dirichlet draws of the mean field around the market's own; small is wide.
        last: Share of last purchases drawn evenly over products and none; the rest follows each segment's loyalty.

    Raises:
        InvalidInput: A setting out of range.
    """

    above: float = 0.25
    headroom: float = 1.15
    listed: float = 0.8
    popularity: float = 8.0
    last: float = 0.5

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("above", "listed", "last"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise invalid(f"design.{name}", getattr(self, name), "a share, 0 to 1")
        if not self.headroom >= 1.0:
            raise invalid("design.headroom", self.headroom, "at least 1")
        if not self.popularity > 0.0:
            raise invalid("design.popularity", self.popularity, "more than 0")

    def draw(self, subject: Subject, count: int, seed: tuple[int, ...]) -> Offer:
        """Return the first `count` states of the scrambled Sobol sequence that `seed` names.

        A longer design begins with the shorter one. Every segment's loyalty is one last purchase (or none): then each
        answer is a plain conditional logit, whose likelihood has one maximum.

        Args:
            subject: The market.
            count: States, 1 to `LARGEST`.
            seed: Seed of the scrambling.

        Raises:
            InvalidInput: `count` is out of range.
        """
        from scipy.special import gammaincinv

        if not 1 <= count <= LARGEST:
            raise invalid("questions", count, f"1 to {LARGEST}")
        products, segments = subject.num_products, subject.num_segments
        points = sobol_points(3 * products + segments, count, np.random.default_rng([*seed, 31]))
        cube = np.clip(points, 1e-9, 1.0 - 1e-9)
        price, shelf, perceived, last = np.split(cube, [products, 2 * products, 3 * products], axis=1)
        gamma = gammaincinv(self.popularity * subject.mean_field + 0.2, perceived) + 1e-12
        return Offer(
            self._prices(subject, price),
            self._listed(shelf),
            subject.regular_price,
            gamma / gamma.sum(axis=1, keepdims=True),
            self._loyalty(subject, last),
        )

    def _prices(self, subject: Subject, at: FloatArray) -> FloatArray:
        """Map the unit interval to prices, log-uniform below and above the regular price."""
        top = np.maximum(subject.price_high, self.headroom * subject.regular_price)
        middle = np.clip(subject.regular_price, subject.price_low, top)
        above = np.where(middle > subject.price_low, self.above, 1.0)
        below = 1.0 - above
        low, mid, high = np.log(subject.price_low), np.log(middle), np.log(top)
        under = low + (mid - low) * at / np.where(below > 0, below, 1.0)
        over = mid + (high - mid) * (at - below) / np.where(above > 0, above, 1.0)
        return np.exp(np.where(at < below, under, over))

    def _listed(self, at: FloatArray) -> BoolArray:
        listed: BoolArray = at < self.listed
        listed[np.arange(len(at)), at.argmin(axis=1)] = True
        return listed

    def _loyalty(self, subject: Subject, at: FloatArray) -> FloatArray:
        even = np.full_like(subject.loyalty, 1.0 / subject.loyalty.shape[1])
        return one_purchase(self.last * even + (1.0 - self.last) * subject.loyalty, at)


def fresh_states(subject: Subject, count: int, seed: int, *, shares: bool = False) -> Offer:
    """Return states as they occur in play, to judge a fit on: those of the audit, within the price bounds.

    Args:
        subject: The market.
        count: States.
        seed: Seed; the states are independent of every design's.
        shares: Keep each segment's loyalty as shares over last purchases; otherwise one last purchase is drawn from
            them.
    """
    rng = np.random.default_rng([seed, 77])
    offer, _ = random_states(subject, count, rng)
    if shares:
        return offer
    at = rng.random(offer.loyalty.shape[:2])
    return Offer(offer.prices, offer.available, offer.regular_price, offer.mean_field, one_purchase(offer.loyalty, at))


def price_steps(subject: Subject, step: float = 0.1) -> Offer:
    """Return the base state, then for each product the base state with its price lower and higher by `step`.

    The 1 + 2 J states of arc elasticities; loyalty is each segment's most frequent last purchase.
    """
    offer = subject.base(1 + 2 * subject.num_products)
    prices = offer.prices.copy()
    for product in range(subject.num_products):
        prices[1 + 2 * product, product] *= 1.0 - step
        prices[2 + 2 * product, product] *= 1.0 + step
    loyalty = np.eye(subject.num_products + 1)[subject.loyalty.argmax(axis=1)]
    every = np.tile(loyalty, (len(prices), 1, 1))
    return Offer(prices, offer.available, offer.regular_price, offer.mean_field, every)


def joined_offers(first: Offer, second: Offer) -> Offer:
    """Return the states of both, the first ones first."""
    names = ("prices", "available", "mean_field", "loyalty")
    parts = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    return Offer(regular_price=first.regular_price, **parts)


def one_purchase(shares: FloatArray, at: FloatArray) -> FloatArray:
    """Return loyalty with one last purchase, ``(N, S, J + 1)`` of zeros and ones.

    Args:
        shares: Chances by last purchase, ``(S, J + 1)`` or ``(N, S, J + 1)``.
        at: Where to cut their cumulative sums, ``(N, S)`` in [0, 1).
    """
    ladder = np.cumsum(shares, axis=-1)
    place = (at[..., None] >= ladder / ladder[..., -1:]).sum(axis=-1)
    whole: FloatArray = np.eye(shares.shape[-1])[np.minimum(place, shares.shape[-1] - 1)]
    return whole


def last_purchase(loyalty: FloatArray) -> IntArray:
    """Return which last purchase each row of zeros and one holds, ``(N, S)``; 0 is none.

    Raises:
        InvalidInput: A row holds shares rather than one last purchase.
    """
    if loyalty.size and not np.allclose(loyalty.max(axis=-1), 1.0):
        raise invalid("offer.loyalty", float(loyalty.max(axis=-1).min()), "one last purchase (or none) per segment")
    return loyalty.argmax(axis=-1).astype(np.int64)
