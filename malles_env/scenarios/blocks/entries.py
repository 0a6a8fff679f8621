"""The parts of a scenario file as pydantic models: sellers, products, segments, consumers, mean field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from malles_env.errors import invalid
from malles_env.market import MeanField, ReferencePrice
from malles_env.market.arrays import MOST
from malles_env.market.demand.mean_field import LONGEST_WINDOW

Name = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(strict=True)]
Money = Annotated[float, Field(strict=True, ge=0.0, le=MOST)]
Price = Annotated[float, Field(strict=True, ge=1e-9, le=MOST)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**9)]
Positive = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Typed = Annotated[
    str, Field(max_length=60, pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff<>{}|\[\]]*$")
]
"""Words a taste model may read: one short line without control or invisible characters and without brackets."""


def _nested(value: object) -> Any:
    """Return `value` as a float or as tuples of floats; anything else is refused."""
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return float(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0:
        return tuple(_nested(entry) for entry in value)
    raise invalid("", value, "a number, a list of numbers or a list of lists of numbers")


def _window(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_WINDOW):
        return value
    raise invalid("", value, f"a whole number from 1 to {LONGEST_WINDOW}, or 'auto'")


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
        source_id, source_title: The product's id and title in the log it was built from, for people; of several pooled
            products that of the best seller.
        enters: First period in which it may be listed: its launch; before, its listing is ignored.
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
    source_id: str = ""
    source_title: Annotated[str, Field(max_length=200)] = ""
    enters: Count = 0


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
        history: Names of products of other categories that its households bought, the most typical first; what a word
            model compares new names with, see `malles_env.scenarios.blocks.words`.
    """

    name: Name
    description: str = ""
    weight: Annotated[float, Field(strict=True, ge=1e-9, le=MOST)] = 1.0
    loyalty: dict[str, Share] = Field(default_factory=dict)
    history_total: Count | None = None
    weeks_seen: Count | None = None
    bought: dict[str, Count] = Field(default_factory=dict)
    note: str = ""
    households: Count | None = None
    history: tuple[Annotated[str, Field(max_length=200)], ...] = ()


class DrawEntry(Entry):
    """One plausible set of tastes beside the mean ones.

    Attributes:
        beta: In the place of the tastes' beta, of the same shapes.
        shift: Utils added to alpha, a number or ``(J,)``.
        spread: Factor on how far each segment's alpha lies from the segments' mean of that product.
    """

    beta: Coefficients
    shift: Coefficients = 0.0
    spread: Money = 1.0


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
    pantry: Coefficients = 0.0
    price_transform: Literal["log", "linear"] = "log"


class LogitEntry(Entry):
    """Consumers whose tastes stand in the file.

    Attributes:
        draws: Plausible tastes beside them, one of which each market gets per episode with ``tastes="draws"``.
    """

    kind: Literal["logit"]
    tastes: TastesEntry
    draws: tuple[DrawEntry, ...] = ()


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


class ReferencePriceEntry(Entry):
    """Settings of `malles_env.market.ReferencePrice`."""

    strength: Money
    memory: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.8

    def settings(self) -> ReferencePrice:
        """Return the market's settings object."""
        return ReferencePrice(**self.model_dump())


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
    max_iterations: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 500
    drift: Annotated[float, Field(strict=True, ge=1e-9, le=1.0)] = 0.003
    centre: Literal["uniform", "long_run"] | None = None
    long_run: Annotated[float, Field(strict=True, ge=1.0, le=1e9)] = 26.0

    def settings(self, centre: Literal["uniform", "long_run"] = "uniform") -> MeanField:
        """Return the market's settings object; `centre` counts where the entry names none."""
        return MeanField(**{**self.model_dump(), "centre": self.centre or centre})
