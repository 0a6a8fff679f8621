"""skrl's PPO on the vector env: one seller learns in many markets at once.

    python examples/skrl_ppo.py --steps 1000

skrl (https://skrl.readthedocs.io) wraps Gymnasium's vector envs as they are. Its policies are unbounded normal ones,
and the env refuses what is outside its action space: `clip_actions` keeps them inside.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

import malles_env  # noqa: F401  (makes the env known to Gymnasium)

CYCLES = 52
NETWORK = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "tanh"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--rivals", default="cost-plus:0.5")
    parser.add_argument("--steps", type=int, default=1000, help="periods of each market")
    parser.add_argument("--markets", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_seed(args.seed)

    markets = gym.make_vec(
        "malles_env/Pricing-v0", num_envs=args.markets, vectorization_mode="vector_entry_point",
        scenario=args.scenario, rivals=args.rivals, max_cycles=CYCLES,
    )  # fmt: skip
    env = wrap_env(markets)
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    policy = gaussian_model(
        **spaces, network=NETWORK, output="ACTIONS", clip_actions=True, initial_log_std=-1.5, min_log_std=-5.0
    )
    value = deterministic_model(**spaces, network=NETWORK, output="ONE")
    settings = PPO_CFG(
        rollouts=CYCLES, learning_epochs=6, mini_batches=8, learning_rate=1e-3, discount_factor=0.99,
        time_limit_bootstrap=True,
    )  # fmt: skip
    settings.experiment.write_interval = settings.experiment.checkpoint_interval = 0
    agent = PPO(
        models={"policy": policy, "value": value}, memory=RandomMemory(memory_size=CYCLES, num_envs=args.markets),
        cfg=settings, **spaces,
    )  # fmt: skip
    trainer = SequentialTrainer(
        env=env, agents=agent, cfg={"timesteps": args.steps, "disable_progressbar": True, "headless": True}
    )
    trainer.train()

    seen, _ = markets.reset(seed=1_000_000_000)
    profit = np.zeros(args.markets)
    with torch.no_grad():
        for _ in range(CYCLES):
            _, outputs = policy.act({"observations": torch.as_tensor(seen)}, role="policy")
            actions = torch.clamp(outputs["mean_actions"], -1.0, 1.0).numpy()
            seen, _, _, _, infos = markets.step(actions)
            profit += infos["profit"]
    print(f"skrl PPO, profit per episode: {profit.mean():.0f} (s.e. {profit.std() / args.markets**0.5:.0f})")


if __name__ == "__main__":
    main()
