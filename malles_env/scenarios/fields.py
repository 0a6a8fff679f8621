"""The fields of a scenario file, each checked by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from malles_env.market.arrays import MOST
from malles_env.scenarios.blocks.entries import (
    Entry,
    MeanFieldEntry,
    Name,
    PolicyEntry,
    Positive,
    ProductEntry,
    ReferencePriceEntry,
    SegmentEntry,
    SellerEntry,
    Share,
)
from malles_env.scenarios.blocks.forces import ForcesEntry
from malles_env.scenarios.blocks.live_model_config import ConsumersEntry
from malles_env.scenarios.blocks.seller_rules import PriceRulesEntry, PromotionsEntry, ReplenishmentEntry
from malles_env.scenarios.blocks.tiers import TiersEntry
from malles_env.scenarios.blocks.words import WordsEntry


class ScenarioFields(Entry):
    """What stands in a scenario file. Frozen.

    Attributes:
        format: 2 since the mean field of tastes read by a model is centred at long-run shares and a discount brings no
            display of its own; a file of format 1 is read with these meanings, and the loader says so.
        name: Short name, used in file names and records.
        title, description: What it is, in words.
        sources: Where its numbers come from.
        licence: Terms of those sources.
        made_by: Command that wrote the file, if one did.
        currency: Of all money in the file.
        period: What one step of the market is.
        sellers: In the order in which their products come.
        products: Their order is the product axis J of every array.
        segments: Their order is the segment axis S.
        population_size: Consumers who visit the market in a period.
        consumers: Who buys: ``logit`` (tastes in the file), ``aligned`` (tastes read by a language model),
            ``prompted`` (a language model asked live) or ``discussion`` (its roles talk before they buy).
        mean_field: How consumers feel each other.
        policy: Taxes, price cap, entry and mergers.
        promotions: Display and advertising as actions of sellers, with fees and slots; None: sellers cannot promote.
        price_rules: What prices have to obey beside their bounds: endings, steps, changes, margins; None: nothing.
        replenishment: Stock that sellers order, with lead times, costs and storage; None: products never run out, or
            have the `stock` they begin with.
        tiers: Quantity discounts that sellers may post, by a threshold and a tier price; None: sellers cannot.
        reference_price: How remembered prices matter to consumers with linear prices; with log prices strength s
            stands for a gain and a loss of s times beta. None: not at all.
        forces: Promotion, reference prices in logs, fading inertia, seasons and pantries, as far as the data show them;
            None: the tastes as they are.
        initial_mean_field: Purchase shares by product that consumers see in the first period; default the
            reference shares, or equal shares where there are none.
        max_cycles: Periods of an episode.
        reward_scale: Money of profit per unit of reward.
        words: How a language model reads names of products into tastes, for products that are added; None: it cannot.
        notes: Assumptions and caveats, in words.
    """

    format: Literal[1, 2] = 1
    name: Name
    title: str = ""
    description: str = ""
    sources: tuple[str, ...] = ()
    licence: str = ""
    made_by: str = ""
    currency: str = "money"
    period: str = "week"
    sellers: Annotated[tuple[SellerEntry, ...], Field(min_length=1, max_length=200)]
    products: Annotated[tuple[ProductEntry, ...], Field(min_length=1, max_length=2000)]
    segments: Annotated[tuple[SegmentEntry, ...], Field(min_length=1, max_length=100_000)]
    population_size: Annotated[float, Field(strict=True, ge=1.0, le=MOST)]
    consumers: ConsumersEntry
    mean_field: MeanFieldEntry = MeanFieldEntry()
    policy: PolicyEntry = PolicyEntry()
    promotions: PromotionsEntry | None = None
    price_rules: PriceRulesEntry | None = None
    replenishment: ReplenishmentEntry | None = None
    tiers: TiersEntry | None = None
    reference_price: ReferencePriceEntry | None = None
    forces: ForcesEntry | None = None
    initial_mean_field: dict[str, Share] | None = None
    max_cycles: Positive = 52
    reward_scale: Annotated[float, Field(strict=True, ge=1e-9, le=1e15)] = 1.0
    words: WordsEntry | None = None
    notes: tuple[str, ...] = ()

    @property
    def product_ids(self) -> tuple[str, ...]:
        """The J product names."""
        return tuple(product.product_id for product in self.products)

    def unit_cost(self, product: ProductEntry) -> float:
        """Return what one more unit of a product costs before taxes, money; where it is ordered, to order it."""
        given = self.replenishment
        return product.unit_cost if given is None else given.cost_of(product.product_id, product.unit_cost)
