"""A scenario's price elasticities and diversion ratios for people and programs: tables, JSON and a heat map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich import box
from rich.table import Table

from malles_env.files import replacing
from malles_env.market import Elasticities, elasticities
from malles_env.market.demand.pantry import pantry_of
from malles_env.market.solvers.elasticity import Hold
from malles_env.market.tastes import tastes_of
from malles_env.scenarios.consumer_kinds.prompted import opening_offer
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray

NUMBERED = 12
"""Most products for which the heat map writes the numbers into its squares."""
_STATES = {"state": "{} of the first period", "steady": "{} settled"}


@dataclass(frozen=True)
class PriceResponse:
    """Elasticities of expected units of one scenario, everything on the shelf.

    Attributes:
        scenario: Which one.
        hold: As in `malles_env.market.elasticities`.
        prices: At which units answer, money, shape ``(J,)``.
        found: Of this one market (B = 1).
    """

    scenario: Scenario
    hold: Hold
    prices: FloatArray
    found: Elasticities

    @property
    def model(self) -> str | None:
        """Who reads the tastes or is asked; None where they stand in the file."""
        return getattr(self.scenario.consumers, "model", None)

    @property
    def matrix(self) -> FloatArray:
        """Elasticity of the units of row j with respect to the price of column k, shape ``(J, J)``."""
        return self.found.matrix[0]

    @property
    def diversion(self) -> FloatArray:
        """Where the buyers that row j loses go: index 0 buys nothing, index k + 1 is product k; ``(J, J + 1)``."""
        return self.found.diversion[0]


def price_response(
    scenario: Scenario, hold: Hold = "state", *, model: str | None = None, prices: ArrayLike | None = None
) -> PriceResponse:
    """Return how units answer to prices in a scenario.

    Args:
        scenario: Which one.
        hold: ``"state"``: the first period's answer; ``"steady"``: that to a lasting price change.
        model: Language model whose consumers answer instead of the scenario's own.
        prices: Money, shape ``(J,)``; default the average prices where the scenario has them, else the regular ones.
    """
    scenario = scenario if model is None else scenario.with_model(model)
    offer, consumers = opening_offer(scenario), scenario.build_consumers()
    if prices is not None:
        offer = replace(offer, prices=np.array(prices, dtype=np.float64)[None])
    population, settings, dynamics = scenario.population(), scenario.mean_field_settings(), scenario.dynamics()
    tastes = tastes_of(consumers)
    pantry = pantry_of(
        () if tastes is None else (tastes,), dynamics.pantry_keep, population, offer.regular_price, offer.prices[0],
        scenario.first_mean_field(), settings,
    )  # fmt: skip
    found = elasticities(
        consumers, population.weights, offer, hold=hold, settings=settings, fade=dynamics.fade, pantry=pantry
    )
    return PriceResponse(scenario, hold, offer.prices[0], found)


def tables(response: PriceResponse, width: int) -> list[Table]:
    """Return the matrices as tables that fit a terminal, in several blocks of columns where they are too wide.

    Args:
        response: What to show.
        width: Of the terminal, characters.
    """
    products, forces = response.scenario.product_ids, response.scenario.forces
    what = "loyalty and mean field" if forces is None or forces.pantry is None else "loyalty, pantry and mean field"
    states = _STATES[response.hold].format(what)
    who = "" if response.model is None else f"; tastes: {response.model}"
    about = f"% change of the row's units when the column's price rises 1% ({states}{who})"
    lost = "% of the buyers that the row loses on a price rise who go to the column"
    return [
        *_blocks(f"Price elasticities: {about}", products, products, response.matrix, "{:.2f}", width),
        *_blocks(f"Diversion: {lost}", products, ("nothing", *products), 100.0 * response.diversion, "{:.1f}", width),
    ]


def _blocks(
    title: str, rows: tuple[str, ...], columns: tuple[str, ...], values: FloatArray, form: str, width: int
) -> list[Table]:
    """Return one table per block of columns."""
    cells = [[form.format(value) for value in row] for row in values]
    room = [max(len(name), *(len(row[k]) for row in cells)) + 3 for k, name in enumerate(columns)]
    free = width - max(map(len, rows))
    found: list[Table] = []
    start = 0
    while start < len(columns):
        stop = start + 1
        while stop < len(columns) and sum(room[start : stop + 1]) <= free:
            stop += 1
        table = Table(title=None if found else title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", no_wrap=True)
        for name in columns[start:stop]:
            table.add_column(name, justify="right", overflow="fold")
        for name, row in zip(rows, cells, strict=True):
            table.add_row(name, *row[start:stop])
        found.append(table)
        start = stop
    return found


def as_json(response: PriceResponse) -> dict[str, Any]:
    """Return everything as plain values; numbers that are not defined are None."""
    scenario = response.scenario
    return {
        "scenario": scenario.name,
        "model": response.model,
        "of": "units",
        "hold": response.hold,
        "currency": scenario.currency,
        "products": list(scenario.product_ids),
        "prices": response.prices.tolist(),
        "elasticity": _plain(response.matrix),
        "diversion_to": ["nothing", *scenario.product_ids],
        "diversion": _plain(response.diversion),
    }


def _plain(values: FloatArray) -> list[list[float | None]]:
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def draw(response: PriceResponse, path: Path) -> Path:
    """Draw the elasticities as a heat map (PNG), whole or not at all, and return its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, matrix = response.scenario.product_ids, response.matrix
    count = len(names)
    side = max(5.0, 0.55 * count + 2.5)
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    # own elasticities dwarf the cross ones: a scale by roots lets both be seen
    shade = np.sign(matrix) * np.sqrt(np.abs(matrix))
    limit = float(np.nanmax(np.abs(shade), initial=1e-9))
    image = axes.imshow(shade, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set_xticks(range(count), names, rotation=90)
    axes.set_yticks(range(count), names)
    axes.set_xlabel("price that rises by 1%")
    axes.set_ylabel("product whose units change")
    axes.set_title(f"Price elasticities of units: {response.scenario.title or response.scenario.name}")
    if count <= NUMBERED:
        for j, k in np.ndindex(matrix.shape):
            ink = "white" if abs(shade[j, k]) > 0.6 * limit else "black"
            axes.text(k, j, f"{matrix[j, k]:.2f}", ha="center", va="center", fontsize=8, color=ink)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    marks = np.linspace(-limit, limit, 7)
    bar.set_ticks(marks.tolist(), labels=[f"{mark * abs(mark):+.2f}" for mark in marks])
    bar.set_label("% change of units (red: fewer, blue: more; square-root scale)")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return path
