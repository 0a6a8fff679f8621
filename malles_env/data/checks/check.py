"""All checks of a log, in the order in which a person should read them."""

from __future__ import annotations

from typing import Any

import polars as pl

from malles_env.data.checks.agreement import check_agreement
from malles_env.data.checks.alternatives import check_order, check_twins
from malles_env.data.checks.clock import check_clock
from malles_env.data.checks.mistyped import check_mistyped
from malles_env.data.checks.period import check_period
from malles_env.data.checks.report import Check, ImportReport, graded, worse
from malles_env.data.checks.shelves import check_shelves
from malles_env.data.coding import number_periods
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput


def check_log(tables: Tables, settings: BuildSettings | None = None) -> ImportReport:
    """Check a log of purchases before choice occasions are built from it.

    Args:
        tables: Canonical tables; their values are checked first.
        settings: Settings the occasions will be built with.

    Returns:
        The report: agreeing_prices, mistyped_prices, detected_period, clock, order_of_rows, near_twins, coverage,
        price_of_others and splits.

    Raises:
        InvalidInput: A value breaks the schema, or the log has no rows; the message names the file.
    """
    settings = settings or BuildSettings()
    tables = tables.validated()
    for name in ("transactions", "products"):
        if len(getattr(tables, name)) == 0:
            raise InvalidInput(f"{tables.sources.get(name, name)}: no rows below the header; needed: at least one")
    rows, products = number_periods(tables.transactions), tables.products
    checks = (
        check_agreement(rows, products),
        check_mistyped(rows),
        check_period(rows),
        check_clock(rows),
        check_order(rows, products),
        check_twins(rows, products),
        *check_shelves(tables, settings),
        check_splits(rows, settings),
    )
    return ImportReport(_facts(rows, products), checks)


def check_splits(transactions: pl.DataFrame, settings: BuildSettings) -> Check:
    """Refuse settings under which training, validation or test has no purchase; warn where training has few.

    Args:
        transactions: Canonical transactions with `period`.
        settings: Splits.
    """
    counts = transactions.group_by(settings.splits.name("period").alias("split")).agg(pl.len().alias("rows"))
    shares = {split: rows / len(transactions) for split, rows in counts.iter_rows()}
    shares = {split: shares.get(split, 0.0) for split in ("burn_in", "train", "validation", "test")}
    smallest = min(shares[split] for split in ("train", "validation", "test"))
    last = int(transactions.select(pl.col("period").max()).item())
    return Check(
        "splits",
        smallest,
        0.02,
        worse(graded(smallest, 0.02, 0.0), graded(shares["train"], 0.3, 0.0)),
        f"of the rows in {last} periods, {', '.join(f'{name} has {share:.1%}' for name, share in shares.items())}",
        "Set splits (burn_in_end, train_end, validation_end) in the settings to periods of this log.",
        shares,
    )


def _facts(transactions: pl.DataFrame, products: pl.DataFrame) -> dict[str, Any]:
    days = transactions["timestamp"].dt.date()
    sold = products.join(transactions.select("product_id").unique(), on="product_id", how="semi")
    return {
        "rows": len(transactions),
        "baskets": transactions["basket_id"].n_unique(),
        "households": transactions["household_id"].n_unique(),
        "stores": transactions["store_id"].n_unique(),
        "products bought": len(sold),
        "markets": sold["market"].n_unique(),
        "periods": transactions["period"].n_unique(),
        "first_day": str(days.min()),
        "last_day": str(days.max()),
    }
