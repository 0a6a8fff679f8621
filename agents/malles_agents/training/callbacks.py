"""What happens beside learning: the curve, checkpoints, TensorBoard and word of progress."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from malles_agents.training.interruption import Request
from malles_agents.training.run_record import RunRecord
from malles_agents.training.run_state import add_state

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Keeper(BaseCallback):
    """Counts profit per episode, keeps checkpoints and the learning curve.

    Args:
        record: Of the run.
        steps: Where training ends, in env steps over all markets.
        every: Env steps between checkpoints.
        reward_scale: Money per unit of reward.
        watch: Called after each rollout with steps done and mean profit per episode.
        request: Looked at between rollouts; where somebody asked to stop, a checkpoint is kept first.

    Attributes:
        running: Reward of the episodes under way, to go on from; None begins all.
    """

    def __init__(
        self,
        record: RunRecord,
        steps: int,
        every: int,
        reward_scale: float,
        watch: Callable[[int, float], object] | None = None,
        request: Request | None = None,
    ) -> None:
        super().__init__()
        self.record, self.steps, self.every, self.reward_scale = record, steps, every, reward_scale
        self.watch, self.request = watch, request
        self.running: np.ndarray | None = None
        self._ended: list[float] = []

    def _on_training_start(self) -> None:
        self._running = np.zeros(self.training_env.num_envs) if self.running is None else self.running.copy()

    def _on_step(self) -> bool:
        self._running += self.locals["rewards"]
        done = np.asarray(self.locals["dones"], dtype=bool)
        if done.any():
            self._ended.extend((self._running[done] * self.reward_scale).tolist())
            self._running[done] = 0.0
        return True

    def _on_rollout_end(self) -> None:
        profit = nan
        if self._ended:
            profit = float(np.mean(self._ended))
            self.record.add(self.num_timesteps, profit)
            self.logger.record("malles/profit_per_episode", profit)
            self._ended.clear()
        if self.watch is not None:
            self.watch(self.num_timesteps, profit)

    def _on_rollout_start(self) -> None:
        asked = self.request is not None and self.request.number is not None
        if self.num_timesteps - self.record.kept >= self.every or (asked and self.num_timesteps > self.record.kept):
            self.keep(self.model)
        if self.request is not None:
            self.request.obey()

    def keep(self, model: BaseAlgorithm) -> None:
        """Write a checkpoint and the curve so far, each whole or not at all."""

        def write(buffer: BytesIO) -> None:
            model.save(buffer)
            add_state(buffer, model, self._running)

        self.record.keep(model.num_timesteps, write)
