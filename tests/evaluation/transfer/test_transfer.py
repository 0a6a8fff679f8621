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
from malles_env.errors import CorruptFile, InvalidInput
from malles_env.evaluation.comparison.registry import rows_among
from malles_env.evaluation.comparison.study import Study
from malles_env.evaluation.metrics import clustered, purchase_values
from malles_env.evaluation.protocol import Protocol, protocol
from malles_env.evaluation.transfer.comparison import compare_words
from malles_env.evaluation.transfer.launches import Launches
from malles_env.evaluation.transfer.rows import possible_rows
from malles_env.evaluation.transfer.study import WordStudy
from malles_env.evaluation.transfer.word_logit import WordLogit
from malles_env.evaluation.transfer.word_model.adapter_training import AdapterSettings
from malles_env.evaluation.transfer.word_model.copurchase import taste_vectors, who_bought, within
from malles_env.evaluation.transfer.word_model.model import Bought, TransferModel
from malles_env.evaluation.transfer.word_model.scoring import WordScorer, log_words, scorer_of
from malles_env.evaluation.transfer.word_model.trends import COLUMNS, Sold, sales_before, word_trends
from malles_env.evaluation.transfer.word_model.word_features import columns
from malles_env.evaluation.transfer.word_model.word_fit import WordSettings, fit_words, left_out
from malles_env.evaluation.transfer.word_model.word_map import WordMap
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.packing import Request, pack
from malles_env.preference.data.renamed import renamed
from malles_env.preference.data.shelves import ProductTable, product_words
from malles_env.preference.data.text import ProductText, product_text
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.encoder.encoder import read_states
from malles_env.preference.heads.inputs import Readings
from malles_env.preference.heads.kinship import likeness, meanings
from malles_env.preference.heads.objective import score
from malles_env.preference.model import new_heads
from malles_env.workflows.align_names import WordsJob, run_words_job
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
    return judged().products


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


def test_a_product_without_a_brand_is_known_by_its_title() -> None:
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


def test_heads_do_not_see_what_was_bought_elsewhere() -> None:
    """Shipped weights answer to the digit as before, whether a log keeps it or not."""
    data = judged().take(np.arange(40))
    readings = Readings(torch.randn(len(data.products.prefixes), 32), torch.randn(len(data.products), 32))
    heads = new_heads(32, members=1, seed=3)
    with torch.no_grad():
        with_it = score(data, heads, readings).utilities
        without = score(replace(data, other=None, other_ago=None), heads, readings).utilities
    assert torch.equal(with_it, without)


def test_words_that_tell_the_taste_win_in_a_category_never_trained_on() -> None:
    data, train = judged(), study().study.training("unseen_cold")[0]
    assert set(np.array(train.markets)[np.unique(train.market)]) == {"mug", "bag", "clock"}
    true = WordLogit.fit(train, theme_readings(train.products))
    shuffled = WordLogit.fit(train, theme_readings(renamed(train.products, "shuffled")))
    numbers = WordLogit.fit(train, facts=False)
    nll = {name: purchase_values(row.predict(data), data)["nll"] for name, row in
           {"true": true, "shuffled": shuffled, "numbers": numbers}.items()}  # fmt: skip
    for other in ("shuffled", "numbers"):
        difference = clustered(nll["true"] - nll[other], data.household)
        assert difference.mean < -4 * difference.se
    assert len(true.columns(data.take(np.arange(3)))[1]) == len(true.weights)
    with pytest.raises(InvalidInput, match="purchases of other categories"):
        WordLogit.fit(replace(train, other=None), None)


def theme_states() -> np.ndarray:
    """Return states of one layer that tell each name's theme."""
    return theme_readings(goods()).numpy()


def one_layer(states: np.ndarray) -> np.ndarray:
    """Return readings of two parts as an encoder of no layers gives them: the mean state twice."""
    return np.concatenate([states, states], axis=1)


@cache
def fitted() -> tuple[object, object]:
    words = log_words(one_layer(theme_states()), 2, goods(), study().sales)
    return fit_words(study().learning(), words, rules().held_out_categories, SMALL), words


SMALL = WordSettings(width=4, penalties=(0.1, 1.0), folds=2)


def test_who_bought_knows_only_earlier_weeks_and_no_customer_who_is_held_out() -> None:
    data = study().learning()
    early, late = who_bought(data, 20), who_bought(data, 38)
    assert (late | ~early).all()
    assert late.sum() > early.sum() > 0
    assert late[np.setdiff1d(np.arange(len(late)), np.unique(data.household))].sum() == 0


def test_taste_vectors_tell_who_buys_what_within_categories() -> None:
    """Two kinds of customers, two categories: products of one taste lie together across categories."""
    taste = np.repeat([0, 1], 30)
    product = np.tile([0, 1], 8)
    market = np.repeat([0, 1], 8)
    bought = (taste[:, None] == product) & (np.random.default_rng(0).random((60, 16)) < 0.8)
    rows, vectors = taste_vectors(bought, market, np.ones(16, dtype=bool), width=2)
    assert rows.tolist() == list(range(16))
    shared = vectors @ vectors.T
    alike = product[:, None] == product
    assert shared[alike].min() > 0 > shared[~alike].max()
    assert np.abs(within(vectors, market) - vectors).max() < 1e-6
    some = np.ones(16, dtype=bool)
    some[3] = False
    assert 3 not in taste_vectors(bought, market, some, width=2)[0]


def test_a_map_without_shrinkage_gives_what_it_was_trained_on() -> None:
    states, vectors = np.eye(6, 9, dtype=np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)
    word_map = WordMap.fit(states, np.array([0, 2, 3, 5]), vectors, 1e-9)
    assert np.allclose(states[[0, 2, 3, 5]] @ word_map.weights, vectors, atol=1e-4)
    assert np.allclose(states[[1, 4]] @ word_map.weights, 0)
    assert np.abs(WordMap.fit(states, np.arange(4), vectors, 1e9).weights).max() < 1e-3


def test_trends_carry_over_from_other_categories_by_words_alone() -> None:
    meaning = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    counts = np.zeros((4, 12), dtype=np.float32)
    counts[0, 3], counts[1, 3], counts[2, 3] = 9, 1, 50
    recent, total = sales_before(counts)
    assert (recent[:, 3] == 0).all()
    assert recent[0, 4] == total[0, 4] == total[0, 11] == 9
    assert recent[0, 12 - 1] == 9
    trend = word_trends(meaning, np.array([0, 0, 1, 1]), recent, total)
    assert trend.shape == (4, 12, len(COLUMNS))
    assert (trend[:, :4] == 0).all()
    assert trend[2, 4, 0] > 0 > trend[3, 4, 0]
    counts[2] = 0
    assert np.allclose(word_trends(meaning, np.array([0, 0, 1, 1]), *sales_before(counts))[2], trend[2])


def test_a_word_model_beats_itself_on_shuffled_names_in_a_category_never_trained_on() -> None:
    data = judged()
    found, words = fitted()
    assert len(found.unseen) == len(columns(learned=True))
    assert not set(found.rows.tolist()) & set(np.flatnonzero(goods().prefix == data.prefix[0]).tolist())
    assert found.penalty in SMALL.penalties
    scorer = WordScorer(found, words, np.unique(study().learning().prefix))
    nll = purchase_values(scorer.predict(data), data)["nll"]
    numbers = WordLogit.fit(study().study.training("unseen_cold")[0], facts=False)
    difference = clustered(nll - purchase_values(numbers.predict(data), data)["nll"], data.household)
    assert difference.mean < -4 * difference.se


def test_every_category_is_left_out_once() -> None:
    data = study().learning()
    parts = left_out(data, SMALL)
    assert sorted(np.concatenate(parts).tolist()) == np.unique(data.prefix).tolist()


def test_the_mean_of_an_option_is_over_its_whole_text() -> None:
    encoder = tiny_model(width=32, layers=2).backbone.encoder
    texts = ("zebra mug", "x", "comet design bag")
    batch = pack([Request("market: mug.", texts)], encoder)
    for text, start, end in zip(texts, batch.option_start.tolist(), batch.option_end.tolist(), strict=True):
        assert encoder.tokenizer.decode(batch.ids[0, start : end + 1].tolist()).strip() == text


@pytest.mark.parametrize("pooling", ["mean", "alone", "layers"])
def test_a_reading_does_not_depend_on_its_company(pooling: str) -> None:
    backbone = replace(tiny_model(width=32, layers=2).backbone, pooling=pooling)
    few, many = (goods().requests(np.arange(size)) for size in (3, len(goods())))
    with torch.no_grad():
        one, other = (read_states(backbone, r[0]).option[torch.as_tensor(r[1][:3])] for r in (few, many))
        last = read_states(replace(backbone, pooling="last"), many[0]).option[torch.as_tensor(many[1][:3])]
    assert torch.allclose(one, other, atol=1e-5)
    assert other.shape[1] == 32 * replace(backbone, pooling=pooling).parts
    assert not torch.allclose(other[:, -32:], last, atol=1e-3)


def test_a_launchs_rank_is_computed_within_its_category() -> None:
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


def small_job(out: Path, encoder: Path, **changed: object) -> WordsJob:
    return replace(WordsJob(out, backbone=str(encoder), settings=SMALL, known=False), **changed)  # type: ignore[arg-type]


ADAPTER = AdapterSettings(rank=2, layers=1, rate=0.01, every=2, names=40, batch=256, refit=2000)


@pytest.mark.parametrize("adapter", [None, ADAPTER])
def test_a_saved_model_answers_alike_on_the_log_and_to_names(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, adapter: AdapterSettings | None
) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    job = small_job(tmp_path / "m", encoder, adapter=adapter, adapter_steps=4)
    model = run_words_job(job, study())
    messages: list[str] = []
    again = run_words_job(job, study(), notify=messages.append)
    assert again.weights_hash == model.weights_hash
    assert not any("left-out" in words or "step" in words for words in messages)
    back = TransferModel.from_pretrained(tmp_path / "m")
    assert len(back.fitted.unseen) == len(columns(learned=True, adapted=adapter is not None))
    scorer = scorer_of(back, goods(), study().sales)
    data = judged().take(np.arange(12))
    on_log = scorer.utilities(data)
    for row in range(3):
        products = data.product[row][data.mask[row]]
        past = [(at, ago) for at, ago in zip(data.other[row], data.other_ago[row], strict=True) if at >= 0]
        history = [Bought(goods().texts[at], kind(at), float(ago), float(np.exp(goods().log_regular[at])))
                   for at, ago in past]  # fmt: skip
        recent, total = (values[:, data.period[row]] for values in sales_before(study().sales))
        sales = [Sold(goods().texts[at], kind(at), recent[at], total[at]) for at in range(len(goods()))]
        prices = np.exp(goods().log_regular[products])
        asked = back.utilities([goods().texts[at] for at in products], "sign", [history], prices, sales)
        expected = on_log[row][data.mask[row]]
        assert np.allclose(asked[0], expected - expected.mean(), atol=2e-2)  # readings are kept in half precision


def kind(product: int) -> str:
    return goods().prefixes[goods().prefix[product]].removeprefix("market: ").removesuffix(".")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": []}, "names"),
        ({"names": ["x" * 5000]}, "5000 characters"),
        ({"names": [" \u200b"]}, "can be seen"),
        ({"histories": []}, "histories"),
        ({"histories": [[Bought("zebra mug", "mug", -1)]]}, "weeks"),
        ({"prices": [1.0, 2.0]}, "one per name"),
        ({"prices": [0.0]}, "above 0"),
    ],
)
def test_what_cannot_be_read_is_named(changed: dict[str, object], message: str) -> None:
    asked = {"names": ["zebra sign"], "category": "sign", "histories": [[]]} | changed
    with pytest.raises(InvalidInput, match=message):
        TransferModel.utilities(None, **asked)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_model_is_trained_and_compared_with_its_controls(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    run_words_job(small_job(tmp_path / "m", encoder, known=True, adapter=ADAPTER, adapter_steps=2), study())
    assert TransferModel.from_pretrained(tmp_path / "m").known is not None
    run_words_job(small_job(tmp_path / "m-shuffled", encoder, names="shuffled"), study())
    run_words_job(small_job(tmp_path / "m-frozen", encoder, settings=replace(SMALL, width=0)), study())
    rows = [row for row in possible_rows(tmp_path / "m") if not row.startswith(("frozen", "set_network"))]
    assert [row for row in rows if row.startswith("aligned")] == [
        "aligned_frozen", "aligned_frozen_anonymous", "aligned", "aligned_shuffled", "aligned_anonymous",
    ]  # fmt: skip
    seen: list[int] = []
    splits = ["unseen_cold", "time", "launches"]
    found = compare_words(study(), rows, splits, model=tmp_path / "m", limit=60, done=lambda _: seen.append(1))
    assert len(seen) == 3 * len(rows)
    content = found.as_json()
    assert set(content["unseen_cold"]["aligned"]) == {"hit", "hit_se", "nll", "nll_se"}
    assert set(content["paired"]["unseen_cold"]["aligned - aligned_shuffled"]) == {"nll", "se", "hit", "hit_se"}
    assert set(content["launches"]["aligned"]) == {"spearman", "se"}
    assert content["launches"]["uniform"]["spearman"] is None
    messages: list[str] = []
    once_more = compare_words(study(), rows, splits, model=tmp_path / "m", limit=60, notify=messages.append)
    assert not any(words.startswith("fitting") for words in messages)
    assert json.dumps(once_more.as_json()) == json.dumps(content)


def test_unknown_rows_and_protocols_are_errors() -> None:
    there = possible_rows(None)
    assert rows_among("frozen_minilm,uniform", there) == ["uniform", "frozen_minilm"]
    with pytest.raises(InvalidInput, match="alligned"):
        rows_among("alligned", there)
    with pytest.raises(InvalidInput, match="online-retial"):
        protocol("online-retial")
    with pytest.raises(InvalidInput, match="width"):
        WordSettings(width=-1)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["align", "--protocol", "online-retial"], "online-retial"),
        (["align", "--protocol", "online-retail", "--names", "anonymous"], "true or shuffled"),
        (["align", "--protocol", "online-retail", "--start-from", "x"], "start-from"),
        (["align", "--protocol", "online-retail", "--layers", "2"], "layers"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--splits", "tomorrow"], "launches"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--rows", "oracle"], "oracle"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--seed", "1"], "seed"),
        (["consumers", "evaluate", "--protocol", "online-retail", "--rows", "uniform"], "id 352"),
    ],
)
def test_a_mistake_is_one_line(
    command: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLES_ONLINE_RETAIL", str(tmp_path / "none.parquet"))
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
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


def test_the_model_that_ships_likes_the_design_that_was_bought() -> None:
    pytest.importorskip("all_minilm_l6_v2")
    model = TransferModel.from_pretrained("gifts")
    assert model.fitted.adapter is not None
    names = ["JUMBO BAG RED RETROSPOT", "JUMBO BAG PINK POLKADOT"]
    histories = [[Bought("RED RETROSPOT MUG", "mug", weeks=2)], [Bought("PINK POLKADOT CUP", "cup", weeks=2)]]
    retro, dots = model.utilities(names, "bag", histories, [2.08, 2.08])
    assert retro[0] > retro[1] and dots[1] > dots[0]


def test_adapter_files_that_are_not_what_was_saved_are_refused(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path / "cache"))
    run_words_job(small_job(tmp_path / "m", encoder, adapter=ADAPTER, adapter_steps=2), study())
    weights = tmp_path / "m" / "model" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CorruptFile, match=r"adapter_model\.safetensors"):
        TransferModel.from_pretrained(tmp_path / "m")
