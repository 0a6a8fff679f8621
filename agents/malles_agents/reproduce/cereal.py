"""The cereal market: prices under competition, merger and cartel, and what consumers keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from malles_agents.plots import COLOURS, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow
from malles_env.market.solvers.equilibrium import monopoly, nash
from malles_env.market.solvers.game import Game, exact_derivatives
from malles_env.scenarios import load_scenario
from malles_env.type_aliases import FloatArray

PYBLP = "pyblp 1.3.0 on the same market, computed by its own routines"
PUBLISHED = {  # mean price, profit and surplus per consumer
    "single-product sellers": (0.12551, 0.015493, 0.026444),
    "Nash (the data's owners)": (0.13173, 0.016798, 0.023672),
    "merger of the first two sellers": (0.14034, 0.017759, 0.020547),
    "joint monopoly": (0.15395, 0.018757, 0.016205),
}


def cereal(options: Options) -> Reproduction:
    """Solve the market under four ownership structures, without price bounds."""
    game = Game.of(load_scenario("cereal").market())
    data_prices, size = game.catalog.regular_price, game.population.size
    found = _structures(game)
    rows = []
    for done, (name, prices) in enumerate(found.items(), 1):
        price, profit, surplus = PUBLISHED[name]
        rows.append(ResultRow(f"mean price, {name}", float(prices.mean()), None, price, PYBLP))
        total = float(game.product_profit(prices).sum() / size)
        rows.append(ResultRow(f"profit per consumer, {name}", total, None, profit, PYBLP))
        rows.append(
            ResultRow(f"surplus per consumer, {name}", float(game.surplus(prices)[0] / size), None, surplus, PYBLP)
        )
        options.watch(done, len(found))
    share, slope, cross = exact_derivatives(game, data_prices, np.ones(len(data_prices), dtype=bool))
    elasticity = (np.diag(cross) - slope) * data_prices / share
    rows.append(
        ResultRow("mean own-price elasticity", float(elasticity.mean()), None, -4.21, "pyblp documentation, nevo")
    )
    off = float(np.abs(found["Nash (the data's owners)"] - data_prices).max())
    rows.append(
        ResultRow("largest distance of Nash from the data's prices", off, None, 0.0, "costs are inverted under Nash")
    )
    data: dict[str, Any] = {"prices": {name: prices.tolist() for name, prices in found.items()}}
    return Reproduction(
        "cereal", "A cereal market under four ownership structures", tuple(rows), data,
        notes=("Equal mark-ups, the closed form of plain logit, do not hold here: consumer types differ.",),
        draw=lambda path: _draw(found, data_prices, path),
    )  # fmt: skip


def _structures(game: Game) -> dict[str, FloatArray]:
    owner = game.catalog.seller_of
    merged = np.where(owner > 0, owner - 1, 0)
    owners = (np.arange(len(owner)), owner, merged)
    prices = [nash(game, owners=of, bounded=False, starts=2).prices for of in owners]
    prices.append(monopoly(game, bounded=False, starts=2).prices)
    return dict(zip(PUBLISHED, prices, strict=True))


def _draw(found: dict[str, FloatArray], data_prices: FloatArray, path: Path) -> Path:
    figure, axis = new_figure()
    order = np.argsort(data_prices)
    for k, (name, prices) in enumerate(found.items()):
        axis.plot(np.arange(len(order)), prices[order], "o", color=COLOURS[k], markersize=4, label=name)
    axis.set_xlabel("product, cheapest first")
    axis.set_ylabel("price (dollars per serving)")
    axis.legend(frameon=False)
    return save_figure(figure, path)
