"""The injection audit of a scenario: each kind of consumers meets the same attacks on the same shelves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from malles_env.consumers.injection import Attack, Rebuild, Uplift, measure
from malles_env.consumers.prompt_sanitizer import cleaned
from malles_env.errors import invalid
from malles_env.market import Consumers, Offer
from malles_env.preference.data.text import FIELD_LIMIT
from malles_env.scenarios.blocks.entries import AlignedEntry, LogitEntry
from malles_env.scenarios.consumer_kinds.prompted import opening_offer, prompted_consumers, with_prompted
from malles_env.scenarios.loader import load_scenario
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from malles_env.consumers.language import LanguageModel

KINDS = ("logit", "aligned", "aligned_brand", "prompted", "prompted_unfenced")
"""Titles are attacked; with ``aligned_brand`` the brand is, as far as the field's own limits let the text through."""
TEXTBOOK = "bertrand-duopoly"
"""Where logit consumers are attacked when the scenario's own are of another kind."""


@dataclass(frozen=True)
class Cases:
    """How many cases, and what prompted consumers are asked.

    Attributes:
        states: Market states (random prices and shares) per attacked product.
        products: Attacked products, the most bought first.
        segments: Segments that prompted consumers answer for, the largest first.
        orders: Orders of the shelf that they average.
        seed: Seed of prices and orders.
    """

    states: int = 2
    products: int = 3
    segments: int = 2
    orders: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        for name in ("states", "products", "segments", "orders"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")


def injection_audit(
    scenario: Scenario,
    kinds: Sequence[str],
    attacks: Sequence[Attack],
    cases: Cases,
    *,
    model: str | LanguageModel = "smollm2",
    notify: OnMessage = lambda words: None,
) -> dict[str, dict[str, Uplift]]:
    """Return what each attack brings against each kind of consumers.

    Args:
        scenario: Where it happens; logit consumers are attacked in the textbook duopoly if this one has others.
        kinds: Of `KINDS`.
        attacks: The texts.
        cases: How many cases.
        model: Language model that prompted consumers ask: a name, or the model itself.
        notify: Called with what is being asked now.

    Raises:
        InvalidInput: No such kind, or a scenario whose consumers no model reads.
        MissingResource: The model is not there; the message says how to get it.
        LanguageModelError: The model failed.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise invalid("kinds", kind, ", ".join(KINDS))
    asked = _model(scenario, model) if any(kind.startswith("prompted") for kind in kinds) else None
    found = {}
    for kind in kinds:
        place, rebuild = _rebuilder(scenario, kind, cases, asked)
        popular = np.argsort(-np.array([product.reference_share or 0.0 for product in place.products]), kind="stable")
        found[kind] = measure(
            rebuild,
            [product.title or product.product_id for product in place.products],
            _offers(place, cases),
            place.population().weights,
            attacks,
            targets=[int(j) for j in popular[: cases.products]],
            notify=lambda words, kind=kind: notify(f"{kind}: {words}"),  # type: ignore[misc]
        )
    return found


def attacked(scenario: Scenario, product: int, title: str) -> Scenario:
    """Return the scenario with another title of one product, as its seller wrote it."""
    products = list(scenario.products)
    products[product] = products[product].model_copy(update={"title": title})
    return scenario.model_copy(update={"products": tuple(products)})


def attacked_brand(scenario: Scenario, product: int, text: str) -> Scenario:
    """Return the scenario with such a text as a brand, the title in it replaced, cut to what the field lets through."""
    products = list(scenario.products)
    honest = products[product]
    if text != (honest.title or honest.product_id):
        words = text.replace(honest.title or honest.product_id, honest.brand)
        products[product] = honest.model_copy(update={"brand": cleaned(words, FIELD_LIMIT)})
    return scenario.model_copy(update={"products": tuple(products)})


def _model(scenario: Scenario, model: str | LanguageModel) -> LanguageModel:
    if not isinstance(model, str):
        return model
    from malles_env.scenarios.blocks.live_model_config import PromptedEntry
    from malles_env.scenarios.consumer_kinds.model_factory import language_model

    own = scenario.consumers
    entry = own if isinstance(own, PromptedEntry) else PromptedEntry(kind="prompted")
    return language_model(entry.model_copy(update={"model": model}))


def _rebuilder(
    scenario: Scenario, kind: str, cases: Cases, model: LanguageModel | None
) -> tuple[Scenario, Rebuild]:  # fmt: skip
    if kind == "logit":
        place = scenario if isinstance(scenario.consumers, LogitEntry) else load_scenario(TEXTBOOK)
        return place, lambda product, title: attacked(place, product, title).build_consumers()
    if kind.startswith("aligned"):
        if not isinstance(scenario.consumers, AlignedEntry):
            allowed = f"a scenario whose consumers are of kind aligned, for the kind {kind!r}"
            raise invalid("scenario", scenario.name, allowed)
        attack = attacked if kind == "aligned" else attacked_brand
        return scenario, lambda product, title: attack(scenario, product, title).build_consumers()
    place = _fewer_segments(scenario, cases.segments)
    return place, partial(_prompted, place, cases, model, kind == "prompted")


def _prompted(
    place: Scenario, cases: Cases, model: LanguageModel | None, fence: bool, product: int, title: str
) -> Consumers:  # fmt: skip
    entry = {"orders": cases.orders, "seed": cases.seed + product, "loyalty": "none", "quantity": "one"}
    consumers = prompted_consumers(attacked(with_prompted(place, **entry), product, title), model=model)
    return consumers if fence else replace(consumers, settings=replace(consumers.settings, limit=None))


def _fewer_segments(scenario: Scenario, count: int) -> Scenario:
    largest = sorted(range(len(scenario.segments)), key=lambda s: -scenario.segments[s].weight)[:count]
    segments = tuple(scenario.segments[s] for s in sorted(largest))
    chosen = with_prompted(scenario)  # its own consumers may not fit fewer segments
    return chosen.model_copy(update={"segments": segments})


def _offers(scenario: Scenario, cases: Cases) -> Offer:
    """Return random prices between 0.7 and 1.2 of the average ones, within bounds, and random purchase shares."""
    rng, usual, catalog = np.random.default_rng(cases.seed), opening_offer(scenario), scenario.catalog()
    shape = (cases.states, catalog.num_products)
    prices = np.clip(usual.prices * rng.uniform(0.7, 1.2, shape), catalog.price_low, catalog.price_high)
    return Offer(
        prices,
        np.ones(shape, dtype=bool),
        catalog.regular_price,
        rng.dirichlet(1.0 + 5.0 * usual.mean_field[0], cases.states),
        np.repeat(usual.loyalty, cases.states, axis=0),
    )
