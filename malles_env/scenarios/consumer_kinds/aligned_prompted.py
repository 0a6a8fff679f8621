"""Puts a prompted model that was post-trained on purchases in a scenario's shop, in the words of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from malles_env.consumers.prompt_sanitizer import cleaned
from malles_env.errors import InvalidInput, invalid
from malles_env.market import Consumers
from malles_env.scenarios.blocks.entries import AlignedEntry, ProductEntry
from malles_env.scenarios.blocks.live_model_config import AlignedPromptedEntry, PromptedEntry
from malles_env.scenarios.consumer_kinds.prompted import at_observed_level, entry_calibration, persona
from malles_env.scenarios.kinds import builds
from malles_env.scenarios.messages import explain
from malles_env.scenarios.schema import Scenario

if TYPE_CHECKING:
    from malles_env.consumers.aligned_prompted import AlignedPromptedConsumers
    from malles_env.preference.prompted import PromptedModel

HOW = ("market", "orders", "seed", "loyalty", "threshold")


def aligned_prompted_consumers(
    scenario: Scenario, entry: AlignedPromptedEntry | None = None, model: PromptedModel | None = None
) -> AlignedPromptedConsumers:
    """Return a scenario's products and segments with a post-trained model to be asked about them.

    Args:
        scenario: Any scenario; its own kind of consumers does not matter if `entry` is given.
        entry: How to ask; default the scenario's own entry.
        model: Who is asked instead of the model named in the entry.

    Raises:
        InvalidInput: No entry, or numbers of a calibration that do not fit the scenario.
        MissingResource: The model, or the language model under its adapter, is not there.
        CorruptFile: A file of the model is damaged, or it was trained with other words than this package speaks.
    """
    from malles_env.consumers.aligned_prompted import AlignedPromptedConsumers
    from malles_env.preference.prompted import PromptedModel

    how = entry or scenario.consumers
    if not isinstance(how, AlignedPromptedEntry):
        raise invalid("consumers.kind", how.kind, "aligned_prompted, or an entry of that kind")
    consumers = AlignedPromptedConsumers(
        model=model or PromptedModel.load(how.model),
        products=tuple(training_text(product) for product in scenario.products),
        personas=tuple(persona(segment, scenario.product_ids) for segment in scenario.segments),
        names=scenario.product_ids,
        histories=tuple(tuple(map(_name_text, segment.history)) for segment in scenario.segments),
        units=how.quantity == "asked",
        calibration=entry_calibration(scenario, how),
        **{name: getattr(how, name) for name in HOW},
    )
    return at_observed_level(consumers, scenario, how)


@builds("aligned_prompted")
def _built(scenario: Scenario, entry: AlignedPromptedEntry, *, draws: bool = False) -> Consumers:
    return aligned_prompted_consumers(scenario, entry)


def with_aligned_prompted(scenario: Scenario, model: str, **fields: object) -> Scenario:
    """Return a copy of a scenario whose consumers are a post-trained prompted model, asked live.

    Args:
        scenario: Any scenario.
        model: Folder that `malles align-prompted` made, or a shipped name.
        fields: Of `AlignedPromptedEntry`; ``market`` defaults to the one the scenario's tastes are read for, and with
            them its purchase rate, to which the level is fitted.

    Raises:
        InvalidInput: A field that does not exist or does not fit; a scenario that says no market, and none given.
    """
    own = scenario.consumers
    entry: dict[str, object] = {"kind": "aligned_prompted", "model": model}
    if isinstance(own, AlignedEntry):
        entry |= {"market": own.market, "calibrate": own.calibrate, "purchase_rate": own.purchase_rate}
    elif isinstance(own, (AlignedPromptedEntry, PromptedEntry)):
        entry["market"] = own.market
    entry |= fields
    if "market" not in entry:
        raise InvalidInput(
            f"market: is missing, and {scenario.name}'s consumers ({own.kind}) name none; allowed: the market as the "
            "model's training called it, e.g. COFFEE | GROUND COFFEE"
        )
    try:
        return Scenario.model_validate({**scenario.without_tastes(), "consumers": entry})
    except ValidationError as error:
        raise explain(error, scenario.name, Scenario) from None


def training_text(product: ProductEntry) -> str:
    """Return a product as training has it: its typed fields, and without a brand its title, cleaned."""
    from malles_env.preference.data.text import ProductText, product_text

    words = "" if product.brand.strip() else cleaned(product.title or product.product_id)
    return product_text(ProductText(product.brand, product.private_label, product.size_value, product.size_unit, words))


def _name_text(name: str) -> str:
    from malles_env.preference.data.text import ProductText, product_text

    return product_text(ProductText("", words=cleaned(name)))
