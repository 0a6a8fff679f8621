"""How much of the paper's claims is run."""

from __future__ import annotations

from dataclasses import dataclass, field

from malles_agents.reproduce.base import Options
from malles_env.preference.heads.taste_heads import Sizes


@dataclass(frozen=True)
class Plan:
    """How much is run; the defaults end in minutes on two cores.

    Attributes:
        steps: Optimizer steps of a training run.
        batch: Occasions per step.
        train: Training occasions drawn, at most.
        validation: Validation occasions drawn, at most.
        test: Test purchases judged, at most.
        asked: Test purchases put to a prompted model, which is hundreds of times slower.
        sizes: Widths of the heads.
    """

    steps: int = 250
    batch: int = 256
    train: int = 60_000
    validation: int = 600
    test: int = 6_000
    asked: int = 60
    sizes: Sizes = field(default_factory=Sizes)


def seeds(options: Options) -> list[int]:
    """Return the seeds of an experiment's training runs."""
    return [options.seed + k for k in range(options.sessions or 1)]
