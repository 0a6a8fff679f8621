"""Makes a scenario's consumers ready for the audit: its market as a `Subject`, and twins read anew.

Consumers whose tastes a language model read can be asked about the same products in another order or in other words:
the model reads the scenario again, and the calibration's shift of the first reading is kept, so that a twin differs
from the first by nothing but the reading.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import invalid
from malles_env.evaluation.audit import Subject
from malles_env.market import Consumers, Offer, Response, Tastes
from malles_env.scenarios.blocks.entries import AlignedEntry, ProductEntry
from malles_env.scenarios.consumer_kinds.aligned import read_consumers
from malles_env.scenarios.schema import Scenario

if TYPE_CHECKING:
    from malles_env.consumers.aligned import AlignedConsumers

BRAND_WORDS = ("manufacturer {0}", "brand of maker {0}", "producer {0}", "maker no. {0}")
"""Other words for ``maker 131``."""
NAME_WORDS = ("{0} brand", "the brand {0}", "{0} products", "made by {0}")
"""Other words for any other brand."""
OWN_LABEL_WORDS = ("own label of the shop", "the shop's own brand", "private label", "house brand")
"""Other words for ``store brand``, where a product is called so."""
UNIT_WORDS = {
    "oz": ("ounces", "ounce", "oz."),
    "fl oz": ("fluid ounces", "fluid ounce", "fl. oz."),
    "lb": ("pounds", "pound", "lbs"),
    "ct": ("count", "pieces", "pc"),
    "sq ft": ("square feet", "square foot", "sq. ft."),
    "ml": ("millilitres", "milliliters", "ml."),
    "g": ("grams", "gram", "gr"),
    "load": ("loads", "wash loads", "washes"),
}
"""Other words for units of package size."""


@dataclass(frozen=True)
class RereadConsumers:
    """Consumers of a scenario that a language model can read again.

    Attributes:
        scenario: The scenario; its consumers are of kind ``aligned``.
        consumers: The first reading; it answers.
    """

    scenario: Scenario
    consumers: AlignedConsumers

    @property
    def num_segments(self) -> int:
        """S."""
        return self.consumers.num_segments

    @property
    def num_products(self) -> int:
        """J."""
        return self.consumers.num_products

    @property
    def tastes(self) -> Tastes:
        """The coefficients of the first reading."""
        return self.consumers.tastes

    def respond(self, offer: Offer) -> Response:
        """Answer an offer as the first reading does."""
        return self.consumers.respond(offer)

    def reordered(self, order: Sequence[int]) -> Consumers:
        """Return consumers read from the shelf in another order; their product k is this one's ``order[k]``.

        Raises:
            InvalidInput: `order` is no order of the products.
        """
        if sorted(order) != list(range(self.num_products)):
            raise invalid("order", list(order), f"the numbers 0 to {self.num_products - 1}, each once")
        products = tuple(self.scenario.products[place] for place in order)
        return self._read(products, self.consumers.shift[list(order)])

    def reworded(self, seed: int) -> Consumers:
        """Return consumers read from paraphrased product texts; equal seeds give equal words."""
        return self._read(reworded_products(self.scenario.products, seed), self.consumers.shift)

    def _read(self, products: tuple[ProductEntry, ...], shift: np.ndarray) -> Consumers:
        entry = self.scenario.consumers
        if not isinstance(entry, AlignedEntry):
            raise invalid("scenario.consumers", entry.kind, "aligned")
        as_read = entry.model_copy(update={"calibrate": "none"})
        found = read_consumers(self.scenario.model_copy(update={"products": products}), as_read)
        if not isinstance(found, LogitConsumers):
            raise invalid("scenario.consumers", type(found).__name__, "consumers with tastes")
        return LogitConsumers(found.tastes.shifted(shift))


def rereadable(scenario: Scenario, model: str | None = None) -> Consumers:
    """Return a scenario's consumers, with twins to be read where a language model reads them.

    Args:
        scenario: The scenario.
        model: Language model to read tastes with instead of the scenario's own.

    Raises:
        InvalidInput: A model was named, but the tastes stand in the scenario's file.
        MissingResource: The model's weights are not there.
    """
    chosen = scenario if model is None else scenario.with_model(model)
    consumers = chosen.build_consumers()
    if not isinstance(chosen.consumers, AlignedEntry):
        return consumers
    from malles_env.consumers.aligned import AlignedConsumers

    return RereadConsumers(chosen, consumers) if isinstance(consumers, AlignedConsumers) else consumers


def audit_subject(scenario: Scenario, consumers: Consumers | None = None) -> Subject:
    """Return a scenario's consumers and market as the audit asks about them.

    Args:
        scenario: The scenario.
        consumers: Who answers instead of `rereadable(scenario)`; any object with the `Consumers` protocol.
    """
    catalog, population, entry = scenario.catalog(), scenario.population(), scenario.consumers
    return Subject(
        consumers=consumers or rereadable(scenario),
        weights=population.weights,
        regular_price=catalog.regular_price,
        price_low=catalog.price_low,
        price_high=catalog.price_high,
        prices=scenario.average_price(),
        mean_field=scenario.first_mean_field(),
        loyalty=population.initial_loyalty,
        products=catalog.product_ids,
        segments=population.names,
        market=entry.market if isinstance(entry, AlignedEntry) else "",
        currency=scenario.currency,
    )


def reworded_products(products: Sequence[ProductEntry], seed: int) -> tuple[ProductEntry, ...]:
    """Return the products in other words: brand, own label and unit of size, alike for all products of a seed.

    The words are not those of `malles_env.preference.data.rewording`, which a model may have been trained to
    read alike.
    """
    rng = np.random.default_rng(seed)
    brand, label = (int(rng.integers(len(words))) for words in (BRAND_WORDS, OWN_LABEL_WORDS))
    unit = int(rng.integers(3))
    return tuple(_reworded(product, brand, label, unit) for product in products)


def _reworded(product: ProductEntry, brand: int, label: int, unit: int) -> ProductEntry:
    name = product.brand.strip()
    maker = re.fullmatch(r"maker (\w+)", name, flags=re.IGNORECASE)
    if maker:
        name = BRAND_WORDS[brand].format(maker[1])
    elif name.lower() in ("store brand", "private label"):
        name = OWN_LABEL_WORDS[label]
    elif name:
        name = NAME_WORDS[brand].format(name)
    size = product.size_unit.strip().lower()
    units = UNIT_WORDS.get(size)
    return product.model_copy(update={"brand": name, "size_unit": units[unit] if units else product.size_unit})
