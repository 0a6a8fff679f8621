"""A back-test for people and programs: Markdown, JSON, and a plot of real against simulated weeks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.files import replacing
from malles_env.scenarios.from_log.panel import shares_of
from malles_env.workflows.backtest.playback import WINDOW
from malles_env.workflows.backtest.runner import BLIND, ROWS, Backtest
from malles_env.workflows.backtest.scores import MEASURES, Interval

SHOWN = ("share_error", "share_distance", "line_units_error", "units_error", "units_bias", "demand_error")
"""Measures that get a column of the table; the others stand in the JSON."""
PLOTTED = 5
"""Products whose weekly shares are drawn."""
_STYLES = {
    "twins": ("tab:red", "-", "twins"),
    "twins_as_read": ("tab:pink", "-", "twins, tastes as read"),
    "clusters": ("tab:orange", "--", "clusters of households"),
    "logit": ("tab:blue", "-.", "logit"),
    "naive": ("tab:gray", ":", "last weeks' mean"),
}
"""Row -> colour, line and name in pictures."""


def markdown(found: Backtest, command: str, model: str) -> str:
    """Return the summary as Markdown.

    Args:
        found: The back-test.
        command: The command line that made it.
        model: The taste model's name.
    """
    blocks = [
        f"# Back-test: {found.market}",
        f"`{command}`",
        _about(found, model),
        _table(score_cells(found)),
        "Differences from `twins` on the same weeks; above 0 the row errs more:",
        _table(paired_cells(found)),
        "Price response (log units per shopper on log price, a constant per product):",
        _table(response_cells(found)),
        "Rows:\n\n" + "\n".join(f"- `{name}`: {ROWS[name]}." for name in found.forecasts) + "\n" + _FLOOR,
        "Measures:\n\n" + "\n".join(f"- `{name}`: {MEASURES[name]}." for name in SHOWN),
    ]
    return "\n\n".join(blocks) + "\n"


_FLOOR = "- `floor`: what `twins` would score if they were the truth; sampling noise of the panel alone."


def _about(found: Backtest, model: str) -> str:
    past, real = found.past.periods, found.real.periods
    shopped, bought = found.real.shoppers.sum(), found.real.purchases.sum()
    weights = f" (weights {found.weights[:8]})" if found.weights else ""
    return (
        f"{found.households:,} households who bought in this market up to week {past[-1]}, {len(found.titles)} "
        f"products. Forecast: weeks {real[0]} to {real[-1]} ({shopped:,.0f} shopping weeks, {bought:,.0f} purchases). "
        f"Tastes are read by {model}{weights} from what each household did up to week {past[-1]}. Levels (two numbers "
        f"per product) are fitted to weeks {past[0]} to {past[-1]}, except in rows `..._as_read`; nothing is fitted "
        f"to the test weeks. Known of the test weeks: prices, shelves, promotions and how many households shopped. "
        f"Loyalty starts at each household's last purchase and the mean field at the last {WINDOW} weeks; both then "
        f"follow the simulation. `naive` averages weeks {past[-1] - BLIND + 1} to {past[-1]}. Intervals: 95%, "
        f"bootstrap over blocks of weeks."
    )


def score_cells(found: Backtest) -> list[list[str]]:
    """Return the table of scores, the header first."""
    rows = [[name, *(_cell(scores[measure]) for measure in SHOWN)] for name, scores in found.scores.items()]
    return [["row", *SHOWN], *rows]


def paired_cells(found: Backtest) -> list[list[str]]:
    """Return the table of differences from `twins`, the header first."""
    rows = [[name, *(_cell(worse[measure], signed=True) for measure in SHOWN)] for name, worse in found.worse.items()]
    return [["row", *SHOWN], *rows]


def response_cells(found: Backtest) -> list[list[str]]:
    """Return the table of price responses, the header first."""
    rows = [
        [
            name,
            f"{r.slope:.2f} ± {r.error:.2f}",
            "" if name == "real" else f"{r.gap:+.2f} ± {r.gap_error:.2f}",
            str(r.cells),
        ]
        for name, r in found.responses.items()
    ]
    return [["row", "elasticity of units", "less the real one", "cells"], *rows]


def _cell(number: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{number.value:{sign}.3f} [{number.low:{sign}.3f}, {number.high:{sign}.3f}]"


def _table(cells: list[list[str]]) -> str:
    head, *rows = cells
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(found: Backtest) -> dict[str, Any]:
    """Return all numbers as JSON values: scores, differences, price responses, and every week of every row."""
    real = found.real
    weeks = {"real": {"purchases": real.purchases.tolist(), "units": real.units.tolist()}}
    weeks |= {
        name: {"purchases": f.purchases.tolist(), "units": f.units.tolist()} for name, f in found.forecasts.items()
    }
    return {
        "market": found.market,
        "products": list(found.titles),
        "households": found.households,
        "weights": found.weights,
        "fitted_weeks": found.past.periods.tolist(),
        "test_weeks": real.periods.tolist(),
        "shoppers": real.shoppers.tolist(),
        "prices": real.prices.tolist(),
        "listed": real.listed.tolist(),
        "scores": {row: {k: asdict(v) for k, v in values.items()} for row, values in found.scores.items()},
        "worse_than_twins": {row: {k: asdict(v) for k, v in values.items()} for row, values in found.worse.items()},
        "price_response": {row: asdict(response) for row, response in found.responses.items()},
        "weeks": weeks,
    }


def draw(found: Backtest, path: Path) -> Path:
    """Draw weekly shares of the best sellers and the market's units per week, real and simulated; return the path."""
    from matplotlib.figure import Figure

    best = np.argsort(-found.real.purchases.sum(axis=0), kind="stable")[:PLOTTED]
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for place, product in zip(axes, best, strict=False):
        lines = {"real": found.real.shares} | {n: shares_of(f.purchases) for n, f in found.forecasts.items()}
        _lines(place, found, {name: values[:, product] for name, values in lines.items()})
        place.set_title(found.titles[product], fontsize=10)
        place.set_ylabel("share of purchases", fontsize=8)
    units = {"real": found.real.units} | {n: f.units for n, f in found.forecasts.items()}
    _lines(axes[-1], found, {name: values.sum(axis=1) for name, values in units.items()})
    axes[-1].set_title("all products", fontsize=10)
    axes[-1].set_ylabel("units per week", fontsize=8)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    for unused in axes[len(best) : -1]:
        unused.set_visible(False)
    market = found.market.rpartition("|")[2].strip().capitalize()
    figure.suptitle(f"{market}: real and simulated test weeks")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return path


def _lines(place: Any, found: Backtest, values: dict[str, Any]) -> None:
    weeks = found.real.periods
    place.plot(weeks, values["real"], color="black", linewidth=2, label="real")
    for name, (colour, style, label) in _STYLES.items():
        if name in values:
            place.plot(weeks, values[name], color=colour, linestyle=style, label=label)
    place.set_ylim(bottom=0)
    place.tick_params(labelsize=8)
    place.set_xlabel("week", fontsize=8)
