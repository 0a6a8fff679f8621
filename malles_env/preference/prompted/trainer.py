"""Post-training of a prompted consumer: listwise loss, shelves in a fresh order each step, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from malles_env.errors import invalid
from malles_env.preference.encoder.adapters import trainable
from malles_env.preference.prompted.data import PromptData
from malles_env.preference.prompted.losses import listwise_loss, unit_loss
from malles_env.preference.prompted.model import PromptedModel
from malles_env.preference.prompted.packing import CHOSEN
from malles_env.preference.prompted.questions import HOUSEHOLDS, Question, epoch_of, passes
from malles_env.preference.training.runs import Curves, RunStore, progress_bar, using_threads
from malles_env.preference.training.runs import Progress as Run

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


@dataclass(frozen=True)
class PromptConfig:
    """Settings of a run; all but `threads` and `minutes` shape its result.

    Attributes:
        steps: Optimizer steps, at most; the learning rate falls to zero over them.
        batch_size: Occasions per step, about.
        households: Most occasions that share a shelf's tokens in a step.
        learning_rate: Peak rate.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's weight decay, on matrices only.
        clip: Largest gradient norm.
        unit_weight: Weight of the units' loss.
        patience: Validations without improvement before stopping early.
        validate_every: Steps between validations (and checkpoints).
        seed: Seed of data order and shelf orders.
        threads: Torch threads.
    """

    steps: int = 600
    batch_size: int = 96
    households: int = HOUSEHOLDS
    learning_rate: float = 2e-3
    warmup: int = 40
    weight_decay: float = 0.01
    clip: float = 1.0
    unit_weight: float = 0.2
    patience: int = 20
    validate_every: int = 100
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse counts below 1 and rates that are not positive."""
        for name in ("steps", "batch_size", "households", "patience", "validate_every", "threads"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise invalid(name, getattr(self, name), "above 0")

    def shaping(self) -> dict[str, Any]:
        """Return the settings a resumed run must share."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}


def align_prompted(
    model: PromptedModel,
    train: PromptData,
    validation: PromptData,
    config: PromptConfig,
    out_dir: str | Path,
    *,
    resume: bool = True,
    show: bool = True,
) -> Run:
    """Train `model` in place; it ends with the weights that were best on the validation occasions.

    Args:
        model: The model; its adapter learns, or all of its body where it has none.
        train: Training occasions.
        validation: Occasions for early stopping, never the test ones.
        config: Settings.
        out_dir: Folder of the run: ``checkpoints/`` and ``tensorboard/``.
        resume: Continue the newest checkpoint of `out_dir`; otherwise an old run there is refused.
        show: Show a progress bar.

    Returns:
        Where the run ended, with its validation history.
    """
    out = Path(out_dir)
    store = RunStore(out / "checkpoints")
    if not resume and store.latest() is not None:
        raise invalid("out_dir", str(out), "a folder without a run, or --resume")
    weights = trainable(model.backbone.model)
    optimizer = _optimizer(weights, config)
    kind = {"prior": model.prior, "reference": model.reference, "beta": model.beta}
    progress = store.restore(weights, optimizer, {**config.shaping(), **kind, "train": len(train)})
    job = _Job(model, weights, optimizer, store, config)
    with using_threads(config.threads), Curves(out / "tensorboard", progress.step) as curves, progress_bar(show) as bar:
        _train(job, train, validation, progress, curves, bar)
    store.load_best(weights, progress.best_step)
    model.backbone.model.eval()
    return progress


@dataclass(frozen=True)
class _Job:
    model: PromptedModel
    weights: nn.Module
    optimizer: torch.optim.Optimizer
    store: RunStore
    config: PromptConfig


def _train(job: _Job, train: PromptData, validation: PromptData, run: Run, curves: Curves, bar: Bar) -> None:
    config = job.config
    task = bar.add_task("aligning by prompts", total=config.steps, completed=run.step, note="")
    if run.best_step < 0:
        _validate(job, validation, run, curves)
    while run.step < config.steps and run.waited < config.patience:
        for batch in islice(_epoch(train, config, run.epoch), run.batch, None):
            started = time.perf_counter()
            parts = _step(job, batch, train, run.step)
            run.step, run.batch = run.step + 1, run.batch + 1
            run.seconds += time.perf_counter() - started
            curves.add(parts, run.step, "train")
            _tell(bar, task, run, parts)
            if run.step % config.validate_every == 0 or run.step == config.steps:
                _validate(job, validation, run, curves)
            if run.step >= config.steps or run.waited >= config.patience:
                return
        run.epoch, run.batch = run.epoch + 1, 0


def _epoch(train: PromptData, config: PromptConfig, epoch: int) -> Iterator[list[Question]]:
    return epoch_of(train, most=config.households, size=config.batch_size, seed=config.seed, epoch=epoch)


def _tell(bar: Bar, task: TaskID, run: Run, parts: dict[str, float]) -> None:
    bar.update(task, completed=run.step, note=f"nats {parts['choice']:.3f}  validation {run.best:.4f}")


def _step(job: _Job, batch: list[Question], train: PromptData, step: int) -> dict[str, float]:
    """Take one optimizer step; its gradient is summed over passes of like lengths."""
    job.model.backbone.model.train()
    for group in job.optimizer.param_groups:
        group["lr"] = job.config.learning_rate * schedule(step, job.config)
    size = sum(len(question.rows) for question in batch)
    job.optimizer.zero_grad(set_to_none=True)
    parts = {"choice": 0.0, "units": 0.0}
    for part in passes(batch, train):
        answers = job.model.answers(part, train, CHOSEN)
        rows = answers.rows.numpy()
        choice = listwise_loss(answers.scores, torch.from_numpy(train.chosen[rows])).sum() / size
        bought = train.quantity[rows[answers.unit_owner[:, 0].numpy()]]
        units = unit_loss(answers.units, torch.from_numpy(bought)).sum() / size
        (choice + job.config.unit_weight * units).backward()
        parts["choice"] += float(choice.detach())
        parts["units"] += float(units.detach())
    parts["gradient"] = float(nn.utils.clip_grad_norm_(job.weights.parameters(), job.config.clip))
    job.optimizer.step()
    return parts


def _validate(job: _Job, validation: PromptData, run: Run, curves: Curves) -> None:
    """Measure, keep the best weights, write a checkpoint: the last line makes all of it count."""
    result = validate(job.model, validation)
    curves.add(result, run.step, "validation")
    run.history.append({"step": run.step, **result})
    if result["nll"] < run.best - 1e-5:
        run.best, run.best_step, run.waited = result["nll"], run.step, 0
        job.store.save_best(job.weights, run.step)
    else:
        run.waited += 1
    job.store.save(job.weights, job.optimizer, run)
    job.store.prune_bests(run.best_step)


def validate(model: PromptedModel, data: PromptData) -> dict[str, float]:
    """Return mean nats with the outside option, and hit rate and nats given a purchase, in one shelf order."""
    prediction = model.predict(data, orders=1, units=False)
    every = prediction.log_probability()[np.arange(len(data)), data.chosen]
    rows = np.flatnonzero(data.chosen > 0)
    inside, place = prediction.inside()[rows], data.chosen[rows] - 1
    return {
        "nll": -float(every.mean()),
        "nll_purchase": -float(inside[np.arange(len(rows)), place].mean()) if len(rows) else 0.0,
        "hit": float((inside.argmax(1) == place).mean()) if len(rows) else 0.0,
    }


def schedule(step: int, config: PromptConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then a half cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _optimizer(weights: nn.Module, config: PromptConfig) -> torch.optim.AdamW:
    matrices = [p for p in weights.parameters() if p.ndim > 1]
    others = [p for p in weights.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, 0.98))
