"""What the market costs a learner: SB3's PPO on the demo's scenario, and on an env that does nothing.

Run it as ``python -m benchmarks.training [--steps N] [--json FILE]``. Both have the same spaces, markets and settings:
the demo's, with hidden tastes and eight periods in an observation. The env that does nothing answers every action with
the same observations and rewards. The two take turns, and CPU-seconds of one thread are compared round by round; the
median is given with the lowest and highest round.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its threads

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from malles_agents.demo import AGENT, HISTORY, Demo
from malles_agents.registry import default_rivals
from malles_agents.training.settings import load_settings
from malles_agents.training.train import sb3_arguments
from malles_env.envs import vec_env
from malles_env.scenarios import load_scenario

ROUNDS = 3


class Nothing(VecEnv):
    """An env of the same spaces in which nothing happens; an episode ends after as many steps."""

    def __init__(self, like: VecEnv, cycles: int) -> None:
        super().__init__(like.num_envs, like.observation_space, like.action_space)
        self.shown = np.asarray(like.reset()).copy()
        self.cycles, self.step_number = cycles, 0
        self.rewards, self.running = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, dtype=bool)
        self.over = np.ones(self.num_envs, dtype=bool)
        self.infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]

    def reset(self) -> Any:
        """Return the observations that never change."""
        return self.shown

    def step_async(self, actions: Any) -> None:
        """Count the step."""
        self.step_number += 1

    def step_wait(self) -> Any:
        """Return the same as ever."""
        done = self.over if self.step_number % self.cycles == 0 else self.running
        return self.shown, self.rewards, done, self.infos

    def close(self) -> None:
        """Do nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of this env once per market."""
        return [getattr(self, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse."""
        raise NotImplementedError

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Refuse."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return that nothing is wrapped."""
        return [False] * self.num_envs


def demo_env() -> VecEnv:
    """Return the demo's markets with hidden tastes, for one learner."""
    market = load_scenario(Demo().scenario)
    consumers = market.build_consumers(Demo().model, draws=True)
    number = int(load_settings("ppo", tastes="draws")["num_markets"])
    rivals = default_rivals(market, AGENT, consumers=consumers, history=HISTORY)
    return vec_env(
        market, num_markets=number, learner=AGENT, rivals=rivals, consumers=consumers, tastes="draws", history=HISTORY
    )


def demo_arguments(env: VecEnv) -> dict[str, Any]:
    """Return the demo's settings of PPO as arguments of its class."""
    settings = load_settings("ppo", scenario=Demo().scenario, tastes="draws")
    settings.pop("num_markets")
    return sb3_arguments(settings, env)


def learned(env: VecEnv, steps: int) -> float:
    """Return the CPU-seconds that PPO takes to learn `steps` periods of an env."""
    model = PPO(env=env, seed=0, device="cpu", **demo_arguments(env))
    began = time.process_time()
    model.learn(steps)
    return time.process_time() - began


def main(
    steps: Annotated[int, typer.Option(min=1, help="Periods to learn in each round.")] = 100_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Train in both envs by turns and print the ratio."""
    torch.set_num_threads(1)
    env = demo_env()
    nothing = Nothing(env, env.max_cycles)
    learned(env, 1), learned(nothing, 1)  # compile and load
    rows = np.array([(learned(env, steps), learned(nothing, steps)) for _ in range(ROUNDS)])
    ratio = rows[:, 0] / rows[:, 1]
    table = Table(title=f"PPO on {Demo().scenario}: CPU-seconds for {steps:,} periods, {ROUNDS} rounds")
    for column in ("env", "median", "lowest - highest"):
        table.add_column(column, justify="left" if column == "env" else "right")
    for name, values in (("the market", rows[:, 0]), ("an env that does nothing", rows[:, 1]), ("ratio", ratio)):
        table.add_row(name, f"{np.median(values):.2f}", f"{values.min():.2f} - {values.max():.2f}")
    Console(width=100).print(table)
    if json_file is not None:
        found = {"market_s": rows[:, 0].tolist(), "nothing_s": rows[:, 1].tolist(), "ratio": float(np.median(ratio))}
        json_file.write_text(json.dumps({"steps": steps, **found}, indent=1))


if __name__ == "__main__":
    typer.run(main)
