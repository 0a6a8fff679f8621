"""The markets of one env runner of RLlib, as a Gymnasium vector env: a slot per market and learning agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from malles_agents.registry import default_rivals
from malles_agents.training.train import SEEDS_PER_PART, Run, first_seed
from malles_env.envs.core.vector_core import VectorCore
from malles_env.errors import InvalidInput
from malles_env.market import TastesMode
from malles_env.scenarios import load_scenario

RUNNERS = 10_000
"""RLlib seeds the env runners of run s with s times this, plus the runner's number."""


@dataclass(frozen=True)
class RunnerTask:
    """What the env runners of a run play.

    Attributes:
        run: The run.
        markets: Of each runner.
        begun: Env steps of the run before; a resumed run takes other seeds.
        trust: Let rivals that are policy files be unpickled whole.
    """

    run: Run
    markets: int
    begun: int = 0
    trust: bool = False

    def seed(self, runner: int, restarts: int) -> int:
        """Return the seed of a runner's first market: the run's own, never a held-out one.

        Args:
            runner: Its number.
            restarts: How often it was lost and began anew: then it has other seeds.
        """
        start = first_seed(self.run.seed, self.begun + restarts)
        return start + runner * self.markets % (SEEDS_PER_PART - self.markets)


class RunnerEnv(VectorEnv[Any, Any, Any]):
    """Markets that start anew in the step after an episode's end, as RLlib expects; infos are empty.

    Args:
        settings: What is played, a `RunnerTask`, under ``task``; RLlib adds the number of envs, which the task has.

    Attributes:
        restarts: How often the runner was lost; to be set before the first reset.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, settings: Mapping[str, Any]) -> None:
        task: RunnerTask = settings["task"]
        run, self.task, self.restarts = task.run, task, 0
        scenario = load_scenario(run.scenario)
        consumers = scenario.build_consumers(run.model, draws=run.tastes == "draws")
        rivals = None
        if run.learner != "all":
            rivals = default_rivals(
                scenario, run.learner, run.rivals, consumers=consumers, history=run.history, trust=task.trust
            )
        self.core = VectorCore(
            scenario, task.markets, learner=run.learner, rivals=rivals, autoreset=False, consumers=consumers,
            tastes=cast(TastesMode, run.tastes), history=run.history,
        )  # fmt: skip
        batch = self.core.market_batch
        self.num_envs = task.markets * len(self.core.agents)
        self.single_observation_space = batch.observation_space()
        self.single_action_space = batch.actions.space(self.core.agents[0])
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._over = np.zeros(task.markets, dtype=bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all episodes anew.

        Args:
            seed: Which runner this is, as RLlib numbers it: see `RUNNERS`; None continues the markets' streams.
            options: Not used.
        """
        if isinstance(seed, list):
            raise InvalidInput("seed: got a list; allowed: one number, from which each market's follows")
        first = None if seed is None else self.task.seed(seed % RUNNERS, self.restarts)
        self._over[:] = False
        return self.core.reset(first).reshape(self.num_envs, -1), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one period in all markets; those whose episode is over start anew instead."""
        shaped = np.asarray(actions).reshape(self.task.markets, len(self.core.agents), -1)
        turn = self.core.step(shaped[:, 0] if self.core.rivals is not None else shaped, self._over)
        self._over, num_agents = turn.over.copy(), len(self.core.agents)
        seen = turn.observations.reshape(self.num_envs, -1).copy()
        nobody = np.zeros(self.num_envs, dtype=bool)
        return seen, turn.rewards.reshape(-1).copy(), nobody, np.repeat(turn.over, num_agents), {}
