"""The prompted consumer: words, packing, attention prior, losses, training, files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from malles_env.alignment.adapters import trainable
from malles_env.alignment.backbones import load_backbone
from malles_env.alignment.dataset import from_occasions
from malles_env.alignment.prompted import study
from malles_env.alignment.prompted.data import PromptData, prompt_data
from malles_env.alignment.prompted.labels import OPTION_LETTERS, Labels
from malles_env.alignment.prompted.losses import listwise_loss, reference_scores, s_dpo_loss, unit_loss
from malles_env.alignment.prompted.model import PromptedModel, mean_units
from malles_env.alignment.prompted.packing import ALL, CHOSEN, NONE, attention_bias, pad, seen_mask, spell
from malles_env.alignment.prompted.prompt import Household, Line, household_pieces, price_words, shelf_pieces
from malles_env.alignment.prompted.questions import ask, cyclic, draw_shelves, epoch_of
from malles_env.alignment.prompted.response import price_response
from malles_env.alignment.prompted.trainer import PromptConfig, align_prompted, validate
from malles_env.alignment.prompted.workflow import Splits, tokenizer_texts
from malles_env.cli.prompted import prompted_command
from malles_env.data import BuildSettings, Occasions, build_occasions, synthetic_transactions
from malles_env.errors import CorruptFile, InvalidInput, MissingResource

QUICK = PromptConfig(steps=6, batch_size=24, validate_every=2, warmup=1, patience=50)


def shelves(size: int = 120, *, seed: int = 0, products: int = 4, loyal: float = 0.9) -> PromptData:
    """Return occasions on a handful of shelves; buyers repeat their last purchase with probability `loyal`."""
    rng = np.random.default_rng(seed)
    kinds = 6
    kind = rng.integers(0, kinds, size)
    regular = np.array([2.0, 3.0, 4.0, 5.0, 6.0])[:products]
    depth = np.random.default_rng(99).choice([0.0, 0.1, 0.25], (kinds, products))
    # Each occasion lists the same shelf in an order of its own.
    order = np.stack([rng.permutation(products) for _ in range(size)])
    last = rng.integers(0, products, size)
    pick = np.where(rng.random(size) < loyal, last, rng.integers(0, products, size))
    chosen = np.where(rng.random(size) < 0.3, 0, 1 + (order == pick[:, None]).argmax(1))
    listed_last = order == last[:, None]
    return PromptData(
        products=tuple(f"maker {j}, national brand, {10 + j} oz" for j in range(products)),
        markets=("COFFEE | GROUND COFFEE",),
        product=order,
        market=np.zeros(size, dtype=np.int64),
        household=rng.integers(0, size // 3 + 1, size),
        price=(regular * (1 - depth[kind]))[np.arange(size)[:, None], order],
        regular_price=regular[order],
        promotion=depth[kind][np.arange(size)[:, None], order] > 0.2,
        bought=2 * listed_last.astype(np.int64),
        last=listed_last,
        share=np.array([0.4, 0.3, 0.2, 0.06, 0.04])[:products][order],
        mask=np.ones((size, products), dtype=bool),
        chosen=chosen,
        quantity=np.where(chosen > 0, 1 + rng.integers(0, 3, size), 0),
        log_sampling=np.full(size, np.log(2.0)),
        history_total=np.full(size, 2),
        weeks_seen=np.full(size, 9),
    )


@cache
def few_occasions() -> Occasions:
    """Return the occasions of a small synthetic log."""
    tables, _ = synthetic_transactions(seed=3, num_households=40)
    settings = BuildSettings(min_line_purchases=10, min_line_households=3, min_market_purchases=50)
    return build_occasions(tables, settings)


def tiny(prior: float = 0.0, *, seed: int = 0, reference: str = "none", beta: float = 1.0) -> PromptedModel:
    """Return a small random model whose label logits differ."""
    texts = tokenizer_texts(shelves())
    model = PromptedModel.embedded(
        texts, width=32, layers=2, vocabulary=320, seed=seed, prior=prior, reference=reference, beta=beta
    )
    with torch.no_grad():
        model.embeddings.mul_(5)
        if model.base is not None:
            model.base.load_state_dict(model.backbone.model.state_dict())
    return model


@pytest.fixture(scope="module")
def model() -> PromptedModel:
    """A small random model with a prior of 1 nat."""
    return tiny(prior=1.0)


def pretrained(folder: Path) -> Path:
    """Write a "pre-trained" body in transformers' layout, for the path that loads one by its directory."""
    backbone = tiny().backbone
    backbone.model.save_pretrained(folder)
    backbone.encoder.tokenizer.save(str(folder / "tokenizer.json"))
    return folder


# Words


def test_words_of_a_prompt() -> None:
    """A shelf and a household, word for word; only economic words are marked."""
    lines = (Line("maker 1, 10 oz", 1.5, 2.0, True, 0.354), Line("maker 2, 12 oz", 3.0, 3.0, False, 0.1))
    household = Household(5, 20, (3, 2), 1)
    pieces = [*shelf_pieces(lines, " "), *household_pieces(household, " ")]
    named = {-2: "N", 0: "A", 1: "B"}
    assert "".join(piece.text or named[piece.label] for piece in pieces) == (
        "\n A: maker 1, 10 oz; 1.50, regular 2.00, 25% off, promoted; share 35%"
        "\n B: maker 2, 12 oz; 3.00; share 10%"
        "\n N: buy nothing"
        "\nHousehold: bought four or five times, in every fourth shopping week. Before: A three times, most; "
        "B twice, a third. Last: B\nAnswer: "
    )
    marked = [piece.text for piece in pieces if piece.economic]
    assert marked == [*price_words(lines[0]), *price_words(lines[1])]


def test_labels_are_single_tokens_and_shelves_fit_them(model: PromptedModel) -> None:
    """Every label is one token of its own; a shelf with more options than letters is refused."""
    labels = Labels.of(model.backbone.encoder)
    assert len({labels.outside, *labels.options, *labels.units}) == 1 + len(OPTION_LETTERS) + 9
    with pytest.raises(InvalidInput, match="at most 25"):
        labels.check_shelf(26)


def test_households_share_a_shelf_however_it_is_listed() -> None:
    """Six shelves make six questions; in each, everybody's places lead to the same products."""
    data = shelves(200)
    questions = ask(data, most=1000)
    assert len(questions) == 6
    assert sorted(np.concatenate([question.rows for question in questions])) == list(range(200))
    for question in questions:
        products = np.take_along_axis(data.product[question.rows], question.places, axis=1)
        assert (products == products[0]).all()
    assert max(len(question.rows) for question in ask(data, most=5)) == 5


def test_epochs_shuffle_shelves_anew_and_repeat_exactly() -> None:
    """An epoch covers every occasion once; its orders are a function of seed and epoch."""
    data = shelves(150)
    first, again, other = (list(epoch_of(data, most=4, size=20, seed=1, epoch=epoch)) for epoch in (0, 0, 1))
    assert sorted(row for batch in first for question in batch for row in question.rows) == list(range(150))
    orders = [[tuple(question.order) for batch in epoch for question in batch] for epoch in (first, again, other)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert len(set(orders[0])) > 10


# Packing


def test_packed_answers_equal_those_asked_alone(model: PromptedModel) -> None:
    """Households that share a shelf's tokens answer as each would alone; units questions change no answer."""
    data = shelves(40)
    with torch.no_grad():
        together = {units: model.answers(ask(data, most=20), data, units) for units in (NONE, ALL)}
        for at, row in enumerate(together[NONE].rows.tolist()):
            one = data.take(np.array([row]))
            alone = model.answers(ask(one, most=1), one, ALL)
            torch.testing.assert_close(together[NONE].scores[at : at + 1], alone.scores, atol=1e-4, rtol=0)
            torch.testing.assert_close(together[ALL].scores[at : at + 1], alone.scores, atol=1e-4, rtol=0)
            mine = together[ALL].unit_owner[:, 0] == at
            order = together[ALL].unit_owner[mine, 1].argsort()
            found = together[ALL].units[mine][order]
            torch.testing.assert_close(found, alone.units[alone.unit_owner[:, 1].argsort()], atol=1e-4, rtol=0)


def test_units_are_asked_for_what_was_bought(model: PromptedModel) -> None:
    """In training only purchases have a units question, about the option that was chosen."""
    data = shelves(30)
    with torch.no_grad():
        answers = model.answers(ask(data, most=8), data, CHOSEN)
    rows = answers.rows[answers.unit_owner[:, 0]].numpy()
    assert sorted(rows) == list(np.flatnonzero(data.chosen > 0))
    assert (answers.unit_owner[:, 1].numpy() == data.chosen[rows] - 1).all()


def test_prediction_does_not_depend_on_how_the_data_list_a_shelf(model: PromptedModel) -> None:
    """Swapping two columns of the data swaps the answers."""
    data = shelves(30)
    swap = [1, 0, 2, 3]
    names = ("product", "price", "regular_price", "promotion", "bought", "last", "share", "mask")
    turned = replace(data, **{name: getattr(data, name)[:, swap] for name in names})
    first, second = model.predict(data, orders=2), model.predict(turned, orders=2)
    np.testing.assert_allclose(first.utilities[:, 1:][:, swap], second.utilities[:, 1:], atol=1e-4)
    np.testing.assert_allclose(first.units[:, swap], second.units, atol=1e-3)


def test_prediction_averages_cyclic_orders_and_carries_the_offset(model: PromptedModel) -> None:
    """Two orders give the mean of both probabilities; the outside option stands at its sampling offset."""
    data = shelves(25)
    whole = model.predict(data, orders=2)
    np.testing.assert_array_equal(whole.utilities[:, 0], data.log_sampling)
    mean = np.zeros_like(whole.utilities)
    with torch.no_grad():
        for turn in (0, 1):
            answers = model.answers(cyclic(ask(data, 12), turn, 2, 0), data)
            mean[answers.rows.numpy()] += answers.scores.softmax(1).numpy() / 2
    np.testing.assert_allclose(np.exp(whole.log_probability()), mean, atol=1e-5)


def test_padding_gets_no_probability(model: PromptedModel) -> None:
    """A shelf with a gap is the same question as one without."""
    data = shelves(20, products=4)
    wide = {
        name: np.concatenate([getattr(data, name), getattr(data, name)[:, :1]], axis=1)
        for name in ("product", "price", "regular_price", "promotion", "bought", "last", "share", "mask")
    }
    wide["mask"][:, -1] = False
    padded = model.predict(replace(data, **wide))
    assert np.isinf(padded.utilities[:, -1]).all()
    np.testing.assert_allclose(padded.utilities[:, :-1], model.predict(data).utilities, atol=1e-4)


def test_units_are_judged_by_their_labels(model: PromptedModel) -> None:
    """Mean units of every option, and the label probabilities of what was chosen; none when not asked."""
    assert mean_units(np.log([0.5, 1e-12, 0.5])) == pytest.approx(2.0)
    data = shelves(20)
    found = model.predict(data)
    rows = np.flatnonzero(data.chosen > 0)
    expected = np.exp(found.quantity[rows]) @ np.arange(1, 10)
    np.testing.assert_allclose(found.units[rows, data.chosen[rows] - 1], expected)
    assert model.predict(data, units=False).units is None


# Attention prior


def test_prior_multiplies_attention_on_economic_tokens() -> None:
    """In a real Llama's first layer each weight becomes w exp(s) / sum over marked, w / sum over others."""
    strength, model = 1.7, tiny()
    data = shelves(12)
    batch = pad([spell(question, data, model.speller, ALL) for question in ask(data, 4)[:2]])
    assert 0 < batch.economic.float().mean() < 0.6
    model.backbone.model.set_attn_implementation("eager")
    with torch.no_grad():
        plain, prior = (
            model.backbone.model(
                input_ids=batch.ids,
                attention_mask=attention_bias(batch, s, torch.float32),
                position_ids=batch.positions,
                output_attentions=True,
            ).attentions[0]
            for s in (0.0, strength)
        )
    lifted = plain * torch.where(batch.economic, np.exp(strength), 1.0)[:, None, None, :]
    torch.testing.assert_close(prior, lifted / lifted.sum(-1, keepdim=True), atol=1e-6, rtol=1e-4)
    assert not torch.allclose(prior, plain, atol=1e-3)
    assert (prior[(~seen_mask(batch)).expand_as(prior)] == 0).all()


def test_prior_on_one_token_follows_the_softmax_formula() -> None:
    """One marked token: its weight w becomes w e^s / (1 - w + w e^s), the others keep their proportions."""
    strength, model = 2.0, tiny()
    data = shelves(1)
    batch = pad([spell(ask(data, 1)[0], data, model.speller, NONE)])
    marked = torch.zeros_like(batch.economic)
    marked[0, 7] = True
    batch = replace(batch, economic=marked)
    model.backbone.model.set_attn_implementation("eager")
    rows = []
    with torch.no_grad():
        for s in (0.0, strength):
            bias = attention_bias(batch, s, torch.float32)
            found = model.backbone.model(batch.ids, attention_mask=bias, output_attentions=True)
            rows.append(found.attentions[0][0, :, -1])
    weight = rows[0][:, 7]
    expected = weight * np.exp(strength) / (1 - weight + weight * np.exp(strength))
    torch.testing.assert_close(rows[1][:, 7], expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(rows[1][:, 3] / rows[1][:, 5], rows[0][:, 3] / rows[0][:, 5], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_both_attention_implementations_take_the_mask(strength: float) -> None:
    """Eager and sdpa give the same answers with the additive float mask."""
    data, found = shelves(20), []
    for implementation in ("eager", "sdpa"):
        model = tiny(prior=strength)
        model.backbone.model.set_attn_implementation(implementation)
        found.append(model.predict(data).utilities)
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_prior_of_zero_is_no_prior() -> None:
    """Strength 0 gives, bit for bit, what the plain mask gives; strength 2 does not."""
    data = shelves(20)
    model = tiny(prior=0.0)
    batch = pad([spell(question, data, model.speller, NONE) for question in ask(data, 12)])
    plain = torch.zeros(seen_mask(batch).shape).masked_fill(~seen_mask(batch), -torch.inf)
    with torch.no_grad():
        states = [
            model.backbone.model(batch.ids, attention_mask=bias, position_ids=batch.positions).last_hidden_state
            for bias in (plain, attention_bias(batch, 0.0, torch.float32), attention_bias(batch, 2.0, torch.float32))
        ]
    assert torch.equal(states[0], states[1])
    assert not torch.allclose(states[0], states[2], atol=1e-3)


# Losses


def test_s_dpo_is_the_listwise_softmax() -> None:
    """-log sigmoid(-log sum exp) equals the cross-entropy of beta (log pi - log pi_ref) to 1e-6."""
    generator = torch.Generator().manual_seed(0)
    policy, base = (torch.randn(50, 6, generator=generator, dtype=torch.float64).mul(3) for _ in range(2))
    policy[:10, -1] = base[:10, -1] = -torch.inf
    chosen = torch.randint(0, 5, (50,), generator=generator)
    scores = reference_scores(policy.log_softmax(1), base.log_softmax(1), beta=0.7)
    torch.testing.assert_close(s_dpo_loss(scores, chosen), listwise_loss(scores, chosen), atol=1e-6, rtol=0)
    assert torch.isinf(scores[:10, -1]).all()


def test_reference_starts_at_equal_scores(tmp_path: Path) -> None:
    """Before training, scores relative to the base are all zero but for the sampling offset; training moves them."""
    data, model = shelves(40), tiny(reference="base", beta=0.5)
    data = replace(data, log_sampling=np.full(40, 2.5))  # far from the truth, so that a few steps show
    before = model.predict(data, orders=1).utilities
    np.testing.assert_allclose(before[:, 1:], 0.0, atol=1e-5)
    progress = align_prompted(model, data, data, QUICK, tmp_path, show=False)
    assert progress.best < progress.history[0]["nll"]
    assert np.abs(model.predict(data, orders=1).utilities[:, 1:]).max() > 1e-2


def test_unit_loss_counts_more_than_nine_as_nine() -> None:
    """The loss of 3 and of 30 units under known probabilities."""
    logs = torch.log(torch.tensor([[0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1]])).expand(2, 9)
    np.testing.assert_allclose(unit_loss(logs, torch.tensor([3, 30])), -np.log([0.3, 0.1]), rtol=1e-5)


# Training


@pytest.mark.slow
def test_training_learns_to_repeat_the_last_purchase(tmp_path: Path) -> None:
    """Buyers repeat their last purchase, in fresh label orders: only reading the history can beat the uniform."""
    train, validation = shelves(600, loyal=1.0), shelves(120, seed=1, loyal=1.0)
    model = PromptedModel.embedded(tokenizer_texts(train), width=32, layers=2, vocabulary=320)
    config = PromptConfig(steps=80, batch_size=40, learning_rate=5e-3, validate_every=40, warmup=10)
    align_prompted(model, train, validation, config, tmp_path, show=False)
    result = validate(model, validation)
    assert result["hit"] > 0.8
    assert result["nll_purchase"] < np.log(4) - 0.5


def test_config_and_model_refuse_nonsense(tmp_path: Path) -> None:
    """Wrong settings are named; an old run is not overwritten."""
    with pytest.raises(InvalidInput, match="steps"):
        PromptConfig(steps=0)
    with pytest.raises(InvalidInput, match="prior"):
        tiny(prior=-1.0)
    with pytest.raises(InvalidInput, match="reference"):
        tiny(reference="best")
    with pytest.raises(InvalidInput, match="orders"):
        tiny().predict(shelves(5), orders=0)
    align_prompted(tiny(), shelves(60), shelves(20), QUICK, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="prior"):
        align_prompted(tiny(prior=1.0), shelves(60), shelves(20), QUICK, tmp_path, show=False)
    with pytest.raises(InvalidInput, match="out_dir"):
        align_prompted(tiny(), shelves(60), shelves(20), QUICK, tmp_path, resume=False, show=False)


SITTING = """
import sys
sys.path.insert(0, {tests!r})
from alignment.test_prompted import QUICK, shelves, tiny
from malles_env.alignment.prompted.trainer import align_prompted
align_prompted(tiny(prior=1.0), shelves(120), shelves(30, seed=1), QUICK, {out!r}, show=False)
"""


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """A real SIGKILL after the first checkpoint; resumed, the run ends bit for bit as one left alone."""
    code = SITTING.format(tests=str(Path(__file__).parents[1]), out=str(tmp_path / "killed"))
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    checkpoint = tmp_path / "killed" / "checkpoints" / "step-0000002"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    weights = {}
    for name in ("killed", "alone"):
        model = tiny(prior=1.0)
        align_prompted(model, shelves(120), shelves(30, seed=1), QUICK, tmp_path / name, show=False)
        weights[name] = model.backbone.model.state_dict()
    for name, tensor in weights["alone"].items():
        assert torch.equal(tensor, weights["killed"][name]), name


# Adapters and files


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_adapter_alone_learns_and_survives_saving(tmp_path: Path) -> None:
    """A low-rank adapter on a body from a directory: the body stays, the saved adapter gives the same answers."""
    body = pretrained(tmp_path / "body")
    model = PromptedModel.adapted(load_backbone(str(body)), rank=2, layers=1, prior=0.5, reference="base")
    data = shelves(60)
    base = {name: value.clone() for name, value in model.backbone.model.named_parameters() if "lora" not in name}
    assert sum(p.numel() for p in trainable(model.backbone.model).parameters()) < 10_000
    align_prompted(model, data, data, QUICK, tmp_path / "run", show=False)
    for name, value in model.backbone.model.named_parameters():
        assert "lora" in name or torch.equal(value, base[name]), name
    saved = model.save(tmp_path / "model")
    loaded = PromptedModel.load(tmp_path / "model")
    assert (loaded.weights_hash, loaded.prior, loaded.reference) == (saved, 0.5, "base")
    expected, found = model.predict(data).utilities, loaded.predict(data).utilities
    np.testing.assert_allclose(found, expected, atol=0.05)  # the adapter is kept in bfloat16
    assert np.abs(expected - PromptedModel.unaligned(str(body), prior=0.5).predict(data).utilities).max() > 0.05


@pytest.mark.parametrize("reference", ["none", "base"])
def test_saved_model_comes_back(tmp_path: Path, reference: str) -> None:
    """Weights, tokenizer, prior and reference come back; a damaged file is named."""
    model, data = tiny(prior=2.0, reference=reference), shelves(30)
    align_prompted(model, data, data, QUICK, tmp_path / "run", show=False)
    model.card = {"name": "tiny", "tables": {"scores": [{"model": "tiny", "hit": "1"}]}}
    model.save(tmp_path / "model")
    loaded = PromptedModel.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(data).utilities, model.predict(data).utilities, atol=1e-5)
    assert "2 nats" in (tmp_path / "model" / "README.md").read_text()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"deadbeef")
    with pytest.raises(CorruptFile, match=r"model\.safetensors"):
        PromptedModel.load(tmp_path / "model")
    with pytest.raises(MissingResource, match="align-prompted"):
        PromptedModel.load(tmp_path / "nowhere")


# Price response, study, command


def test_price_response_is_what_asking_again_gives(model: PromptedModel) -> None:
    """One product, one occasion: the elasticity by hand from two prompts."""
    data = shelves(1)
    data = data.take(np.array([0]))
    found = price_response(model, data, products=4)
    assert found.pairs == 4
    low, high = [], []
    for j in range(4):
        for factor, side in ((0.9, low), (1.1, high)):
            price = data.price.copy()
            price[0, j] *= factor
            side.append(float(np.exp(model.predict(replace(data, price=price), orders=1).inside()[0, j])))
    low_, high_ = np.array(low), np.array(high)
    arc = (high_ - low_).sum() / np.log(1.1 / 0.9) / (0.5 * (low_ + high_)).sum()
    assert found.elasticity.mean == pytest.approx(arc, rel=1e-3, abs=1e-5)
    assert found.violations.mean == pytest.approx(float((high_ > low_ * (1 + 1e-6)).mean()))


def test_data_from_occasions_tell_the_same_as_a_taste_models() -> None:
    """Occasions built from a log and a taste model's data of them make the same prompts."""
    occasions = few_occasions()
    first, second = prompt_data(occasions), prompt_data(from_occasions(occasions))
    one, two = ask(first, 12), ask(second, 12)
    assert [list(question.rows) for question in one] == [list(question.rows) for question in two]
    for left, right in zip(one, two, strict=True):
        assert shelf_pieces(left.lines(first), " ") == shelf_pieces(right.lines(second), " ")
        assert list(left.households(first)) == list(right.households(second))


def test_drawn_shelves_are_whole_questions() -> None:
    """Draws keep the split, the limit and the buyers, and hold fewer questions than occasions."""
    occasions = few_occasions()
    drawn = draw_shelves(occasions, "test", limit=30, most=6, markets=tuple(occasions.markets), seed=1)
    assert 0 < len(drawn) <= 30
    assert set(drawn.occasions["split"]) == {"test"}
    assert drawn.occasions["buyer"].all()
    again = draw_shelves(occasions, "test", limit=30, most=6, markets=tuple(occasions.markets), seed=1)
    assert drawn.occasions.equals(again.occasions)


def test_study_compares_priors_and_goes_on(tmp_path: Path) -> None:
    """Two priors and one seed: a row each, a table, a picture; a second call trains nothing."""
    splits = Splits(shelves(60), shelves(20, seed=1), shelves(30, seed=2))
    settings = {"data": splits, "out": tmp_path, "show": False, "validate_every": 2}
    rows = study.run((0,), 2, 60, priors=(0.0, 2.0), **settings)
    assert [(row.prior, row.seed) for row in rows] == [(0.0, 0), (2.0, 0)]
    assert rows[0].scores["nll"].mean != rows[1].scores["nll"].mean
    text = study.table(rows)
    assert len(text.splitlines()) == 2 + 2 + 2
    assert study.draw(rows, tmp_path / "picture.png").stat().st_size > 10_000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert study.run((0,), 2, 60, priors=(0.0, 2.0), **settings) == rows
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(InvalidInput, match="same settings"):
        study.run((0,), 3, 60, priors=(0.0,), **settings)


def test_command_trains_and_saves(tmp_path: Path) -> None:
    """The command runs on a folder of occasions and ends with a model that loads and a card with scores."""
    folder = few_occasions().save(tmp_path / "occasions")
    app = typer.Typer()
    app.command()(prompted_command)
    given = ["--occasions", str(folder), "--out", str(tmp_path / "run"), "--steps", "2", "--occasions-limit", "40"]
    markets = [part for name in few_occasions().markets for part in ("--market", name)]
    result = CliRunner().invoke(app, [*given, *markets, "--prior", "1.5", "--test-limit", "20"])
    assert result.exit_code == 0, result.output
    assert "unaligned" not in result.output
    assert PromptedModel.load(tmp_path / "run").prior == 1.5
    assert "nll" in (tmp_path / "run" / "model" / "README.md").read_text()
