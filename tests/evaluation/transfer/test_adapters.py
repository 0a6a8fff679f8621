"""Adapters trained inside the encoder: cached gradients, a loss that falls, trainings that are taken up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.errors import InvalidInput
from malles_env.evaluation.transfer.word_model.adapter_training import (
    AdapterSettings,
    AdapterTraining,
    Choices,
    without,
)
from malles_env.evaluation.transfer.word_model.scoring import log_readings, log_words
from malles_env.evaluation.transfer.word_model.word_features import POOLED
from malles_env.evaluation.transfer.word_model.word_fit import LogWords
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.heads.kinship import meanings
from tests.evaluation.transfer.test_transfer import encoder, study  # noqa: F401 - a fixture

SMALL = AdapterSettings(rank=2, layers=1, rate=0.01, drop=0.1, every=2, names=40, batch=256, refit=2000, half=False)


@pytest.fixture
def log(tmp_path: Path, encoder: Path, monkeypatch) -> tuple[TasteData, LogWords]:  # noqa: F811
    """Purchases of the small log and what its names say."""
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    learn = study().learning()
    backbone = load_backbone(str(encoder), pooling="layers")
    return learn, log_words(log_readings(backbone, learn.products), backbone.parts, learn.products, study().sales)


def training(encoder: Path, log: tuple[TasteData, LogWords], file: Path | None = None) -> AdapterTraining:  # noqa: F811
    """Return a fresh training, or what a file holds of one."""
    learn, words = log
    fresh = with_adapter(load_backbone(str(encoder), pooling="mean"), rank=SMALL.rank, layers=SMALL.layers)
    return AdapterTraining(fresh, learn.products.texts, learn, words, SMALL, file)


def test_cached_gradients_are_those_of_reading_all_at_once(encoder: Path, log: tuple[TasteData, LogWords]) -> None:  # noqa: F811
    words = log[1]
    trained = training(encoder, log)
    trained.run(2)  # an adapter that does nothing yet has gradients of 0 in its first matrices
    rows = trained.shown
    weights = list(trained.learning.values())
    market = torch.as_tensor(words.market)

    def loss(readings: torch.Tensor) -> torch.Tensor:
        whole = trained.table.index_copy(0, torch.as_tensor(rows), readings)
        return trained.choices.loss(meanings(whole, market), trained.weights)

    direct = torch.autograd.grad(loss(trained.reader.states(rows)), weights)
    readings = trained.reader.read(rows).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(readings), readings)
    trained.optimizer.zero_grad()
    trained.reader.pass_on(rows, gradient)
    assert max(float(part.abs().max()) for part in direct) > 1e-6
    for one, part in zip(direct, weights, strict=True):
        torch.testing.assert_close(part.grad, one, rtol=1e-3, atol=1e-6)


def test_learned_columns_are_those_of_the_word_model(log: tuple[TasteData, LogWords]) -> None:
    learn, words = log
    some = learn.take(np.arange(50))
    columns = words.features(some, (words.frozen, words.frozen, 1.0))
    found = Choices.of(some, words).learned(torch.as_tensor(words.frozen))
    np.testing.assert_allclose(found.numpy(), columns[..., -POOLED:], atol=2e-4)


def test_training_lowers_the_loss_and_goes_on_where_it_stopped(
    tmp_path: Path,
    encoder: Path,  # noqa: F811
    log: tuple[TasteData, LogWords],
) -> None:
    market = torch.as_tensor(log[1].market)
    whole = training(encoder, log)
    before = whole.kept[0].float()
    kept = whole.run(8)
    assert sorted(kept) == [0, 2, 4, 6, 8]
    nats = [float(whole.choices.loss(meanings(table, market), whole.weights)) for table in (before, kept[8].float())]
    assert nats[1] < nats[0]
    training(encoder, log, tmp_path / "part.pt").run(4)
    taken_up = training(encoder, log, tmp_path / "part.pt")
    assert taken_up.step == 4
    torch.testing.assert_close(taken_up.run(8)[8], kept[8], rtol=0, atol=0)
    learn, words = log
    fresh = with_adapter(load_backbone(str(encoder), pooling="mean"), rank=2, layers=1)
    with pytest.raises(InvalidInput, match="other settings"):
        AdapterTraining(fresh, learn.products.texts, learn, words, replace(SMALL, rate=0.1), tmp_path / "part.pt")


def test_training_reads_names_without_some_of_their_tokens(encoder: Path, log: tuple[TasteData, LogWords]) -> None:  # noqa: F811
    reader = training(encoder, log).reader
    some = reader.dropping(0.5, np.random.default_rng(0)).tokens
    assert sum(map(len, some)) < 0.9 * sum(map(len, reader.tokens))
    assert all(set(few) <= set(whole) and few[-1] == whole[-1] for few, whole in zip(some, reader.tokens, strict=True))
    assert reader.dropping(0.0, np.random.default_rng(0)) is reader


def test_nothing_is_learned_of_products_that_are_left_out(encoder: Path, log: tuple[TasteData, LogWords]) -> None:  # noqa: F811
    learn, words = log
    inside = np.unique(learn.prefix)[1:]
    barred = ~np.isin(words.market, inside)
    masked = without(learn.take(np.flatnonzero(np.isin(learn.prefix, inside))), barred)
    assert masked.other is not None and not barred[masked.other[masked.other >= 0]].any()
    fresh = with_adapter(load_backbone(str(encoder), pooling="mean"), rank=2, layers=1)
    assert not barred[AdapterTraining(fresh, learn.products.texts, masked, words, SMALL).shown].any()
    with pytest.raises(InvalidInput, match="other categories"):
        without(replace(learn, other=None), barred)
