"""The parts of a scenario file as pydantic models: sellers, products, segments, consumers, mean field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from malles_env.errors import invalid
from malles_env.market import Dynamics, MeanField, PriceRules, Promotions, ReferencePrice, Tastes
from malles_env.market.price_rules import RULES

Name = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(strict=True)]
Money = Annotated[float, Field(strict=True, ge=0.0)]
Price = Annotated[float, Field(strict=True, gt=0.0)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Typed = Annotated[
    str, Field(max_length=60, pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff<>{}|\[\]]*$")
]
"""Words a taste model may read: one short line without control or invisible characters and without brackets."""


def _nested(value: object) -> Any:
    """Return `value` as a float or as tuples of floats; anything else is refused."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0:
        return tuple(_nested(entry) for entry in value)
    raise invalid("", value, "a number, a list of numbers or a list of lists of numbers")


def _window(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise invalid("", value, "a whole number of at least 1, or 'auto'")


Coefficients = Annotated[Any, BeforeValidator(_nested)]


class Entry(BaseModel):
    """Base of all parts: frozen, and a field that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class SellerEntry(Entry):
    """One seller.

    Attributes:
        name: Unique name; products refer to it.
        title: The words a person reads; default the name.
        capacity: Most products the seller may list at once; None: all it owns.
    """

    name: Name
    title: str = ""
    capacity: Positive | None = None


class ProductEntry(Entry):
    """One product. Money is in the scenario's currency per unit.

    Attributes:
        product_id: Unique name.
        seller: Name of the seller who sets its price.
        title: The seller's own words, free text that people and prompted consumers read (these fenced); default the
            product_id.
        unit_cost: Cost of one unit, at least 0.
        regular_price: Undiscounted price, more than 0; discounts are measured against it.
        price_low, price_high: Lowest and highest price the seller may ask.
        stock: Units on hand at the start of an episode; None: never short.
        listing_fee: Money paid for each period in which the product is listed.
        reference_share: Its share of the buyers' purchases in the source data, between 0 and 1.
        average_price: Mean shelf price at which those purchases were made; default the regular price.
        mean_quantity: Units per purchase in the source data, at least 1; None: not known.
        brand, private_label, size_value, size_unit, product_type: What a taste model reads of it: typed fields of at
            most 60 characters, never the title.
    """

    product_id: Name
    seller: Name
    title: str = ""
    unit_cost: Money
    regular_price: Price
    price_low: Price
    price_high: Price
    stock: Money | None = None
    listing_fee: Money = 0.0
    reference_share: Share | None = None
    average_price: Price | None = None
    mean_quantity: Annotated[float, Field(strict=True, ge=1.0)] | None = None
    brand: Typed = ""
    private_label: bool = False
    size_value: Money = 0.0
    size_unit: Typed = ""
    product_type: Typed = ""


class SegmentEntry(Entry):
    """One segment of the population.

    Attributes:
        name: Unique name.
        description: The segment in words, for people.
        weight: Size relative to the other segments, more than 0; kept with sum 1.
        loyalty: Share of the segment by product bought last; what is missing to 1 has bought nothing yet.
        history_total: Purchases of the segment's typical household in its history; None without a persona.
        weeks_seen: Weeks in which that household shopped during its history.
        bought: How many of those purchases fell on each product; may add up to less than history_total.
        note: Further words for the language model.
        households: Households of the source data that the segment stands for.
    """

    name: Name
    description: str = ""
    weight: Annotated[float, Field(strict=True, gt=0.0)] = 1.0
    loyalty: dict[str, Share] = Field(default_factory=dict)
    history_total: Count | None = None
    weeks_seen: Count | None = None
    bought: dict[str, Count] = Field(default_factory=dict)
    note: str = ""
    households: Count | None = None


class TastesEntry(Entry):
    """Coefficients of `malles_env.market.Tastes`; numbers and lists broadcast over segments.

    Attributes:
        alpha: ``(S, J)`` or ``(J,)``; the others a number, ``(S,)`` or, for beta, gain, loss and kappa, ``(S, J)``.
        kappa: None: every buyer takes one unit.
    """

    alpha: Coefficients
    beta: Coefficients
    gamma: Coefficients = 0.0
    rho: Coefficients = 0.0
    lambda_: Coefficients = 0.0
    kappa: Coefficients | None = None
    delta: Coefficients = 0.0
    display: Coefficients = 0.0
    feature: Coefficients = 0.0
    gain: Coefficients = 0.0
    loss: Coefficients = 0.0
    price_transform: Literal["log", "linear"] = "log"


class LogitEntry(Entry):
    """Consumers whose tastes stand in the file."""

    kind: Literal["logit"]
    tastes: TastesEntry


class AlignedEntry(Entry):
    """Consumers whose tastes a post-trained language model reads from the segments' personas.

    Attributes:
        model: ``embedded``, ``smollm2``, a local path or a hub id.
        market, category: The market's names as the model saw them in training.
        calibrate: ``shares`` shifts the tastes, one number per product, until demand at the products' average
            prices has their reference shares and the purchase rate; ``none`` leaves what the model read.
        purchase_rate: Share of consumers who buy in a period at those prices.
    """

    kind: Literal["aligned"]
    model: Name = "embedded"
    market: Name
    category: str = ""
    calibrate: Literal["shares", "none"] = "shares"
    purchase_rate: Annotated[float, Field(strict=True, gt=0.0, lt=1.0)] | None = None


class PolicyEntry(Entry):
    """Rules of the game that a public authority or the owners of sellers may change.

    Attributes:
        sales_tax: Share of the price before tax, e.g. 0.2; prices include it, and sellers keep price / (1 + sales_tax).
        unit_tax: Money per unit sold, paid by the seller: it is added to unit costs.
        price_cap: Highest price any product may ask, money; cuts the price bounds.
        entry: First period in which a seller may list, by seller name; before, its listings are ignored.
        mergers: Groups of seller names; the first of each prices all products of its group, on their shelves together.
    """

    sales_tax: Money = 0.0
    unit_tax: Money = 0.0
    price_cap: Price | None = None
    entry: dict[str, Count] = Field(default_factory=dict)
    mergers: tuple[tuple[str, ...], ...] = ()


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


class ReferencePriceEntry(Entry):
    """Settings of `malles_env.market.ReferencePrice`."""

    strength: Money
    memory: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.8

    def settings(self) -> ReferencePrice:
        """Return the market's settings object."""
        return ReferencePrice(**self.model_dump())


class PromotionEntry(Entry):
    """What being displayed and being advertised are worth, utils.

    Attributes:
        display, feature: None takes what the taste model reads; a number holds for all segments.
    """

    display: Number | None = None
    feature: Number | None = None


class PriceMemoryEntry(Entry):
    """Reference prices in logs, see `malles_env.market.Tastes`.

    Attributes:
        gain, loss: Utils per unit of log price below and above the reference price.
        memory: What the log reference price keeps of itself in a period.
    """

    gain: Money
    loss: Money
    memory: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.8


class InertiaEntry(Entry):
    """Loyalty to the last purchase that fades.

    Attributes:
        fade: Share of the loyal who forget their last purchase in a period.
        loyalty: Worth of the last purchase right after it, utils, for all segments; None keeps what the tastes have.
    """

    fade: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
    loyalty: Annotated[float, Field(strict=True, ge=-50.0, le=50.0)] | None = None


class SeasonsEntry(Entry):
    """Random traffic, see `malles_env.market.Dynamics`."""

    sd: Annotated[float, Field(strict=True, ge=0.0, le=2.0)]
    persistence: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.0


class ForcesEntry(Entry):
    """What moves demand beside prices and loyalty; a part that is not there does nothing.

    `malles consumers forces` estimates the block from choice occasions and keeps in it what predicts held-out ones.
    """

    promotion: PromotionEntry | None = None
    reference_price: PriceMemoryEntry | None = None
    inertia: InertiaEntry | None = None
    seasons: SeasonsEntry | None = None

    def on(self, tastes: Tastes) -> Tastes:
        """Return `tastes` with these forces and no others.

        Raises:
            InvalidInput: Reference prices in logs beside linear prices.
        """
        changed: dict[str, Any] = {"display": np.zeros(1), "feature": np.zeros(1)}
        for name in changed if self.promotion is not None else ():
            given = getattr(self.promotion, name)
            changed[name] = getattr(tastes, name) if given is None else np.array(given)
        if self.reference_price is not None:
            memory = self.reference_price
            changed |= {"gain": np.array(memory.gain), "loss": np.array(memory.loss)}
        if self.inertia is not None and self.inertia.loyalty is not None:
            changed["lambda_"] = np.array(self.inertia.loyalty)
        return replace(tastes, **changed)

    def dynamics(self, memory: float) -> Dynamics:
        """Return the market's settings object.

        Args:
            memory: Of reference prices where this block names none.
        """
        price, inertia, seasons = self.reference_price, self.inertia, self.seasons
        return Dynamics(
            reference_memory=memory if price is None else price.memory,
            fade=0.0 if inertia is None else inertia.fade,
            season_sd=0.0 if seasons is None else seasons.sd,
            season_persistence=0.0 if seasons is None else seasons.persistence,
        )


class MeanFieldEntry(Entry):
    """Settings of `malles_env.market.MeanField`.

    Attributes:
        centre: None is ``long_run`` where a taste model reads the tastes, as it was trained, and ``uniform`` elsewhere.
    """

    window: Annotated[int | Literal["auto"], BeforeValidator(_window)] = 8
    coupling: Literal["lagged", "equilibrium"] = "lagged"
    shares: Literal["buyers", "population"] = "buyers"
    relaxation: Annotated[float, Field(strict=True, gt=0.0, le=1.0)] = 1.0
    tolerance: Annotated[float, Field(strict=True, gt=0.0)] = 1e-10
    max_iterations: Positive = 500
    drift: Annotated[float, Field(strict=True, gt=0.0)] = 0.003
    centre: Literal["uniform", "long_run"] | None = None
    long_run: Annotated[float, Field(strict=True, ge=1.0)] = 26.0

    def settings(self, centre: Literal["uniform", "long_run"] = "uniform") -> MeanField:
        """Return the market's settings object; `centre` counts where the entry names none."""
        return MeanField(**{**self.model_dump(), "centre": self.centre or centre})
