"""Language models as sellers: on the leaderboard, or two of them in the textbook duopoly under two prompt prefixes.

    python examples/language_sellers.py --model smollm2 --periods 50
    malles tournament --entry examples/language_sellers.py

Large models that were told the same aim in slightly different words asked different prices (Fish, Gonczarowski,
Shorrer 2024, "Algorithmic Collusion by Large Language Models"). The prefixes here are our own words for the two
tendencies. Small models mostly do not understand the task.
"""

import argparse
from functools import cache

import numpy as np

from malles_agents.evaluate import play
from malles_agents.language_seller import LONG_RUN, SELL_MORE, LanguageSeller
from malles_agents.oracles import benchmarks_of
from malles_agents.seat import Seat
from malles_env.consumers.language import CachedModel, LanguageModel, LocalModel


@cache
def model(name: str = "smollm2") -> LanguageModel:
    """Return the model with its answers kept on disk, loaded once."""
    return CachedModel(LocalModel.load(name))


def make_seller(seat: Seat) -> LanguageSeller:
    """Return the seller for a seat; `malles tournament` calls this for every scenario and seat."""
    return LanguageSeller(seat, model())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="smollm2, a local path or a hub id")
    parser.add_argument("--periods", type=int, default=50)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seeds", type=int, default=3, help="episodes per prefix")
    args = parser.parse_args()
    known = benchmarks_of(Seat.of("bertrand-duopoly", "seller_0"))
    low, high = known.nash.prices.mean(), known.monopoly.prices.mean()
    for name, prefix in (("long run", LONG_RUN), ("sell more", SELL_MORE)):
        found = []
        for seed in range(args.seeds):
            first, second = (
                LanguageSeller(Seat.of("bertrand-duopoly", agent), model(args.model), prefix=prefix,
                               temperature=args.temperature, seed=2 * seed + n)
                for n, agent in enumerate(("seller_0", "seller_1"))
            )  # fmt: skip
            told = play("bertrand-duopoly", first, rivals={"seller_1": second}, episodes=1, max_cycles=args.periods)
            found.append(told.prices[args.periods // 2 :].mean())
        error = np.std(found, ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
        print(f"{name}: mean price {np.mean(found):.3f} ± {error:.3f} (Nash {low:.3f}, joint maximum {high:.3f})")


if __name__ == "__main__":
    main()
