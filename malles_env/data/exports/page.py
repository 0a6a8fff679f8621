"""The report of an import as one page: what was kept and dropped, prices over time, coverage, what to do next."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from malles_env.data.coding import number_periods
from malles_env.data.exports.importing import Imported
from malles_env.data.exports.report import next_commands

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}img{max-width:100%}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd;
vertical-align:top}td.n{text-align:right;white-space:nowrap}pre{background:#f4f4f4;padding:.7rem;overflow-x:auto}
.error{color:#b00020;font-weight:600}.warn{color:#9a6700;font-weight:600}.ok{color:#1a7f37}.skipped{color:#666}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_BEST_SELLERS = 8


def html_page(found: Imported, out: Path) -> str:
    """Return the page; it holds its pictures and asks nothing of any server.

    Args:
        found: The import.
        out: Folder of the log, for the commands.
    """
    kept, lost = len(found.tables.transactions), len(found.dropped)
    facts = found.report.facts
    sizes = ", ".join(f"{value:,} {name}" for name, value in facts.items() if isinstance(value, int))
    parts = [
        f"<h1>Import of {_text(', '.join(found.plan.sources))}</h1>",
        f"<p>{kept + lost:,} rows read, <b>{kept:,} kept</b>, {lost:,} dropped. {_text(sizes)}, from "
        f"{_text(facts['first_day'])} to {_text(facts['last_day'])}.</p>",
        "<h2>What to do next</h2>", _advice(found),
        "<pre>" + "\n".join(_text(line) for line in next_commands(found, out)) + "</pre>",
        "<h2>Rows kept and dropped</h2>", _picture(found, _draw_rows, "Rows kept and dropped, by rule"),
        _findings(found),
        "<h2>Prices over time</h2>", _picture(found, _draw_prices, "Weekly median prices of best sellers"),
        "<h2>Coverage</h2>", _picture(found, _draw_coverage, "Rows per period and purchases on the shelf"),
        "<h2>Checks</h2>", _checks(found),
        "<h2>How the files were read</h2>", _reading(found),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><title>Import report</title><style>{_STYLE}</style></head><body>'
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    return f"<table><tr>{cells}</tr>" + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</table>"


def _cell(value: object, kind: str = "") -> str:
    return f'<td class="{kind}">{_text(value)}</td>' if kind else f"<td>{_text(value)}</td>"


def _advice(found: Imported) -> str:
    items = [
        (check.verdict, check.name, check.advice) for check in found.report.checks if check.verdict in ("warn", "error")
    ]
    items += [("warn", finding.name, finding.advice or finding.rule) for finding in found.findings if finding.warn]
    if not items:
        return "<p>No check complains. Go on with:</p>"
    lines = "".join(
        f'<li><span class="{verdict}">{_text(name)}</span>: {_text(words)}</li>' for verdict, name, words in items
    )
    return f"<ul>{lines}</ul><p>Then:</p>"


def _findings(found: Imported) -> str:
    rows = [
        [_cell(f.name), _cell(f"{f.found:,} {f.unit}", "n"), _cell(f"{f.dropped:,}" if f.dropped else f.action, "n"),
         _cell(f.rule + (f". {f.advice}" if f.advice else "")), _cell(f.example)]
        for f in found.findings
    ]  # fmt: skip
    return _table(["rule", "found", "dropped", "what it means", "example"], rows)


def _checks(found: Imported) -> str:
    rows = [[_cell(c.verdict, c.verdict), _cell(c.name), _cell(c.finding)] for c in found.report.checks]
    return _table(["verdict", "check", "finding"], rows)


def _reading(found: Imported) -> str:
    columns = found.plan.mapped.columns.values()
    rows = [[_cell(c.target), _cell(c.source), _cell(c.how), _cell(c.example)] for c in columns]
    how = "".join(f"<li>{_text(topic)}: {_text(words)}</li>" for topic, words in found.how.items())
    read = "".join(f"<li>{_text(e.name)}: {_text(e.how)}</li>" for e in found.plan.exports)
    return f"<ul>{read}{how}</ul>" + _table(["column", "from", "how", "example"], rows)


def _picture(found: Imported, draw: Callable[[Imported, Any], None], words: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    draw(found, figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return f'<img alt="{_text(words)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _draw_rows(found: Imported, figure: Any) -> None:
    lost = [(finding.name, finding.dropped) for finding in found.findings if finding.dropped]
    names = ["kept", *(name for name, _ in lost)]
    counts = [len(found.tables.transactions), *(count for _, count in lost)]
    axes = figure.subplots()
    bars = axes.barh(names[::-1], counts[::-1], color=["#c05a3c"] * len(lost) + ["#3c7dc0"])
    axes.bar_label(bars, [f" {count:,}" for count in counts[::-1]])
    axes.set_xlabel("rows")
    axes.margins(x=0.15)


def _draw_prices(found: Imported, figure: Any) -> None:
    rows = number_periods(found.tables.transactions)
    sold = rows.group_by("product_id").len().sort(["len", "product_id"], descending=[True, False]).head(_BEST_SELLERS)
    titles = dict(found.tables.products.select("product_id", "title").iter_rows())
    axes = figure.subplots()
    for product in sold["product_id"].to_list():
        weeks = (
            rows.filter(pl.col("product_id") == product)
            .group_by("period")
            .agg(pl.col("unit_price").median())
            .sort("period")
        )
        prices = weeks["unit_price"].to_numpy()
        # A dollar sign would begin a formula.
        name = titles[product].replace("$", r"\$")[:28]
        axes.plot(weeks["period"].to_numpy(), prices / np.median(prices), marker=".", linewidth=1, label=name)
    axes.set_xlabel("period")
    axes.set_ylabel("weekly median price / its median")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_coverage(found: Imported, figure: Any) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = number_periods(found.tables.transactions)
    counts = rows.group_by("period", found.settings.splits.name("period").alias("split")).len().sort("period")
    for split in ("burn_in", "train", "validation", "test"):
        part = counts.filter(pl.col("split") == split)
        left.bar(part["period"].to_numpy(), part["len"].to_numpy(), width=0.9, label=split)
    left.set_xlabel("period")
    left.set_ylabel("rows")
    left.legend(fontsize=7)
    check = found.report["coverage"]
    shares = {"all": check.value, **check.details.get("lowest_markets", {})} if check.value is not None else {}
    names = [name.replace("$", r"\$")[:24] for name in shares]
    right.barh(range(len(names)), list(shares.values()), tick_label=names, color="#3c7dc0")
    right.set_xlim(0, 1)
    right.set_xlabel("purchases on the shelf that the rules build" if shares else "coverage was not measured")
