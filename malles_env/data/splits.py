"""Which periods and categories belong to training, validation and test, decided before any feature."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from malles_env.errors import invalid

HELD_OUT_CATEGORIES: frozenset[str] = frozenset(
    {
        "COCOA MIXES",
        "FRZN BREAKFAST FOODS",
        "SPICES & EXTRACTS",
        "COOKIES/CONES",
        "MEAT - SHELF STABLE",
        "SHORTENING/OIL",
        "BACON",
        "CAT FOOD",
        "SOFT DRINKS",
        "BAG SNACKS",
        "BAKED SWEET GOODS",
        "DIAPERS & DISPOSABLES",
        "MISC. DAIRY",
        "CONVENIENT BRKFST/WHLSM SNACKS",
        "FD WRAPS/BAGS/TRSH BG",
        "FACIAL TISS/DNR NAPKIN",
        "DINNER SAUSAGE",
        "HEAT/SERVE",
        "FROZEN PIZZA",
        "DRY NOODLES/PASTA",
        "BUTTER",
        "BATH TISSUES",
    }
)
"""The 22 categories of the Complete Journey never trained on; whole, since markets share products."""

SPLIT_NAMES: tuple[str, ...] = ("burn_in", "train", "validation", "test")


@dataclass(frozen=True)
class Splits:
    """Last period of each split, counted from 1, and the categories held out.

    Attributes:
        burn_in_end: Periods up to here only fill histories; no occasion is built from them.
        train_end: Last period of training.
        validation_end: Last period of validation; reference prices and shares use periods up to here.
        held_out_categories: Categories that no training may see.
    """

    burn_in_end: int = 4
    train_end: int = 36
    validation_end: int = 40
    held_out_categories: frozenset[str] = HELD_OUT_CATEGORIES

    def __post_init__(self) -> None:
        """Refuse limits that do not rise."""
        if not 0 <= self.burn_in_end < self.train_end <= self.validation_end:
            limits = (self.burn_in_end, self.train_end, self.validation_end)
            raise invalid("splits", limits, "0 <= burn_in_end < train_end <= validation_end")

    def name(self, period: str | pl.Expr = "period") -> pl.Expr:
        """Return an expression giving the split's name for a column of period numbers."""
        number = pl.col(period) if isinstance(period, str) else period
        return (
            pl.when(number <= self.burn_in_end)
            .then(pl.lit("burn_in"))
            .when(number <= self.train_end)
            .then(pl.lit("train"))
            .when(number <= self.validation_end)
            .then(pl.lit("validation"))
            .otherwise(pl.lit("test"))
        )

    def held_out(self, category: str = "category") -> pl.Expr:
        """Return an expression that is true where a column of category names is held out."""
        return pl.col(category).is_in(sorted(self.held_out_categories))
