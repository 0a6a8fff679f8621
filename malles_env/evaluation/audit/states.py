"""Random states and the experiments made in them: price ladders, discount ladders, pairs and triples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.evaluation.audit.subject import Answers, Asker, Subject, take
from malles_env.market import Offer
from malles_env.type_aliases import FloatArray, IntArray

PRICE_STEPS = (1.0, 1.01, 1.05, 1.15, 1.3, 1.5)
"""Own price on the rungs of a price ladder, as multiples of the state's price."""
DISCOUNT_STEPS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5)
"""Discount depths on the rungs of a discount ladder, below the regular price."""
LISTED = 0.8
"""Chance of each product to be listed in a random state."""
PAIRS = ((0, 1), (1, 2), (0, 2))
"""The pairs asked of a triple, in the order of the answers."""


@dataclass(frozen=True)
class Ladder:
    """N random states in which one product's price takes K values, all else equal.

    Attributes:
        offer: The N states.
        product: Product whose price moves, listed in its state, shape ``(N,)``.
        steps: Where the rungs are: price multiples or discount depths, shape ``(K,)``.
        own_price: Its price on each rung, money, shape ``(N, K)``.
        probability: Answers, shape ``(N, K, S, J + 1)``.
        units: Expected units per consumer, shape ``(N, K, S, J)``.
        asked: Offers put to the consumers for it.
    """

    offer: Offer
    product: IntArray
    steps: FloatArray
    own_price: FloatArray
    probability: FloatArray
    units: FloatArray
    asked: int

    def own(self, values: FloatArray) -> FloatArray:
        """Return the moving product's entries of an array ``(N, K, S, J)``, shape ``(N, K, S)``."""
        return np.take_along_axis(values, self.product[:, None, None, None], axis=3)[..., 0]


@dataclass(frozen=True)
class Triples:
    """T random triples of products, asked pair by pair and whole, of consumers who have bought nothing before.

    Without past purchases every segment is one chooser rather than a mixture over last purchases.

    Attributes:
        products: Shape ``(T, 3)``.
        prices: Money, shape ``(T, J)``.
        pair: Answers with two products listed, shape ``(T, 3, S, J + 1)``, pairs as in `PAIRS`.
        whole: Answers with all three, shape ``(T, S, J + 1)``.
        asked: Offers put to the consumers for it.
    """

    products: IntArray
    prices: FloatArray
    pair: FloatArray
    whole: FloatArray
    asked: int


def random_states(subject: Subject, count: int, rng: np.random.Generator) -> tuple[Offer, IntArray]:
    """Return random states and, for each, one listed product; products take turns.

    Prices are log-uniform between the price bounds, each product is listed with chance `LISTED` (two at least),
    and mean field and loyalty are Dirichlet draws around the subject's own.
    """
    products = subject.num_products
    product = np.arange(count) % products
    low, high = np.log(subject.price_low), np.log(subject.price_high)
    prices = np.exp(rng.uniform(low, high, (count, products)))
    available = rng.random((count, products)) < LISTED
    rank = rng.random((count, products)).argsort(axis=1).argsort(axis=1)
    rows = np.arange(count)
    available[rows, product] = True
    alone = available.sum(axis=1) < min(2, products)
    rank[rows, product] = products  # the second product is another one
    available[rows[alone], rank[alone].argmin(axis=1)] = True
    perceived = rng.dirichlet(20.0 * subject.mean_field + 0.5, count)
    loyalty = np.stack([rng.dirichlet(10.0 * row + 0.1, count) for row in subject.loyalty], axis=1)
    return Offer(prices, available, subject.regular_price, perceived, loyalty), product.astype(np.int64)


def price_ladder(subject: Subject, asker: Asker, count: int, seed: int) -> Ladder:
    """Raise one product's price step by step (`PRICE_STEPS`) in each of `count` random states."""
    offer, product = random_states(subject, count, np.random.default_rng([seed, 1]))
    own = offer.prices[np.arange(count), product][:, None] * np.asarray(PRICE_STEPS)
    return _climb(subject, asker, offer, product, np.asarray(PRICE_STEPS), own)


def discount_ladder(subject: Subject, asker: Asker, count: int, seed: int) -> Ladder:
    """Discount one product ever more deeply (`DISCOUNT_STEPS`) in each of `count` random states."""
    offer, product = random_states(subject, count, np.random.default_rng([seed, 2]))
    own = subject.regular_price[product][:, None] * (1.0 - np.asarray(DISCOUNT_STEPS))
    return _climb(subject, asker, offer, product, np.asarray(DISCOUNT_STEPS), own)


def without_one(subject: Subject, asker: Asker, ladder: Ladder) -> Answers:
    """Ask the ladder's states again with the moving product taken off the shelf; shape ``(N, S, J + 1)``."""
    available = ladder.offer.available.copy()
    available[np.arange(len(ladder.product)), ladder.product] = False
    return asker.ask(subject.consumers, replace(ladder.offer, available=available))


def ask_triples(subject: Subject, asker: Asker, count: int, seed: int) -> Triples:
    """Put `count` random triples at random prices; needs three products."""
    rng = np.random.default_rng([seed, 3])
    products = np.stack([rng.permutation(subject.num_products)[:3] for _ in range(count)]).astype(np.int64)
    states, _ = random_states(subject, count, rng)
    available = np.zeros((count, 4, subject.num_products), dtype=bool)
    for place, pair in enumerate(PAIRS):
        for member in pair:
            available[np.arange(count), place, products[:, member]] = True
    available[np.arange(count)[:, None], 3, products] = True
    offer = take(states, np.repeat(np.arange(count), 4))
    loyalty = np.zeros_like(offer.loyalty)
    loyalty[:, :, 0] = 1.0
    answers = asker.ask(subject.consumers, replace(offer, available=available.reshape(count * 4, -1), loyalty=loyalty))
    found = answers.probability.reshape(count, 4, subject.num_segments, -1)
    return Triples(products, states.prices, found[:, :3], found[:, 3], 4 * count)


def _climb(
    subject: Subject, asker: Asker, offer: Offer, product: IntArray, steps: FloatArray, own: FloatArray
) -> Ladder:
    count, rungs = own.shape
    rows = np.repeat(np.arange(count), rungs)
    climbed = take(offer, rows)
    climbed.prices[np.arange(len(rows)), product[rows]] = own.reshape(-1)
    answers = asker.ask(subject.consumers, climbed)
    shape = (count, rungs, subject.num_segments, -1)
    return Ladder(
        offer, product, steps, own, answers.probability.reshape(shape), answers.units.reshape(shape), len(rows)
    )
