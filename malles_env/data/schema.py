"""The canonical tables a log of purchases is read into, what each column must hold, and the check of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from malles_env.errors import InvalidInput


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


def _not_negative(value: pl.Expr) -> pl.Expr:
    return value.is_finite() & (value >= 0)


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
            _REAL, "money per package after store discounts, before coupons; above 0", check=_positive
        ),
        "regular_price": Column(
            _REAL,
            "money per package without discount; above 0",
            required=False,
            nullable=True,
            check=_positive,
        ),
        "coupon_value": Column(
            _REAL, "money per line, at least 0", required=False, nullable=True, check=_not_negative
        ),
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
            _REAL, "content of the package in size_unit, above 0", required=False, nullable=True, check=_positive
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
        "unit_price": Column(_REAL, "money per package, above 0", check=_positive),
        "regular_price": Column(
            _REAL, "money per package, above 0", required=False, nullable=True, check=_positive
        ),
        "in_stock": Column(_FLAG, "false: cannot be bought; default true", required=False, nullable=True),
        "display": Column(_FLAG, "shown on a display; default false", required=False, nullable=True),
        "feature_ad": Column(_FLAG, "in the leaflet; default false", required=False, nullable=True),
    },
    "promotions": {
        "store_id": Column(_TEXT, "joins transactions", check=_some_text),
        "product_id": Column(_TEXT, "joins products", check=_some_text),
        "period": Column(pl.Int32(), "period of the promotion, at least 1", check=_from_one),
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

_KEYS = {"products": "product_id", "households": "household_id"}


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


def validate(frame: pl.DataFrame, table: str, source: str) -> pl.DataFrame:
    """Check one table and cast its columns.

    Args:
        frame: What was read.
        table: Key of `TABLES`.
        source: File name to stand in errors.

    Returns:
        The table with canonical types; columns the schema does not know are dropped.

    Raises:
        InvalidInput: Naming file, column and row (1 = first row below the header).
    """
    rules = TABLES[table]
    for name, rule in rules.items():
        if rule.required and name not in frame.columns:
            raise InvalidInput(
                f"{source}: column {name} is missing; found: {', '.join(frame.columns)}; "
                f"needed: {name} ({rule.meaning})"
            )
    cast = frame.select(
        _cast_column(frame, name, rule, source) for name, rule in rules.items() if name in frame.columns
    )
    for name in cast.columns:
        _check_column(frame[name], cast[name], rules[name], source)
    _check_keys(cast, table, source)
    return cast


def _cast_column(frame: pl.DataFrame, name: str, rule: Column, source: str) -> pl.Series:
    values = frame[name]
    if values.dtype == rule.dtype:
        return values
    try:
        if isinstance(rule.dtype, pl.Datetime):
            return _cast_time(values)
        if rule.dtype == pl.Boolean() and values.dtype == pl.String():
            words = values.str.to_lowercase().str.strip_chars()
            flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return words.replace_strict(flags, default=None, return_dtype=pl.Boolean())
        if rule.dtype.is_integer() and values.dtype.is_float():
            # 1.5 packages must not become 1 in silence.
            values = values.set(values != values.round(0), None)
        return values.cast(rule.dtype, strict=False)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"{source}: column {name}: got type {values.dtype}; allowed: {rule.meaning}"
        ) from error


def _cast_time(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String():
        return values.str.to_datetime(time_unit="us", strict=False)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        # A zone says where the trip was; local clock time is what the rest needs.
        values = values.dt.replace_time_zone(None)
    return values.cast(pl.Datetime("us"), strict=False)


def _check_column(raw: pl.Series, cast: pl.Series, rule: Column, source: str) -> None:
    bad = cast.is_null() & (raw.is_not_null() | (not rule.nullable))
    if rule.check is not None:
        allowed = cast.to_frame().select(rule.check(pl.col(cast.name))).to_series()
        bad = bad | (cast.is_not_null() & ~allowed.fill_null(False))
    if bad.any():
        _raise_first(raw, bad, rule.meaning, source)


def _raise_first(raw: pl.Series, bad: pl.Series, allowed: str, source: str) -> None:
    row = int(bad.arg_true()[0])
    raise InvalidInput(f"{source}: column {raw.name}, row {row + 1}: got {raw[row]!r}; allowed: {allowed}")


def _check_keys(frame: pl.DataFrame, table: str, source: str) -> None:
    key = _KEYS.get(table)
    if key is not None:
        twice = ~frame[key].is_first_distinct()
        if twice.any():
            _raise_first(frame[key], twice, "each id once", source)
    if table == "offers":
        early = frame["period_end"] < frame["period_start"]
        if early.any():
            _raise_first(frame["period_end"], early, "not before period_start", source)


def _check_references(tables: Tables) -> None:
    for name in ("transactions", "offers", "promotions"):
        frame = getattr(tables, name)
        if frame is None:
            continue
        unknown = ~frame["product_id"].is_in(tables.products["product_id"].implode())
        if unknown.any():
            where = tables.sources.get("products", "products")
            source = tables.sources.get(name, name)
            _raise_first(frame["product_id"], unknown, f"a product_id listed in {where}", source)
