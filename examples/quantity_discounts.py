"""Quantity discounts: what one seller earns when it alone may post them in the wholesale market.

    python examples/quantity_discounts.py --threshold 6 --most 0.25

The block `tiers` is laid over the bundled scenario, whose dealers order one to a dozen cases at a time. For each
seller, rivals at regular prices, the best constant list prices are searched without a discount, and then the best
constant list prices and discounts; both product by product on a grid with expected demand. The last column checks the
gain on sampled episodes, the same seeds for both. Described in docs/guide/tiers.md.
"""

import argparse

import numpy as np

from malles_env.market import Market, Outcome
from malles_env.scenarios import Scenario, load_scenario

ROUNDS = 3


def play(market: Market, prices: np.ndarray, tier: np.ndarray, listed: np.ndarray, periods: int) -> list[Outcome]:
    return [market.step(prices, listed, tier_prices=tier) for _ in range(periods)]


def usual_shelf(scenario: Scenario) -> np.ndarray:
    """What fits on the shelves, the products with the largest margins at regular prices first."""
    catalog = scenario.catalog()
    margin, listed = catalog.regular_price - catalog.unit_cost, np.zeros(catalog.num_products, bool)
    for seller in range(catalog.num_sellers):
        own = catalog.products_of(seller)
        listed[own[np.argsort(-margin[own])][: catalog.shelf[seller]]] = True
    return listed


def search(scenario: Scenario, seller: int, depths: np.ndarray, periods: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Best list and tier prices of a seller, and its profit over `periods`."""
    catalog, listed = scenario.catalog(), usual_shelf(scenario)
    price, depth, best = catalog.regular_price.copy(), np.zeros(catalog.num_products), -np.inf
    for _ in range(ROUNDS):
        for j in catalog.products_of(seller):
            if not listed[j]:
                continue
            grid = np.linspace(catalog.price_low[j], catalog.price_high[j], 77)
            low = catalog.price_low[j]
            pairs = np.array([(p, d) for p in grid for d in depths if d == 0.0 or p * (1.0 - d) >= low])
            prices, cuts = np.tile(price, (len(pairs), 1)), np.tile(depth, (len(pairs), 1))
            prices[:, j], cuts[:, j] = pairs.T
            played = play(scenario.market(len(pairs), "expected"), prices, prices * (1.0 - cuts), listed, periods)
            profit = sum(outcome.seller_profit[:, seller] for outcome in played)
            if profit.max() > best:
                best, price, depth = profit.max(), prices[profit.argmax()], cuts[profit.argmax()]
    return price, price * (1.0 - depth), float(best)


def sampled_gain(scenario: Scenario, seller: int, offers: list[tuple[np.ndarray, np.ndarray]], periods: int) -> str:
    profit = []
    for prices, tier in offers:
        market = scenario.market(200)
        market.reset(0)
        played = play(market, prices, tier, usual_shelf(scenario), periods)
        profit.append(sum(outcome.seller_profit[:, seller] for outcome in played))
    gain = profit[1] / profit[0].mean() - profit[0] / profit[0].mean()
    return f"{gain.mean():+.2%} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threshold", type=int, default=6, help="cases of an order that has the tier price")
    parser.add_argument("--most", type=float, default=0.25, help="deepest discount, share of the list price")
    parser.add_argument("--periods", type=int, default=52)
    args = parser.parse_args()
    block = {"tiers": {"threshold": args.threshold, "most": args.most}}
    scenario = Scenario.model_validate(load_scenario("wholesale").model_dump() | block)
    catalog, listed = scenario.catalog(), usual_shelf(scenario)
    print("seller      profit without -> with a discount   gain    surplus  at tier  sampled gain")
    for seller, name in enumerate(catalog.sellers):
        single, _, without = search(scenario, seller, np.zeros(1), args.periods)
        prices, tier, best = search(scenario, seller, np.linspace(0.0, args.most, 26), args.periods)
        own = [j for j in catalog.products_of(seller) if listed[j]]
        offers = [(single, single), (prices, tier)]
        outcomes = [play(scenario.market(1, "expected"), p, t, listed, args.periods) for p, t in offers]
        surplus = [sum(float(outcome.consumer_surplus[0]) for outcome in played) for played in outcomes]
        units = [sum(getattr(o, what)[0, own].sum() for o in outcomes[1]) for what in ("tier_units", "units")]
        print(
            f"{name:<11} {without:>12,.0f} -> {best:>12,.0f} {best / without - 1.0:>13.2%}"
            f" {surplus[1] - surplus[0]:>+10,.0f} {units[0] / units[1]:>8.0%}"
            f"  {sampled_gain(scenario, seller, offers, args.periods)}"
        )
        for j in own:
            words = f"single {single[j]:6.2f}   list {prices[j]:6.2f}, tier {tier[j]:6.2f}"
            print(f"  {catalog.product_ids[j]:<20} {words}")


if __name__ == "__main__":
    main()
