"""The taste model's reading: order invariance, signs, agreement with the market's formula, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from malles_env.errors import InvalidInput
from malles_env.preference.data.features import OPTION_FEATURES, features
from malles_env.preference.data.packing import Request
from malles_env.preference.data.personas import as_occasions, mixed
from malles_env.preference.data.text import Persona, persona_text, product_text
from malles_env.preference.encoder.encoder import read_states
from malles_env.preference.heads.coefficients import OptionTastes, PrefixTastes, extra_units, mean_units, units_response
from malles_env.preference.heads.objective import score
from malles_env.preference.heads.quantities import QUANTITIES, tilt
from malles_env.preference.model import TasteModel, new_heads
from tests.preference.conftest import PERSONAS, PRODUCTS, SIZES, synthetic, tiny_model

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
    monkeypatch.setattr("malles_env.preference.encoder.encoder.MAX_OPTIONS", 1)
    monkeypatch.setattr("malles_env.preference.encoder.encoder.TOKENS_PER_PASS", 1)
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


def in_a_known_market(terms: list[float]) -> tuple[TasteModel, list[Persona]]:
    """Return a model whose heads react to everything and know a market by these terms, and a persona there."""
    model, some = tiny_model(), [Persona(PERSONAS[0].market, PERSONAS[0].category, 6, 36)]
    heads = new_heads(model.backbone.width, members=2, sizes=SIZES, markets=(persona_text(some[0]),))
    heads.warm.load_state_dict(model.heads.warm.state_dict())
    heads.market_terms[1] = torch.tensor(terms)
    model.heads = heads
    return model, some


def test_market_formula_reproduces_the_training_utility() -> None:
    """At any prices and shares: alpha is read at the long-run shares, and rho is the market's own."""
    model, some = in_a_known_market([0.3, -0.5, -1.2, 0.2, -0.6])
    rng = np.random.default_rng(0)
    ratio, last, perceived = rng.uniform(0.6, 1.2, 4), np.array([0, 1.0, 0, 0]), np.array([0.1, 0.5, 0.2, 0.15])
    reading = model.read(some, PRODUCTS, BOUGHT[:1], SHARE)
    market = (
        reading.alpha
        - reading.beta * np.log(ratio)
        + reading.gamma[:, None] * np.maximum(0, 1 - ratio)
        + reading.rho[:, None] * (perceived - SHARE)
        + reading.lambda_[:, None] * last
    )
    np.testing.assert_allclose(reading.rho, [-1.2], atol=1e-6)
    data = as_occasions(some, PRODUCTS, BOUGHT[:1], SHARE, np.ones(4), np.full(4, np.nan))
    changed = replace(
        data, price=ratio[None].astype(np.float32), last=last[None] > 0, share=perceived[None].astype(np.float32)
    )
    with torch.no_grad():
        training = score(changed, model.heads, model.reader).utilities[:, 1:].numpy()
    np.testing.assert_allclose(training, market, atol=1e-4)


def test_display_and_advertising_are_what_being_promoted_alone_adds() -> None:
    """On average over the products, layers that see promotions included; price and discount are without them."""
    model, some = in_a_known_market([0.0, 0.0, 0.0, 0.7, -0.4])
    reading = model.read(some, PRODUCTS, BOUGHT[:1], SHARE)
    data = as_occasions(some, PRODUCTS, BOUGHT[:1], SHARE, np.ones(4), np.full(4, np.nan))

    @torch.no_grad()
    def own(field: str, place: int) -> float:
        promoted = replace(data, **{field: np.arange(4)[None] == place})
        rise = score(promoted, model.heads, model.reader).utilities - score(data, model.heads, model.reader).utilities
        return float(rise[0, 1 + place])

    for field, found in (("display", reading.display), ("feature_ad", reading.feature)):
        gains = [own(field, place) for place in range(4)]
        assert np.ptp(gains) > 1e-3
        np.testing.assert_allclose(found, np.mean(gains), atol=1e-5)


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
    weights = torch.randn(len(OPTION_FEATURES), generator=torch.Generator().manual_seed(3))
    member.linear.weight.data[0, : len(OPTION_FEATURES)] = weights
    with torch.no_grad():
        ours = score(data, model.heads, model.reader).utilities.double().numpy()
    known = features(data)
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


def test_a_trend_predicts_where_no_rho_is_known_and_is_never_played() -> None:
    """Markets never trained on move with the windowed share, as logs do; trained ones by their rho alone."""
    model, data = tiny_model(scale=0.0), synthetic(60)
    moved = replace(data, share=data.share + np.linspace(-0.1, 0.1, 5, dtype=np.float32))
    model.trained_modules().eval()

    def slope(new: bool) -> torch.Tensor:
        with torch.no_grad():
            pair = (score(d, model.heads, model.reader, new=new).utilities[:, 1:] for d in (moved, data))
            after, before = pair
        return (after - before) / torch.linspace(-0.1, 0.1, 5).where(torch.arange(5) != 2, torch.tensor(torch.inf))

    assert not slope(False).any()  # no rho was fitted, and no other input may stand in for it
    seen = slope(True)[:, [0, 1, 3, 4]]
    torch.testing.assert_close(seen, torch.full_like(seen, 1.9 * np.tanh(0.5 / 1.9)), atol=1e-4, rtol=0)
    model.heads.markets = ()
    assert not model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE).rho.any()


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
