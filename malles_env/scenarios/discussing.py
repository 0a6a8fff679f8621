"""Seats a scenario's segments around discussion tables: its products and their sheets, its personas, a cast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from malles_env.consumers.discussion.cast import Cast, list_casts, load_cast
from malles_env.consumers.discussion.consumers import DiscussionConsumers
from malles_env.consumers.discussion.sheets import ProductSheet, has_sheets, load_sections
from malles_env.consumers.language.base import LanguageModel
from malles_env.scenarios.schema import Scenario


def discussion_consumers(
    scenario: Scenario,
    model: LanguageModel,
    *,
    cast: str | Path | Cast | None = None,
    sheets: Path | None = None,
    **settings: Any,
) -> DiscussionConsumers:
    """Return consumers of a scenario who talk before they buy, for `Scenario.market(consumers=...)`.

    Args:
        scenario: Gives products and personas.
        model: Who speaks all roles.
        cast: A bundled name, a path or a cast; default the one named like the scenario, else ``retail``.
        sheets: File of product sheets; default the bundled ones of the scenario, where it has some.
        settings: Fields of `DiscussionConsumers`, e.g. ``rounds``, ``orders``, ``seed``, ``transcript``.

    Raises:
        InvalidInput: A cast, sheet or setting that is not allowed.
        MissingResource: No such file.
    """
    chosen = load_cast(cast or (scenario.name if scenario.name in list_casts() else "retail"))
    about = {"scenario": scenario.name, **settings.pop("about", {})}
    return DiscussionConsumers(
        model, chosen, scenario_sheets(scenario, sheets), _personas(scenario), about=about, **settings
    )


def scenario_sheets(scenario: Scenario, file: Path | None = None) -> tuple[ProductSheet, ...]:
    """Return the products' sheets: typed fields from the scenario, sections from `file` or the bundled sheets."""
    source = file or (scenario.name if has_sheets(scenario.name) else None)
    sections = {} if source is None else load_sections(source, scenario.product_ids)
    return tuple(
        ProductSheet(
            product.product_id,
            product.title or product.product_id,
            brand=product.brand,
            type=product.product_type,
            size=f"{product.size_value:g} {product.size_unit}" if product.size_value else "",
            sections=sections.get(product.product_id, {}),
        )
        for product in scenario.products
    )


def _personas(scenario: Scenario) -> tuple[str, ...]:
    return tuple(" ".join((part.description or part.name).split()) for part in scenario.segments)


def only_segment(consumers: DiscussionConsumers, segment: int) -> DiscussionConsumers:
    """Return consumers of one segment only; offers to them carry that segment's loyalty alone."""
    return replace(consumers, personas=(consumers.personas[segment],))
