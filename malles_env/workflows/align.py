"""From occasions to a saved taste model: what `malles align` runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from malles_env.files import check_replaceable
from malles_env.preference.data.dataset import TasteData, from_occasions
from malles_env.preference.data.rewording import reworded
from malles_env.preference.data.subsets import few_markets, on_products, sampled, thinned
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import Backbone, load_backbone, new_embedded
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import Readings
from malles_env.preference.model import TasteModel, new_heads
from malles_env.preference.storage import tensors_hash
from malles_env.preference.store.card import LIMITS
from malles_env.preference.store.checkpoint import load_backbone_of
from malles_env.preference.training.config import AlignConfig, AlignJob
from malles_env.preference.training.continued import heads_to_continue
from malles_env.preference.training.market_terms import fit_market_prices
from malles_env.preference.training.trainer import align, calibrate, pick_device
from malles_env.type_aliases import OnProgress

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.preference.training.runs import Progress


def run_job(
    job: AlignJob,
    train: Occasions,
    validation: Occasions,
    *,
    show: bool = True,
    reading: OnProgress | None = None,
) -> tuple[TasteModel, Progress]:
    """Train a taste model and save it under ``job.out/model``.

    Args:
        job: What to train.
        train: Training occasions; see `malles_env.evaluation.protocol`.
        validation: Occasions for early stopping.
        show: Show the progress bars.
        reading: Called with how far the backbone's readings are.
    """
    check_replaceable(job.out / "model", "card.json")
    seed = job.heads.seed
    learn = sampled(thinned(from_occasions(train), job.outside, seed), job.limit, seed)
    check = sampled(from_occasions(validation), job.validation_limit, seed)
    check = on_products(check, learn)
    backbone, first = _backbone(job, learn, reading)
    model = TasteModel.untrained(backbone, sizes=job.sizes, seed=seed)
    whole = _train_whole(model, learn, check, job, show, first)
    progress = _train_heads(model, learn, check, job, show, reading)
    model.card = _card(job, model, learn, check, whole, progress)
    model.save(job.out / "model")
    return model, progress


def _backbone(job: AlignJob, train: TasteData, reading: OnProgress | None) -> tuple[Backbone, Readings | None]:
    """Return the backbone to be trained, and readings of the one it starts as where it was trained before."""
    if job.start_from is not None:
        return load_backbone_of(job.start_from), None
    if job.backbone == "embedded":
        return new_embedded([*train.products.prefixes, *train.products.texts], seed=job.whole.seed), None
    # Half precision is emulated on many CPUs, fifty times slower than single.
    on_gpu = pick_device(job.whole.device).type == "cuda"
    backbone = load_backbone(job.backbone, dtype=torch.bfloat16 if on_gpu else torch.float32)
    if job.rank == 0:
        return backbone, None
    first = make_readings(backbone, train.products, progress=reading)
    return with_adapter(backbone, rank=job.rank, layers=job.layers, seed=job.whole.seed), first


def _train_whole(
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    job: AlignJob,
    show: bool,
    first: Readings | None,
) -> Progress | None:
    """Train backbone or adapter together with heads, where there is something to learn."""
    if job.start_from is not None or not any(p.requires_grad for p in model.backbone.model.parameters()):
        return None
    calibrate(model, train, first, seed=job.whole.seed)
    few = few_markets(validation, 10, 2000, job.whole.seed)
    return align(model, train, few, job.whole, job.out / "whole", resume=job.resume, show=show)


def _train_heads(
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    job: AlignJob,
    show: bool,
    reading: OnProgress | None,
) -> Progress:
    """Train heads on the readings of the frozen backbone; resumable like the first phase."""
    model.backbone.model.eval()
    reader = backbone_readings(model.backbone, train.products, job.out, reading)
    second = None
    if job.heads.weights.consistency > 0:
        other = reworded(train.products, seed=job.heads.seed)
        second = backbone_readings(model.backbone, other, job.out, reading)
    model.heads = _heads_at_start(model, train, job)
    if not job.continue_heads:
        calibrate(model, train, reader, seed=job.heads.seed)

    def trained(config: AlignConfig, out: Path) -> Progress:
        return align(
            model, train, validation, config, out, reader=reader, reworded=second, resume=job.resume, show=show
        )

    progress = trained(job.heads, job.out / "heads")
    if job.continue_heads:
        trained(replace(job.heads, new=True, steps=job.heads.steps // 2), job.out / "new-heads")
    else:
        trained(job.cold, job.out / "cold")
        for name, config in (("heads", job.heads), ("cold", job.cold)):
            trained(replace(config, new=True), job.out / f"new-{name}")
    fit_market_prices(model, train, reader, draws=job.draws, seed=job.heads.seed)
    return progress


def _heads_at_start(model: TasteModel, train: TasteData, job: AlignJob) -> HeadSet:
    """Return new heads that know what the training occasions name, or those of the model to continue."""
    if job.continue_heads and job.start_from is not None:
        return heads_to_continue(job.start_from, model.backbone)
    return new_heads(
        model.backbone.width,
        members=job.members,
        sizes=job.sizes,
        lines=tuple(sorted({train.products.names[at] for at in np.unique(train.product[train.mask])})),
        markets=tuple(train.products.prefixes[at] for at in np.unique(train.prefix)),
        households=tuple(train.households[at] for at in np.unique(train.household)) if job.households else (),
        seed=job.heads.seed,
    )


def backbone_readings(backbone: Backbone, products: Any, out: Path, progress: OnProgress | None = None) -> Readings:
    """Return readings of all products, kept in the run's folder unless the backbone has a hash to be cached under."""
    if backbone.digest:
        return make_readings(backbone, products, progress=progress)
    learned = {name: p for name, p in backbone.model.named_parameters() if backbone.owned or p.requires_grad}
    digest = tensors_hash(learned)[:16]
    return make_readings(backbone, products, directory=out / "readings" / digest, progress=progress)


def _card(
    job: AlignJob,
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    whole: Progress | None,
    heads: Progress,
) -> dict[str, Any]:
    kinds = {True: "trained whole", False: f"with a LoRA adapter of rank {job.rank} on its last {job.layers} layers"}
    rest = "left as it is" if job.start_from is None else f"taken from {job.start_from}"
    kind = kinds[job.backbone == "embedded"] if whole else rest
    of = f" of {job.start_from}, trained on," if job.continue_heads else ""
    return {
        "name": job.backbone,
        "backbone": job.backbone,
        "summary": f"Backbone {kind}, then {len(model.heads.warm.members)} heads{of} on its readings; listwise "
        "contrastive loss over shelf and outside option.",
        "data_licence": job.data_licence,
        "command": job.command,
        "training": {
            "training occasions": len(train),
            "validation occasions": len(validation),
            "markets": len(train.markets),
            "periods": f"train {train.period.min()}-{train.period.max()}, early stopping on "
            f"{validation.period.min()}-{validation.period.max()}",
            "backbone and heads": phase_words(whole) if whole else "backbone frozen",
            "heads": phase_words(heads),
            "market terms": "multiplier of beta, level, rho, display and advertising of each market, "
            f"{job.draws} draws from resampled households",
            "settings of the whole": job.whole.shaping() if whole else "none",
            "settings of the heads": job.heads.shaping(),
        },
        "tables": {},
        "limits": list(LIMITS),
    }


def phase_words(progress: Progress) -> str:
    """Return how a phase of training ended, for a card."""
    return (
        f"best validation loss {progress.best:.4f} at step {progress.best_step} of {progress.step}, "
        f"{progress.seconds:.0f} s of training steps"
    )
