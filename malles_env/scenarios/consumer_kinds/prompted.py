"""Puts a language model in a scenario's shop: its products, personas and calibration as `PromptedConsumers`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from malles_env._moved import old_names
from malles_env.market import Consumers, Offer
from malles_env.scenarios.blocks.entries import SegmentEntry
from malles_env.scenarios.blocks.live_model_config import AlignedPromptedEntry, PromptedEntry
from malles_env.scenarios.consumer_kinds.aligned import target_shares
from malles_env.scenarios.consumer_kinds.model_factory import language_model
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.schema import Scenario

if TYPE_CHECKING:
    from malles_env.consumers.aligned_prompted import AlignedPromptedConsumers
    from malles_env.consumers.language import LanguageModel
    from malles_env.consumers.prompted import Calibration, Persona, PromptedConsumers

Levelled = TypeVar("Levelled", "PromptedConsumers", "AlignedPromptedConsumers")

HOW = ("orders", "order", "seed", "loyalty", "threshold", "mean_field", "quantity", "unit_orders")


def prompted_consumers(
    scenario: Scenario, entry: PromptedEntry | None = None, model: LanguageModel | None = None
) -> PromptedConsumers:
    """Return a scenario's products and segments with a language model to be asked about them.

    Args:
        scenario: Any scenario; its own kind of consumers does not matter if `entry` is given.
        entry: How to ask; default the scenario's own entry, or the defaults.
        model: Who is asked instead of the model named in the entry.

    Raises:
        InvalidInput: Numbers of a calibration that do not fit the scenario.
        MissingResource: The model is not there; the message says how to get it.
        LanguageModelError: The model failed while it was asked for the calibration.
    """
    from malles_env.consumers.prompted import PromptedConsumers, PromptSettings, default_wording, read_wording

    own = scenario.consumers
    how = entry or (own if isinstance(own, PromptedEntry) else PromptedEntry(kind="prompted", market=scenario.title))
    consumers = PromptedConsumers(
        model=model or language_model(how),
        products=tuple(product.title or product.product_id for product in scenario.products),
        personas=tuple(persona(segment, scenario.product_ids) for segment in scenario.segments),
        names=scenario.product_ids,
        market=how.market,
        currency=scenario.currency,
        settings=PromptSettings(**{name: getattr(how, name) for name in HOW}, limit=how.text_limit),
        calibration=entry_calibration(scenario, how),
        wording=read_wording(Path(how.wording)) if how.wording else default_wording(),
    )
    return at_observed_level(consumers, scenario, how)


def at_observed_level(consumers: Levelled, scenario: Scenario, entry: PromptedEntry | AlignedPromptedEntry) -> Levelled:
    """Return consumers with the shifts that give demand the observed shares, where `entry` asks for them."""
    target = target_shares(scenario, entry)
    if target is None:
        return consumers
    from malles_env.consumers.prompted import fit_to_shares

    weights = scenario.population().weights
    return consumers.calibrated(fit_to_shares(consumers, opening_offer(scenario), weights, target))


@builds("prompted")
def _built(scenario: Scenario, entry: PromptedEntry, *, draws: bool = False) -> Consumers:
    return prompted_consumers(scenario, entry)


def persona(segment: SegmentEntry, products: tuple[str, ...]) -> Persona:
    """Return a segment in words: its purchase history and note; without either, its description.

    The description of a segment with a history says the same in words for people, so it is left out then.
    """
    from malles_env.consumers.prompted import Persona

    has_history = segment.history_total is not None
    words = segment.note if has_history or segment.note else segment.description
    bought = tuple(segment.bought.get(name, 0) for name in products)
    return Persona(words, segment.history_total, segment.weeks_seen or 0, bought if has_history else ())


def opening_offer(scenario: Scenario) -> Offer:
    """Return the shelf at average prices, everything on it, as the first consumers of an episode see it (B = 1)."""
    catalog, population, perceived = scenario.catalog(), scenario.population(), scenario.first_mean_field()
    return Offer(
        scenario.average_price()[None],
        np.ones((1, catalog.num_products), dtype=bool),
        catalog.regular_price,
        perceived[None],
        population.initial_loyalty[None],
        reference=np.log(catalog.regular_price)[None],
        centre=scenario.mean_field_settings().first_centre(perceived)[None],
    )


def with_prompted(scenario: Scenario, **fields: object) -> Scenario:
    """Return a copy of a scenario whose consumers are a language model asked live.

    Args:
        scenario: Any scenario.
        fields: Of `PromptedEntry`; ``market`` defaults to the scenario's title. A server named here gets
            ``$OPENAI_API_KEY``.

    Raises:
        InvalidInput: A field that does not exist or does not fit.
    """
    return prompted_again(scenario, {}, fields)


def prompted_again(scenario: Scenario, kept: dict[str, object], named: dict[str, object]) -> Scenario:
    """Return a copy of a scenario asked live.

    Args:
        scenario: Any scenario.
        kept: Fields of `PromptedEntry` taken over from its own entry; whoever named them there is still who did.
        named: Fields that the user names instead.
    """
    from pydantic import ValidationError

    from malles_env.scenarios.messages import explain

    entry = {"kind": "prompted", "market": scenario.title or scenario.name, **kept, **named}
    try:
        found = Scenario.model_validate({**scenario.without_tastes(), "consumers": entry})
    except ValidationError as error:
        raise explain(error, scenario.name, Scenario) from None
    assert isinstance(found.consumers, PromptedEntry)
    earlier = scenario.consumers._named if isinstance(scenario.consumers, PromptedEntry) else frozenset()
    found.consumers.name_by_user(*named, *earlier.intersection(kept))
    return found


def entry_calibration(scenario: Scenario, entry: PromptedEntry | AlignedPromptedEntry) -> Calibration:
    """Return the fitted numbers that an entry states."""
    from malles_env.consumers.prompted import Calibration

    neutral = Calibration.of(
        len(scenario.segments),
        len(scenario.products),
        temperature=entry.temperature,
        outside=entry.outside,
        rho=entry.rho if isinstance(entry, PromptedEntry) else 0.0,
        price_sensitivity=entry.price_sensitivity,
        unit_temperature=entry.unit_temperature,
        unit_tilt=entry.unit_tilt,
    )
    shift = np.array([entry.shift.get(name, 0.0) for name in scenario.product_ids])
    return replace(neutral, shift=shift)


__getattr__ = old_names(__name__)
