"""Test of own-price elasticities: per product and for the market, beside bands and reference numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env.evaluation.audit.finding import Chart, Finding, Series, Verdict
from malles_env.evaluation.audit.references import CHOICE_BAND, UNITS_BAND, Reference, references
from malles_env.evaluation.audit.subject import Asker, Subject
from malles_env.type_aliases import FloatArray

STEP = 0.1
"""Own prices are moved by this much down and up."""


@dataclass(frozen=True)
class OwnElasticities:
    """Arc elasticities around the base state.

    Attributes:
        choice: Of the choice probability given a purchase, per product, shape ``(J,)``.
        units: Of expected units, buying nothing and quantities included, shape ``(J,)``.
        market: Both for the market, weighted by the products' demand.
        asked: Offers put to the consumers.
    """

    choice: FloatArray
    units: FloatArray
    market: tuple[float, float]
    asked: int


def own_elasticities(subject: Subject, asker: Asker) -> OwnElasticities:
    """Move each price by `STEP` down and up in the base state, one product at a time.

    The arc elasticity is (D+ - D-) / ((D+ + D-) / 2) / log((1 + h) / (1 - h)), with D the population's demand and
    h the step; the market's puts sums over products in place of D. Purchases are what the choice elasticity is
    conditional on, so segments count by their base purchases in it.
    """
    products = subject.num_products
    base = asker.ask(subject.consumers, subject.base())
    buyers = subject.weights * (1.0 - base.probability[0, :, 0])
    offer = subject.base(2 * products)
    factor = np.repeat([1.0 - STEP, 1.0 + STEP], products)
    moved = np.tile(np.arange(products), 2)
    offer.prices[np.arange(2 * products), moved] *= factor
    answers = asker.ask(subject.consumers, offer)
    inside = answers.probability[:, :, 1:]
    given = inside / np.maximum(inside.sum(axis=2, keepdims=True), 1e-300)
    rows = np.arange(2 * products)
    choice = (given[rows, :, moved] @ buyers).reshape(2, products)
    units = (answers.units[rows, :, moved] @ subject.weights).reshape(2, products)
    market = (float(_arc(choice.sum(axis=1))), float(_arc(units.sum(axis=1))))
    return OwnElasticities(_arc(choice), _arc(units), market, 1 + 2 * products)


def elasticity_finding(subject: Subject, found: OwnElasticities) -> Finding:
    """Hold the elasticities against the bands, and against the market's reference when there is one.

    Bands hold for grocery markets, so they bind only where the subject's market has a reference: inside both bands
    passes; outside one, yet within two standard errors of a reference that lies outside itself, warns. Elsewhere
    the numbers are reported.
    """
    reference = references().get(subject.market)
    choice, units = found.market
    places = tuple(float(j) for j in range(subject.num_products))
    levels = {} if reference is None else {"choice, data": reference.choice, "units, data": reference.units}
    return Finding(
        name="own-price elasticities",
        measure=f"arc elasticity (prices ± {STEP:.0%}) of units, and of choice given a purchase, demand-weighted",
        value=units,
        shown=f"units {units:.2f}, choice {choice:.2f}" + _beside(reference),
        bound=f"units in {_tell(UNITS_BAND)}, choice in {_tell(CHOICE_BAND)}"
        if reference
        else "no bound, as there is no reference",
        verdict=_verdict(reference, choice, units),
        asked=found.asked,
        worst=_steepest(subject, found),
        details={
            "market": subject.market,
            "choice": choice,
            "units": units,
            "reference": None
            if reference is None
            else {
                "choice": reference.choice,
                "choice_given_habits": reference.choice_given_habits,
                "units": reference.units,
                "units_se": reference.units_se,
            },
            "choice_by_product": dict(zip(subject.products, found.choice.tolist(), strict=True)),
            "units_by_product": dict(zip(subject.products, found.units.tolist(), strict=True)),
        },
        chart=Chart(
            "Own-price elasticities at base prices",
            "product",
            "elasticity",
            (
                Series("choice given a purchase", places, tuple(found.choice), "bars"),
                Series("units", places, tuple(found.units), "bars"),
            ),
            ticks=subject.products,
            levels={"": 0.0, **levels},
        ),
    )


def _arc(demand: FloatArray) -> FloatArray:
    low, high = demand
    span = np.log((1.0 + STEP) / (1.0 - STEP))
    return np.asarray((high - low) / np.maximum(0.5 * (low + high), 1e-300) / span)


def _verdict(reference: Reference | None, choice: float, units: float) -> Verdict:
    if reference is None:
        return "reported"
    fits = [low <= value <= high for value, (low, high) in ((choice, CHOICE_BAND), (units, UNITS_BAND))]
    if all(fits):
        return "pass"
    beyond = not UNITS_BAND[0] <= reference.units <= UNITS_BAND[1]
    near = abs(units - reference.units) <= 2.0 * reference.units_se
    return "warn" if fits[0] and beyond and near else "fail"


def _steepest(subject: Subject, found: OwnElasticities) -> str:
    flat, steep = int(found.units.argmax()), int(found.units.argmin())
    return (
        f"units: flattest {subject.products[flat]} {found.units[flat]:.2f}, "
        f"steepest {subject.products[steep]} {found.units[steep]:.2f}"
    )


def _beside(reference: Reference | None) -> str:
    if reference is None:
        return ""
    return f" (data: {reference.units:.2f} ± {reference.units_se:.2f}, {reference.choice:.2f})"


def _tell(band: tuple[float, float]) -> str:
    return f"[{band[0]:g}, {band[1]:g}]"
