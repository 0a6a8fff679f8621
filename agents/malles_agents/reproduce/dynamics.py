"""Dynamic pricing against exact targets: a stock to sell, a stock that caps sales, and remembered prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from malles_agents.planning.exact_stock import StockProblem
from malles_agents.plots import COLOURS, FAINT, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, ResultRow, row
from malles_env.market import ReferencePrice
from malles_env.market.solvers import closed_form
from malles_env.market.solvers.dynamic import (
    ReferencePlan,
    StockPlan,
    finite_stock_plan,
    reference_plan,
    reference_steady_price,
)
from malles_env.scenarios import load_scenario

FRIEDRICH = "Friedrich et al. 2024 (arXiv 2410.18871), published equilibrium prices"
CLOSED = "closed form"


def stock(options: Options) -> Reproduction:
    """Play the exact policy in the engine; compare continuous time and capped-stock prices with their formulas."""
    count, scenario = options.sessions or 2000, load_scenario("clearance")
    plan = StockProblem.of(scenario).plan()
    days = scenario.max_cycles
    market = scenario.market(num_markets=count)
    market.reset(options.seed)
    profit, path = np.zeros(count), np.empty((days, count))
    for day in range(days):
        path[day] = plan.price(days - day, market.state.stock[:, 0])
        profit += market.step(path[day][:, None], True).seller_profit[:, 0]
        options.watch(day + 1, days)
    best, rows = float(plan.value[-1, -1]), []
    played, sample = "profit of the exact policy, played in the engine", f"{count} episodes"
    rows.append(row(played, profit, best, source="backward induction", sample=sample))
    fixed = _best_fixed(scenario, count, options.seed)
    rows.append(row("profit of the best constant price", fixed, sample=f"{count} episodes"))
    for units, potential, value in ((5, 20.0, 6.0004), (1, 10.0, 1.54304), (10, 40.0, 12.69762)):
        name = f"{units} units, {potential:g} buyers at price 0: expected revenue"
        rows.append(ResultRow(name, _fine(units, potential), None, value, "Gallego and van Ryzin 1994, closed form"))
    published = {380: 1.885, 395: 1.843, 410: 1.795, 425: 1.740}
    for units, price in published.items():
        rows.append(
            ResultRow(
                f"Nash price with {units} units for 1000 consumers", _capped_nash(units / 1000), None, price, FRIEDRICH
            )
        )
    return Reproduction(
        "stock", "Stock with a horizon", tuple(rows), {"value": best}, {"sessions": count, "seed": options.seed},
        ("The continuous-time values are approached here with 4000 short periods and 481 prices.",),
        lambda target: _draw_stock(path, plan, target),
    )  # fmt: skip


def _fine(units: int, potential: float) -> float:
    prices = np.linspace(0.2, 5.0, 481)
    plan = finite_stock_plan(prices, potential / 4000 * np.exp(-prices), size=1, stock=units, periods=4000)
    return float(plan.value[-1, units])


def _capped_nash(cap: float) -> float:
    """Return the symmetric price from which no seller wants to move when it can sell at most `cap` per consumer.

    Found without the formula: best replies on a fine grid with sales cut at the stock, from high prices down.
    """
    grid = np.arange(1.2, 2.4, 5e-5)
    price = 2.3
    for _ in range(400):
        rival = np.full_like(grid, price)
        share = closed_form.logit_shares(np.stack([grid, rival], axis=1), [2.0, 2.0], 0.25)[:, 0]
        reply = float(grid[((grid - 1.0) * np.minimum(share, cap)).argmax()])
        if abs(reply - price) < 1e-4:
            return reply
        price = 0.5 * (price + reply)
    return price


def _best_fixed(scenario: object, count: int, seed: int) -> np.ndarray:
    """Return episode profits of the constant price with the highest mean over other seeds."""
    loaded = load_scenario("clearance")
    prices = np.linspace(2.4, 3.2, 33)

    def profits(price: float, first: int) -> np.ndarray:
        market = loaded.market(num_markets=count)
        market.reset(first)
        return np.sum([market.step([[price]], True).seller_profit[:, 0] for _ in range(loaded.max_cycles)], axis=0)

    means = [profits(float(price), seed + 1_000_000).mean() for price in prices]
    return np.asarray(profits(float(prices[int(np.argmax(means))]), seed))


def reference_price(options: Options) -> Reproduction:
    """Follow the exact plan in the engine and compare where it settles with the closed form."""
    rows, paths = [], {}
    published = {0.0: 1.80199, 0.5: 1.77758, 1.0: 1.75599}
    for done, (strength, price) in enumerate(published.items(), 1):
        plan = reference_plan(2.0, 1.0, 0.25, strength, 0.8, 0.95, low=1.6, high=2.0)
        path = _follow(plan, strength)
        paths[strength] = path
        rows.append(
            ResultRow(f"steady price in the engine, strength {strength:g}", float(path[-1]), None, price, CLOSED)
        )
        exact = reference_steady_price(2.0, 1.0, 0.25, strength, 0.8, 0.95)
        rows.append(ResultRow(f"closed form, strength {strength:g}", exact, None, price, CLOSED))
        options.watch(done, len(published))
    return Reproduction(
        "reference-price", "Remembered prices lower the price a patient monopolist asks", tuple(rows),
        {"paths": {f"{strength:g}": path.tolist() for strength, path in paths.items()}},
        {"quality": 2.0, "cost": 1.0, "mu": 0.25, "memory": 0.8, "discount": 0.95},
        draw=lambda target: _draw_reference(paths, target),
    )  # fmt: skip


def _follow(plan: ReferencePlan, strength: float, periods: int = 200) -> np.ndarray:
    from malles_env.consumers import LogitConsumers
    from malles_env.market import Catalog, Market, Population, Product, Tastes

    catalog = Catalog((Product("a", "one", 1.0, 2.0, 1.0, 3.0),))
    tastes = Tastes(alpha=np.array([[8.0]]), beta=np.array([4.0]), price_transform="linear")
    population = Population(1.0, np.ones(1), np.array([[1.0, 0.0]]))
    market = Market(
        catalog, population, LogitConsumers(tastes), demand="expected", reference_price=ReferencePrice(strength, 0.8)
    )
    path = np.empty(periods)
    for t in range(periods):
        path[t] = np.interp(market.state.reference[0, 0], plan.reference, plan.price)
        market.step([[path[t]]], True)
    return path


def _draw_stock(path: np.ndarray, plan: StockPlan, target: Path) -> Path:
    figure, axis = new_figure()
    days = np.arange(1, len(path) + 1)
    low, middle, high = np.percentile(path, [10, 50, 90], axis=1)
    axis.fill_between(days, low, high, color=COLOURS[0], alpha=0.2, label="10th to 90th percentile")
    axis.plot(days, middle, color=COLOURS[0], label="median price of the exact policy")
    axis.plot(days, path[:, 0], color=FAINT, label="one episode")
    axis.set_xlabel("day")
    axis.set_ylabel("price")
    axis.legend(frameon=False, loc="upper left")
    return save_figure(figure, target)


def _draw_reference(paths: dict[float, np.ndarray], target: Path) -> Path:
    figure, axis = new_figure()
    for k, (strength, path) in enumerate(paths.items()):
        axis.plot(path[:60], color=COLOURS[k], label=f"strength {strength:g}")
        exact = reference_steady_price(2.0, 1.0, 0.25, strength, 0.8, 0.95)
        axis.axhline(exact, color=COLOURS[k], linestyle=":", linewidth=0.9)
    axis.set_xlabel("period (dotted: closed form)")
    axis.set_ylabel("price")
    axis.legend(frameon=False)
    return save_figure(figure, target)
