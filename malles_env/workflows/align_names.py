"""From the wholesaler's log to a saved word model: what `malles align --protocol online-retail` runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.evaluation.baselines.set_network import SetNetwork
from malles_env.evaluation.metrics import purchase_values
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_model.adapter_fit import AdapterFit
from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings
from malles_env.evaluation.transfer.word_model.copurchase import category_means
from malles_env.evaluation.transfer.word_model.model import Catalogued, TransferModel, read_names
from malles_env.evaluation.transfer.word_model.scoring import as_column, log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_fit import (
    FittedWords,
    LogWords,
    WordSettings,
    fit_words,
    learnable,
    left_out_utilities,
)
from malles_env.files import check_replaceable
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.renamed import Names, renamed
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.encoder.backbones import Backbone, load_backbone
from malles_env.type_aliases import FloatArray, IntArray, OnMessage, OnProgress

ADAPTER_STEPS = 120
"""Steps of an adapter's training, at most; how many are best is chosen on left-out categories."""
Folds = tuple[tuple[IntArray, LogWords], ...]
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
        settings: Settings of the map; with a width of 0 there is none.
        adapter: Settings of the adapter; None leaves the encoder as it is.
        adapter_steps: Steps of the adapter's training, at most.
        known: Also train for categories whose sales and histories are known.
        seed: Seed of what is drawn.
        command: The command line, for the card.
        resume: Take what a stopped run in `out` has finished.
    """

    out: Path
    backbone: str = "minilm"
    names: Names = "true"
    settings: WordSettings = field(default_factory=WordSettings)
    adapter: AdapterSettings | None = None
    adapter_steps: int = ADAPTER_STEPS
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
    barred = study.study.rules.held_out_categories
    sayings: dict[str, tuple[FittedWords, Folds]] = {"without adapter": (model.fitted, ())}
    if job.adapter is not None:
        model, folds = _adapted(job, model, learn, words, barred, notify)
        sayings["with it"] = model.fitted, folds
    if job.known:
        _fit_known(job, study, learn, words, model, sayings, notify)
    model.save(job.out / "model")
    return model


def _fit_known(
    job: WordsJob, study: WordStudy, learn: TasteData, words: LogWords, model: TransferModel,
    sayings: dict[str, tuple[FittedWords, Folds]], notify: OnMessage,
) -> None:  # fmt: skip
    """Fit a network for known categories on what words say with and without an adapter; keep what validates better.

    Args:
        job: What to train.
        study: The log.
        learn: What the words were learned of.
        words: The log's names.
        model: Gets the network.
        sayings: What training learned, and names as read by adapters that left categories out, by name.
        notify: Called with what is being done, in words.
    """
    train, validation = study.study.training("unseen_warm")
    nats: dict[str, float] = {}
    for what, (fitted, folds) in sayings.items():
        notify(f"known categories, {what}")
        # In training a category's words must not be learned from the purchases that they are to explain.
        utilities = left_out_utilities(learn, words, study.study.rules.held_out_categories, fitted, job.settings, folds)

        def column(data: TasteData, utilities: Callable[[TasteData], FloatArray] = utilities) -> FloatArray:
            return as_column(utilities(data), data)

        # Without weights of single customers and products, like the set network that it is compared with: the protocol
        # holds customers and categories out, and validation purchases are predicted better so.
        network = SetNetwork.fit(train, validation, job.seed, identities=False, more=column)
        answer = replace(network, more=column).predict(validation)
        nats[what] = round(float(purchase_values(answer, validation)["nll"].mean()), 4)
        if nats[what] == min(nats.values()):
            model.known, model.known_fitted = network, fitted
    model.card["training"] |= {"nats of validation purchases in known categories": nats}


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


def _adapted(
    job: WordsJob, model: TransferModel, learn: TasteData, words: LogWords, barred: frozenset[str], notify: OnMessage
) -> tuple[TransferModel, Folds]:
    """Return a model with an adapter in its encoder, and names as read by adapters that left categories out."""
    products = renamed(learn.products, job.names)
    fit = AdapterFit(
        learn, words, products.texts, learnable(learn, words, barred), job.settings, job.adapter or AdapterSettings(),
        job.adapter_steps, job.backbone, job.out / "adapters", notify,
    )  # fmt: skip
    found = fit.fit(model.fitted)
    notify("reading names with the adapter")
    readings = read_names(found.encoder, products.texts)
    means = dict(zip(model.catalogue.means, category_means(readings, products.prefix), strict=True))
    card = model.card | {"training": model.card["training"] | found.report}
    card["summary"] = card["summary"].replace("Encoder with", "Encoder with an adapter inside, and", 1)
    catalogue = replace(model.catalogue, adapted_means=means)
    return replace(model, fitted=found.fitted, catalogue=catalogue, card=card), found.folds


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
