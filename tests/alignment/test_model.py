"""The taste model's reading: order invariance, signs, agreement with the market's formula, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from malles_env.alignment.heads import Shelf
from malles_env.alignment.model import TasteModel
from malles_env.alignment.packing import Request
from malles_env.alignment.text import Persona, option_text, persona_text
from malles_env.errors import InvalidInput

from .conftest import PERSONAS, PRODUCTS, tiny_model

BOUGHT = np.array([[2, 0, 4, 0], [0, 0, 0, 0], [1, 30, 0, 9]])
SHARE = np.array([0.4, 0.3, 0.2, 0.05])


def test_options_do_not_see_each_other(model: TasteModel) -> None:
    """Packed scores equal those of every option read alone after its persona."""
    options = tuple(option_text(product, 1, 6) for product in PRODUCTS)
    persona = persona_text(PERSONAS[0])
    with torch.no_grad():
        packed = model.states([Request(persona, options)])
        alone = [model.states([Request(persona, (option,))]) for option in options]
    torch.testing.assert_close(packed.option, torch.cat([s.option for s in alone]), atol=1e-5, rtol=0)
    torch.testing.assert_close(packed.prefix, alone[0].prefix, atol=1e-5, rtol=0)


def test_reading_follows_a_reordered_shelf(model: TasteModel) -> None:
    """Permuting the products permutes alpha and kappa and leaves the persona's coefficients."""
    order = np.array([2, 0, 3, 1])
    plain = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    mixed = model.read(PERSONAS, [PRODUCTS[i] for i in order], BOUGHT[:, order], SHARE[order])
    np.testing.assert_allclose(mixed.alpha, plain.alpha[:, order], atol=1e-5)
    np.testing.assert_allclose(mixed.kappa, plain.kappa[:, order], atol=1e-5)
    np.testing.assert_allclose(mixed.beta, plain.beta, atol=1e-5)


def test_long_shelves_are_cut_without_changing_scores(model: TasteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of options per sequence is a matter of memory only."""
    whole = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    monkeypatch.setattr("malles_env.alignment.model.MAX_OPTIONS", 1)
    monkeypatch.setattr("malles_env.alignment.model.TOKENS_PER_PASS", 1)
    cut = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    np.testing.assert_allclose(cut.alpha, whole.alpha, atol=1e-5)
    np.testing.assert_allclose(cut.beta, whole.beta, atol=1e-5)


def test_texts_matter(model: TasteModel) -> None:
    """Another history and another product give another taste."""
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, np.full(4, 0.25))
    assert len(np.unique(reading.alpha.round(6))) == reading.alpha.size
    assert len(np.unique(reading.beta.round(6))) == len(PERSONAS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signs(seed: int) -> None:
    """Whatever the weights: beta, gamma, delta above 0 and rho inside the uniqueness bound."""
    model = tiny_model(seed)
    model.heads.prefix[-1].weight.data *= 20
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    assert (reading.beta > 0).all() and (reading.gamma >= 0).all() and (reading.delta >= 0).all()
    assert (np.abs(reading.rho) < 2).all()
    assert all(np.isfinite(getattr(reading, name)).all() for name in ("alpha", "kappa", "lambda_"))


def test_market_formula_reproduces_the_training_utility(model: TasteModel) -> None:
    """Alpha absorbs popularity and the mean field's centring exactly."""
    model.heads.support.fill_(0.8)
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    rng = np.random.default_rng(0)
    ratio, mean_field, last = rng.uniform(0.6, 1.2, 4), rng.dirichlet(np.ones(4)), np.array([0, 1.0, 0, 0])
    discount = np.maximum(0, 1 - ratio)
    market = (
        reading.alpha
        - reading.beta[:, None] * np.log(ratio)
        + reading.gamma[:, None] * discount
        + reading.rho[:, None] * (mean_field - 1 / 4)
        + reading.lambda_[:, None] * last
    )
    np.testing.assert_allclose(_training_utility(model, ratio, discount, mean_field, last), market, atol=1e-5)


def _training_utility(
    model: TasteModel, ratio: np.ndarray, discount: np.ndarray, mean_field: np.ndarray, last: np.ndarray
) -> np.ndarray:
    rows = len(PERSONAS)

    def repeat(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32).expand(rows, -1)

    shelf = Shelf(
        log_price=repeat(np.log(ratio)),
        discount=repeat(discount),
        promotion=repeat(0.8 * discount),  # a discount comes with its usual display and advertising
        share=repeat(mean_field),
        reference_share=repeat(SHARE),
        last=repeat(last),
        mask=torch.ones(rows, 4, dtype=torch.bool),
        outside=torch.zeros(rows),
    )
    requests = [
        Request(
            persona_text(persona),
            tuple(
                option_text(product, int(count), persona.history_total)
                for product, count in zip(PRODUCTS, row, strict=True)
            ),
        )
        for persona, row in zip(PERSONAS, BOUGHT, strict=True)
    ]
    with torch.no_grad():
        states = model.states(requests)
        prefix = model.heads.prefix_tastes(states.prefix)
        option = model.heads.option_tastes(states.option.reshape(rows, 4, -1))
        return model.heads.utilities(prefix, option, shelf)[:, 1:].numpy()


def test_constant_heads_are_a_plain_logit() -> None:
    """With head weights at zero only popularity distinguishes products, and personas are alike."""
    model = tiny_model()
    for read_out in (model.heads.prefix, model.heads.option):
        read_out[-1].weight.data.zero_()
    reading = model.read(PERSONAS, PRODUCTS, BOUGHT, np.full(4, 0.25))
    assert np.ptp(reading.alpha) < 1e-6 and np.ptp(reading.beta) < 1e-6


@pytest.mark.parametrize(
    ("bought", "share", "field"),
    [
        (BOUGHT[:2], SHARE, "bought"),
        (-BOUGHT, SHARE, "bought"),
        (BOUGHT * 1.0, SHARE, "bought"),
        (BOUGHT, SHARE[:3], "reference_share"),
        (BOUGHT, SHARE * np.nan, "reference_share"),
    ],
)
def test_bad_input_is_named(model: TasteModel, bought: np.ndarray, share: np.ndarray, field: str) -> None:
    """Shapes, signs and missing numbers are refused by name."""
    with pytest.raises(InvalidInput, match=field):
        model.read(PERSONAS, PRODUCTS, bought, share)


def test_persona_refuses_negative_counts() -> None:
    """Counts are counts."""
    with pytest.raises(InvalidInput, match="history_total"):
        Persona("catsup", "sauces", -1, 3)
