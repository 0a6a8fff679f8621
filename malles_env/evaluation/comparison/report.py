"""The comparison in words: tables for a terminal and a Markdown page that says how it was made."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping

import numpy as np

from malles_env.evaluation.comparison.answers import Scores
from malles_env.evaluation.comparison.runner import REFERENCE, Comparison
from malles_env.evaluation.metrics import Estimate
from malles_env.evaluation.protocol import Protocol

CHOICE_COLUMNS = ("hit", "top3", "nll", "nll_all", "ece")
QUANTITY_COLUMNS = ("quantity_nll", "quantity_error", "quantity_exact", "quantity_bias")
STEADY = {"orders": "order_variation", "repeats": "repeat_variance"}
_TITLES = {
    "time": "Later weeks: all categories and households trained on",
    "unseen_warm": "Categories never trained on, sales and histories shown",
    "unseen_cold": "Categories never trained on, without sales and histories",
    "households": "Households never trained on",
}
_NOTE = (
    "hit and nll are given a purchase; nll_all includes buying nothing, among buyers. nll and nll_all are in nats, "
    "lower is better; so is quantity_error, the summed error of the median over summed units. Every ± is one standard "
    "error, clustered by household; differences are on the same occasions."
)
_FILE = (
    "All scores, also by history and shelf and averaged over markets, and the rows that predict units alone, as a "
    "file: [{0}]({0}). There quantity_bias is the mean predicted minus the mean bought, order_variation the total "
    "variation between answers to one shelf listed in different orders, repeat_variance the variance of the choice "
    "probabilities over repeated asking, summed over the shelf, ece the calibration error of the choice probabilities, "
    "and elasticity that of own prices, each moved by a tenth."
)
Cells = list[list[str]]


def choice_cells(rows: dict[str, Scores]) -> Cells:
    """Return the table of choices, header first."""
    kept = {name: scores for name, scores in rows.items() if "hit" in scores.metrics}
    body = [
        [
            name,
            *(_cell(scores.metrics.get(c)) for c in CHOICE_COLUMNS),
            *(_steady(scores, by) for by in STEADY.values()),
            f"{scores.seconds:.2f}",
        ]
        for name, scores in kept.items()
    ]
    return [["row", *CHOICE_COLUMNS, *STEADY, "s per 1,000"], *body]


def quantity_cells(rows: dict[str, Scores]) -> Cells:
    """Return the table of quantities, header first."""
    kept = {name: scores for name, scores in rows.items() if "quantity_error" in scores.metrics}
    return [
        ["row", *QUANTITY_COLUMNS],
        *([name, *(_cell(scores.metrics.get(c)) for c in QUANTITY_COLUMNS)] for name, scores in kept.items()),
    ]


def paired_cells(pairs: dict[str, dict[str, Estimate]]) -> Cells:
    """Return the table of differences to the reference row, header first."""
    columns = ("hit", "nll", "nll_all", "quantity_error")
    body = [[name, *(_cell(values.get(c), signed=True) for c in columns)] for name, values in pairs.items()]
    return [[f"{REFERENCE} minus", *columns], *body]


def markdown(found: Comparison, rules: Protocol, command: str, facts: dict[str, str], table: str) -> str:
    """Return the page: what was done and the scores that matter most; the others stand in a file beside it.

    Args:
        found: The comparison.
        rules: The protocol it followed.
        command: The command line that makes the page again.
        facts: What else is reported, by name.
        table: Name of the file of `all_scores`, which the page links to.
    """
    parts = ["# Scores of every kind of consumers", f"Made by\n\n```bash\n{command}\n```", _rules(rules)]
    if facts:
        parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    parts += [_NOTE, _FILE.format(table)]
    for split, rows in found.scores.items():
        counts = found.counts[split]
        parts.append(f"## {_TITLES.get(split, split)}")
        parts.append(f"Split `{split}`: {counts['purchases']:,} purchases, {counts['visits']:,} visits of buyers.")
        fewer = {name: n for name, n in found.judged.get(split, {}).items() if n < max(found.judged[split].values())}
        if fewer:
            asked_fewer = ", ".join(f"`{name}` {n:,}" for name, n in fewer.items())
            parts.append(f"Rows that read a prompt for each decision were asked about fewer visits: {asked_fewer}.")
        parts += [f"Left out: `{name}`, {why}." for name, why in found.left_out.get(split, {}).items()]
        parts.append(_table(_main_cells(rows, found.paired.get(split, {}))))
    return "\n\n".join(parts) + "\n"


def all_scores(found: Comparison) -> str:
    """Return every score as CSV: one line per split, row, part and measure.

    Parts: ``all``; ``history`` and ``shelf`` by group; ``markets``, the average that counts each market once;
    ``paired``, the reference row minus this one; ``elasticity`` over markets, its quantiles as measures.
    """
    lines = [["split", "row", "part", "group", "measure", "value", "standard_error"]]
    for split, rows in found.scores.items():
        for name, scores in rows.items():
            lines += _lines([split, name, "all", ""], scores.metrics)
            lines.append([split, name, "all", "", "seconds_per_1000", f"{scores.seconds:.6g}", ""])
            for part in ("history", "shelf"):
                for group, values in getattr(scores, part).items():
                    lines += _lines([split, name, part, str(group)], values)
            lines += _lines([split, name, "markets", ""], scores.markets)
            lines += _lines([split, name, "paired", REFERENCE], found.paired.get(split, {}).get(name, {}))
            for by in ("choice", "units") if scores.elasticities else ():
                of = np.array([getattr(e, by).mean for e in scores.elasticities])
                for quantile in (0.05, 0.5, 0.95):
                    value = f"{np.quantile(of, quantile):.6g}"
                    lines.append([split, name, "elasticity", by, f"quantile_{quantile:g}", value, ""])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _lines(head: list[str], values: Mapping[str, Estimate | int]) -> Cells:
    return [
        [*head, name, f"{value.mean:.6g}", f"{value.se:.6g}"]
        if isinstance(value, Estimate)
        else [*head, name, str(value), ""]
        for name, value in values.items()
    ]


def _main_cells(rows: dict[str, Scores], pairs: dict[str, dict[str, Estimate]]) -> Cells:
    header = ["row", "hit", "nll", "nll_all", "quantity_error", f"{REFERENCE} minus row, nll"]
    columns = header[1:5]
    return [
        header,
        *(
            [name, *(_cell(s.metrics.get(c)) for c in columns), _cell(pairs.get(name, {}).get("nll"), signed=True)]
            for name, s in rows.items()
            if "hit" in s.metrics
        ),
    ]


def _rules(rules: Protocol) -> str:
    spans = {name: getattr(rules.periods, name) for name in ("train", "validation", "test")}
    weeks = ", ".join(f"{name} weeks {first} to {last}" for name, (first, last) in spans.items())
    held = ", ".join(sorted(rules.held_out_categories))
    share = f"{rules.held_out_households.share:.0%}"
    return (
        f"Protocol (`malles_env/evaluation/protocol.yaml`): {weeks}. Fits stop on validation weeks; nothing is tuned "
        f"on test weeks. Histories and popularity stay live in the test weeks. {share} of the households, by a hash of "
        f"the id, and {len(rules.held_out_categories)} categories are held out: {held}."
    )


def _table(cells: Cells) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    rule = "|" + " --- |" + " ---: |" * (len(cells[0]) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])


def _steady(scores: Scores, by: str) -> str:
    value = scores.metrics.get(by)
    return "-" if value is None else f"{value.mean:.3f}"


def _cell(value: Estimate | None, signed: bool = False) -> str:
    if value is None or math.isnan(value.mean):
        return "-"
    if math.isinf(value.mean):
        return "∞"
    return f"{value.mean:+.4f} ± {value.se:.4f}" if signed else f"{value.mean:.4f} ± {value.se:.4f}"


def _cell_of(value: Estimate | int) -> str:
    return _cell(value) if isinstance(value, Estimate) else str(value)
