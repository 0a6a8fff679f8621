"""The canonical tables of one log, together."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from malles_env.data.log.schema import TABLES
from malles_env.data.log.validation import raise_first, validate


@dataclass(frozen=True)
class Tables:
    """A log of purchases in the canonical schema, checked.

    Attributes:
        transactions: One row per basket line.
        products: One row per product.
        offers: What was on the shelf at which price; replaces all imputation where given.
        promotions: Displays and leaflets without prices; ignored where `offers` is given.
        households: What is known of the consumers.
        sources: Table name -> file name, for error messages.
    """

    transactions: pl.DataFrame
    products: pl.DataFrame
    offers: pl.DataFrame | None = None
    promotions: pl.DataFrame | None = None
    households: pl.DataFrame | None = None
    sources: dict[str, str] = field(default_factory=dict)

    def validated(self) -> Tables:
        """Return the same tables with canonical types.

        Raises:
            InvalidInput: Naming file, column and row of the first value that breaks a rule.
        """
        checked = {
            name: validate(frame, name, self.sources.get(name, name))
            for name in TABLES
            if (frame := getattr(self, name)) is not None
        }
        tables = Tables(**checked, sources=self.sources)
        _check_references(tables)
        return tables


def _check_references(tables: Tables) -> None:
    for name in ("transactions", "offers", "promotions"):
        frame = getattr(tables, name)
        if frame is None:
            continue
        unknown = ~frame["product_id"].is_in(tables.products["product_id"].implode())
        if unknown.any():
            where = tables.sources.get("products", "products")
            source = tables.sources.get(name, name)
            raise_first(frame["product_id"], unknown, f"a product_id listed in {where}", source)
