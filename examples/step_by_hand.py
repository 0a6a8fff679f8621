"""Play one market by hand: two sellers, prices and listings in money, PettingZoo's parallel interface.

    python examples/step_by_hand.py --scenario bertrand-duopoly --periods 5

See https://pettingzoo.farama.org/api/parallel/ for the interface.
"""

from __future__ import annotations

import argparse

import malles_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--periods", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    env = malles_env.parallel_env(args.scenario, max_cycles=args.periods)
    catalog = env.catalog
    observations, infos = env.reset(seed=args.seed)
    numbers = len(observations["seller_0"])
    print(f"{catalog.num_sellers} sellers, {catalog.num_products} products, observations of {numbers} numbers")

    while env.agents:
        actions = {}
        for n, agent in enumerate(env.agents):
            own = catalog.products_of(n)
            listed = [i < catalog.shelf[n] for i in range(len(own))]
            actions[agent] = env.encode_action(agent, prices=catalog.unit_cost[own] * (1.4 + 0.1 * n), listed=listed)
        observations, _rewards, _terminations, _truncations, infos = env.step(actions)
        print("   ".join(f"{agent}: profit {info['profit']:9.2f}" for agent, info in infos.items()))
    env.close()


if __name__ == "__main__":
    main()
