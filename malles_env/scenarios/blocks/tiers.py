"""Quantity discounts as pydantic models of a scenario file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from malles_env.errors import InvalidInput, invalid
from malles_env.market import Tier, Tiers
from malles_env.scenarios.blocks.entries import Entry

Threshold = Annotated[int, Field(strict=True)]
Depth = Annotated[float, Field(strict=True)]


class TierEntry(Entry):
    """The tier of one product; what is left out is as for the others."""

    threshold: Threshold | None = None
    most: Depth | None = None


class TiersEntry(Entry):
    """Quantity discounts that sellers may post: a lower price for every unit of an order that reaches the threshold.

    Attributes:
        threshold: Units of such an order, at least 2; None: only the products below carry a tier.
        most: Deepest discount, a share of the list price of at most 1 - 1 / threshold.
        products: Other numbers for single products, by product_id.
    """

    threshold: Threshold | None = None
    most: Depth | None = None
    products: dict[str, TierEntry] = Field(default_factory=dict)

    def _tier(self, product: str) -> tuple[int | None, float | None]:
        own = self.products.get(product, TierEntry())
        return (
            self.threshold if own.threshold is None else own.threshold,
            self.most if own.most is None else own.most,
        )

    def _carriers(self, product_ids: Sequence[str]) -> list[str]:
        return [name for name in product_ids if self.threshold is not None or name in self.products]

    def settings(self, product_ids: Sequence[str]) -> Tiers:
        """Return the market's settings object; the block must have no `problems`."""
        carriers = self._carriers(product_ids)
        return Tiers({name: Tier(*self._tier(name)) for name in carriers})  # type: ignore[arg-type]

    def problems(self, product_ids: Sequence[str]) -> Iterator[InvalidInput]:
        """Yield one error per product that is not there and per number that is missing or does not fit the others."""
        for product in self.products:
            if product not in product_ids:
                yield invalid("tiers.products", product, f"one of the products {', '.join(product_ids)}")
        carriers = self._carriers(product_ids)
        if not carriers:
            yield invalid("tiers", "no threshold and no products", "a threshold, or products with one each")
        said = set()
        for product in carriers:
            own = self.products.get(product)
            threshold, most = self._tier(product)
            places = {
                name: f"tiers.{name}" if getattr(own, name, None) is None else f"tiers.products.{product}.{name}"
                for name in ("threshold", "most")
            }
            if threshold is None or most is None:
                missing = "threshold" if threshold is None else "most"
                words = "a whole number of at least 2" if threshold is None else "a share of the list price"
                found: list[tuple[str, object, str]] = [(missing, None, words)]
            else:
                found = list(Tier(threshold, most).problems())
            for name, value, allowed in found:
                if (places[name], value) not in said:
                    said.add((places[name], value))
                    yield invalid(places[name], value, allowed)
