"""RLlib's PPO, new API stack: one policy for all sellers, or one of their own for each.

    python examples/rllib_ppo.py --policies shared --iterations 20
    python examples/rllib_ppo.py --policies own

RLlib (https://docs.ray.io/en/latest/rllib) takes PettingZoo's parallel envs through its wrapper. `--env-runners 2`
plays in two processes besides; a `ray start --head` and `--address auto` spread them over machines.
"""

from __future__ import annotations

import argparse
from typing import Any

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

import malles_env


def make_market(settings: dict[str, Any]) -> ParallelPettingZooEnv:
    return ParallelPettingZooEnv(malles_env.parallel_env(**settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="bertrand-duopoly")
    parser.add_argument("--policies", choices=["shared", "own"], default="shared")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2080, help="periods per iteration")
    parser.add_argument("--env-runners", type=int, default=0)
    parser.add_argument("--address", default=None, help="of a running cluster; default a local one")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ray.init(
        address=args.address, num_cpus=None if args.address else args.env_runners + 1, include_dashboard=False,
        log_to_driver=False,
    )  # fmt: skip

    register_env("pricing", make_market)
    agents = malles_env.parallel_env(args.scenario).possible_agents
    names = ["shared"] if args.policies == "shared" else agents
    config = (
        PPOConfig()
        .environment("pricing", env_config={"scenario": args.scenario})
        .env_runners(num_env_runners=args.env_runners, rollout_fragment_length="auto")
        .multi_agent(
            policies=set(names),
            policy_mapping_fn=lambda agent, episode, **kwargs: "shared" if names == ["shared"] else agent,
        )
        .rl_module(
            rl_module_spec=MultiRLModuleSpec(rl_module_specs={name: RLModuleSpec() for name in names}),
            model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh"),
        )
        .training(lr=1e-3, gamma=0.99, train_batch_size_per_learner=args.batch, minibatch_size=260, num_epochs=6)
        .debugging(seed=args.seed)
    )
    algorithm = config.build_algo()
    for _ in range(args.iterations):
        found = algorithm.train()
    returns = found["env_runners"]["agent_episode_returns_mean"]
    listed = ", ".join(f"{agent} {returns[agent]:.2f}" for agent in agents)
    print(f"RLlib PPO, {args.policies} policies: mean episode return {listed}")
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
