"""What sellers may do, as pydantic models of a scenario file: promotion, price rules, orders of stock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from malles_env.errors import InvalidInput, invalid
from malles_env.market import PriceRules, Promotions, Replenishment, Supply
from malles_env.market.seller_rules.price_rules import RULES
from malles_env.scenarios.blocks.entries import Count, Entry, Money, Price

Lead = Annotated[int, Field(strict=True, ge=0, le=1000)]


class SlotsEntry(Entry):
    """Most products that one seller may promote in a period.

    Attributes:
        display, feature: Displayed in the shop, advertised in the leaflet; None: as many as sellers that are not named.
    """

    display: Count | None = None
    feature: Count | None = None


class PromotionsEntry(Entry):
    """Display and advertising as actions of sellers: what they cost and how much there is of them.

    What they are worth to consumers stands elsewhere: in the tastes, or in `ForcesEntry.promotion`.

    Attributes:
        display_fee, feature_fee: Money per displayed, or advertised, product and period.
        display_slots, feature_slots: Most products that a seller may display, or advertise, in a period.
        slots: Other numbers for single sellers, by name.
    """

    display_fee: Money = 0.0
    feature_fee: Money = 0.0
    display_slots: Count = 1
    feature_slots: Count = 1
    slots: dict[str, SlotsEntry] = Field(default_factory=dict)

    def settings(self, owner: Mapping[str, str]) -> Promotions:
        """Return the market's settings object.

        Args:
            owner: Who prices each seller's products; after a merger the slots of all add up.
        """
        total: dict[str, tuple[int, int]] = {}
        for name, owned_by in owner.items():
            own, before = self.slots.get(name, SlotsEntry()), total.get(owned_by, (0, 0))
            display = self.display_slots if own.display is None else own.display
            feature = self.feature_slots if own.feature is None else own.feature
            total[owned_by] = before[0] + display, before[1] + feature
        return Promotions(self.display_fee, self.feature_fee, total)


class RuleEntry(Entry):
    """One rule of prices.

    Attributes:
        enforce: ``bind`` moves an action to the nearest price that obeys; ``cost`` counts how far it is from there.
    """

    enforce: Literal["bind", "cost"] = "bind"


class LadderEntry(RuleEntry):
    """Prices are a whole number of money plus one of the endings, e.g. 0.99."""

    endings: Annotated[tuple[Annotated[float, Field(strict=True, ge=0.0, lt=1.0)], ...], Field(min_length=1)]


class StepEntry(RuleEntry):
    """A price that changes from one period to the next changes by at least so much money."""

    least: Price


class ChangeEntry(RuleEntry):
    """A price changes from one period to the next by at most `share` of it, or by at most `money`; one is given."""

    share: Price | None = None
    money: Price | None = None


class MarginEntry(RuleEntry):
    """A price leaves, after sales tax, at least `least` of the unit cost on top of it."""

    least: Money


class PriceRulesEntry(Entry):
    """What prices have to obey beside their bounds, see `malles_env.market.PriceRules`; all parts may be left out."""

    ladder: LadderEntry | None = None
    step: StepEntry | None = None
    change: ChangeEntry | None = None
    margin: MarginEntry | None = None

    def settings(self) -> PriceRules | None:
        """Return the market's settings object, None where there is no rule.

        Raises:
            InvalidInput: Rules that do not go together.
        """
        given = {name: rule for name in RULES if (rule := getattr(self, name)) is not None}
        if not given:
            return None
        return PriceRules(
            endings=() if self.ladder is None else self.ladder.endings,
            step=None if self.step is None else self.step.least,
            change=None if self.change is None else self.change.money,
            change_share=None if self.change is None else self.change.share,
            margin=None if self.margin is None else self.margin.least,
            counted=frozenset(name for name, rule in given.items() if rule.enforce == "cost"),
        )


class SupplyEntry(Entry):
    """How one product is ordered where it differs from the others; what is None is as theirs.

    Attributes:
        storage, max_order, lead_time, fixed_cost, unit_cost, holding_cost, initial, salvage: As in
            `ReplenishmentEntry`.
    """

    storage: Price | None = None
    max_order: Price | None = None
    lead_time: Lead | None = None
    fixed_cost: Money | None = None
    unit_cost: Money | None = None
    holding_cost: Money | None = None
    initial: Money | None = None
    salvage: Money | None = None


class ReplenishmentEntry(Entry):
    """Stock that sellers order, see `malles_env.market.Supply` for what happens when.

    Attributes:
        storage: Most units of a product on hand and on order together.
        max_order: Most units of one order; None: `storage`.
        lead_time: Whole periods from an order to its arrival; 0: it can be sold in the same period.
        fixed_cost: Money per order of a product.
        unit_cost: Money per unit ordered; None: each product's own unit cost, which it stands in for otherwise.
        holding_cost: Money per unit on hand at the end of a period.
        initial: Units on hand at the start of an episode.
        salvage: Money per unit on hand at the end of an episode.
        whole_units: Whether orders are whole numbers.
        products: Other numbers for single products, by product_id.
    """

    storage: Price
    max_order: Price | None = None
    lead_time: Lead = 0
    fixed_cost: Money = 0.0
    unit_cost: Money | None = None
    holding_cost: Money = 0.0
    initial: Money = 0.0
    salvage: Money = 0.0
    whole_units: bool = True
    products: dict[str, SupplyEntry] = Field(default_factory=dict)

    def _number(self, name: str, product: str) -> float | None:
        own = getattr(self.products.get(product), name, None)
        found: float | None = getattr(self, name) if own is None else own
        return found

    def cost_of(self, product: str, unit_cost: float) -> float:
        """Return what one unit of a product costs to order, money; `unit_cost` is the product's own."""
        given = self._number("unit_cost", product)
        return unit_cost if given is None else given

    def supply(self, product: str) -> Supply:
        """Return how a product is ordered."""
        names = ("storage", "max_order", "lead_time", "fixed_cost", "holding_cost", "initial", "salvage")
        return Supply(**{name: self._number(name, product) for name in names})  # type: ignore[arg-type]

    def settings(self, product_ids: Sequence[str]) -> Replenishment:
        """Return the market's settings object; the block must have no `problems`."""
        return Replenishment(tuple(map(self.supply, product_ids)), self.whole_units)

    def problems(self, product_ids: Sequence[str]) -> Iterator[InvalidInput]:
        """Yield one error per product that is not there and per number that does not fit the others."""
        for product in self.products:
            if product not in product_ids:
                yield invalid("replenishment.products", product, f"one of the products {', '.join(product_ids)}")
        for product in product_ids:
            own = self.products.get(product)
            for name, value, allowed in self.supply(product).problems(self.whole_units):
                place = "" if getattr(own, name, None) is None else f"products.{product}."
                yield invalid(f"replenishment.{place}{name}", value, allowed)

    def without_unit_costs(self) -> ReplenishmentEntry:
        """Return a copy in which units cost what the products say."""
        products = {name: own.model_copy(update={"unit_cost": None}) for name, own in self.products.items()}
        return self.model_copy(update={"unit_cost": None, "products": products})
