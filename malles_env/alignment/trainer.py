"""Alignment: post-train a taste model on choice occasions, resumable at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from malles_env.alignment.dataset import TasteData, batches
from malles_env.alignment.losses import choice_loss
from malles_env.alignment.model import TasteModel
from malles_env.alignment.objective import StateSource, Weights, objective, score
from malles_env.alignment.runs import Curves, Progress, RunStore
from malles_env.errors import invalid

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


@dataclass(frozen=True)
class AlignConfig:
    """Settings of a training run; all but `threads` and the intervals shape its result.

    Attributes:
        steps: Optimizer steps, at most; the learning rate falls to zero over them.
        batch_size: Occasions per step.
        chunk: Most occasions of one persona text kept together in a batch.
        learning_rate: Peak rate of the backbone.
        head_learning_rate: Peak rate of the heads.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's weight decay, on matrices only.
        clip: Largest gradient norm.
        patience: Validations without improvement before stopping early.
        validate_every: Steps between validations (and checkpoints).
        seed: Seed of initial weights and data order.
        threads: Torch threads.
        weights: Weights of the objective's parts.
    """

    steps: int = 2000
    batch_size: int = 128
    chunk: int = 16
    learning_rate: float = 2e-3
    head_learning_rate: float = 5e-3
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 5
    validate_every: int = 100
    seed: int = 0
    threads: int = 1
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        """Refuse counts below 1 and rates that are not positive."""
        for name in ("steps", "batch_size", "chunk", "patience", "validate_every", "threads"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "1 or more")
        for name in ("learning_rate", "head_learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise invalid(name, getattr(self, name), "above 0")

    def shaping(self) -> dict[str, Any]:
        """Return the settings a resumed run must share."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}


def align(
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    config: AlignConfig,
    out_dir: str | Path,
    *,
    source: StateSource | None = None,
    resume: bool = True,
    show: bool = True,
) -> Progress:
    """Train `model` in place; it ends with the weights that were best on the validation occasions.

    Args:
        model: The model to train; its backbone learns too where the model owns it.
        train: Training occasions.
        validation: Occasions for early stopping, never the test ones.
        config: Settings.
        out_dir: Folder of the run: ``checkpoints/`` and ``tensorboard/``.
        source: Frozen readings instead of the live backbone; then only the heads are trained.
        resume: Continue the newest checkpoint of `out_dir`; otherwise an old run there is refused.
        show: Show a progress bar.

    Returns:
        Where the run ended, with its validation history.
    """
    out = Path(out_dir)
    store = RunStore(out / "checkpoints")
    if not resume and store.latest() is not None:
        raise invalid("out_dir", str(out), "a folder without a run, or --resume")
    model.heads.support.fill_(train.promotion_support())
    modules = model.trained_modules(heads_only=source is not None)
    optimizer = _optimizer(modules, config)
    settings = {**config.shaping(), "train": len(train), "validation": len(validation)}
    progress = store.restore(modules, optimizer, settings)
    job = _Job(model, modules, optimizer, source or model, store, config)
    with _threads(config.threads), Curves(out / "tensorboard", progress.step) as curves, _bar(show) as bar:
        _train(job, train, validation, progress, curves, bar)
    store.load_best(modules, progress.best_step)
    modules.eval()
    return progress


@dataclass(frozen=True)
class _Job:
    model: TasteModel
    modules: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    source: StateSource | TasteModel
    store: RunStore
    config: AlignConfig


def _train(job: _Job, train: TasteData, validation: TasteData, progress: Progress, curves: Curves, bar: Bar) -> None:
    config = job.config
    task = bar.add_task("aligning", total=config.steps, completed=progress.step, note="")
    if progress.best_step < 0:
        _validate(job, validation, progress, curves)
    while progress.step < config.steps and progress.waited < config.patience:
        epoch = batches(train, size=config.batch_size, chunk=config.chunk, seed=config.seed, epoch=progress.epoch)
        for rows in islice(epoch, progress.batch, None):
            started = time.perf_counter()
            parts = _step(job, train.take(rows), progress.step)
            progress.step += 1
            progress.batch += 1
            progress.seconds += time.perf_counter() - started
            curves.add(parts, progress.step, "train")
            note = f"nats {parts['choice']:.3f}  validation {progress.best:.4f}"
            bar.update(task, completed=progress.step, note=note)
            if progress.step % config.validate_every == 0 or progress.step == config.steps:
                _validate(job, validation, progress, curves)
            if progress.step >= config.steps or progress.waited >= config.patience:
                return
        progress.epoch, progress.batch = progress.epoch + 1, 0


def _step(job: _Job, batch: TasteData, step: int) -> dict[str, float]:
    job.modules.train()
    factor = _schedule(step, job.config)
    for group in job.optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    loss, parts = objective(batch, score(batch, job.model.heads, job.source), job.config.weights)
    job.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(job.modules.parameters(), job.config.clip)
    job.optimizer.step()
    return parts


def _validate(job: _Job, validation: TasteData, progress: Progress, curves: Curves) -> None:
    """Measure, keep the best weights, write a checkpoint: the last line makes all of it count."""
    result = validate(job.model, validation, job.source)
    curves.add(result, progress.step, "validation")
    progress.history.append({"step": progress.step, **result})
    if result["nll"] < progress.best - 1e-5:
        progress.best, progress.best_step, progress.waited = result["nll"], progress.step, 0
        job.store.save_best(job.modules, progress.step)
    else:
        progress.waited += 1
    job.store.save(job.modules, job.optimizer, progress)
    job.store.prune_bests(progress.best_step)


@torch.no_grad()
def validate(model: TasteModel, data: TasteData, source: StateSource | None = None) -> dict[str, float]:
    """Return mean nats with the outside option, hit rate given a purchase, and mean sensitivities."""
    model.trained_modules().eval()
    sums = np.zeros(4)
    buyers = 0
    order = np.argsort(data.persona, kind="stable")
    for at in range(0, len(data), 512):
        part = data.take(order[at : at + 512])
        scored = score(part, model.heads, source or model)
        loss = choice_loss(scored.utilities, torch.from_numpy(part.chosen)).sum()
        bought = part.chosen > 0
        hits = scored.utilities[:, 1:].argmax(1).numpy()[bought] == part.chosen[bought] - 1
        sums += [float(loss), hits.sum(), float(scored.prefix.beta.sum()), float(scored.prefix.gamma.sum())]
        buyers += int(bought.sum())
    size = len(data)
    return {
        "nll": sums[0] / size,
        "hit": sums[1] / max(buyers, 1),
        "beta": sums[2] / size,
        "gamma": sums[3] / size,
    }


def _schedule(step: int, config: AlignConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then a half cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _optimizer(modules: nn.ModuleDict, config: AlignConfig) -> torch.optim.AdamW:
    groups = []
    for name, module in modules.items():
        peak = config.head_learning_rate if name == "heads" else config.learning_rate
        for matrices in (True, False):
            parameters = [p for p in module.parameters() if (p.ndim > 1) is matrices]
            decay = config.weight_decay if matrices else 0.0
            groups.append({"params": parameters, "peak": peak, "lr": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _bar(show: bool) -> Iterator[Bar]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, disable=not show) as bar:
        yield bar
