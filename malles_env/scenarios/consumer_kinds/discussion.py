"""Sets up a scenario's discussions: its products and their sheets, its personas, a cast."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from malles_env._moved import old_names
from malles_env.consumers.discussion.cast import Cast, list_casts, load_cast
from malles_env.consumers.discussion.consumers import DiscussionConsumers
from malles_env.consumers.discussion.sheets import ProductSheet, has_sheets, load_sections
from malles_env.consumers.language.base import LanguageModel
from malles_env.errors import InvalidInput
from malles_env.market import Consumers
from malles_env.scenarios.blocks.live_model_config import DiscussionEntry
from malles_env.scenarios.consumer_kinds.model_factory import language_model
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.messages import explain
from malles_env.scenarios.schema import Scenario

HOW = ("rounds", "orders", "temperature", "seed")
"""Fields of an entry that `DiscussionConsumers` have under the same names."""
ALLOW_WRITE = "MALLES_ALLOW_WRITE"
"""Environment variable: 1 lets scenario files name files that are written."""


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


def discussion_from_entry(
    scenario: Scenario, entry: DiscussionEntry | None = None, model: LanguageModel | None = None
) -> DiscussionConsumers:
    """Return a scenario's consumers who talk as an entry of a scenario file says.

    Args:
        scenario: Gives products and personas.
        entry: Model, cast, sheets and numbers; default the scenario's own entry, or the defaults.
        model: Who is asked instead of the model named in the entry.

    Raises:
        InvalidInput: A cast, sheet or setting that is not allowed; or a file, not the user, names a transcript.
        MissingResource: The model or a file is not there; the message says how to get it.
    """
    own = scenario.consumers
    how = entry or (own if isinstance(own, DiscussionEntry) else DiscussionEntry(kind="discussion"))
    transcript = _transcript(how)
    return discussion_consumers(
        scenario,
        model or language_model(how),
        cast=how.cast or None,
        sheets=Path(how.sheets) if how.sheets else None,
        transcript=transcript,
        **{name: getattr(how, name) for name in HOW},
    )


def with_discussion(scenario: Scenario, **fields: object) -> Scenario:
    """Return a copy of a scenario whose consumers talk before they buy.

    Args:
        scenario: Any scenario; where its consumers talk already, their entry stays in all that `fields` do not name.
        fields: Of `DiscussionEntry`; those that are None count as not named. A server named here gets
            ``$OPENAI_API_KEY``; a transcript named here is written.

    Raises:
        InvalidInput: A field that does not exist or does not fit.
    """
    own = scenario.consumers.model_dump() if isinstance(scenario.consumers, DiscussionEntry) else {"kind": "discussion"}
    named = {name: value for name, value in fields.items() if value is not None}
    try:
        found = Scenario.model_validate({**scenario.without_tastes(), "consumers": own | named})
    except ValidationError as error:
        raise explain(error, scenario.name, Scenario) from None
    assert isinstance(found.consumers, DiscussionEntry)
    earlier = scenario.consumers._named if isinstance(scenario.consumers, DiscussionEntry) else ()
    found.consumers.name_by_user(*earlier, *named)
    return found


@builds("discussion")
def _built(scenario: Scenario, entry: DiscussionEntry, *, draws: bool = False) -> Consumers:
    return discussion_from_entry(scenario, entry)


def _transcript(entry: DiscussionEntry) -> Path | None:
    """Return the file for transcripts, if the user named it or lets scenario files name files to write."""
    if not entry.transcript:
        return None
    if not entry.named_by_user("transcript") and os.environ.get(ALLOW_WRITE) != "1":
        raise InvalidInput(
            f"consumers.transcript: the scenario file names a file to write, {entry.transcript!r}; allowed: a file "
            f"that you name yourself (`malles discuss --out`, `with_discussion(transcript=...)`), or {ALLOW_WRITE}=1"
        )
    return Path(entry.transcript)


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


__getattr__ = old_names(__name__)
