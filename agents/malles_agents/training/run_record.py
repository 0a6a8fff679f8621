"""What a training run writes down beside its policy: the learning curve and whole checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from malles_agents.checkpoints import prune, write_whole
from malles_env.errors import MallesError
from malles_env.files import read_json, write_json

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


@dataclass
class RunRecord:
    """The learning curve and the checkpoints in a run's folder.

    Attributes:
        out: The run's folder.
        curve: One row per rollout in which episodes ended: steps, profit per episode and seconds since the run began.
        kept: Steps of the newest checkpoint.
    """

    out: Path
    curve: list[dict[str, float]] = field(default_factory=list)
    kept: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self.start(self.kept)

    def start(self, steps: int) -> None:
        """Go on from a checkpoint: its curve, and the clock where the curve ends.

        Args:
            steps: Of the checkpoint; 0 begins anew.
        """
        path = self.out / "curve.json"
        self.curve = [row for row in read_json(path) if row["steps"] <= steps] if steps and path.exists() else []
        self.kept = steps
        self.began = time.monotonic() - (self.curve[-1]["seconds"] if self.curve else 0.0)

    def add(self, steps: int, profit: float) -> None:
        """Add a rollout to the curve.

        Args:
            steps: Done so far.
            profit: Mean per episode that ended in it.
        """
        self.curve.append({"steps": steps, "profit": profit, "seconds": time.monotonic() - self.began})

    def keep(self, steps: int, write: Callable[[BytesIO], object]) -> None:
        """Write a checkpoint and the curve so far, each whole or not at all.

        Args:
            steps: Done so far.
            write: Writes the checkpoint.
        """
        folder = self.out / "checkpoints"
        write_json(self.out / "curve.json", self.curve, allow_nan=False)
        write_whole(folder / f"checkpoint_{steps:09d}.zip", write)
        prune(folder)
        self.kept = steps


def finite(model: BaseAlgorithm) -> bool:
    """Return whether all weights of a policy are finite."""
    return all(bool(weights.isfinite().all()) for weights in model.policy.parameters())


def diverged(model: BaseAlgorithm, out: Path) -> MallesError:
    """Return the error of a run whose policy gives no finite numbers any more."""
    return MallesError(
        f"{out}: training diverged: after {model.num_timesteps:,} steps the policy gives no finite numbers; allowed: "
        "smaller steps, e.g. Run(settings={'learning_rate': 0.0003}); the checkpoints stay"
    )
