"""What is asked for when a product is added, and what a model makes of its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class Proposal:
    """A product to be added.

    Attributes:
        name: What it is called; untrusted.
        price: Its regular price, money.
        seller: Who sells it; None: the only seller.
        unit_cost: Money; None: the same share of the price as its seller's other products have on average.
        enters: First period in which it may be listed.
    """

    name: str
    price: float
    seller: str | None = None
    unit_cost: float | None = None
    enters: int = 0


@dataclass(frozen=True)
class PredictedTaste:
    """What a model makes of a new name.

    Attributes:
        taste: Utils of each segment at the regular price [S].
        sd: By how much products like it missed what was said of them, utils.
        extra: Log of the pieces beyond the first [S].
        because: Where `sd` comes from, in words.
    """

    taste: FloatArray
    sd: float
    extra: FloatArray
    because: str


def new_entry(scenario: Scenario, asked: Proposal) -> dict[str, Any]:
    """Return the fields of the product: what its name and price do not say is as for its seller's other products."""
    own = [product for product in scenario.products if product.seller == asked.seller]
    price = asked.price

    def share(field: str) -> float:
        return float(np.mean([getattr(product, field) / product.regular_price for product in own]))

    stem = re.sub(r"[^a-z0-9]+", "_", asked.name.lower()).strip("_")
    ids, number = scenario.product_ids, 2
    product_id = stem
    while product_id in ids:
        product_id, number = f"{stem}_{number}", number + 1
    stocks = [product.stock for product in own]
    cost = share("unit_cost") * price if asked.unit_cost is None else asked.unit_cost
    return {
        "product_id": product_id,
        "seller": asked.seller,
        "title": asked.name,
        "unit_cost": float(f"{cost:.4g}"),
        "regular_price": price,
        "price_low": float(f"{share('price_low') * price:.4g}"),
        "price_high": float(f"{share('price_high') * price:.4g}"),
        "listing_fee": float(np.median([product.listing_fee for product in own])),
        "stock": None if None in stocks else float(np.median(stocks)),  # type: ignore[arg-type]
        "enters": asked.enters,
    }
