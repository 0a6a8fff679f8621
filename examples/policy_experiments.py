"""Policy experiments: a sales tax, a price cap, the entry of a seller and a merger, each beside its closed form.

    python examples/policy_experiments.py --out runs/policy

In the textbook duopoly every answer is known: a sales tax t acts like the unit cost c (1 + t); a merged duopoly asks
the joint-profit price; a cap below the Nash price binds; before its rival enters, a seller is a monopolist. The figure
shows what the solver finds and what the formulas say. The last part merges two sellers of the cereal market, where
consumer types differ and no formula holds.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from malles_env.market.solvers import closed_form
from malles_env.market.solvers.equilibrium import nash
from malles_env.market.solvers.game import Game
from malles_env.scenarios import Scenario, load_scenario

QUALITY, COST, MU = [2.0, 2.0], 1.0, 0.25


def nash_price(scenario: Scenario, bounded: bool = False) -> float:
    return float(nash(Game.of(scenario.market()), bounded=bounded, starts=1).prices[0])


def taxes(duopoly: Scenario, axis: plt.Axes) -> None:
    rates = np.linspace(0.0, 0.4, 9)
    found = [nash_price(duopoly.with_policy(sales_tax=float(rate))) for rate in rates]
    exact = [closed_form.nash(QUALITY, COST * (1 + rate), [0, 1], MU).prices[0] for rate in rates]
    worst = np.abs(np.subtract(found, exact)).max()
    print(f"sales tax: solver and formula differ by at most {worst:.1e}")
    axis.plot(rates, found, "o", label="solver")
    axis.plot(rates, exact, label="formula: unit cost c (1 + t)")
    axis.set(title="Sales tax", xlabel="tax rate", ylabel="Nash price, tax included (money)")


def cap(duopoly: Scenario, axis: plt.Axes) -> None:
    caps = np.linspace(1.3, 1.7, 9)
    found = [nash_price(duopoly.with_policy(price_cap=float(c)), bounded=True) for c in caps]
    exact = np.minimum(caps, closed_form.nash(QUALITY, COST, [0, 1], MU).prices[0])
    print(f"price cap: solver and formula differ by at most {np.abs(found - exact).max():.1e}")
    axis.plot(caps, found, "o", label="solver")
    axis.plot(caps, exact, label="formula: the lower of cap and Nash")
    axis.set(title="Price cap", xlabel="cap (money)", ylabel="Nash price (money)")


def entry(duopoly: Scenario, axis: plt.Axes) -> None:
    market = duopoly.with_policy(entry={"seller_b": 10}).market(demand="expected")
    alone = closed_form.joint_optimum(QUALITY[:1], COST, MU)
    both = closed_form.nash(QUALITY, COST, [0, 1], MU)
    prices = [alone.prices[0]] * 10 + [both.prices[0]] * 10
    profit = [market.step([[p, both.prices[1]]], True).seller_profit[0, 0] for p in prices]
    exact = [1000 * alone.profit[0]] * 10 + [1000 * both.profit[0]] * 10
    print(f"entry: engine and formula differ by at most {np.abs(np.subtract(profit, exact)).max():.1e}")
    axis.plot(profit, "o", label="engine")
    axis.plot(exact, label="formula: monopoly, then Nash")
    axis.set(title="Entry of the second seller in period 10", xlabel="period", ylabel="first seller's profit (money)")


def merger(duopoly: Scenario, axis: plt.Axes) -> None:
    apart = nash_price(duopoly)
    together = nash_price(duopoly.with_policy(mergers=[["seller_a", "seller_b"]]))
    exact = closed_form.joint_optimum(QUALITY, COST, MU).prices[0]
    print(f"merger of the duopoly: {apart:.5f} to {together:.5f}, formula {exact:.5f}")
    cereal = load_scenario("cereal")
    merged = cereal.with_policy(mergers=[["firm_1", "firm_2"]])
    before, after = (nash(Game.of(s.market()), bounded=False, starts=1).prices for s in (cereal, merged))
    change = 100 * (after / before - 1)
    print(f"merger in the cereal market: mean price {before.mean():.5f} to {after.mean():.5f}")
    inside = np.array([product.seller in ("firm_1", "firm_2") for product in cereal.products])
    axis.bar(np.flatnonzero(inside), change[inside], label="merging sellers")
    axis.bar(np.flatnonzero(~inside), change[~inside], label="others")
    names = [product.product_id for product in cereal.products]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set(title="Merger of firm_1 and firm_2, cereal", ylabel="price change (%)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Policy experiments with closed-form checks.")
    parser.add_argument("--out", type=Path, default=Path("runs/policy"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    duopoly = load_scenario("bertrand-duopoly")
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    legends = ("upper left", "lower right", "upper right", "upper right")
    for draw, axis, place in zip((taxes, cap, entry, merger), axes.flat, legends, strict=True):
        draw(duopoly, axis)
        axis.legend(frameon=False, loc=place)
    figure.savefig(out / "policy.png", dpi=130)
    print(f"picture: {out / 'policy.png'}")


if __name__ == "__main__":
    main()
