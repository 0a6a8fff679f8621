"""The settings of a training run: the settings of its phases, and the job made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from malles_env.errors import invalid
from malles_env.preference.heads.objective import Weights
from malles_env.preference.heads.taste_heads import Sizes


@dataclass(frozen=True)
class AlignConfig:
    """Settings of a training run; all but `threads` and the intervals shape its result.

    Attributes:
        steps: Optimizer steps, at most; the learning rate falls to zero over them. 0 leaves the weights as they are.
        batch_size: Occasions per step.
        chunk: Most occasions of one market kept together in a batch; 1 mixes all.
        cold: Share of the occasions shown without sales and history of their category; they train the heads for cold
            starts, the others those for known categories.
        new: Train the heads for markets never trained on: all are treated as such.
        learning_rate: Peak rate of the backbone (or its adapter).
        head_learning_rate: Peak rate of the heads.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's weight decay, on matrices only.
        clip: Largest gradient norm.
        patience: Validations without improvement before stopping early.
        validate_every: Steps between validations (and checkpoints).
        seed: Seed of initial weights and data order.
        threads: Torch threads.
        device: ``"auto"`` takes a GPU when there is one; or a torch device.
        weights: Weights of the objective's parts.
    """

    steps: int = 2000
    batch_size: int = 512
    chunk: int = 1
    cold: float = 0.0
    new: bool = False
    learning_rate: float = 1e-3
    head_learning_rate: float = 4e-3
    warmup: int = 50
    weight_decay: float = 0.05
    clip: float = 1.0
    patience: int = 5
    validate_every: int = 250
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        """Refuse counts below 1, rates that are not positive and shares outside [0, 1]."""
        if self.steps < 0:
            raise invalid("steps", self.steps, "0 or more")
        for name in ("batch_size", "chunk", "patience", "validate_every", "threads"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")
        for name in ("learning_rate", "head_learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise invalid(name, getattr(self, name), "above 0, finite")
        if not 0 <= self.cold <= 1:
            raise invalid("cold", self.cold, "a share from 0 to 1")

    def shaping(self) -> dict[str, Any]:
        """Return the settings a resumed run must share."""
        return {name: value for name, value in asdict(self).items() if name not in ("threads", "device")}


WHOLE_EMBEDDED = AlignConfig(
    steps=300, batch_size=512, chunk=64, cold=0.4, learning_rate=2e-3, head_learning_rate=4e-3, validate_every=100
)
"""Backbone and heads together, the embedded model's first phase: few markets per batch, so few texts to read."""
WHOLE_ADAPTER = replace(WHOLE_EMBEDDED, steps=80, chunk=96, learning_rate=5e-4, validate_every=20)
"""The same for a pre-trained backbone, whose adapter learns."""
HEADS = AlignConfig(steps=5000, batch_size=512, head_learning_rate=3e-3, validate_every=500)
"""Heads alone, on readings of the frozen backbone."""
CONTINUED = replace(HEADS, steps=1000, head_learning_rate=1e-3, validate_every=250)
"""Heads of a model trained before, once more."""
COLD = replace(HEADS, steps=600, cold=1.0, weight_decay=3.0, validate_every=200)
"""The heads for cold starts, likewise."""


@dataclass(frozen=True)
class AlignJob:
    """One training job.

    Attributes:
        backbone: ``"embedded"``, ``"smollm2"``, a path or a hub id.
        out: Folder of the run; the finished model lies in ``out/model``.
        start_from: Taste model whose backbone (and adapter) is taken as it is: only new heads are trained.
        continue_heads: Start from that model's heads too: those that know a history are trained on, `heads.steps` in
            markets trained on and half as many in new ones; those for cold starts stay.
        rank: Rank of the adapter on a pre-trained backbone; 0 leaves it as it is.
        layers: Last layers that get an adapter.
        members: Heads whose coefficients are averaged.
        sizes: Widths of the heads.
        households: Learn each household of the log by name, so that it is known when it comes again; off where a
            model shall hold nothing about single ones.
        outside: Share of the no-purchase visits kept, above 0 to 1; corrected for.
        limit: Training occasions at most; None takes all.
        validation_limit: Occasions for early stopping, at most.
        whole: Settings of the phase that trains backbone (or adapter) and heads together.
        heads: Settings of the phase that trains new heads on readings.
        cold: Settings of the phase that trains the heads for cold starts.
        draws: Draws of the markets' own terms; seeded with `heads.seed`.
        command: The command line, for the card.
        data_licence: What was trained on and what its owners allow, for the card.
        resume: Continue the run in `out`.
    """

    backbone: str
    out: Path
    start_from: str | None = None
    continue_heads: bool = False
    rank: int = 8
    layers: int = 10
    members: int = 2
    sizes: Sizes = field(default_factory=Sizes)
    households: bool = True
    outside: float = 0.5
    limit: int | None = None
    validation_limit: int = 12_000
    whole: AlignConfig = WHOLE_EMBEDDED
    heads: AlignConfig = HEADS
    cold: AlignConfig = COLD
    draws: int = 16
    command: str = ""
    data_licence: str = "not stated"
    resume: bool = True

    def __post_init__(self) -> None:
        """Refuse a share of visits outside (0, 1], counts below their minimum and heads to continue from nowhere."""
        if not 0 < self.outside <= 1:
            raise invalid("outside", self.outside, "a share above 0, at most 1")
        if self.members < 1:
            raise invalid("members", self.members, "1 or more")
        if self.draws < 0:
            raise invalid("draws", self.draws, "0 or more")
        if self.continue_heads and self.start_from is None:
            raise invalid("continue_heads", True, "together with start_from")
