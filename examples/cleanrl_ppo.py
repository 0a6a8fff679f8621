"""PPO in one file, after CleanRL's ppo_continuous_action.py (https://docs.cleanrl.dev/rl-algorithms/ppo/).

    python examples/cleanrl_ppo.py --total-timesteps 200000

Everything that PPO does stands below and can be changed; the markets are Gymnasium's vector env of this package. Three
things differ from CleanRL's file: actions are clipped here (the env refuses what is outside its space), episodes end by
truncation, so the value of the last observation is bootstrapped, and the first spread of actions is narrow.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn, optim
from torch.distributions.normal import Normal

import malles_env  # noqa: F401  (makes the env known to Gymnasium)


@dataclass
class Args:
    """Settings, each an option of the command."""

    scenario: str = "bertrand-duopoly"
    rivals: str = "cost-plus:0.5"
    seed: int = 0
    total_timesteps: int = 200_000
    learning_rate: float = 1e-3
    num_envs: int = 64
    num_steps: int = 52
    gamma: float = 0.99
    gae_lambda: float = 0.95
    num_minibatches: int = 8
    update_epochs: int = 6
    clip_coef: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    log_std: float = -1.5


def layer_init(layer: nn.Linear, std: float = 2**0.5) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    """A normal policy with a spread of its own per action, and a critic."""

    def __init__(self, inputs: int, outputs: int, log_std: float) -> None:
        super().__init__()

        def network(size: int, std: float) -> nn.Sequential:
            return nn.Sequential(
                layer_init(nn.Linear(inputs, 64)), nn.Tanh(), layer_init(nn.Linear(64, 64)), nn.Tanh(),
                layer_init(nn.Linear(64, size), std=std),
            )  # fmt: skip

        self.critic, self.actor_mean = network(1, 1.0), network(outputs, 0.01)
        self.actor_logstd = nn.Parameter(torch.full((1, outputs), log_std))

    def get_value(self, x: torch.Tensor) -> torch.Tensor:
        return self.critic(x).flatten()

    def get_action_and_value(self, x: torch.Tensor, action: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        mean = self.actor_mean(x)
        chances = Normal(mean, self.actor_logstd.expand_as(mean).exp())
        action = chances.sample() if action is None else action
        return action, chances.log_prob(action).sum(1), chances.entropy().sum(1), self.get_value(x)


def last_values(agent: Agent, infos: dict[str, Any], over: np.ndarray) -> torch.Tensor:
    """Return the critic's value of the observations that ended episodes, 0 elsewhere."""
    values = torch.zeros(len(over))
    if over.any():
        seen = np.stack([infos["final_obs"][i] for i in np.flatnonzero(over)])
        values[over] = agent.get_value(torch.as_tensor(seen))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in fields(Args):
        name = f"--{option.name.replace('_', '-')}"
        parser.add_argument(name, type=type(option.default), default=option.default)
    args = Args(**vars(parser.parse_args()))
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)

    envs = gym.make_vec(
        "malles_env/Pricing-v0", num_envs=args.num_envs, vectorization_mode="vector_entry_point",
        scenario=args.scenario, rivals=args.rivals,
    )  # fmt: skip
    low, high = envs.single_action_space.low, envs.single_action_space.high
    agent = Agent(envs.single_observation_space.shape[0], len(low), args.log_std)
    optimizer = optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    shape = (args.num_steps, args.num_envs)
    obs = torch.zeros(*shape, envs.single_observation_space.shape[0])
    actions = torch.zeros(*shape, len(low))
    logprobs, rewards, dones, values, ends = (torch.zeros(shape) for _ in range(5))
    batch_size = args.num_steps * args.num_envs
    seen, _ = envs.reset(seed=args.seed)
    next_obs, start, profit = torch.as_tensor(seen), time.time(), np.zeros(args.num_envs)

    for iteration in range(1, args.total_timesteps // batch_size + 1):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (
            1.0 - (iteration - 1) * batch_size / args.total_timesteps
        )
        profit[:] = 0.0
        for step in range(args.num_steps):
            obs[step] = next_obs
            with torch.no_grad():
                action, logprobs[step], _, values[step] = agent.get_action_and_value(next_obs)
                actions[step] = action
                seen, reward, terminated, truncated, infos = envs.step(np.clip(action.numpy(), low, high))
                over = terminated | truncated
                ends[step] = last_values(agent, infos, over)  # nobody is terminated: all ends are truncations
            rewards[step], dones[step] = torch.as_tensor(reward), torch.as_tensor(over)
            next_obs, profit = torch.as_tensor(seen), profit + infos["profit"]

        with torch.no_grad():  # generalised advantages; after an episode's end the next market is another one
            advantages, last = torch.zeros(shape), torch.zeros(args.num_envs)
            following = agent.get_value(next_obs)
            for t in reversed(range(args.num_steps)):
                going_on = 1.0 - dones[t]
                nextvalues = following * going_on + ends[t]
                delta = rewards[t] + args.gamma * nextvalues - values[t]
                last = delta + args.gamma * args.gae_lambda * going_on * last
                advantages[t], following = last, values[t]
            returns = advantages + values

        b_obs, b_actions = obs.flatten(0, 1), actions.flatten(0, 1)
        b_logprobs, b_advantages, b_returns = logprobs.flatten(), advantages.flatten(), returns.flatten()
        for _ in range(args.update_epochs):
            order = rng.permutation(batch_size)
            for rows in np.array_split(order, args.num_minibatches):
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs[rows], b_actions[rows])
                ratio = (newlogprob - b_logprobs[rows]).exp()
                gain = b_advantages[rows]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = torch.clamp(ratio, 1.0 - args.clip_coef, 1.0 + args.clip_coef)
                pg_loss = torch.max(-gain * ratio, -gain * clipped).mean()
                v_loss = 0.5 * ((newvalue - b_returns[rows]) ** 2).mean()
                loss = pg_loss - args.ent_coef * entropy.mean() + args.vf_coef * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        if iteration % 10 == 0 or iteration == args.total_timesteps // batch_size:
            speed = int(iteration * batch_size / (time.time() - start))
            print(f"{iteration * batch_size:>8} steps, {speed} per second: profit per episode {profit.mean():.0f}")
    envs.close()


if __name__ == "__main__":
    main()
