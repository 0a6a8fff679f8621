"""Are there prices that nobody can have paid?"""

from __future__ import annotations

import polars as pl

from malles_env.data.checks.report import Check, Verdict
from malles_env.data.far_prices import far_prices, rule_words

ERROR = 0.02
"""Share of rows from which a unit, not a slip, must be wrong."""


def check_mistyped(transactions: pl.DataFrame) -> Check:
    """Warn of prices far from their product's median: a single one widens the bounds of prices.

    Args:
        transactions: Canonical transactions.
    """
    bad = far_prices(transactions)
    found, share = int(bad.sum()), float(bad.mean() or 0.0)  # type: ignore[arg-type]
    verdict: Verdict = "ok" if found == 0 else "error" if share >= ERROR else "warn"
    finding = f"{found:,} of {len(transactions):,} rows have a {rule_words()}"
    if found:
        first = transactions.filter(bad).row(0, named=True)
        sold = transactions.filter(pl.col("product_id") == first["product_id"])
        usual = float(sold.select(pl.col("unit_price").median()).item())
        finding += f", e.g. product {first['product_id']} at {first['unit_price']:g} where {usual:g} is usual"
    return Check(
        "mistyped_prices",
        share,
        0.0,
        verdict,
        finding,
        "Correct these rows or leave them out (`malles data import` does), and see that unit_price is per package.",
        {"rows": found},
    )
