"""From occasions to a shipped model and its honest table: what the command line runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from malles_env.alignment.backbones import Backbone, load_backbone, new_embedded
from malles_env.alignment.baselines import ConditionalLogit, LastPurchase, MarketRates, Popularity
from malles_env.alignment.card import DATA_LICENCE, LIMITS
from malles_env.alignment.dataset import TasteData, from_occasions
from malles_env.alignment.evaluation import Elasticity, Estimate, elasticities, fidelity, paired
from malles_env.alignment.heads import TasteHeads
from malles_env.alignment.model import TasteModel
from malles_env.alignment.objective import Weights
from malles_env.alignment.packing import Request
from malles_env.alignment.prediction import Prediction, predict
from malles_env.alignment.readings import ReadingTable, make_readings
from malles_env.alignment.sampling import SCENARIO_MARKETS, Sample, draw, draw_test
from malles_env.alignment.storage import tensors_hash
from malles_env.alignment.trainer import AlignConfig, align

if TYPE_CHECKING:
    from malles_env.alignment.runs import Progress
    from malles_env.data.occasions import Occasions

ReadingProgress = Callable[[int, int], None]
DEFAULT_SAMPLES = {
    "embedded": (Sample(), Sample(per_focus=120, per_other=10)),
    "frozen": (Sample(per_focus=500, per_other=20), Sample(per_focus=60, per_other=4)),
}

WHOLE_CONFIG = AlignConfig(steps=540, batch_size=256, chunk=32, validate_every=60)
"""Backbone and heads together; the embedded model's first phase."""
HEADS_CONFIG = AlignConfig(
    steps=800,
    batch_size=512,
    chunk=32,
    head_learning_rate=1e-3,
    weight_decay=0.1,
    validate_every=50,
    patience=8,
    weights=Weights(prior=0.02, beta_centre=2.5),
)
"""Heads alone, on frozen readings."""


@dataclass(frozen=True)
class AlignJob:
    """One training job.

    Attributes:
        backbone: ``"embedded"``, ``"smollm2"``, a path or a hub id.
        out: Folder of the run; the finished model lies in ``out/model``.
        train: Training sample.
        validation: Sample for early stopping.
        whole: Settings of the phase that trains backbone and heads together (embedded only).
        heads: Settings of the phase that trains new heads on frozen readings. Price responses are a small
            part of the loss: with the words settled, large batches find them in a minute.
        command: The command line, for the card.
        resume: Continue the run in `out`.
    """

    backbone: str
    out: Path
    train: Sample
    validation: Sample
    whole: AlignConfig = WHOLE_CONFIG
    heads: AlignConfig = HEADS_CONFIG
    command: str = ""
    resume: bool = True


@dataclass(frozen=True)
class Report:
    """Scores of models on the same test occasions.

    Attributes:
        occasions: Test occasions.
        purchases: Those with a purchase.
        rows: Metric estimates per model; the last one is the taste model.
        differences: Taste model minus conditional logit, paired.
        elasticities: Of the taste model, per market.
    """

    occasions: int
    purchases: int
    rows: dict[str, dict[str, Estimate]]
    differences: dict[str, Estimate] = field(default_factory=dict)
    elasticities: list[Elasticity] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "occasions": self.occasions,
            "purchases": self.purchases,
            "models": {name: _plain(row) for name, row in self.rows.items()},
            "taste_model_minus_conditional_logit": _plain(self.differences),
            "elasticities": [asdict(row) for row in self.elasticities],
        }

    def tables(self, title: str) -> dict[str, list[dict[str, Any]]]:
        """Return the tables of a card."""
        models = [{"model": name, **{k: str(v) for k, v in row.items()}} for name, row in self.rows.items()]
        found = {f"{title} ({self.occasions} occasions, {self.purchases} purchases)": models}
        if self.elasticities:
            found[f"Own-price elasticities, {title}"] = [
                {
                    "market": row.market,
                    "choice": str(row.choice),
                    "units": str(row.units),
                    "beta": f"{row.beta:.2f}",
                    "gamma": f"{row.gamma:.2f}",
                }
                for row in self.elasticities
            ]
        return found


def run_job(
    job: AlignJob, occasions: Occasions, *, show: bool = True, reading: ReadingProgress | None = None
) -> tuple[TasteModel, Progress]:
    """Train a taste model and save it under ``job.out/model``.

    Args:
        job: What to train.
        occasions: All occasions; test ones are never touched here.
        show: Show the training's progress bar.
        reading: Told how far a frozen backbone's readings are.
    """
    train = from_occasions(draw(occasions, "train", job.train))
    validation = from_occasions(draw(occasions, "validation", job.validation))
    if job.backbone == "embedded":
        backbone = new_embedded([*train.persona_texts, *train.option_texts], seed=job.whole.seed)
        model = TasteModel.untrained(backbone, seed=job.whole.seed)
        whole = align(model, train, validation, job.whole, job.out, resume=job.resume, show=show)
    else:
        model, whole = _pretrained(job), None
    progress = _train_heads(model, train, validation, job, show, reading)
    model.card = _card(job, train, validation, whole, progress)
    model.save(job.out / "model")
    return model, progress


def _pretrained(job: AlignJob) -> TasteModel:
    """Return a model with a frozen backbone, half the precision and twice the speed of reading."""
    return TasteModel.untrained(load_backbone(job.backbone, dtype=torch.bfloat16), seed=job.heads.seed)


def _train_heads(
    model: TasteModel,
    train: TasteData,
    validation: TasteData,
    job: AlignJob,
    show: bool,
    reading: ReadingProgress | None,
) -> Progress:
    """Train new heads on frozen readings; resumable like the first phase."""
    owned = model.backbone.owned
    digest = tensors_hash(model.backbone.model.state_dict())[:16] if owned else ""
    table = make_readings(
        model.backbone,
        merged_requests([train, validation]),
        words=owned,
        directory=job.out / "readings" / digest if owned else None,
        progress=reading,
    )
    model.heads = _fresh_heads(model.backbone, table, job.heads.seed, words=owned)
    out = job.out / "heads"
    return align(model, train, validation, job.heads, out, source=table, resume=job.resume, show=show)


def _fresh_heads(backbone: Backbone, table: ReadingTable, seed: int, *, words: bool) -> TasteHeads:
    """Return untrained heads whose inputs are put on one scale."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = TasteHeads(backbone.width, words=words)
    heads.calibrate(table.prefix, table.option)
    return heads


def merged_requests(data: list[TasteData]) -> list[Request]:
    """Return each persona once with all its options over several data sets, in the order first met."""
    options: dict[str, dict[str, None]] = {}
    for part in data:
        for request in part.requests()[0]:
            options.setdefault(request.persona, {}).update(dict.fromkeys(request.options))
    return [Request(persona, tuple(texts)) for persona, texts in options.items()]


@dataclass(frozen=True)
class Baselines:
    """The three baselines, fitted on training occasions."""

    popularity: Popularity
    last_purchase: LastPurchase
    conditional_logit: ConditionalLogit

    @classmethod
    def fit(cls, train: TasteData) -> Baselines:
        """Fit all three."""
        rates = MarketRates.fit(train)
        return cls(Popularity(rates), LastPurchase.fit(train, rates), ConditionalLogit.fit(train, rates))

    def predict(self, data: TasteData) -> dict[str, Prediction]:
        """Return their predictions by name."""
        return {
            "popularity": self.popularity.predict(data),
            "last purchase": self.last_purchase.predict(data),
            "conditional logit": self.conditional_logit.predict(data),
        }


def judge(
    model: TasteModel,
    occasions: Occasions,
    *,
    limit: int = 10_000,
    seed: int = 0,
    held_out: bool = False,
    markets: tuple[str, ...] = SCENARIO_MARKETS,
    focus_only: bool = False,
    train: Sample | None = None,
    reading: ReadingProgress | None = None,
) -> Report:
    """Score a taste model and the baselines on test occasions.

    Args:
        model: The model.
        occasions: All occasions; baselines are fitted on a training sample of them.
        limit: Most test occasions.
        seed: Seed of their draw.
        held_out: Judge on categories never trained on.
        markets: Markets whose elasticities are listed (and which count as trained on).
        focus_only: Judge on `markets` alone.
        train: The baselines' training sample.
        reading: Told how far a frozen backbone's readings are; they are kept in the user cache.
    """
    test = from_occasions(
        draw_test(occasions, limit=limit, seed=seed, held_out=held_out, focus=markets, focus_only=focus_only)
    )
    fitted = Baselines.fit(from_occasions(draw(occasions, "train", train or Sample())))
    source = None if model.backbone.owned else make_readings(model.backbone, merged_requests([test]), progress=reading)
    predictions = {**fitted.predict(test), "taste model": predict(model, test, source=source)}
    ours = predictions["taste model"]
    shown = test.markets if held_out else tuple(name for name in markets if name in test.markets)
    return Report(
        occasions=len(test),
        purchases=int((test.chosen > 0).sum()),
        rows={name: fidelity(prediction, test) for name, prediction in predictions.items()},
        differences=paired(ours, predictions["conditional logit"], test),
        elasticities=elasticities(ours, test, shown),
    )


def _card(
    job: AlignJob, train: TasteData, validation: TasteData, whole: Progress | None, heads: Progress
) -> dict[str, Any]:
    kind = "trained whole" if job.backbone == "embedded" else "frozen, taste heads trained on its readings"
    return {
        "name": job.backbone,
        "backbone": job.backbone,
        "summary": f"Backbone {kind}; listwise contrastive loss over shelf and outside option.",
        "data_licence": DATA_LICENCE,
        "command": job.command,
        "training": {
            "training occasions": len(train),
            "validation occasions": len(validation),
            "periods": "train 5-36, early stopping on 37-40, test 41-53 never seen",
            "backbone and heads": _phase(whole) if whole else "backbone frozen",
            "new heads": _phase(heads),
            "settings of the heads": job.heads.shaping(),
            "settings of the whole": job.whole.shaping() if whole else "none",
            "sample": {"per_focus": job.train.per_focus, "per_other": job.train.per_other},
        },
        "tables": {},
        "limits": list(LIMITS),
    }


def _phase(progress: Progress) -> str:
    return (
        f"best validation {progress.best:.4f} nats at step {progress.best_step} of {progress.step}, "
        f"{progress.seconds:.0f} s of training steps"
    )


def _plain(row: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(value) for name, value in row.items()}
