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
    from torch import nn


@dataclass
class RunRecord:
    """The learning curve and the checkpoints in a run's folder.

    Attributes:
        out: The run's folder.
        kept: Steps of the newest checkpoint, from which the run goes on; 0 begins anew.
        curve: One row per rollout in which episodes ended: steps, profit per episode and seconds since the run began.
    """

    out: Path
    kept: int = 0
    curve: list[dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the curve up to the checkpoint, and let the clock go on where the curve ends."""
        path = self.out / "curve.json"
        old = read_json(path) if self.kept and path.exists() else []
        self.curve = [row for row in old if row["steps"] <= self.kept]
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


def finite(policy: nn.Module) -> bool:
    """Return whether all weights of a policy are finite."""
    return all(bool(weights.isfinite().all()) for weights in policy.parameters())


def diverged(steps: int, out: Path) -> MallesError:
    """Return the error of a run whose policy gives no finite numbers any more."""
    return MallesError(
        f"{out}: training diverged: after {steps:,} steps the policy gives no finite numbers; allowed: smaller steps, "
        "e.g. Run(settings={'learning_rate': 0.0003}), with the engine sb3 also 'target_kl': 0.03; the checkpoints stay"
    )
