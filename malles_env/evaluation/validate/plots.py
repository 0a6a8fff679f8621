"""Draws a market's findings: price coefficients, the weeks around deals, and shares at deep discounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from malles_env.evaluation.audit.plots import COLOURS, FAINT
from malles_env.evaluation.validate.estimation.estimates import Estimate
from malles_env.evaluation.validate.instruments import InstrumentCheck, PriceRow
from malles_env.evaluation.validate.regimes import RegimeCheck
from malles_env.evaluation.validate.runner import EventCheck, Validation
from malles_env.files import replacing, slug

LONGEST = 36
"""Letters of a name in a plot, at most."""
Drawing = Callable[[Any], None]


def file_name(market: str) -> str:
    """Return the name of a market's picture, e.g. ``ice-cream-milk-sherbts-premium.png``."""
    return f"{slug(market)}.png"


def draw(found: Validation, path: Path) -> Path:
    """Draw what was found in a market as PNG, whole or not at all, and return the path; bars are 95% intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawings = list(_drawings(found))
    columns = min(2, len(drawings))
    height = (len(drawings) + 1) // 2
    figure = Figure(figsize=(5.6 * columns, 3.9 * height), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(height, columns, squeeze=False).ravel()
    for place, drawing in zip(places, drawings, strict=False):
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8)
        drawing(place)
    for unused in places[len(drawings) :]:
        unused.set_visible(False)
    figure.suptitle(found.market, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")
    return path


def _drawings(found: Validation) -> list[Drawing]:
    drawings: list[Drawing] = []
    if (check := found.instruments) is not None:
        drawings.append(lambda place: _coefficients(place, check, found.tastes))
    if (events := found.events) is not None:
        drawings += [lambda place: _events(place, events, "start"), lambda place: _events(place, events, "stop")]
    if (regimes := found.regimes) is not None:
        drawings.append(lambda place: _regimes(place, regimes))
    return drawings


def _coefficients(place: Any, check: InstrumentCheck, tastes: tuple[PriceRow, ...]) -> None:
    rows = [*check.rows, *tastes]
    for at, row in enumerate(rows):
        colour = COLOURS[0] if at < len(check.rows) else COLOURS[1]
        _bar(place, row.coefficient, len(rows) - at, colour, along="x")
    place.set_yticks(range(len(rows), 0, -1), labels=[_short(row.name) for row in rows])
    place.axvline(0.0, color=FAINT, linewidth=0.8)
    place.set_xlabel("log odds of choice per log price", fontsize=8)
    place.set_title("Price coefficients (taste models in orange)", loc="left", fontsize=9)


def _events(place: Any, events: EventCheck, side: str) -> None:
    shown = events.studies
    for at, study in enumerate(shown):
        colour = "black" if study.outcome == "purchases" else COLOURS[max(0, at - 1)]
        series: Mapping[int, Estimate] = getattr(study, side)
        shift = (at - (len(shown) - 1) / 2) * 0.16
        for week, estimate in series.items():
            _bar(place, estimate, week + shift, colour, along="y")
        label = study.outcome if study.outcome in ("units", "purchases") else f"purchases, {_short(study.outcome)}"
        place.plot([], [], "o", color=colour, markersize=4, label=label)
    place.axhline(0.0, color=FAINT, linewidth=0.8)
    place.axvline(-0.5, color=FAINT, linewidth=0.8, linestyle="--")
    place.set_xlabel(f"weeks from the {side} of a deal", fontsize=8)
    place.set_ylabel("log change", fontsize=8)
    words = {"start": "before a deal and in its weeks", "stop": "in a deal's last weeks and after it"}
    place.set_title(f"Sales {words[side]}", loc="left", fontsize=9, pad=18)
    _legend(place)


def _regimes(place: Any, check: RegimeCheck) -> None:
    for at, regime in enumerate(check.regimes):
        shift = (at + 1) * 0.006
        for depth, observed, predicted in regime.bins:
            if at == 0:
                _bar(place, observed, depth, "black", along="y")
            _bar(place, predicted, depth + shift, COLOURS[at], along="y")
        place.plot([], [], "o", color=COLOURS[at], markersize=4, label=_short(regime.name))
    place.plot([], [], "o", color="black", markersize=4, label="observed")
    place.set_ylim(bottom=0.0)
    place.set_xlabel("mean discount depth (10% to 20%, 20% to 30%, above)", fontsize=8)
    place.set_ylabel("share of choices", fontsize=8)
    place.set_title("Products at deep discounts", loc="left", fontsize=9, pad=18)
    _legend(place)


def _short(name: str) -> str:
    """Return a name, of a model's long folder the end alone."""
    return name if len(name) <= LONGEST else "..." + name[-LONGEST + 3 :]


def _legend(place: Any) -> None:
    """Put the legend between title and axes, where it hides nothing."""
    place.legend(
        fontsize=7, frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(-0.02, 0.99), handletextpad=0.1,
        columnspacing=1.0,
    )  # fmt: skip


def _bar(place: Any, estimate: Estimate, at: float, colour: str, *, along: str) -> None:
    style = {"fmt": "o", "color": colour, "markersize": 3.5, "linewidth": 1.2}
    if along == "x":
        place.errorbar(estimate.value, at, xerr=1.96 * estimate.se, **style)
    else:
        place.errorbar(at, estimate.value, yerr=1.96 * estimate.se, **style)
