"""sb3-contrib's two extra PPOs as sellers: with masks of choices that make no sense, and with a memory.

    python examples/sb3_contrib_sellers.py --algo maskable --scenario clearance
    python examples/sb3_contrib_sellers.py --algo recurrent --scenario soft-drinks

Masks (https://sb3-contrib.readthedocs.io/en/master/modules/ppo_mask.html) belong to discrete actions: a product that is
sold out can only be "not listed". A memory (.../modules/ppo_recurrent.html) helps where tastes are hidden
(tastes="draws"): what the seller's own prices taught it is not in any one observation.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO

import malles_env


def make_markets(args: argparse.Namespace) -> Any:
    settings: dict[str, Any] = {"action_mode": "discrete"} if args.algo == "maskable" else {"tastes": args.tastes}
    rivals = None if args.scenario == "clearance" else "cost-plus:0.5"
    return malles_env.vec_env(
        args.scenario, num_markets=args.markets, learner="seller_0", rivals=rivals, seed=args.seed, **settings
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=["maskable", "recurrent"], default="maskable")
    parser.add_argument("--scenario", default="clearance")
    parser.add_argument("--tastes", default="mean")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--markets", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)

    markets = make_markets(args)
    shared: dict[str, Any] = {
        "learning_rate": 1e-3, "n_steps": markets.max_cycles, "batch_size": markets.max_cycles * args.markets // 8,
        "gamma": 0.999, "seed": args.seed, "device": "cpu",
    }  # fmt: skip
    if args.algo == "maskable":
        model: Any = MaskablePPO("MlpPolicy", markets, **shared)
    else:
        model = RecurrentPPO("MlpLstmPolicy", markets, policy_kwargs={"log_std_init": -1.5}, **shared)
    model.learn(args.steps)

    markets.seed(1_000_000_000)
    observation, state, total = markets.reset(), None, np.zeros(args.markets)
    start = np.ones(args.markets, dtype=bool)
    for _ in range(markets.max_cycles):
        if args.algo == "maskable":
            masks = np.stack(markets.env_method("action_masks"))
            action, state = model.predict(observation, deterministic=True, action_masks=masks)
        else:
            action, state = model.predict(observation, state, start, deterministic=True)
        observation, reward, start, _ = markets.step(action)
        total += reward * markets.scenario.reward_scale
    error = total.std() / args.markets**0.5
    print(f"{args.algo} PPO, profit per episode: {total.mean():.0f} {markets.scenario.currency} (s.e. {error:.0f})")


if __name__ == "__main__":
    main()
