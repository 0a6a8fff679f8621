"""From occasions to a trained prompted consumer and its card: what the command line and the study run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.evaluation.prompted_response import price_response
from malles_env.evaluation.transfer.study import WordStudy, with_names
from malles_env.files import check_replaceable
from malles_env.preference.data.renamed import Names
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.prompted.data import PromptData, fewer_options, prompt_data
from malles_env.preference.prompted.model import PromptedModel
from malles_env.preference.prompted.prompt import sample_texts
from malles_env.preference.prompted.questions import HOUSEHOLDS, ask, draw_shelves
from malles_env.preference.prompted.trainer import PromptConfig, align_prompted

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.evaluation.metrics import Estimate
    from malles_env.preference.training.runs import Progress

SHORT_SHELVES = ("ICE CREAM/MILK/SHERBTS | PREMIUM", "PASTA SAUCE | MAINSTREAM")
"""The scenario markets with the shortest shelves (8 to 14 lines): a prompt's cost grows with its shelf."""
LIMITS: tuple[str, ...] = (
    "The answer to a price is whatever the weights make of its digits: unlike the taste model's, it need not fall "
    "when the price rises. Read the violations above before pricing against it.",
    "Responses are observational (no instruments). Brands are numbers: the data are anonymised.",
)


@dataclass(frozen=True)
class Splits:
    """Occasions to train, choose and judge on, in whole shelves.

    Attributes:
        train: Training weeks.
        validation: Validation weeks, for early stopping and settings.
        test: Test weeks; None where another command judges.
    """

    train: PromptData
    validation: PromptData
    test: PromptData | None = None


@dataclass(frozen=True)
class PromptJob:
    """One training job.

    Attributes:
        backbone: ``"embedded"``, ``"smollm2"``, a path or a hub id.
        out: Folder of the run; the finished model lies in ``out/model``.
        prior: Strength of the attention prior, in nats.
        reference: ``"none"`` or ``"base"``.
        config: Training settings.
        rank: Rank of the adapter of a pre-trained backbone.
        command: The command line, for the card.
        data_licence: What was trained on and what its owners allow, for the card.
        limits: What the model does not know, for the card.
        resume: Continue the run in `out`.
    """

    backbone: str
    out: Path
    prior: float = 0.0
    reference: str = "none"
    config: PromptConfig = field(default_factory=PromptConfig)
    rank: int = 8
    command: str = ""
    data_licence: str = "not stated"
    limits: tuple[str, ...] = LIMITS
    resume: bool = True


def draw_splits(
    occasions: Occasions,
    limit: int,
    *,
    markets: tuple[str, ...] = SHORT_SHELVES,
    validation: int = 300,
    test: int = 1000,
    seed: int = 0,
) -> Splits:
    """Draw `limit` training occasions, and validation and test ones, from `markets`."""
    parts = {"train": limit, "validation": validation, "test": test}
    drawn = {
        name: prompt_data(draw_shelves(occasions, name, limit=size, most=HOUSEHOLDS, markets=markets, seed=seed))
        for name, size in parts.items()
    }
    return Splits(**drawn)


def draw_named(
    study: WordStudy, limit: int, *, names: Names = "true", shelf: int = 8, validation: int | None = None, seed: int = 0
) -> Splits:
    """Draw cold training and validation purchases from a log with real product names, as its protocol trains.

    Args:
        study: The log.
        limit: Training purchases, at most.
        names: What products are called, for the control.
        shelf: Options of a shelf, at most: what was bought, and others drawn at random.
        validation: Validation purchases, at most; None means a quarter as many as training ones, up to 100.
        seed: Seed of the draws.

    Raises:
        InvalidInput: A shelf of fewer than 2 options.
    """
    parts, validation = [], min(100, max(1, limit // 4)) if validation is None else validation
    for part, size in zip(study.study.training("unseen_cold"), (limit, validation), strict=True):
        rows = np.sort(np.random.default_rng(seed).permutation(len(part))[:size])
        parts.append(fewer_options(prompt_data(with_names(part.take(rows), names)), shelf, seed))
    return Splits(*parts)


def new_model(backbone: str, train: PromptData, *, prior: float, reference: str, rank: int, seed: int) -> PromptedModel:
    """Return an untrained model: an embedded body with its own words, or an adapter on a pre-trained one."""
    if backbone == "embedded":
        return PromptedModel.embedded(tokenizer_texts(train), seed=seed, prior=prior, reference=reference)
    return PromptedModel.adapted(load_backbone(backbone), rank=rank, seed=seed, prior=prior, reference=reference)


def tokenizer_texts(train: PromptData, most: int = 1000) -> list[str]:
    """Return prompts of training occasions, evenly spread, to learn a tokenizer from."""
    questions = ask(train, HOUSEHOLDS)
    texts = []
    for question in questions[:: max(1, len(questions) // most)]:
        household = next(question.households(train))
        market = train.markets[train.market[question.rows[0]]]
        texts += sample_texts(market, question.lines(train), household)
    return texts


def run_prompted(job: PromptJob, splits: Splits, *, show: bool = True) -> tuple[PromptedModel, Progress]:
    """Train a model, or finish training it, and save it with its card."""
    check_replaceable(job.out / "model", "card.json")
    model = new_model(
        job.backbone,
        splits.train,
        prior=job.prior,
        reference=job.reference,
        rank=job.rank,
        seed=job.config.seed,
    )
    progress = align_prompted(model, splits.train, splits.validation, job.config, job.out, resume=job.resume, show=show)
    model.card = {
        "name": f"prompted-{job.backbone}",
        "backbone": job.backbone,
        "data_licence": job.data_licence,
        "command": job.command,
        "training": {
            "occasions": len(splits.train),
            "steps": progress.step,
            "best step": progress.best_step,
            "seed": job.config.seed,
            "validation nats": round(progress.best, 4),
        },
        "limits": list(job.limits),
    }
    model.save(job.out / "model")
    return model, progress


def judge_prompted(
    model: PromptedModel, data: PromptData, *, orders: int = 2, response: int = 120, units: bool = True
) -> dict[str, Estimate]:
    """Return fidelity on test occasions and the response to own prices on some of them.

    Args:
        model: The model.
        data: Test occasions.
        orders: Cyclic shelf orders to average over.
        response: Occasions whose prices are moved; each asks about two products.
        units: Also judge units.
    """
    from malles_env.evaluation.metrics import fidelity

    found = fidelity(model.predict(data, orders=orders, units=units), data)  # type: ignore[arg-type]
    moved = price_response(model, data.take(np.arange(min(response, len(data)))), products=2, orders=orders)
    return {**found, "elasticity": moved.elasticity, "violations": moved.violations}


def card_table(rows: dict[str, dict[str, Estimate]]) -> list[dict[str, Any]]:
    """Return rows of estimates as a card's table."""
    return [{"model": name, **{key: str(value) for key, value in row.items()}} for name, row in rows.items()]
