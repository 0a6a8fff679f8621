"""A product that exists only as a sentence: a language model reads its name into every segment's taste."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from malles_env.errors import invalid
from malles_env.market import Offer, Tastes
from malles_env.market.arrays import MOST
from malles_env.market.demand.choice import respond
from malles_env.market.tastes import tastes_of
from malles_env.scenarios.adding.brands import read_brand, with_shares
from malles_env.scenarios.adding.names import checked_name
from malles_env.scenarios.adding.proposal import PredictedTaste, Proposal, new_entry
from malles_env.scenarios.adding.words import read_words, with_tastes
from malles_env.scenarios.blocks.entries import AlignedEntry, LogitEntry
from malles_env.scenarios.messages import explain
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray

LEVEL = 1.645
"""Standard deviations on either side of what is said: 90% of launches, if they are normal."""


@dataclass(frozen=True)
class Added:
    """A scenario with one product more, and what consumers make of it with everything on the shelf at regular prices.

    Attributes:
        scenario: With the product, its last one.
        product_id: Of the product.
        reading: What the model made of its name.
        buys: Share of each segment's consumers who buy it in a period [S].
        share: Of all consumers who buy it: as said, and at either end of the interval.
        units: It sells in a period, likewise.
        taken: Share of its buyers who would else have bought nothing, then each product [J + 1].
    """

    scenario: Scenario
    product_id: str
    reading: PredictedTaste
    buys: FloatArray
    share: tuple[float, float, float]
    units: tuple[float, float, float]
    taken: FloatArray


def add_product(
    scenario: Scenario, name: str, price: float, seller: str | None = None, *, unit_cost: float | None = None,
    enters: int = 0,
) -> Added:  # fmt: skip
    """Return a scenario with a product that nobody has sold yet, known by its name and price alone.

    In scenarios with a block `words` an encoder compares the name with each segment's history, and what the names of
    known products and their sales say gives its appeal to everybody; where a taste model reads the products
    (``aligned``), it reads the name as a brand.

    Args:
        scenario: Where it is added.
        name: What it is called; untrusted, see `malles_env.scenarios.adding.names.checked_name`.
        price: Regular price, money, above 0.
        seller: Who sells it; None: the only seller.
        unit_cost: Money; None: the seller's usual share of the price.
        enters: First period in which it may be listed.

    Raises:
        InvalidInput: A name, price or seller that is not allowed, or consumers whose model reads no names.
        MissingResource: The model is not installed; the message names its package.
    """
    asked = _checked(scenario, Proposal(name, price, seller, unit_cost, enters))
    if scenario.words is not None and isinstance(scenario.consumers, LogitEntry):
        reading = read_words(scenario, asked)
    elif isinstance(scenario.consumers, AlignedEntry):
        reading = read_brand(scenario, asked)
    else:
        raise invalid(
            "scenario", scenario.name, "one whose model reads names: with a block `words`, or of kind aligned"
        )
    return _assembled(scenario, asked, reading)


def _checked(scenario: Scenario, asked: Proposal) -> Proposal:
    names = [seller.name for seller in scenario.sellers]
    if asked.seller is None and len(names) > 1:
        raise invalid("seller", None, f"one of {', '.join(names)}")
    if asked.seller is not None and asked.seller not in names:
        raise invalid("seller", asked.seller, f"one of {', '.join(names)}")
    for field, value, low in (("price", asked.price, 0.0), ("unit_cost", asked.unit_cost, -1.0)):
        if value is not None and not (isinstance(value, (int, float)) and low < value <= MOST):
            raise invalid(field, value, "a finite number above 0" if low == 0.0 else "a finite number of at least 0")
    if asked.unit_cost is not None and asked.unit_cost < 0:
        raise invalid("unit_cost", asked.unit_cost, "a finite number of at least 0")
    if not 0 <= asked.enters <= 10**9:
        raise invalid("enters", asked.enters, "a whole number of at least 0")
    plain = checked_name(asked.name)
    taken = [product.title.lower() for product in scenario.products]
    if plain.lower() in taken:
        raise invalid("name", plain, "a name that no product has yet")
    return Proposal(plain, float(asked.price), asked.seller or names[0], asked.unit_cost, asked.enters)


def _assembled(scenario: Scenario, asked: Proposal, reading: PredictedTaste) -> Added:
    entry = new_entry(scenario, asked)
    if isinstance(scenario.consumers, LogitEntry):
        fields = with_tastes(scenario, entry, reading)
    else:
        fields = with_shares(scenario, entry, reading)
    note = f"{asked.name} was added: nobody sold it. Its tastes were read off its name; {reading.because}."
    fields["notes"] = [*scenario.notes, note]
    try:
        made = Scenario.model_validate(fields)
    except ValidationError as error:
        raise explain(error, f"{scenario.name} with {asked.name}", Scenario) from None
    return _measured(made, entry["product_id"], reading)


def _measured(made: Scenario, product_id: str, reading: PredictedTaste) -> Added:
    """Return what consumers make of the last product, beside all others at regular prices."""
    tastes = tastes_of(made.build_consumers())
    assert tastes is not None
    weights = made.population().weights
    shown = [_answer(made, tastes.shifted(_last(made, step * reading.sd))) for step in (0.0, -LEVEL, LEVEL)]
    without, _ = _answer(made, tastes, hidden=True)
    middle, _ = shown[0]
    lost = weights @ (without - middle)
    sold = float(weights @ middle[:, -1])
    taken = np.maximum(lost[:-1], 0.0) / max(sold, 1e-300)
    share = tuple(float(weights @ probability[:, -1]) for probability, _ in shown)
    units = tuple(
        made.population_size * float(weights @ (probability[:, -1] * quantity[:, -1]))
        for probability, quantity in shown
    )
    return Added(made, product_id, reading, middle[:, -1], share, units, taken)  # type: ignore[arg-type]


def _last(made: Scenario, shift: float) -> FloatArray:
    found = np.zeros(len(made.products))
    found[-1] = shift
    return found


def _answer(made: Scenario, tastes: Tastes, *, hidden: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return probabilities [S, J + 1] and units per buyer [S, J] with everything, or all but the last, listed."""
    catalog, population, perceived = made.catalog(), made.population(), made.first_mean_field()
    listed = np.ones((1, len(made.products)), dtype=bool)
    listed[0, -1] = not hidden
    offer = Offer(
        catalog.regular_price[None], listed, catalog.regular_price, perceived[None], population.initial_loyalty[None],
        centre=made.mean_field_settings().first_centre(perceived)[None],
    )  # fmt: skip
    found = respond(tastes, offer)
    return found.probability[0], found.quantity[0]
