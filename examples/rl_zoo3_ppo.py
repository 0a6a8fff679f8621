"""RL Baselines3 Zoo on a market: its training script with hyperparameters from this file.

    python examples/rl_zoo3_ppo.py --steps 50000 --folder runs/zoo

The Zoo (https://rl-baselines3-zoo.readthedocs.io) reads the dict `hyperparams` of a Python module; the same in a shell,
from the folder of this file, is

    python -m rl_zoo3.train --algo ppo --env malles_env/Pricing-v0 --gym-packages malles_env --conf-file rl_zoo3_ppo

and with `-optimize` it searches them with Optuna. The Zoo steps copies of the Gymnasium env one by one:
`malles_env.vec_env` is much faster, and what `malles train` uses.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

ENV = "malles_env/Pricing-v0"
hyperparams: dict[str, dict[str, Any]] = {
    ENV: {
        "n_envs": 8,
        "n_timesteps": 50_000,
        "policy": "MlpPolicy",
        "n_steps": 208,
        "batch_size": 208,
        "n_epochs": 6,
        "learning_rate": 1e-3,
        "gae_lambda": 0.98,
        "policy_kwargs": "dict(log_std_init=-1.5)",
    }
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--rivals", default="cost-plus:0.5")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="runs/zoo")
    args = parser.parse_args()

    from rl_zoo3.train import train

    settings = [f"scenario:'{args.scenario}'", f"rivals:'{args.rivals}'"]
    sys.argv = [
        "rl_zoo3.train", "--algo", "ppo", "--env", ENV, "--gym-packages", "malles_env", "--conf-file", "rl_zoo3_ppo",
        "--env-kwargs", *settings, "--eval-env-kwargs", *settings, "-n", str(args.steps),
        "--eval-freq", str(args.steps), "--eval-episodes", "8", "--seed", str(args.seed), "-f", args.folder,
        "--device", "cpu", "--num-threads", "1",
    ]  # fmt: skip
    train()


if __name__ == "__main__":
    main()
