"""The canonical tables a log of purchases is read into, and what each column must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

LOWEST_PRICE, HIGHEST_PRICE = 1e-12, 1e12


@dataclass(frozen=True)
class Column:
    """What one column must hold.

    Attributes:
        dtype: Type after casting.
        meaning: Unit and rule, in words; printed by the documentation and by errors.
        required: Whether the table must have it.
        nullable: Whether single values may be missing.
        check: Rule on the values, as an expression that is true where the value is allowed.
    """

    dtype: pl.DataType
    meaning: str
    required: bool = True
    nullable: bool = False
    check: Callable[[pl.Expr], pl.Expr] | None = None


def _positive(value: pl.Expr) -> pl.Expr:
    return value.is_finite() & (value > 0)


def _price(value: pl.Expr) -> pl.Expr:
    return value.is_between(LOWEST_PRICE, HIGHEST_PRICE)


def _not_negative(value: pl.Expr) -> pl.Expr:
    return value.is_between(0, HIGHEST_PRICE)


def _from_one(value: pl.Expr) -> pl.Expr:
    return value >= 1


def _some_text(value: pl.Expr) -> pl.Expr:
    return value.str.len_bytes() > 0


_TEXT, _REAL, _FLAG = pl.String(), pl.Float64(), pl.Boolean()
_TIME = pl.Datetime("us")

TABLES: dict[str, dict[str, Column]] = {
    "transactions": {
        "household_id": Column(_TEXT, "stable pseudonymous id of the consumer", check=_some_text),
        "basket_id": Column(_TEXT, "one trip; ids are unique over stores and households", check=_some_text),
        "timestamp": Column(_TIME, "local time of the trip, e.g. 2017-03-01 18:30:00"),
        "store_id": Column(_TEXT, "seller or channel; may be one constant", check=_some_text),
        "product_id": Column(_TEXT, "joins products", check=_some_text),
        "quantity": Column(pl.Int32(), "whole packages, at least 1 (leave weighed goods out)", check=_from_one),
        "unit_price": Column(
            _REAL, "money per package after store discounts, before coupons; above 0, at most 1e12", check=_price
        ),
        "regular_price": Column(
            _REAL,
            "money per package without discount; above 0, at most 1e12",
            required=False,
            nullable=True,
            check=_price,
        ),
        "coupon_value": Column(_REAL, "money per line, at least 0", required=False, nullable=True, check=_not_negative),
        "period": Column(
            pl.Int32(),
            "number of the period, at least 1; without it weeks from Monday are counted",
            required=False,
            check=_from_one,
        ),
    },
    "products": {
        "product_id": Column(_TEXT, "unique", check=_some_text),
        "category": Column(_TEXT, "group of markets; whole categories are held out", check=_some_text),
        "market": Column(_TEXT, "sub-category: products in one market are alternatives", check=_some_text),
        "title": Column(_TEXT, "free text"),
        "brand": Column(_TEXT, "brand or maker", required=False, nullable=True),
        "private_label": Column(_FLAG, "true for a store brand", required=False, nullable=True),
        "size_value": Column(
            _REAL,
            "content of the package in size_unit, above 0",
            required=False,
            nullable=True,
            check=_positive,
        ),
        "size_unit": Column(_TEXT, "oz, fl oz, ct, g, ml ...", required=False, nullable=True),
        "line": Column(
            _TEXT,
            "products with the same line are one alternative (flavours); default: each its own",
            required=False,
            nullable=True,
        ),
    },
    "offers": {
        "store_id": Column(_TEXT, "joins transactions", check=_some_text),
        "product_id": Column(_TEXT, "joins products", check=_some_text),
        "period_start": Column(pl.Int32(), "first period of the offer, at least 1", check=_from_one),
        "period_end": Column(pl.Int32(), "last period of the offer, not before period_start", check=_from_one),
        "unit_price": Column(_REAL, "money per package, above 0", check=_price),
        "regular_price": Column(_REAL, "money per package, above 0", required=False, nullable=True, check=_price),
        "in_stock": Column(_FLAG, "false: cannot be bought; default true", required=False, nullable=True),
        "display": Column(_FLAG, "shown on a display; default false", required=False, nullable=True),
        "feature_ad": Column(_FLAG, "in the leaflet; default false", required=False, nullable=True),
    },
    "promotions": {
        "store_id": Column(_TEXT, "joins transactions", check=_some_text),
        "product_id": Column(_TEXT, "joins products", check=_some_text),
        "period": Column(pl.Int32(), "period of the promotion, at least 1", check=_from_one),
        "display": Column(
            _FLAG, "shown on a display; default true where feature_ad is not given", required=False, nullable=True
        ),
        "feature_ad": Column(_FLAG, "in the leaflet; default false", required=False, nullable=True),
    },
    "households": {
        "household_id": Column(_TEXT, "unique", check=_some_text),
        "age_band": Column(_TEXT, "e.g. 35-44", required=False, nullable=True),
        "income_band": Column(_TEXT, "e.g. 50-74K", required=False, nullable=True),
        "household_size": Column(_TEXT, "persons", required=False, nullable=True),
        "kids": Column(_TEXT, "number of children", required=False, nullable=True),
        "persona": Column(_TEXT, "free text", required=False, nullable=True),
    },
}
"""Table name -> column name -> rule. `transactions` and `products` are required, the others optional."""
