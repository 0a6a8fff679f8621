"""Enter a seller of your own: anything with SB3's `predict` can be compared with the sellers that are shipped.

    python examples/evaluate_seller.py --scenario bertrand-duopoly --episodes 16

This one undercuts the cheapest rival by a little, but never sells below cost.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from malles_agents.evaluation.evaluate import compare, summary
from malles_agents.registry import make_seller
from malles_agents.sellers.rules import RuleSeller, best_sellers


class Undercutter(RuleSeller):
    """Asks a little less than the mean of the rivals' last prices, at least unit cost plus 5%."""

    def decide(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return prices in money and listings of the seller's products, one row per market."""
        seen = self.view.read(observation)
        rival = np.setdiff1d(np.arange(seen.prices.shape[1]), self.view.products)
        asked = np.where(seen.listed[:, rival], seen.prices[:, rival], np.nan)
        target = 0.98 * np.nanmean(asked, axis=1, keepdims=True)
        prices = np.maximum(target, 1.05 * self.view.unit_cost)
        return prices, np.tile(best_sellers(self.view, self.view.regular_price), (len(prices), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--episodes", type=int, default=16)
    args = parser.parse_args()

    best = make_seller("best-response", args.scenario)
    sellers: dict[str, list[Any]] = {
        "undercutter": [Undercutter(best.view)],
        "best-response": [best],
        "cost-plus:0.4": [make_seller("cost-plus:0.4", args.scenario)],
    }
    for kind, runs in compare(args.scenario, sellers, episodes=args.episodes).items():
        profit = summary(runs)["profit"]
        print(f"{kind:15} profit per episode {profit['mean']:10.0f} (s.e. {profit['se']:.0f})")


if __name__ == "__main__":
    main()
