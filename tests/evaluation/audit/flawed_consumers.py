"""Consumers with known answers for the audit: lawful ones, and ones with a single flaw each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.consumers import LogitConsumers
from malles_env.evaluation.audit import AuditSettings, Subject
from malles_env.market import Offer, Response, Tastes
from malles_env.market.demand.choice import respond, utilities

REGULAR = np.array([2.0, 3.0, 4.0, 2.5])
STATES = 60
SETTINGS = AuditSettings(states=STATES, seed=3, batch=16)
JUDGED = {
    "law of demand", "discount monotonicity", "substitution signs", "transitivity", "regularity", "position bias",
    "label bias", "paraphrase stability", "budget sense", "coefficients at bound",
}  # fmt: skip


def tastes(**changes) -> Tastes:
    alpha = np.array([[1.0, 0.4, -0.3, 0.2], [-0.5, 0.8, 0.5, 0.0]])
    given = {"alpha": alpha, "beta": [2.0, 3.0], "gamma": [0.4, 0.2], "rho": [0.5, -0.4], "lambda_": [0.8, 0.0],
             "kappa": -1.0, "delta": [1.0, 0.5]} | changes  # fmt: skip
    return Tastes(**given)


def subject_of(consumers, width: float = 0.35, regular=REGULAR) -> Subject:
    products, segments = consumers.num_products, consumers.num_segments
    loyalty = np.full((segments, products + 1), 1.0 / (products + 1))
    return Subject(
        consumers=consumers,
        weights=np.array([0.7, 0.3])[:segments] / np.array([0.7, 0.3])[:segments].sum(),
        regular_price=regular[:products],
        price_low=regular[:products] * (1 - width),
        price_high=regular[:products] * (1 + width),
        prices=regular[:products],
        mean_field=np.full(products, 1.0 / products),
        loyalty=loyalty,
        products=tuple(f"product_{j}" for j in range(products)),
        segments=tuple(f"segment_{s}" for s in range(segments)),
    )


@dataclass(frozen=True)
class Changed(LogitConsumers):
    """Logit consumers with one flaw: subclasses add utils or change what is read."""

    def added(self, offer: Offer) -> np.ndarray:
        return np.zeros(1)

    def respond(self, offer: Offer) -> Response:
        exponential = np.exp(utilities(self.tastes, offer) + self.added(offer))
        total = 1.0 + exponential.sum(axis=2, keepdims=True)
        probability = np.concatenate([1.0 / total, exponential / total], axis=2)
        lawful = respond(self.tastes, offer)
        return Response(probability, lawful.quantity, offer.loyalty, lawful.surplus)


class Snobs(Changed):
    """Above its regular price, and up to three times that, product 1 is liked the better the dearer it is."""

    def respond(self, offer: Offer) -> Response:
        prices, regular = offer.prices.copy(), offer.regular_price[1]
        above = (prices[:, 1] > regular) & (prices[:, 1] < 3 * regular)
        prices[above, 1] = regular * (regular / prices[above, 1]) ** 0.1
        return super().respond(replace(offer, prices=prices))


class Couples(Changed):
    """Product 2 goes with product 0: a dearer 0 makes 2 less liked."""

    def added(self, offer: Offer) -> np.ndarray:
        pull = np.zeros((len(offer.prices), 1, offer.prices.shape[1]))
        pull[:, 0, 2] = -0.8 * np.log(offer.prices[:, 0] / offer.regular_price[0])
        return pull


class Cyclers(Changed):
    """Of two products, each beats the next in a circle of three."""

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros((len(offer.prices), 1, 3))
        for winner in range(3):
            pair = (
                offer.available[:, winner] & offer.available[:, (winner + 1) % 3] & (offer.available.sum(axis=1) == 2)
            )
            bonus[pair, 0, winner] = 0.4
        return bonus


class Decoyed(Changed):
    """Product 0 is liked better with product 1 and another beside it."""

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros((len(offer.prices), 1, offer.prices.shape[1]))
        bonus[:, 0, 0] = 1.5 * (offer.available[:, 1] & (offer.available.sum(axis=1) > 2))
        return bonus


class DealShy(Changed):
    """A discount beyond a third is suspicious."""

    def added(self, offer: Offer) -> np.ndarray:
        depth = 1.0 - offer.prices / offer.regular_price
        return np.where(depth > 1 / 3, -6.0, 0.0)[:, None, :]


@dataclass(frozen=True)
class Skimmers(Changed):
    """Whatever comes first is liked better, or is under some labels or in some words."""

    slot: float = 0.0
    label: float = 0.0
    word: float = 0.0
    favourite: int = 0

    def added(self, offer: Offer) -> np.ndarray:
        bonus = np.zeros(self.num_products)
        bonus[0] = self.slot
        bonus[self.favourite] += self.label + self.word
        return bonus

    def reordered(self, order) -> Skimmers:
        permuted = replace(self.tastes, alpha=self.tastes.alpha[:, order], beta=self.tastes.beta[:, order],
                           kappa=self.tastes.kappa[:, order])  # fmt: skip
        return replace(self, tastes=permuted, favourite=order.index(self.favourite))

    def relabelled(self, labels) -> Skimmers:
        return replace(self, label=self.label * (ord(labels[0]) % 7) / 7)

    def reworded(self, seed: int) -> Skimmers:
        return replace(self, word=self.word * (1 + seed))
