"""Train Stable-Baselines3's PPO as one seller in many markets at once, with nothing of malles_agents but the rivals.

    python examples/train_ppo.py --scenario bertrand-duopoly --steps 100000

See https://stable-baselines3.readthedocs.io/en/master/modules/ppo.html for PPO's arguments. Two things matter here:
a narrow first spread of actions (log_std_init), since the prices worth asking fill a small part of [-1, 1], and whole
episodes per rollout (n_steps).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from stable_baselines3 import PPO

import malles_env
from malles_agents.registry import default_rivals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--markets", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)

    scenario = malles_env.load_scenario(args.scenario)
    rivals = default_rivals(scenario, "seller_0", "cost-plus:0.5")
    markets = malles_env.vec_env(scenario, num_markets=args.markets, learner="seller_0", rivals=rivals)
    model = PPO(
        "MlpPolicy", markets, learning_rate=1e-3, n_steps=52, batch_size=52 * args.markets // 8, n_epochs=6,
        gae_lambda=0.98, policy_kwargs={"log_std_init": -1.5}, seed=args.seed, device="cpu",
    )  # fmt: skip
    model.learn(args.steps)
    if args.save:
        model.save(args.save)

    markets.seed(1_000_000_000)
    observation, total = markets.reset(), np.zeros(args.markets)
    for _ in range(markets.max_cycles):
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, _, _ = markets.step(action)
        total += reward * scenario.reward_scale
    print(f"profit per episode: {total.mean():.0f} {scenario.currency} (s.e. {total.std() / args.markets**0.5:.0f})")


if __name__ == "__main__":
    main()
