"""The prompted consumer: its words, its packing, its answers, and the attention prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from malles_env.errors import InvalidInput
from malles_env.preference.prompted.data import fewer_options
from malles_env.preference.prompted.labels import OPTION_LETTERS, Labels
from malles_env.preference.prompted.model import PromptedModel, mean_units
from malles_env.preference.prompted.packing import ALL, CHOSEN, NONE, attention_bias, pad, seen_mask, spell
from malles_env.preference.prompted.prompt import (
    ELSEWHERE,
    Household,
    ShelfLine,
    household_pieces,
    price_words,
    shelf_pieces,
)
from malles_env.preference.prompted.questions import ask, cyclic, epoch_of
from tests.preference.prompted.prompted_cases import shelves, tiny


@pytest.fixture(scope="module")
def model() -> PromptedModel:
    """A small random model with a prior of 1 nat."""
    return tiny(prior=1.0)


# Words


def test_words_of_a_prompt() -> None:
    """A shelf and a household, word for word; only economic words are marked."""
    lines = (ShelfLine("maker 1, 10 oz", 1.5, 2.0, True, 0.354), ShelfLine("maker 2, 12 oz", 3.0, 3.0, False, 0.1))
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


def test_words_of_what_was_bought_elsewhere() -> None:
    """The newest names, at most so many, before the question; a shelf line may tell no share."""
    household = Household(0, 3, (0,), -1, tuple(f"mug {n}" for n in range(40)))
    result = "".join(piece.text for piece in household_pieces(household, " "))
    names = "".join(f" mug {n};" for n in range(ELSEWHERE))
    assert result == f"\nHousehold: not bought in a few shopping weeks.\nElsewhere, newest first:{names}\nAnswer: "
    assert not any("share" in piece.text for piece in shelf_pieces((ShelfLine("bag", 1.0, 1.0),), " "))


def test_shorter_shelves_keep_what_was_bought() -> None:
    """Every field moves with its product; the others are drawn at random."""
    data = shelves(200)
    short = fewer_options(data, 2, seed=1)
    bought = np.flatnonzero(data.chosen > 0)
    assert short.mask.shape == (200, 2) and short.mask.all()
    assert (short.chosen == 0).sum() == 200 - len(bought)
    for name in ("product", "price", "share", "bought", "last"):
        before = getattr(data, name)[bought, data.chosen[bought] - 1]
        assert (getattr(short, name)[bought, short.chosen[bought] - 1] == before).all()
    kept = np.array([len({*row}) for row in short.product])
    assert (kept == 2).all() and len({tuple(sorted(row)) for row in short.product}) == 6
    np.testing.assert_array_equal(fewer_options(data, 9).product, data.product)
    with pytest.raises(InvalidInput, match="shelf: got 1; allowed: 2 or more"):
        fewer_options(data, 1)


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
