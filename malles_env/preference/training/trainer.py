"""Alignment: post-train a taste model on choice occasions, resumable at any moment."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from malles_env.errors import invalid
from malles_env.preference.data.dataset import TasteData, batches
from malles_env.preference.heads.inputs import Reader, batch
from malles_env.preference.heads.losses import choice_loss
from malles_env.preference.heads.objective import objective, score
from malles_env.preference.model import TasteModel
from malles_env.preference.training.config import AlignConfig
from malles_env.preference.training.runs import Curves, Progress, RunStore, progress_bar, using_threads

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


def pick_device(name: str) -> torch.device:
    """Return the torch device of a setting; ``"auto"`` is a GPU when there is one."""
    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise invalid("device", name, "'auto', 'cpu', 'cuda' or 'cuda:0'") from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def align(
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    config: AlignConfig,
    out_dir: str | Path,
    *,
    reader: Reader | None = None,
    live: Reader | None = None,
    reworded: Reader | None = None,
    resume: bool = True,
    show: bool = True,
) -> Progress:
    """Train `model` in place; it ends with the weights that were best on the validation occasions.

    Args:
        model: The model to train; its backbone learns too where it has something to learn and `reader` is None.
        train: Training occasions.
        validation: Occasions for early stopping, never the test ones.
        config: Settings.
        out_dir: Folder of the run: ``checkpoints/`` and ``tensorboard/``.
        reader: Readings made before instead of the live backbone; then only the heads are trained.
        live: How the backbone that is trained reads; by default every text of a batch.
        reworded: Readings of the same products in other words, for the consistency term.
        resume: Continue the newest checkpoint of `out_dir`; otherwise an old run there is refused.
        show: Show a progress bar.

    Returns:
        Where the run ended, with its validation history.
    """
    out = Path(out_dir)
    store = RunStore(out / "checkpoints")
    if not resume and store.latest() is not None:
        raise invalid("out_dir", str(out), "a folder without a run, or --resume")
    modules = model.trained_modules(heads_only=reader is not None).to(pick_device(config.device))
    optimizer = _optimizer(modules, config)
    settings = {**config.shaping(), "train": len(train), "validation": len(validation)}
    progress = store.restore(modules, optimizer, settings)
    job = _Job(model, modules, optimizer, reader or live or model.reader, reworded, store, config)
    with using_threads(config.threads), Curves(out / "tensorboard", progress.step) as curves, progress_bar(show) as bar:
        _train(job, train, validation, progress, curves, bar)
    store.load_best(modules, progress.best_step)
    modules.eval()
    return progress


def calibrate(model: TasteModel, train: TasteData, reader: Reader | None = None, *, seed: int = 0) -> None:
    """Put the heads' inputs on one scale, from a few thousand training occasions.

    Args:
        model: The model; its heads change.
        train: Training occasions.
        reader: Readings made before; by default the backbone's.
        seed: Seed of the draw.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:4000])
    some = train.take(rows)
    with torch.no_grad():
        warm, cold = (batch(part, reader or model.reader).inputs for part in (some, some.cold()))
        model.heads.calibrate(warm, cold)


@dataclass(frozen=True)
class _Job:
    model: TasteModel
    modules: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    reader: Reader
    reworded: Reader | None
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


def _step(job: _Job, rows: TasteData, step: int) -> dict[str, float]:
    config = job.config
    job.modules.train()
    factor = _schedule(step, config)
    for group in job.optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    if config.cold > 0:
        rows = rows.cold(np.random.default_rng([config.seed, step]).random(len(rows)) < config.cold)
    # What is drawn in a step depends on seed and step alone, so that a resumed run draws the same.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + step)
        loss, parts = objective(
            rows, job.model.heads, job.reader, config.weights, reworded=job.reworded, new=config.new
        )
        job.optimizer.zero_grad(set_to_none=True)
        loss.backward()
    nn.utils.clip_grad_norm_(job.modules.parameters(), config.clip)
    job.optimizer.step()
    return parts


def _validate(job: _Job, validation: TasteData, progress: Progress, curves: Curves) -> None:
    """Measure, keep the best weights, write a checkpoint: the last line makes all of it count."""
    share = job.config.cold
    new = job.config.new
    result = validate(job.model, validation, job.reader, new=new) if share < 1 else {}
    if share > 0:
        cold = validate(job.model, validation.cold(), job.reader, new=new)
        result |= {f"cold_{name}": value for name, value in cold.items()}
    inside = job.config.weights.inside
    warm, cold_loss = (
        result.get(f"{kind}nll", 0.0) + inside * result.get(f"{kind}inside", 0.0) for kind in ("", "cold_")
    )
    loss = (1 - share) * warm + share * cold_loss
    curves.add(result, progress.step, "validation")
    progress.history.append({"step": progress.step, "loss": loss, **result})
    if loss < progress.best - 1e-5:
        progress.best, progress.best_step, progress.waited = loss, progress.step, 0
        job.store.save_best(job.modules, progress.step)
    else:
        progress.waited += 1
    job.store.save(job.modules, job.optimizer, progress)
    job.store.prune_bests(progress.best_step)


@torch.no_grad()
def validate(
    model: TasteModel, data: TasteData, reader: Reader | None = None, *, new: bool = False
) -> dict[str, float]:
    """Return mean nats with the outside option, hit rate and nats given a purchase, and mean sensitivities.

    `inside` is the mean over all occasions of the nats given a purchase, as the objective weighs it.
    """
    model.trained_modules().eval()
    sums = np.zeros(5)
    buyers = 0
    order = np.argsort(data.prefix, kind="stable")
    for at in range(0, len(data), 1024):
        part = data.take(order[at : at + 1024])
        scored = score(part, model.heads, reader or model.reader, new=new)
        utilities = scored.utilities.cpu()
        chosen = torch.from_numpy(part.chosen)
        bought = chosen > 0
        inside = utilities[bought, 1:].log_softmax(1)
        place = chosen[bought] - 1
        mask = scored.batch.inputs.mask
        sums += [
            float(choice_loss(utilities, chosen).sum()),
            float((inside.argmax(1) == place).sum()),
            float(-inside[torch.arange(len(place)), place].sum()),
            float(((scored.option.beta * mask).sum(1) / mask.sum(1)).sum()),
            float(scored.prefix.gamma.sum()),
        ]
        buyers += int(bought.sum())
    size, buyers = len(data), max(buyers, 1)
    return {
        "nll": sums[0] / size,
        "hit": sums[1] / buyers,
        "nll_purchase": sums[2] / buyers,
        "inside": sums[2] / size,
        "beta": sums[3] / size,
        "gamma": sums[4] / size,
    }


def _schedule(step: int, config: AlignConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then a half cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


_FREE = ("linear", "curve")
"""Layers that are a plain regression on facts; decay is for what may remember single products."""


def _optimizer(modules: nn.ModuleDict, config: AlignConfig) -> torch.optim.AdamW:
    groups = []
    for name, module in modules.items():
        peak = config.head_learning_rate if name == "heads" else config.learning_rate
        named = list(module.named_parameters())
        for decayed in (True, False):
            chosen = [p for n, p in named if (p.ndim > 1 and not any(free in n for free in _FREE)) is decayed]
            decay = config.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "peak": peak, "lr": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))
