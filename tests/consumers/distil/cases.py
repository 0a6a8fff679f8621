"""Markets and consumers whose answers are known: given tastes, hidden classes, sampled answers, slow ones."""

import hashlib
import time
from dataclasses import dataclass, field, replace

import numpy as np

from malles_env.consumers import LogitConsumers
from malles_env.consumers.language import Usage
from malles_env.evaluation.audit import Subject
from malles_env.market import Offer, Response, Tastes
from malles_env.market.demand.choice import respond

SEGMENTS, PRODUCTS = 3, 4


def tastes(seed: int = 0, transform: str = "log", segments: int = SEGMENTS, products: int = PRODUCTS) -> Tastes:
    rng = np.random.default_rng(seed)
    return Tastes(
        alpha=rng.normal(-1.0, 1.0, (segments, products)),
        beta=rng.uniform(0.8, 3.0, (segments, products)),
        gamma=rng.uniform(0.0, 2.0, segments),
        rho=rng.normal(0.5, 0.5, segments),
        lambda_=rng.normal(1.0, 0.5, segments),
        kappa=rng.normal(-1.0, 0.3, (segments, products)),
        delta=rng.uniform(0.2, 1.0, segments),
        price_transform=transform,
    )


def subject(consumers) -> Subject:
    segments, products = consumers.num_segments, consumers.num_products
    rng = np.random.default_rng(7)
    regular = rng.uniform(1.0, 3.0, products)
    return Subject(
        consumers=consumers,
        weights=np.full(segments, 1.0 / segments),
        regular_price=regular,
        price_low=0.5 * regular,
        price_high=1.2 * regular,
        prices=0.9 * regular,
        mean_field=rng.dirichlet(np.full(products, 3.0)),
        loyalty=rng.dirichlet(np.ones(products + 1), segments),
        products=tuple(f"p{j}" for j in range(products)),
        segments=tuple(f"s{i}" for i in range(segments)),
    )


@dataclass
class Hidden:
    """Each segment holds two classes with equal shares that no offer tells apart: not a logit."""

    classes: tuple[Tastes, Tastes]

    @property
    def num_segments(self) -> int:
        return self.classes[0].num_segments

    @property
    def num_products(self) -> int:
        return self.classes[0].num_products

    def respond(self, offer: Offer) -> Response:
        first, second = (respond(part, offer) for part in self.classes)
        return replace(
            first,
            probability=0.5 * (first.probability + second.probability),
            quantity=0.5 * (first.quantity + second.quantity),
        )


@dataclass(frozen=True)
class Sampled(LogitConsumers):
    """Answers are the shares among some draws, the same for the same offer."""

    tastes: Tastes
    draws: int = 20

    def respond(self, offer: Offer) -> Response:
        exact = respond(self.tastes, offer)
        seed = hashlib.sha256(offer.prices.tobytes() + offer.loyalty.tobytes()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed, "big"))
        chance = exact.probability / exact.probability.sum(axis=-1, keepdims=True)
        return replace(exact, probability=rng.multinomial(self.draws, chance) / self.draws)


@dataclass
class Slow:
    """Takes its time, counts questions as a language model does, and has a name."""

    tastes: Tastes
    seconds: float = 0.0
    identity: str = "slow one"
    usage: Usage = field(default_factory=Usage)
    fails_at: int | None = None

    @property
    def num_segments(self) -> int:
        return self.tastes.num_segments

    @property
    def num_products(self) -> int:
        return self.tastes.num_products

    def respond(self, offer: Offer) -> Response:
        if self.usage.requests == self.fails_at:
            raise ConnectionError("gone")
        time.sleep(self.seconds)
        self.usage.requests += 1
        self.usage.prompt_tokens += 100
        self.usage.cost += 0.25
        return respond(self.tastes, offer)
