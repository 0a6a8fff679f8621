"""From the wholesaler's occasions to a saved taste model: what `malles align --protocol online-retail` runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from malles_env.errors import invalid
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.files import check_replaceable
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.data.subsets import sampled
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import Backbone, load_backbone
from malles_env.preference.encoder.embedding_bank import BankReader
from malles_env.preference.model import TasteModel, new_heads
from malles_env.preference.training.config import AlignConfig
from malles_env.preference.training.runs import Progress
from malles_env.preference.training.trainer import align, calibrate
from malles_env.workflows.align import ReadingProgress, backbone_readings, phase_words

LICENCE = "CC0; UCI Online Retail (Chen et al. 2012, doi 10.1057/dbm.2012.17)"
LIMITS = (
    "One British gift wholesaler in 2010 and 2011, most of whose customers are shops.",
    "List prices hardly moved within the year: price sensitivities are mostly the prior's.",
    "There are no visits without a purchase: whether anything is bought is not learned.",
    "Availability is inferred from others' purchases.",
)
ENCODER = AlignConfig(
    steps=60, batch_size=512, chunk=128, cold=0.5, new=True, learning_rate=5e-4, head_learning_rate=4e-3, warmup=10,
    validate_every=20, patience=3,
)  # fmt: skip
"""Adapter and heads together; the stopping categories end it."""
HEADS = AlignConfig(
    steps=200, batch_size=512, cold=0.5, new=True, head_learning_rate=4e-3, warmup=10, validate_every=50, patience=3
)
"""Heads alone, on readings of the frozen encoder."""


@dataclass(frozen=True)
class WordsJob:
    """One training job on the wholesaler's log.

    Attributes:
        out: Folder of the run; the finished model lies in ``out/model``.
        backbone: ``"minilm"``, ``"smollm2"``, a path or a hub id.
        names: What products are called, for the control.
        rank: Rank of the adapter; 0 leaves the encoder as it is.
        layers: Last layers that get one.
        encoder: Settings of the phase that trains adapter and heads.
        heads: Settings of the phase that trains new heads on the frozen encoder.
        validation_limit: Occasions that stop the heads, at most.
        command: The command line, for the card.
        resume: Continue the run in `out`.
    """

    out: Path
    backbone: str = "minilm"
    names: Names = "true"
    rank: int = 8
    layers: int = 2
    encoder: AlignConfig = ENCODER
    heads: AlignConfig = HEADS
    validation_limit: int = 2000
    command: str = ""
    resume: bool = True

    def __post_init__(self) -> None:
        """Refuse a rank below 0."""
        if self.rank < 0:
            raise invalid("rank", self.rank, "0 or more")


def run_words_job(
    job: WordsJob, study: WordStudy, *, show: bool = True, reading: ReadingProgress | None = None
) -> TasteModel:
    """Train a taste model that reads products' names, and save it under ``job.out/model``.

    Its heads treat every category as one that was never trained on: what distinguishes products is kinship of their
    names with what the customer bought (`malles_env.preference.heads.kinship`), and numbers.

    Args:
        job: What to train.
        study: The log.
        show: Show the progress bars.
        reading: Told how far the encoder's readings are.
    """
    check_replaceable(job.out / "model", "card.json")
    learn, stop = study.encoder_training()
    # One list of goods for all parts: what is known of it is kept by identity.
    goods = renamed(learn.goods, job.names)
    learn, stop = replace(learn, goods=goods), replace(stop, goods=goods)
    pooling = None if job.backbone == "minilm" else "mean"
    backbone = load_backbone(job.backbone, pooling=pooling)  # type: ignore[arg-type]
    if job.rank > 0:
        backbone = with_adapter(backbone, rank=job.rank, layers=job.layers, seed=job.encoder.seed)
    model = TasteModel(backbone, untrained(backbone, job.encoder.seed))
    first = _train_encoder(model, learn, stop, job, show) if job.rank > 0 else None
    model.heads = untrained(backbone, job.heads.seed)
    backbone.model.eval()
    train, validation = (replace(part, goods=goods) for part in study.study.training("unseen_warm"))
    check = sampled(validation, job.validation_limit, job.heads.seed)
    with torch.no_grad():
        readings = backbone_readings(backbone, train.goods, job.out, reading)
    calibrate(model, train, readings, seed=job.heads.seed)
    second = align(model, train, check, job.heads, job.out / "heads", reader=readings, resume=job.resume, show=show)
    model.card = _card(job, train, first, second)
    model.save(job.out / "model")
    return model


def untrained(backbone: Backbone, seed: int) -> Any:
    """Return heads that know no category and no product by name, and look for kinship."""
    return new_heads(backbone.width, markets=(), kin=True, seed=seed)


def _train_encoder(model: TasteModel, learn: TasteData, stop: TasteData, job: WordsJob, show: bool) -> Progress:
    reader = BankReader(model.backbone)
    calibrate(model, learn, reader, seed=job.encoder.seed)
    return align(model, learn, stop, job.encoder, job.out / "encoder", live=reader, resume=job.resume, show=show)


def _card(job: WordsJob, train: TasteData, encoder: Progress | None, heads: Progress) -> dict[str, Any]:
    kind = f"with a LoRA adapter of rank {job.rank} on its last {job.layers} layers" if encoder else "left as it is"
    return {
        "name": job.backbone,
        "backbone": job.backbone,
        "summary": f"Encoder {kind}; heads on numbers and on how like earlier purchases a name reads.",
        "data_licence": LICENCE,
        "command": job.command,
        "training": {
            "training occasions": len(train),
            "names": job.names,
            "markets": len(train.markets),
            "periods": f"{train.period.min()}-{train.period.max()}",
            "encoder": phase_words(encoder) if encoder else "frozen",
            "heads": phase_words(heads),
            "settings of the encoder": job.encoder.shaping() if encoder else "none",
            "settings of the heads": job.heads.shaping(),
        },
        "tables": {},
        "limits": list(LIMITS),
    }
