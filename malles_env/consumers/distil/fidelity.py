"""How well fitted tastes stand for the consumers they were fitted to, on states that no fit has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.audit.subject import Answers, Subject
from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import respond
from malles_env.type_aliases import FloatArray

AIM = 0.03
"""Median total variation aimed at."""
STEP = 0.1
"""Relative price step of arc elasticities."""
TOLERANCE = 1e-6
"""Rise of a probability that counts as none."""
DRAWS = 400
"""Bootstrap samples of fresh states."""


@dataclass(frozen=True)
class Elasticity:
    """Own-price arc elasticity of a product's demand over all segments, +-10 % at the base state.

    Attributes:
        product: Its name.
        asked: Of the consumers that were asked.
        fitted: Of the fitted ones.
    """

    product: str
    asked: float
    fitted: float


@dataclass(frozen=True)
class Fidelity:
    """Distances between fitted and asked consumers.

    Attributes:
        states: Fresh states.
        median: Total variation between choice probabilities, median over states and segments.
        median_se: Its standard error, by bootstrap over states.
        p95, largest: 95th percentile and maximum of the same.
        population_median, population_p95: The same of the whole population's choice probabilities.
        segments: Median by segment.
        units_error: Mean absolute relative error of expected units per consumer of the population, product by
            product, weighted by units.
        elasticities: By product.
        violations_asked, violations_fitted: Share of own-price rises (product, segment, two steps of 10 %) after which
            the product's choice probability rises.
        price_cases: Number of such rises.
    """

    states: int
    median: float
    median_se: float
    p95: float
    largest: float
    population_median: float
    population_p95: float
    segments: dict[str, float]
    units_error: float
    elasticities: tuple[Elasticity, ...]
    violations_asked: float
    violations_fitted: float
    price_cases: int

    @property
    def elasticity_error(self) -> float:
        """Mean absolute difference of elasticities."""
        return float(np.mean([abs(each.asked - each.fitted) for each in self.elasticities]))


def judge(subject: Subject, tastes: Tastes, fresh: tuple[Offer, Answers], steps: tuple[Offer, Answers]) -> Fidelity:
    """Compare fitted tastes with what consumers answered.

    Args:
        subject: Names and weights.
        tastes: The fit.
        fresh: N states and their answers.
        steps: The states of `price_steps` and their answers.
    """
    offer, truth = fresh
    found = respond(tastes, offer)
    far = total_variation(found.probability, truth.probability)
    whole = 0.5 * np.abs(np.einsum("s,nsj->nj", subject.weights, found.probability - truth.probability)).sum(axis=1)
    fitted = Answers(found.probability, found.quantity)
    asked_steps = own_prices(steps[1].probability)
    moved = respond(tastes, steps[0])
    fitted_steps = own_prices(moved.probability)
    return Fidelity(
        states=len(far),
        median=float(np.median(far)),
        median_se=_bootstrap(far),
        p95=float(np.quantile(far, 0.95)),
        largest=float(far.max()),
        population_median=float(np.median(whole)),
        population_p95=float(np.quantile(whole, 0.95)),
        segments=dict(zip(subject.segments, np.median(far, axis=0).tolist(), strict=True)),
        units_error=_units_error(subject, fitted, truth),
        elasticities=_elasticities(subject, asked_steps, fitted_steps),
        violations_asked=_violations(asked_steps),
        violations_fitted=_violations(fitted_steps),
        price_cases=asked_steps[:, 1:].size,
    )


def total_variation(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return half the sum of absolute differences over options, ``(N, S)``, between 0 and 1."""
    distance: FloatArray = 0.5 * np.abs(first - second).sum(axis=-1)
    return distance


def own_prices(probability: FloatArray) -> FloatArray:
    """Return each product's choice probability at its lower, base and higher price, ``(J, 3, S)``.

    Args:
        probability: Answers to `price_steps`, ``(1 + 2 J, S, J + 1)``.
    """
    products = probability.shape[2] - 1
    rows = [
        [probability[1 + 2 * j, :, 1 + j], probability[0, :, 1 + j], probability[2 + 2 * j, :, 1 + j]]
        for j in range(products)
    ]
    return np.array(rows)


def _elasticities(subject: Subject, asked: FloatArray, fitted: FloatArray) -> tuple[Elasticity, ...]:
    span = np.log((1.0 + STEP) / (1.0 - STEP))
    sides = []
    for own in (asked, fitted):
        demand = np.maximum(own @ subject.weights, 1e-300)
        sides.append(np.log(demand[:, 2] / demand[:, 0]) / span)
    return tuple(Elasticity(*row) for row in zip(subject.products, *(side.tolist() for side in sides), strict=True))


def _violations(own: FloatArray) -> float:
    return float((np.diff(own, axis=1) > TOLERANCE).mean())


def _units_error(subject: Subject, fitted: Answers, truth: Answers) -> float:
    units = [np.einsum("s,nsj->nj", subject.weights, answers.units) for answers in (fitted, truth)]
    return float(np.abs(units[0] - units[1]).sum() / max(units[1].sum(), 1e-300))


def _bootstrap(far: FloatArray) -> float:
    rng = np.random.default_rng(0)
    rows = rng.integers(len(far), size=(DRAWS, len(far)))
    return float(np.std([np.median(far[row]) for row in rows], ddof=1))
