"""Hands a scenario's personas and products to the language model that reads tastes."""

from __future__ import annotations

import numpy as np

from malles_env.market import Consumers
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.blocks.live_model_config import AlignedPromptedEntry, PromptedEntry
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray


@builds("aligned")
def read_consumers(scenario: Scenario, entry: AlignedEntry, *, draws: bool = False) -> Consumers:
    """Return consumers whose tastes the model named in `entry` predicts from the scenario's segments.

    Args:
        scenario: The scenario; its segments carry purchase histories.
        entry: Its consumers.
        draws: Whether they carry draws of their tastes too.
    """
    from malles_env.consumers.aligned import Level, TasteQuestion, aligned_consumers
    from malles_env.preference import Persona, ProductText

    personas = [
        Persona(entry.market, entry.category, part.history_total or 0, part.weeks_seen or 0, part.note)
        for part in scenario.segments
    ]
    products = [
        ProductText(product.brand, product.private_label, product.size_value, product.size_unit)
        for product in scenario.products
    ]
    catalog, perceived = scenario.catalog(), scenario.first_mean_field()
    asked = TasteQuestion(
        personas=personas,
        products=products,
        bought=scenario.bought().astype(np.int64),
        reference_share=reference_shares(scenario),
        regular_price=catalog.regular_price,
        mean_quantity=_mean_quantities(scenario),
    )
    level = Level(
        target=target_shares(scenario, entry),
        population=scenario.population(),
        regular_price=catalog.regular_price,
        prices=scenario.average_price(),
        mean_field=perceived,
        centre=scenario.mean_field_settings().first_centre(perceived),
    )
    return aligned_consumers(asked, entry.model, level, forces=scenario.with_forces, draws=draws)


def _mean_quantities(scenario: Scenario) -> FloatArray | None:
    """Return units per purchase in the source data, shape ``(J,)``; None unless all are known."""
    means = [product.mean_quantity for product in scenario.products]
    return None if None in means else np.array(means, dtype=np.float64)


def reference_shares(scenario: Scenario) -> FloatArray:
    """Return the products' shares of the buyers' purchases in the source data, shape ``(J,)``."""
    return np.array([product.reference_share or 0.0 for product in scenario.products])


def target_shares(scenario: Scenario, entry: AlignedEntry | PromptedEntry | AlignedPromptedEntry) -> FloatArray | None:
    """Return the shares of consumers that demand should have at average prices, shape ``(J + 1,)``, sum 1.

    Index 0 is buying nothing. None when the tastes are to stay as read.
    """
    if entry.calibrate == "none" or entry.purchase_rate is None:
        return None
    shares = reference_shares(scenario)
    return np.concatenate([[1.0 - entry.purchase_rate], entry.purchase_rate * shares / shares.sum()])
