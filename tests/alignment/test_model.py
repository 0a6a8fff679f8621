"""The taste model's reading: order invariance, signs, agreement with the market's formula, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from malles_env.alignment.coefficients import OptionTastes, PrefixTastes, extra_units, mean_units, units_response
from malles_env.alignment.facts import OPTION_FACTS, facts
from malles_env.alignment.model import TasteModel
from malles_env.alignment.objective import score
from malles_env.alignment.packing import Request
from malles_env.alignment.personas import as_occasions, mixed
from malles_env.alignment.quantities import QUANTITIES, tilt
from malles_env.alignment.reader import read_states
from malles_env.alignment.text import Persona, persona_text, product_text
from malles_env.errors import InvalidInput

from .conftest import PERSONAS, PRODUCTS, synthetic, tiny_model

BOUGHT = np.array([[2, 0, 4, 0], [0, 0, 0, 0], [1, 30, 0, 9]])
SHARE = np.array([0.4, 0.3, 0.2, 0.05])


def test_options_do_not_see_each_other(model: TasteModel) -> None:
    """Packed states equal those of every option read alone after its prefix."""
    options = tuple(product_text(product) for product in PRODUCTS)
    persona = persona_text(PERSONAS[0])
    with torch.no_grad():
        packed = read_states(model.backbone, [Request(persona, options)])
        alone = [read_states(model.backbone, [Request(persona, (option,))]) for option in options]
    torch.testing.assert_close(packed.option, torch.cat([s.option for s in alone]), atol=1e-5, rtol=0)
    torch.testing.assert_close(packed.prefix, alone[0].prefix, atol=1e-5, rtol=0)


def test_reading_follows_a_reordered_shelf(model: TasteModel) -> None:
    """Permuting the products permutes alpha, beta and kappa and leaves the household's coefficients."""
    order = np.array([2, 0, 3, 1])
    plain = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    moved = model.read(PERSONAS, [PRODUCTS[i] for i in order], BOUGHT[:, order], SHARE[order])
    for name in ("alpha", "beta", "kappa"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name)[:, order], atol=1e-5)
    np.testing.assert_allclose(moved.lambda_, plain.lambda_, atol=1e-5)


def test_long_shelves_are_cut_without_changing_scores(model: TasteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of options per sequence is a matter of memory only."""
    whole = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    monkeypatch.setattr("malles_env.alignment.reader.MAX_OPTIONS", 1)
    monkeypatch.setattr("malles_env.alignment.reader.TOKENS_PER_PASS", 1)
    cut = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    np.testing.assert_allclose(cut.alpha, whole.alpha, atol=1e-5)
    np.testing.assert_allclose(cut.beta, whole.beta, atol=1e-5)


def test_texts_and_histories_matter(model: TasteModel) -> None:
    """Another history, another product and another note give another taste."""
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, np.full(4, 0.25))
    assert len(np.unique(reading.alpha.round(6))) == reading.alpha.size
    noted = [replace(persona, note="hates sweet things") for persona in PERSONAS]
    other = model.read(noted, PRODUCTS, BOUGHT, np.full(4, 0.25))
    assert np.abs(other.alpha - reading.alpha).max() > 1e-4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signs(seed: int) -> None:
    """Whatever the weights: beta, gamma, delta above 0 and rho inside the uniqueness bound."""
    model = tiny_model(seed)
    for member in model.heads.warm.members:
        member.prefix_out.weight.data *= 20
        member.option_out.weight.data *= 20
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    assert (reading.beta > 0).all() and (reading.gamma >= 0).all() and (reading.delta >= 0).all()
    assert (np.abs(reading.rho) < 2).all()
    assert all(np.isfinite(getattr(reading, name)).all() for name in ("alpha", "kappa", "lambda_"))


def test_market_formula_reproduces_the_training_utility(model: TasteModel) -> None:
    """Alpha absorbs the mean field's centring exactly, and rho is the slope of the whole utility in a share."""
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    rng = np.random.default_rng(0)
    ratio, last = rng.uniform(0.6, 1.2, 4), np.array([0, 1.0, 0, 0])
    discount = np.maximum(0, 1 - ratio)
    market = (
        reading.alpha
        - reading.beta * np.log(ratio)
        + reading.gamma[:, None] * discount
        + reading.rho[:, None] * (np.array(SHARE) - 1 / 4)
        + reading.lambda_[:, None] * last
    )
    data = as_occasions(PERSONAS, PRODUCTS, BOUGHT, SHARE, np.ones(4), np.full(4, np.nan))
    shape = data.price.shape
    at_regular = data
    data = replace(
        data,
        price=np.broadcast_to(ratio, shape).astype(np.float32),
        last=np.broadcast_to(last > 0, shape),
    )
    with torch.no_grad():
        training = score(data, model.heads, model.reader).utilities[:, 1:].numpy()
    np.testing.assert_allclose(training, market, atol=1e-4)
    slopes = []
    for place in range(4):
        low, high = (np.array(SHARE) + step * (np.arange(4) == place) for step in (-0.05, 0.05))
        shelves = (replace(at_regular, share=np.broadcast_to(s, shape).astype(np.float32)) for s in (low, high))
        with torch.no_grad():
            under, over = (score(d, model.heads, model.reader).utilities[:, 1 + place].numpy() for d in shelves)
        slopes.append((over - under) / 0.1)
    np.testing.assert_allclose(reading.rho, np.clip(np.mean(slopes, axis=0), -1.9, 1.9), atol=1e-3)
    assert np.ptp(reading.rho) > 0


def test_a_discount_brings_its_usual_promotion(model: TasteModel) -> None:
    """Sellers set prices only: gamma holds what display and advertising add per unit of depth, never less."""
    plain = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    data = as_occasions(PERSONAS, PRODUCTS, BOUGHT, SHARE, np.ones(4), np.full(4, np.nan))
    with torch.no_grad():
        prefix = score(data, model.heads, model.reader).prefix
    model.heads.set_support(0.8, 0.5)
    promoted = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    worth = 0.8 * prefix.display.clamp(min=0) + 0.5 * prefix.feature.clamp(min=0)
    assert worth.max() > 0
    np.testing.assert_allclose(promoted.gamma - plain.gamma, worth.numpy(), atol=1e-6)


def test_market_units_agree_without_a_discount_and_rise_with_one(model: TasteModel) -> None:
    """kappa is the model's own mean; the market's straight line in the log is right at the depth it was read at."""
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    data = as_occasions(PERSONAS, PRODUCTS, BOUGHT, SHARE, np.ones(4), np.full(4, np.nan))
    with torch.no_grad():
        scored = score(data, model.heads, model.reader)
        units = mean_units(scored.prefix, scored.option, torch.zeros(3, 4)).numpy()
    np.testing.assert_allclose(1 + np.exp(reading.kappa), units, rtol=1e-5)
    assert (reading.delta > 0).all()


def test_a_discount_never_makes_a_buyer_take_fewer() -> None:
    """Exponential tilting moves the whole distribution upwards, whatever it was."""
    odds = torch.randn(200, QUANTITIES, generator=torch.Generator().manual_seed(0)) * 3
    before, after = (tilt(odds, torch.full((200,), s)).softmax(-1).cumsum(-1) for s in (0.2, 0.7))
    assert (after <= before + 1e-6).all()


def test_rounding_never_makes_the_response_negative() -> None:
    """A response too weak for single precision: the plain ratio of the means falls below 1 here and there."""
    generator = torch.Generator().manual_seed(0)
    nothing, delta = torch.zeros(50, 40), torch.full((50,), 1e-7)
    prefix = PrefixTastes(**{name: torch.zeros(50) for name in PrefixTastes.__dataclass_fields__} | {"delta": delta})
    option = OptionTastes(nothing, nothing, torch.randn(50, 40, QUANTITIES, generator=generator) * 3)
    plain, deal = (extra_units(prefix, option, nothing + depth) for depth in (0.0, 0.25))
    assert (deal < plain).any()
    assert (units_response(prefix, option, nothing) >= 0).all()


def test_heads_as_they_start_are_a_plain_logit() -> None:
    """Constant heads tell no products and no personas apart."""
    reading = tiny_model(scale=0.0).read(PERSONAS, PRODUCTS, BOUGHT, np.full(4, 0.25))
    assert np.ptp(reading.alpha) < 1e-6 and np.ptp(reading.beta) < 1e-6


def test_conditional_logit_is_the_special_case() -> None:
    """With only the linear form in the facts, utilities are those of a conditional logit with the same coefficients."""
    data, model = synthetic(60), tiny_model(scale=0.0, members=1)
    member = model.heads.warm.members[0]
    weights = torch.randn(len(OPTION_FACTS), generator=torch.Generator().manual_seed(3))
    member.linear.weight.data[0, : len(OPTION_FACTS)] = weights
    with torch.no_grad():
        ours = score(data, model.heads, model.reader).utilities.double().numpy()
    known = facts(data)
    beta, gamma, lambda_, propensity = 1.8, 0.5, 0.3, 0.0
    theirs = (
        known.option @ weights.numpy()
        + propensity
        - beta * known.live[..., 0]
        + gamma * known.live[..., 1]
        + lambda_ * known.live[..., 4]
    )
    np.testing.assert_allclose(ours[:, 1:], theirs, atol=1e-4)
    np.testing.assert_allclose(ours[:, 0], data.log_sampling, atol=1e-6)


def test_mixed_purchases_keep_their_shares() -> None:
    """Eight purchases in an even mixture, newest first; other products are -1."""
    order = mixed(np.array([4, 2, 0]), 8, 8)
    assert [int((order == j).sum()) for j in (-1, 0, 1, 2)] == [2, 4, 2, 0]
    assert order[0] == 0 and (mixed(np.array([1, 0]), 0, 3) == -1).all()
    assert (mixed(np.array([3]), 3, 5)[3:] == -1).all()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bought": BOUGHT[:2]}, "bought"),
        ({"bought": -BOUGHT}, "bought"),
        ({"bought": BOUGHT * 1.0}, "bought"),
        ({"reference_share": SHARE[:3]}, "reference_share"),
        ({"reference_share": SHARE * np.nan}, "reference_share"),
        ({"regular_price": np.array([1, 2, 0, 4])}, "regular_price"),
        ({"mean_quantity": np.full(4, 0.5)}, "mean_quantity"),
    ],
)
def test_bad_input_is_named(model: TasteModel, change: dict[str, np.ndarray], field: str) -> None:
    """Shapes, signs and missing numbers are refused by name."""
    given = {"bought": BOUGHT, "reference_share": SHARE, **change}
    with pytest.raises(InvalidInput, match=field):
        model.read(PERSONAS, PRODUCTS, **given)


def test_padded_shelves_have_no_tastes(model: TasteModel) -> None:
    """A market has the same products for everybody."""
    data = synthetic(5)
    data.mask[0, 0] = False
    with pytest.raises(InvalidInput, match="padded"):
        model.read_shelves(data)


def test_persona_refuses_negative_counts() -> None:
    """Counts are counts."""
    with pytest.raises(InvalidInput, match="history_total"):
        Persona("catsup", "sauces", -1, 3)
