"""From the wholesaler's log to a saved word model: what `malles align --protocol online-retail` runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.copurchase import category_means
from malles_env.evaluation.transfer.word_model.model import Catalogued, TransferModel
from malles_env.evaluation.transfer.word_model.scoring import as_column, log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import (
    FittedWords,
    LogWords,
    WordSettings,
    fit_words,
    left_out_utilities,
)
from malles_env.files import check_replaceable
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Backbone, load_backbone
from malles_env.type_aliases import OnMessage, OnProgress

LICENCE = "CC0; UCI Online Retail (Chen et al. 2012, doi 10.1057/dbm.2012.17)"
LIMITS = (
    "One British gift wholesaler in 2010 and 2011, most of whose customers are shops.",
    "List prices hardly moved within the year: price sensitivities are hardly identified.",
    "There are no visits without a purchase: whether anything is bought is not learned.",
    "Availability is inferred from others' purchases.",
)


@dataclass(frozen=True)
class WordsJob:
    """One training job on the wholesaler's log.

    Attributes:
        out: Folder of the run; the finished model lies in ``out/model``.
        backbone: ``"minilm"``, ``"smollm2"``, a path or a hub id.
        names: What products are called, for the control.
        settings: Settings of the map; with a width of 0 the encoder and its similarity stay as they are.
        known: Also train for categories whose sales and histories are known.
        seed: Seed of what is drawn.
        command: The command line, for the card.
        resume: Take what a stopped run in `out` has finished.
    """

    out: Path
    backbone: str = "minilm"
    names: Names = "true"
    settings: WordSettings = field(default_factory=WordSettings)
    known: bool = True
    seed: int = 0
    command: str = ""
    resume: bool = True


def run_words_job(
    job: WordsJob, study: WordStudy, *, notify: OnMessage = lambda _: None, reading: OnProgress | None = None
) -> TransferModel:
    """Train a word model, and save it under ``job.out/model``; finished parts are kept and not made again.

    Args:
        job: What to train.
        study: The log.
        notify: Called with what is being done, in words.
        reading: Called with how far the encoder's readings are.
    """
    check_replaceable(job.out / "model", "card.json")
    backbone = load_backbone(job.backbone, pooling="layers")
    learn = study.learning()
    notify("reading names")
    readings = log_readings(backbone, learn.products, job.names, reading)
    words = log_words(readings, backbone.parts, learn.products, study.sales)
    model = _cold(job, study, learn, backbone, readings, words, notify)
    if job.known:
        notify("known categories")
        train, validation = study.study.training("unseen_warm")
        # In training a category's words must not be learned from the purchases that they are to explain.
        barred = study.study.rules.held_out_categories
        utilities = left_out_utilities(learn, words, barred, model.fitted, job.settings)
        # Without weights of single customers and products, like the set network that it is compared with: the protocol
        # holds customers and categories out, and validation purchases are predicted better so.
        model.known = SetNetwork.fit(
            train, validation, job.seed, identities=False, more=lambda data: as_column(utilities(data), data)
        )
    model.save(job.out / "model")
    return model


def _cold(
    job: WordsJob,
    study: WordStudy,
    learn: TasteData,
    backbone: Backbone,
    readings: np.ndarray,
    words: LogWords,
    notify: OnMessage,
) -> TransferModel:
    """Return the model of cold starts, from an earlier run with the same settings where there is one."""
    settings = {"job": asdict(job.settings) | {"names": job.names}, "log": study.study.digest}
    settings = json.loads(json.dumps(settings))
    folder = job.out / "cold"
    if job.resume and (folder / "card.json").is_file():
        kept = TransferModel.from_pretrained(folder)
        if kept.card.pop("settings", None) == settings:
            return kept
    fitted = fit_words(learn, words, study.study.rules.held_out_categories, job.settings, notify)
    products = renamed(learn.products, job.names)
    catalogue = _catalogued(products, readings, fitted, np.unique(learn.prefix), words)
    model = TransferModel(backbone, fitted, catalogue, card=_card(job, learn, fitted))
    replace(model, card=model.card | {"settings": settings}).save(folder)
    return model


def _catalogued(
    products: ProductTable, readings: np.ndarray, fitted: FittedWords, trained: np.ndarray, words: LogWords
) -> Catalogued:
    """Return what is kept of the log's names.

    Args:
        products: The products under the names they were trained with.
        readings: Of all names [P, F].
        fitted: What training learned.
        trained: Prefixes of the categories trained on.
        words: The log's names as `malles_env.evaluation.transfer.word_model.scoring.log_words` gives them.
    """
    kinds = [text.removeprefix("market: ").removesuffix(".") for text in products.prefixes]
    prices = category_means(products.log_regular[:, None], products.prefix)[:, 0]
    mean_vectors = {}
    if fitted.word_map is not None:
        raw = category_means(words.states @ fitted.word_map.weights, products.prefix)
        mean_vectors = dict(zip(kinds, raw, strict=True))
    return Catalogued(
        dict(zip(kinds, category_means(readings, products.prefix), strict=True)),
        mean_vectors,
        {kind: round(float(price), 4) for kind, price in zip(kinds, prices, strict=True)},
        frozenset(kinds[at] for at in trained),
        tuple((products.names[at], products.texts[at], kinds[products.prefix[at]]) for at in fitted.rows),
    )


def _card(job: WordsJob, learn: TasteData, fitted: FittedWords) -> dict[str, Any]:
    kind = (
        "a map of its layers' states to taste vectors of what is bought together"
        if fitted.word_map
        else "left as it is"
    )
    return {
        "name": job.backbone,
        "backbone": job.backbone,
        "summary": f"Encoder with {kind}; a logit on likeness to earlier purchases, sales by words, and prices.",
        "data_licence": LICENCE,
        "command": job.command,
        "training": {
            "training occasions": len(learn),
            "names": job.names,
            "categories": len(np.unique(learn.prefix)),
            "weeks": f"{learn.period.min()}-{learn.period.max()}",
            "products with a taste vector": len(fitted.rows),
            **fitted.for_card,
        },
        "tables": {},
        "limits": list(LIMITS),
    }
