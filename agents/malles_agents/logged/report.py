"""What off-policy evaluation found, as people and programs read it: a table per policy, JSON, a plot."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malles_agents.logged.estimators import ESTIMATORS, FORMS, Estimate
from malles_agents.logged.evaluation import Found
from malles_agents.logged.log import Log
from malles_agents.standard_errors import plus_minus
from malles_env.files import replacing

if TYPE_CHECKING:
    from rich.table import Table

FEW = 10
"""Effective episodes below which importance weights should not be trusted."""
COLOURS = {"dm": "#4477aa", "ips": "#ee6677", "snips": "#ccbb44", "dr": "#228833"}


def _covers(estimate: Estimate, found: Found) -> str:
    if found.truth is None or not isfinite(estimate.value):
        return ""
    return "yes" if estimate.low <= found.truth.mean <= estimate.high else "no"


def table_of(found: Found, log: Log) -> Table:
    """Return the table of one policy."""
    from rich import box
    from rich.table import Table

    money = f"{log.world.currency} per episode"
    truth = "" if found.truth is None else f"; truth {plus_minus(found.truth.mean, found.truth.error)}"
    table = Table(
        title=f"{found.policy}{truth} ({money})", title_justify="left", caption="\n".join(remarks(found, log)) or None,
        caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("estimator", no_wrap=True, min_width=9)
    table.add_column("form", no_wrap=True, min_width=7)
    for name in ("estimate", "95% interval", "error", "covers\ntruth", "effective\nepisodes"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.estimates:
        value, interval, error = "none", "", ""
        if isfinite(one.value):
            value, interval = f"{one.value:,.0f}", f"{one.low:,.0f} to {one.high:,.0f}"
            error = "" if found.truth is None else f"{one.value / found.truth.mean - 1.0:+.1%}"
        effective = "" if one.estimator == "dm" else f"{one.effective:,.1f}"
        table.add_row(one.estimator, one.form, value, interval, error, _covers(one, found), effective)
    return table


def remarks(found: Found, log: Log) -> list[str]:
    """Return what a reader should know of the log's overlap with the policy."""
    lines = [f"log: {len(log)} episodes of {log.world.sellers[log.agent]}, {found.logged:,.0f} per episode"]
    if found.overlap == 0.0:
        lines.append("no logged action is one the policy would take: only the direct method says anything")
    elif found.overlap < 1.0:
        lines.append(f"{found.overlap:.1%} of the logged actions are ones the policy could take")
    if found.never > 0.0:
        lines.append(f"{found.never:.1%} of the policy's actions are never taken in the log: weights cannot see them")
    few = [one.form for one in found.estimates if one.estimator == "dr" and 0.0 < one.effective < FEW]
    if few:
        lines.append(f"fewer than {FEW} effective episodes ({', '.join(few)}): intervals by weights are too narrow")
    return lines


def as_json(founds: Sequence[Found], log: Log) -> dict[str, Any]:
    """Return all numbers; null where there is none."""

    def number(value: float) -> float | None:
        return value if isfinite(value) else None

    def one(found: Found) -> dict[str, Any]:
        truth = None
        if found.truth is not None:
            truth = {"mean": found.truth.mean, "se": number(found.truth.error), "episodes": found.truth.episodes}
        return {
            "truth": truth,
            "logged": found.logged,
            "overlap": found.overlap,
            "never_logged": number(found.never),
            "remarks": remarks(found, log),
            "estimates": [
                {
                    "estimator": each.estimator,
                    "form": each.form,
                    "value": number(each.value),
                    "low": number(each.low),
                    "high": number(each.high),
                    "effective_episodes": number(each.effective),
                }
                for each in found.estimates
            ],
            "errors": [
                {"episodes": size, "estimator": name, "form": form, "relative_rmse": number(error)}
                for size, row in found.errors.items()
                for (name, form), error in row.items()
            ],
        }

    return {
        "log": log.world.as_dict(),
        "seller": log.agent,
        "episodes": len(log),
        "policies": {found.policy: one(found) for found in founds},
    }


def draw(founds: Sequence[Found], log: Log, path: Path) -> Path:
    """Draw errors against log size as PNG, a panel per policy and form, whole or not at all; return the path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.1 * len(founds)), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(len(founds), len(FORMS), sharex=True, sharey="row", squeeze=False)
    for row, found in zip(places, founds, strict=True):
        for place, form in zip(row, FORMS, strict=True):
            sizes = list(found.errors)
            for name in ESTIMATORS:
                errors = [100.0 * found.errors[size][name, form] for size in sizes]
                place.plot(sizes, errors, "o-", markersize=3, linewidth=1.2, color=COLOURS[name], label=name)
            place.set_xscale("log", base=2)
            place.set_yscale("log")
            place.set_title(f"{found.policy}, {form}", loc="left", fontsize=9)
            place.spines[["top", "right"]].set_visible(False)
            place.tick_params(labelsize=8)
        row[0].set_ylabel("root mean squared error (% of truth)", fontsize=8)
    for place in places[-1]:
        place.set_xlabel("episodes in the log", fontsize=8)
    places[0, 0].legend(fontsize=7, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")
    return path
