"""A market in Python: no file, a reward and an observation of one's own, and sellers that are plain functions.

    python examples/python_market.py --periods 12

See docs/guide/python-market.md for each step in words.
"""

from __future__ import annotations

import argparse

import numpy as np

from malles_env import Recording, Scenario, parallel_env, vec_env


def coffee_market() -> Scenario:
    roast = {"unit_cost": 1.0, "regular_price": 2.5, "price_low": 1.1, "price_high": 3.5}
    return Scenario(
        name="coffee",
        title="Coffee in a small town",
        sellers=[{"name": "roaster"}, {"name": "chain"}],
        products=[
            {"product_id": "house_blend", "seller": "roaster", **roast},
            {"product_id": "chain_blend", "seller": "chain", **roast, "unit_cost": 0.8},
        ],
        segments=[{"name": "loyal", "weight": 0.4}, {"name": "price_aware", "weight": 0.6}],
        population_size=1000.0,
        consumers={
            "kind": "logit",
            "tastes": {"alpha": [[2.0, 0.5], [1.0, 1.0]], "beta": [1.5, 4.0], "lambda_": [1.0, 0.0]},
        },
        reward_scale=500.0,
    )


def profit_and_surplus(outcome):
    """Reward of every seller: its profit and a tenth of what consumers gain, in hundreds."""
    return (outcome.seller_profit + 0.1 * outcome.consumer_surplus[:, None]) / 100.0


def prices_and_time(seen):
    """What sellers see: their own and the rivals' last prices, and how much of the episode is over."""
    return np.concatenate([seen["own_price"], seen["rivals_price"], seen["time"]], axis=-1)


def undercut(seen):
    """A seller that is a plain function: a little below the rival's last price, always on the shelf."""
    price = np.clip(seen[:, 1:2] - 0.1, -1.0, 1.0)  # the second number is the rival's price, see prices_and_time
    return np.concatenate([price, np.ones_like(price)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, default=12)
    args = parser.parse_args()

    scenario = coffee_market().with_seller("newcomer", like="chain")
    print(scenario)

    env = parallel_env(scenario, max_cycles=args.periods)
    recording = Recording(catalog=env.catalog)
    env.reset(seed=0)
    while env.agents:
        env.step({agent: env.encode_action(agent, prices=[2.0], listed=[True]) for agent in env.agents})
        recording.add(env.outcome)
    table = recording.to_polars().select("seller", "units", "profit")
    print(table.group_by("seller", maintain_order=True).sum())

    markets = vec_env(
        coffee_market(), num_markets=64, learner="seller_0", rivals=undercut, max_cycles=args.periods,
        reward_fn=profit_and_surplus, observation_fn=prices_and_time,
    )  # fmt: skip
    markets.seed(0)
    markets.reset()
    total = np.zeros(64)
    for _ in range(args.periods):
        _observations, rewards, _dones, _infos = markets.step(np.tile(np.float32([0.5, 1.0]), (64, 1)))
        total += rewards
    print(f"{markets}: mean return {total.mean():.1f}")


if __name__ == "__main__":
    main()
