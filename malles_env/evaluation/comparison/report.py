"""The comparison in words: tables for a terminal and a Markdown page that says how it was made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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
    "hit, top3, nll and ece are given a purchase; nll_all includes buying nothing, among buyers. nll, nll_all and "
    "quantity_nll are in nats, lower is better. Every ± is one standard error, clustered by household. quantity_error "
    "is the summed error of the median over summed units, quantity_bias the mean predicted minus the mean bought. "
    "orders is the total variation between answers to one shelf listed in different orders, repeats the variance of "
    "the choice probabilities over repeated asking, summed over the shelf."
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


def elasticity_cells(rows: dict[str, Scores]) -> Cells:
    """Return own-price elasticities of the rows that have some, over markets, header first."""
    header = ["row", "markets", "choice: median (5 % to 95 %)", "units: median (5 % to 95 %)", "both negative"]
    body = []
    for name, scores in rows.items():
        if scores.elasticities:
            choice, units = (np.array([getattr(e, by).mean for e in scores.elasticities]) for by in ("choice", "units"))
            negative = f"{((choice < 0) & (units < 0)).mean():.0%}"
            body.append([name, str(len(choice)), _spread(choice), _spread(units), negative])
    return [header, *body]


def paired_cells(pairs: dict[str, dict[str, Estimate]]) -> Cells:
    """Return the table of differences to the reference row, header first."""
    columns = ("hit", "nll", "nll_all", "quantity_error")
    body = [[name, *(_cell(values.get(c), signed=True) for c in columns)] for name, values in pairs.items()]
    return [[f"{REFERENCE} minus", *columns], *body]


def group_cells(rows: dict[str, Scores], by: str) -> Cells:
    """Return hit and nll by history length (``history``) or shelf size (``shelf``), header first."""
    kept = {name: getattr(scores, by) for name, scores in rows.items() if getattr(scores, by)}
    groups = list(dict.fromkeys(group for parts in kept.values() for group in parts))
    counts: dict[str, dict[str, Estimate | int]] = next(iter(kept.values()), {})
    header = [f"{by}", *(f"{group} (n = {counts[group]['purchases']})" for group in groups)]
    body = [[name, *(f"{p[g]['hit']} / {p[g]['nll']}" for g in groups)] for name, p in kept.items()]
    return [header, *body]


def markdown(found: Comparison, rules: Protocol, command: str, facts: dict[str, str]) -> str:
    """Return the page.

    Args:
        found: The comparison.
        rules: The protocol it followed.
        command: The command line that makes the page again.
        facts: What else is worth telling, by name.
    """
    parts = ["# How well consumers predict real purchases", f"Made by\n\n```bash\n{command}\n```", _rules(rules)]
    if facts:
        parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    parts.append(_NOTE)
    for split, rows in found.scores.items():
        counts = found.counts[split]
        parts.append(f"## {_TITLES.get(split, split)}")
        parts.append(f"Split `{split}`: {counts['purchases']:,} purchases, {counts['visits']:,} visits of buyers.")
        fewer = {name: n for name, n in found.judged.get(split, {}).items() if n < max(found.judged[split].values())}
        if fewer:
            told = ", ".join(f"`{name}` {n:,}" for name, n in fewer.items())
            parts.append(f"Rows that read a prompt for each decision were asked about fewer visits: {told}.")
        parts += [f"Left out: `{name}`, {why}." for name, why in found.left_out.get(split, {}).items()]
        parts += [_table(choice_cells(rows)), _table(quantity_cells(rows))]
        if found.paired.get(split):
            parts += ["Paired differences on the same occasions:", _table(paired_cells(found.paired[split]))]
        for by, words in (("history", "own earlier purchases in the market"), ("shelf", "options on the shelf")):
            parts += [f"hit / nll by {words}:", _table(group_cells(rows, by))]
        if len(elastic := elasticity_cells(rows)) > 1:
            parts += ["Own-price elasticities, each price moved by a tenth up and down:", _table(elastic)]
        parts += ["Averaged over markets, each counting once:", _table(_market_cells(rows))]
    return "\n\n".join(parts) + "\n"


def _market_cells(rows: dict[str, Scores]) -> Cells:
    kept = {name: scores.markets for name, scores in rows.items() if scores.markets}
    body = [[n, str(m["markets"]), _cell_of(m["hit"]), _cell_of(m["nll"])] for n, m in kept.items()]
    return [["row", "markets", "hit", "nll"], *body]


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


def _spread(values: NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _cell(value: Estimate | None, signed: bool = False) -> str:
    if value is None or math.isnan(value.mean):
        return "-"
    if math.isinf(value.mean):
        return "∞"
    return f"{value.mean:+.4f} ± {value.se:.4f}" if signed else f"{value.mean:.4f} ± {value.se:.4f}"


def _cell_of(value: Estimate | int) -> str:
    return _cell(value) if isinstance(value, Estimate) else str(value)
