"""Names of products as what carries over: controls, kinship, the bank, launches, training and comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.data.sources.gifts.build import build_gift_occasions
from malles_env.data.sources.gifts.launches import launch_trials
from malles_env.errors import InvalidInput
from malles_env.evaluation.comparison.registry import rows_among
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.metrics import clustered, purchase_values
from malles_env.evaluation.protocol import Protocol, protocol
from malles_env.evaluation.transfer.comparison import compare_words
from malles_env.evaluation.transfer.launches import Launches
from malles_env.evaluation.transfer.rows import possible_rows
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_logit import WordLogit
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.packing import Request, pack
from malles_env.preference.data.renamed import renamed
from malles_env.preference.data.shelves import ProductTable, product_words
from malles_env.preference.data.text import ProductText, product_text
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.encoder.embedding_bank import BankReader
from malles_env.preference.encoder.embeddings import make_readings
from malles_env.preference.encoder.encoder import read_states
from malles_env.preference.heads.inputs import Readings
from malles_env.preference.heads.kinship import Kin, kin_features, likeness, meanings
from malles_env.preference.heads.objective import score
from malles_env.preference.model import TasteModel, new_heads
from malles_env.preference.prediction import predict
from malles_env.workflows.align_names import ENCODER, HEADS, WordsJob, run_words_job
from tests.data.sources.gift_log import THEMES, small_catalogue, small_settings
from tests.preference.conftest import tiny_model


def rules() -> Protocol:
    """Return the log's protocol with the small log's categories."""
    changed = {"held_out_categories": frozenset({"sign"}), "stopping_categories": frozenset({"clock"})}
    return protocol("online-retail").model_copy(update=changed)


@cache
def study() -> WordStudy:
    log, settings = small_catalogue(), small_settings()
    return WordStudy(Study(build_gift_occasions(log, settings), rules()), launch_trials(log, settings))


@cache
def judged() -> TasteData:
    return study().study.judging("unseen_cold").data


def goods() -> ProductTable:
    return judged().goods


def theme_readings(of: ProductTable) -> torch.Tensor:
    """Return readings that tell the theme a name begins with."""
    themes = [THEMES.index(text.split()[0].upper()) for text in of.texts]
    return torch.eye(len(THEMES))[themes]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny encoder's folder, as any local model's."""
    source = tiny_model(width=32, layers=2).backbone
    folder = tmp_path / "encoder"
    source.model.save_pretrained(folder)  # type: ignore[operator]
    source.encoder.tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_product_without_a_brand_is_told_by_its_title() -> None:
    row = {
        "brand": None,
        "private_label": None,
        "size_value": None,
        "size_unit": None,
        "variants": 1,
        "title": "OTTER MUG",
    }
    assert product_text(product_words(row)) == "otter mug"
    assert product_text(product_words(row | {"brand": "Maker 7"})) == "maker 7, national brand"
    assert product_text(ProductText(brand="Maker 7", size_value=24, size_unit="oz")) == "maker 7, national brand, 24 oz"
    assert set(goods().texts) >= {"zebra design mug", "comet design sign"}


def test_shuffled_names_stay_in_their_category_and_anonymous_ones_say_nothing() -> None:
    true, shuffled, anonymous = (renamed(goods(), names) for names in ("true", "shuffled", "anonymous"))
    assert true is goods()
    assert shuffled.texts != true.texts
    for market in np.unique(true.prefix):
        own = np.flatnonzero(true.prefix == market)
        assert sorted(shuffled.texts[at] for at in own) == sorted(true.texts[at] for at in own)
        assert len({anonymous.texts[at] for at in own}) == len(own)
    assert all(text.startswith("product ") for text in anonymous.texts)
    assert shuffled.names == anonymous.names == true.names
    with pytest.raises(InvalidInput, match="reversed"):
        renamed(goods(), "reversed")  # type: ignore[arg-type]


def test_meanings_are_centred_within_categories_and_likeness_is_what_it_says() -> None:
    readings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [3.0, 5.0]])
    meaning = meanings(readings, torch.tensor([0, 0, 1, 1]))
    half = 0.5**0.5
    assert torch.allclose(meaning, torch.tensor([[half, -half], [-half, half], [1.0, 0.0], [-1.0, 0.0]]))
    found = likeness(meaning, torch.tensor([[0, 1]]), torch.tensor([[2, 3, 2, -1]]))
    assert torch.allclose(found[0, 0], torch.tensor([half, half / 3, half / 3]), atol=1e-6)
    assert torch.allclose(found[0, 1], torch.tensor([half, -half / 3, -half / 3]), atol=1e-6)
    none = likeness(meaning, torch.tensor([[0, 1]]), torch.tensor([[-1, -1]]))
    assert (none == 0).all()


def test_only_the_five_nearest_count_as_nearest() -> None:
    meaning = torch.eye(7)
    found = likeness(meaning, torch.tensor([[0]]), torch.tensor([[0, 1, 2, 3, 4, 5, 6]]))
    assert found[0, 0].tolist() == pytest.approx([1.0, 1 / 5, 1 / 7])


def test_heads_without_kinship_do_not_see_what_was_bought_elsewhere() -> None:
    """Shipped weights answer to the digit as before, whether a log keeps it or not."""
    data = judged().take(np.arange(40))
    readings = Readings(torch.randn(len(data.goods.prefixes), 32), torch.randn(len(data.goods), 32))
    heads = new_heads(32, members=1, seed=3)
    assert not any("kinship" in name for name in heads.state_dict())
    with torch.no_grad():
        with_it = score(data, heads, readings).utilities
        without = score(replace(data, other=None, other_ago=None), heads, readings).utilities
    assert torch.equal(with_it, without)


def test_kinship_adds_its_linear_form_to_alpha() -> None:
    data = judged().take(np.arange(40))
    readings = Readings(torch.zeros(len(data.goods.prefixes), len(THEMES)), theme_readings(data.goods))
    heads = new_heads(len(THEMES), markets=(), kin=True)
    assert heads.kinship is not None
    with torch.no_grad():
        plain = score(data, heads, readings).option.alpha
        heads.kinship.weight[0, 0] = 0.3
        added = score(data, heads, readings).option.alpha - plain
    kin = Kin(*(torch.as_tensor(values) for values in (data.goods.prefix, data.other, data.past)))
    expected = 3.0 * kin_features(meanings(readings.product, kin.market), torch.as_tensor(data.product), kin)[..., 0]
    assert torch.allclose(added, expected, atol=1e-5)


def test_words_that_tell_the_taste_win_in_a_category_never_trained_on() -> None:
    data, train = judged(), study().study.training("unseen_cold")[0]
    assert set(np.array(train.markets)[np.unique(train.market)]) == {"mug", "bag", "clock"}
    true = WordLogit.fit(train, theme_readings(train.goods))
    shuffled = WordLogit.fit(train, theme_readings(renamed(train.goods, "shuffled")))
    numbers = WordLogit.fit(train, facts=False)
    nll = {name: purchase_values(row.predict(data), data)["nll"] for name, row in
           {"true": true, "shuffled": shuffled, "numbers": numbers}.items()}  # fmt: skip
    for other in ("shuffled", "numbers"):
        difference = clustered(nll["true"] - nll[other], data.household)
        assert difference.mean < -4 * difference.se
    assert len(true.columns(data.take(np.arange(3)))[1]) == len(true.weights)
    with pytest.raises(InvalidInput, match="purchases of other categories"):
        WordLogit.fit(replace(train, other=None), None)


def test_a_bank_reads_all_without_gradients_and_few_with_them() -> None:
    backbone = tiny_model(width=32, layers=2).backbone
    bank = BankReader(backbone, live=5)
    every = np.arange(len(goods()))
    with torch.no_grad():
        first = bank.of(goods(), every).product
    requests, rows, _ = goods().requests()
    with torch.no_grad():
        whole = read_states(backbone, requests).option[torch.as_tensor(rows)]
    assert torch.allclose(first, whole, atol=1e-5)
    torch.manual_seed(0)
    learning = bank.of(goods(), every).product
    assert torch.allclose(learning, whole, atol=1e-5)
    (gradient,) = torch.autograd.grad(learning[:, 0].sum(), next(backbone.model.parameters()), retain_graph=True)
    assert gradient.abs().sum() > 0
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter += 0.1
        changed = bank.of(goods(), every).product
    assert not torch.allclose(changed, whole, atol=1e-3)


def test_the_mean_of_an_option_is_over_its_whole_text() -> None:
    encoder = tiny_model(width=32, layers=2).backbone.encoder
    texts = ("zebra mug", "x", "comet design bag")
    batch = pack([Request("market: mug.", texts)], encoder)
    for text, start, end in zip(texts, batch.option_start.tolist(), batch.option_end.tolist(), strict=True):
        assert encoder.tokenizer.decode(batch.ids[0, start : end + 1].tolist()).strip() == text


@pytest.mark.parametrize("pooling", ["mean", "alone"])
def test_a_reading_does_not_depend_on_its_company(pooling: str) -> None:
    backbone = replace(tiny_model(width=32, layers=2).backbone, pooling=pooling)
    few, many = (goods().requests(np.arange(size)) for size in (3, len(goods())))
    with torch.no_grad():
        one, other = (read_states(backbone, r[0]).option[torch.as_tensor(r[1][:3])] for r in (few, many))
        last = read_states(replace(backbone, pooling="last"), many[0]).option[torch.as_tensor(many[1][:3])]
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(other, last, atol=1e-3)


def test_a_launchs_rank_is_told_within_its_category() -> None:
    launches = study().launches()
    assert launches.rank_correlation(launches.sales).mean == pytest.approx(1.0)
    assert launches.rank_correlation(1 / launches.sales).mean == pytest.approx(-1.0)
    assert np.isnan(launches.rank_correlation(np.ones(len(launches.sales))).mean)
    four = Launches(launches.data, launches.launch, np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 50.0, 100.0]))
    expected = np.array([100.0, 200.0, 3.0, 6.0])
    assert four.rank_correlation(expected).mean == pytest.approx(1.0)
    assert not launches.data.known.any()
    places = (np.arange(len(launches.data)), launches.data.chosen - 1)
    assert len(np.unique(launches.data.product[places])) == len(launches.sales)


def test_an_encoder_in_training_never_sees_what_stops_it_or_is_held_out() -> None:
    learn, stop = study().encoder_training()
    assert set(np.array(learn.markets)[np.unique(learn.market)]) == {"mug", "bag"}
    assert set(np.array(stop.markets)[np.unique(stop.market)]) == {"clock"}
    assert learn.period.max() <= 34
    assert stop.period.min() > 26
    assert stop.period.max() <= 38


def small_job(out: Path, encoder: Path, **changed: object) -> WordsJob:
    phases = {
        "encoder": replace(ENCODER, steps=2, batch_size=32, chunk=8, validate_every=1),
        "heads": replace(HEADS, steps=2, batch_size=32, validate_every=1),
    }
    return replace(WordsJob(out, backbone=str(encoder), layers=1, rank=2), **(phases | changed))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_model_is_trained_saved_resumed_and_compared_with_its_controls(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    model = run_words_job(small_job(tmp_path / "m", encoder), study(), show=False)
    again = run_words_job(small_job(tmp_path / "m", encoder), study(), show=False)
    assert again.weights_hash == model.weights_hash
    back = TasteModel.load(tmp_path / "m")
    data = judged().take(np.arange(30))
    ours, theirs = (predict(m, data, reader=make_readings(m.backbone, data.goods)).utilities for m in (model, back))
    assert np.allclose(ours, theirs, atol=2e-2)  # an adapter is kept in half precision
    assert back.card["training"]["names"] == "true"
    run_words_job(small_job(tmp_path / "m-shuffled", encoder, names="shuffled"), study(), show=False)
    run_words_job(small_job(tmp_path / "m-frozen", encoder, rank=0), study(), show=False)
    rows = [row for row in possible_rows(tmp_path / "m") if not row.startswith(("frozen", "set_network"))]
    assert [row for row in rows if row.startswith("aligned")] == [
        "aligned_frozen", "aligned_frozen_anonymous", "aligned", "aligned_shuffled", "aligned_anonymous",
    ]  # fmt: skip
    seen: list[int] = []
    found = compare_words(
        study(), rows, ["unseen_cold", "launches"], model=tmp_path / "m", limit=60, done=lambda _: seen.append(1)
    )
    assert len(seen) == 2 * len(rows)
    content = found.as_json()
    assert set(content["unseen_cold"]["aligned"]) == {"hit", "hit_se", "nll", "nll_se"}
    assert set(content["paired"]["unseen_cold"]["aligned - aligned_shuffled"]) == {"nll", "se", "hit", "hit_se"}
    assert set(content["launches"]["aligned"]) == {"spearman", "se"}
    assert content["launches"]["uniform"]["spearman"] is None
    told: list[str] = []
    once_more = compare_words(
        study(), rows, ["unseen_cold", "launches"], model=tmp_path / "m", limit=60, told=told.append
    )
    assert not any(words.startswith("fitting") for words in told)
    assert json.dumps(once_more.as_json()) == json.dumps(content)


def test_unknown_rows_and_protocols_are_errors() -> None:
    there = possible_rows(None)
    assert rows_among("frozen_minilm,uniform", there) == ["uniform", "frozen_minilm"]
    with pytest.raises(InvalidInput, match="alligned"):
        rows_among("alligned", there)
    with pytest.raises(InvalidInput, match="online-retial"):
        protocol("online-retial")
    with pytest.raises(InvalidInput, match="rank"):
        WordsJob(Path("x"), rank=-1)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["align", "--protocol", "online-retial"], "online-retial"),
        (["align", "--protocol", "online-retail", "--names", "anonymous"], "true or shuffled"),
        (["align", "--protocol", "online-retail", "--start-from", "x"], "start-from"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--splits", "tomorrow"], "launches"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--rows", "oracle"], "oracle"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--seed", "1"], "seed"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--rows", "uniform"], "id 352"),
    ],
)
def test_a_mistake_is_one_line(command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLES_ONLINE_RETAIL", str(tmp_path / "none.parquet"))
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_minilm_reads_alike_with_and_without_company() -> None:
    pytest.importorskip("all_minilm_l6_v2")
    backbone = load_backbone("minilm")
    assert backbone.pooling == "alone"
    few, many = (goods().requests(np.arange(size)) for size in (2, 20))
    with torch.no_grad():
        one, other = (read_states(backbone, r[0]).option[torch.as_tensor(r[1][:2])] for r in (few, many))
    assert torch.allclose(one, other, atol=1e-4)
