"""Results as people and programs read them: rich tables and plain dictionaries."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.sellers.sb3.policies import ALGORITHMS
from malles_agents.standard_errors import plus_minus

if TYPE_CHECKING:
    from rich.table import Table

    from malles_env.scenarios import Scenario

Summary = Mapping[str, Mapping[str, Mapping[str, float]]]


def title_of(scenario: Scenario, model: str | None, cost_share: float | None = None) -> str:
    """Return the head of a table: the market, who read the tastes, and costs where they were set."""
    who = "tastes from the scenario file" if model is None else f"tastes: {model}"
    costs = "" if cost_share is None else f"; unit costs {cost_share:.0%} of average prices"
    return f"{scenario.title or scenario.name} ({who}{costs})"


def label_of(scenario: str) -> str:
    """Return a scenario's short name and who reads its tastes where a model does; the bare stem of a file not there."""
    from malles_env.errors import MallesError
    from malles_env.scenarios import load_scenario

    stem = Path(scenario).stem
    try:
        consumers = load_scenario(scenario).consumers
    except MallesError:
        return stem
    return stem if consumers.kind == "logit" else f"{stem} (tastes: {consumers.model})"


def results_table(results: Summary, *, title: str, currency: str, best: float | None = None, note: str = "") -> Table:
    """Return the table of seller kinds, best first.

    Args:
        results: Kind -> measure -> ``mean`` and ``se``.
        title: Above the table.
        currency: Unit of profit and surplus.
        best: Profit of the best stationary action; adds a column with each kind's part of it.
        note: Below the table.
    """
    table = _seller_table(title, note)
    table.add_column(f"profit per\nepisode ({currency})", justify="right", no_wrap=True)
    if best is not None:
        table.add_column("of best\nstationary", justify="right", no_wrap=True)
    table.add_column("share of\nunits (%)", justify="right", no_wrap=True)
    table.add_column(f"surplus per\nhead ({currency})", justify="right", no_wrap=True)
    for kind in sorted(results, key=lambda name: -results[name]["profit"]["mean"]):
        measures = results[kind]
        cells = [kind, _cell(measures["profit"])]
        if best is not None:
            cells.append(f"{measures['profit']['mean'] / best:.3f}")
        cells += [_cell(measures["share"], 100.0), _cell(measures["surplus"])]
        table.add_row(*cells, style="bold" if kind in ALGORITHMS else None)
    return table


def draws_table(results: Mapping[str, Mapping[str, Any]], *, title: str, currency: str, note: str) -> Table:
    """Return the table of sellers over draws of the tastes, best mean first.

    Args:
        results: Kind -> measures of `malles_agents.evaluation.draws.OverDraws.summary`.
        title: Above the table.
        currency: Unit of profit.
        note: Below the table.
    """
    table = _seller_table(title, note, pad_edge=False)
    columns = (
        f"profit per\nepisode ({currency})", "worst\ntenth", "regret to\nthe best", "of\nbest", "least\nof best"
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for kind in sorted(results, key=lambda name: -results[name]["profit"]["mean"]):
        row = results[kind]
        table.add_row(
            kind, _cell(row["profit"]), f"{row['cvar10']:,.0f}",
            _cell({"mean": row["regret"], "se": row["regret_se"]}),
            f"{row['of_best']:.3f}", f"{row['least_of_best']:.3f}", style="bold" if kind in ALGORITHMS else None,
        )  # fmt: skip
    return table


def _seller_table(title: str, note: str, *, pad_edge: bool = True) -> Table:
    """Return a table with the column of sellers; their names wrap, so that no number is cut for the sake of a name."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, caption=note or None, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD,
        pad_edge=pad_edge,
    )  # fmt: skip
    table.add_column("seller", overflow="fold", min_width=12)
    return table


def _cell(value: Mapping[str, float], scale: float = 1.0) -> str:
    """Return mean and standard error with digits that fit the size of the mean."""
    mean, error = value["mean"] * scale, value["se"] * scale
    digits = 0 if abs(mean) >= 1000 else 1 if abs(mean) >= 1 else 3
    return plus_minus(mean, error, f",.{digits}f")


def as_json(results: Summary, **context: Any) -> dict[str, Any]:
    """Return results with their context, ready for JSON: ``sellers`` -> kind -> measure -> mean and se."""
    return {**context, "sellers": {kind: {k: dict(v) for k, v in table.items()} for kind, table in results.items()}}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same keys as CSV with a head; numbers in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
