"""The import itself: files are read, columns mapped, rows kept or dropped by rules, tables checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from malles_env.data.checks import ImportReport, check_log
from malles_env.data.exports.choices import ImportChoices
from malles_env.data.exports.cleaning.products import OTHER, product_table
from malles_env.data.exports.cleaning.rules import apply_rules
from malles_env.data.exports.cleaning.trips import with_trips
from malles_env.data.exports.cleaning.typed import Typed, refuse_unreadable, typed_rows
from malles_env.data.exports.cleaning.whole import whole_findings
from malles_env.data.exports.findings import Finding, check_balance
from malles_env.data.exports.fit import fitted_settings
from malles_env.data.exports.reading.columns import Mapped, map_columns
from malles_env.data.exports.reading.files import Export, read_exports
from malles_env.data.exports.reading.joins import FILE, ROW, combined
from malles_env.data.exports.reading.names import known_columns
from malles_env.data.log.schema import HIGHEST_PRICE, LOWEST_PRICE
from malles_env.data.log.tables import Tables
from malles_env.data.settings import BuildSettings
from malles_env.errors import InvalidInput

_TRANSACTIONS = ("household_id", "basket_id", "timestamp", "store_id", "product_id", "quantity", "unit_price",
                 "regular_price", "coupon_value")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What was read and which column is which, before anything is used.

    Attributes:
        exports: The files.
        frame: Their rows, together.
        joined: How several files were put together, in words.
        mapped: The columns.
    """

    exports: tuple[Export, ...]
    frame: pl.DataFrame
    joined: tuple[str, ...]
    mapped: Mapped

    @property
    def sources(self) -> list[str]:
        """The files' names."""
        return [export.name for export in self.exports]

    def __str__(self) -> str:
        """Return files and columns, one per line."""
        lines = [f"{export.name}: {len(export.frame):,} rows, {export.how}" for export in self.exports]
        return "\n".join([*lines, *self.joined, "columns:", str(self.mapped)])


@dataclass(frozen=True)
class Imported:
    """An imported log.

    Attributes:
        plan: Files and columns.
        tables: Canonical tables, checked.
        settings: Build settings that fit the log.
        findings: Per rule, what it found and did.
        how: What was decided of whole columns, in words, by topic.
        dropped: Rows left out as they were read, with `reason`.
        origin: source and currency, for scenarios.
    """

    plan: Plan
    tables: Tables
    settings: BuildSettings
    findings: tuple[Finding, ...]
    how: dict[str, str]
    dropped: pl.DataFrame
    origin: dict[str, str] = field(default_factory=dict)

    @cached_property
    def report(self) -> ImportReport:
        """The checks of the log that came out; made once, when asked for."""
        return check_log(self.tables, self.settings)

    @property
    def market(self) -> str:
        """The market with the most rows, one that was named rather than left over where there is one."""
        sold = self.tables.transactions.join(self.tables.products.select("product_id", "market"), on="product_id")
        markets = sold.group_by("market").len().sort(["len", "market"], descending=[True, False])["market"].to_list()
        return str(next((market for market in markets if market != OTHER), markets[0]))

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        kept, lost = len(self.tables.transactions), len(self.dropped)
        return {
            "files": {export.name: export.how for export in self.plan.exports},
            "joined": list(self.plan.joined),
            "columns": {name: column.source for name, column in self.plan.mapped.columns.items()},
            "how": self.how,
            "rows": {"read": kept + lost, "kept": kept, "dropped": lost},
            "findings": [finding.as_json() for finding in self.findings],
            "origin": self.origin,
            **self.report.as_json(),
        }


def planned(paths: Sequence[Path], choices: ImportChoices) -> Plan:
    """Read files and decide which column is which; nothing is used yet.

    Args:
        paths: Parts or tables of one export.
        choices: What the person chose.

    Raises:
        MissingResource, CorruptFile, InvalidInput: A file or option cannot be used.
    """
    exports = tuple(
        export
        for path in paths
        for export in read_exports(
            path, separator=choices.separator, encoding=choices.encoding, table=choices.sheet, known=known_columns
        )
    )
    frame, joined = combined(list(exports))
    names = [name for name in frame.columns if name not in (FILE, ROW)]
    mapped = map_columns(frame.select(names), choices.columns, ", ".join(export.name for export in exports))
    return Plan(exports, frame, tuple(joined), mapped)


def import_log(plan: Plan, choices: ImportChoices) -> Imported:
    """Turn what was read into a log.

    Args:
        plan: From `planned`.
        choices: What the person chose.

    Raises:
        InvalidInput: A value cannot be read or decided, a row must not be dropped, or nothing is left.
    """
    source = ", ".join(plan.sources)
    early = _no_rows(plan)
    filled = plan.frame if early.null_count() == len(early) else plan.frame.filter(early.is_null())
    doubtful = any("semicolon" in export.how for export in plan.exports)
    typed = typed_rows(filled, plan.mapped, choices, source, doubtful=doubtful)
    if not choices.drop_unreadable:
        refuse_unreadable(typed, filled, plan.mapped, plan.sources)
    reason, findings = apply_rules(typed.rows, choices, plan.sources)
    kept = typed.rows.filter(reason.is_null())
    if len(kept) == 0:
        why = ", ".join(f"{finding.name} {finding.dropped:,}" for finding in findings if finding.dropped)
        hints = {"guests": "; --keep-guests makes each receipt a household", "notes": "; --keep-notes keeps them"}
        hint = "".join(hints.get(finding.name, "") for finding in findings if finding.dropped)
        raise InvalidInput(f"{source}: no row is left of {len(filled):,} (dropped: {why}){hint}")
    _refuse_currencies(kept, source)
    rows, more = with_trips(kept, keep_guests=not choices.drop_guests)
    products, markets, described = product_table(rows, choices)
    tables = Tables(_transactions(rows), products, sources={"transactions": source, "products": source}).validated()
    findings = [
        *_left_out(early),
        *findings,
        *more,
        *_long(typed),
        *_uncounted(plan, rows),
        *described,
        *whole_findings(tables.transactions),
    ]
    check_balance(findings, len(kept), len(plan.frame))
    settings = fitted_settings(tables)
    return Imported(
        plan, tables, settings, tuple(findings), {**typed.how, "markets": markets},
        _dropped(plan.frame, early, reason), _origin(choices, typed, source),
    )  # fmt: skip


def _refuse_currencies(rows: pl.DataFrame, source: str) -> None:
    if "currency" in rows.columns and rows["currency"].drop_nulls().n_unique() > 1:
        counts = rows["currency"].drop_nulls().value_counts(sort=True).rows()
        found = " and ".join(f"{code} ({count:,} rows)" for code, count in counts[:3])
        raise InvalidInput(
            f"{source}: prices in {found}; allowed: one currency, or --currency {counts[0][0]} to leave the others out"
        )


_NO_ROWS = {"blank_rows": "nothing stands in the row", "header_rows": "the header again"}


def _no_rows(plan: Plan) -> pl.Series:
    """Return why a line of the files is no row, null where it is one [n]."""
    own = [column for column in plan.frame.columns if column not in (FILE, ROW)]
    texts = [column for column in own if plan.frame.schema[column] == pl.String()]
    names = [(pl.col(column) == column).fill_null(False).cast(pl.Int32) for column in texts]
    again = pl.sum_horizontal(names) >= max(2, len(own) // 2) if names else pl.lit(False)
    blank = pl.all_horizontal(pl.col(own).is_null())
    why = pl.when(blank).then(pl.lit("blank_rows")).when(again).then(pl.lit("header_rows"))
    return plan.frame.select(why.alias("why"))["why"]


def _left_out(early: pl.Series) -> list[Finding]:
    counts = {name: int((early == name).sum()) for name in _NO_ROWS}
    return [Finding(name, count, "dropped", count, _NO_ROWS[name]) for name, count in counts.items() if count]


def _dropped(frame: pl.DataFrame, early: pl.Series, reason: pl.Series) -> pl.DataFrame:
    """Return the rows left out, as they were read, with the reason."""
    why = early.alias("reason").scatter(early.is_null().arg_true(), reason)
    # The export may have columns of these names itself.
    taken: dict[str, str] = {
        name: f"{name} of the export" for name in ("file", "row", "reason") if name in frame.columns
    }
    rows = frame.rename(taken).with_columns(why.alias("reason")).filter(pl.col("reason").is_not_null())
    return rows.rename({FILE: "file", ROW: "row"})


def _transactions(rows: pl.DataFrame) -> pl.DataFrame:
    columns = [name for name in _TRANSACTIONS if name in rows.columns]
    optional = [name for name in ("regular_price", "coupon_value") if name in columns]
    lowest = {"regular_price": LOWEST_PRICE, "coupon_value": 0}
    cleaned = [
        pl.when(pl.col(name).is_between(lowest[name], HIGHEST_PRICE)).then(name).alias(name) for name in optional
    ]
    return rows.select(columns).with_columns(pl.col("quantity").cast(pl.Int32, strict=False), *cleaned)


def _uncounted(plan: Plan, rows: pl.DataFrame) -> list[Finding]:
    if "quantity" in plan.mapped:
        return []
    words = "no column of quantities was found: every row counts as one package"
    return [
        Finding("no_quantity", len(rows), "mended", 0, words, advice="name it with --map quantity=COLUMN", warn=True)
    ]


def _long(typed: Typed) -> list[Finding]:
    if not typed.long_titles:
        return []
    return [Finding("long_titles", typed.long_titles, "mended", 0, "a title was cut to 200 characters")]


def _origin(choices: ImportChoices, typed: Typed, source: str) -> dict[str, str]:
    currency = choices.currency or typed.currency or "money"
    return {"source": choices.source or f"A log of purchases imported from {source}", "currency": currency}
