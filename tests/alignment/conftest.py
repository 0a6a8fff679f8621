"""Tiny taste models and shelves shared by the alignment tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from malles_env.alignment.backbones import new_embedded
from malles_env.alignment.dataset import TasteData
from malles_env.alignment.model import TasteModel
from malles_env.alignment.text import Persona, ProductText, option_text, persona_text

PERSONAS = [
    Persona("COFFEE | GROUND COFFEE", "COFFEE", 6, 36),
    Persona("COFFEE | GROUND COFFEE", "COFFEE", 0, 12),
    Persona("CONDIMENTS | CATSUP", "CONDIMENTS", 40, 50, note="likes sweet things"),
]
PRODUCTS = [
    ProductText("maker 131", False, 24, "oz"),
    ProductText("maker 69", True, 34.5, "oz"),
    ProductText("maker 1208", False, 12, "oz", "decaffeinated"),
    ProductText("maker 7"),
]


def tiny_model(seed: int = 0, width: int = 32, layers: int = 2) -> TasteModel:
    """Return a small random taste model whose heads react to text."""
    texts = [persona_text(persona) for persona in PERSONAS]
    texts += [option_text(product, 2, 6) for product in PRODUCTS]
    backbone = new_embedded(texts, width=width, layers=layers, vocabulary=400, seed=seed)
    model = TasteModel.untrained(backbone, hidden=16, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for read_out in (model.heads.prefix, model.heads.option):
        weight = read_out[-1].weight
        weight.data = torch.randn(weight.shape, generator=generator) * 0.5
    return model


@pytest.fixture
def model() -> TasteModel:
    """A small random taste model."""
    return tiny_model()


def synthetic(
    size: int = 600,
    *,
    seed: int = 0,
    products: int = 5,
    beta: float = 2.0,
    lambda_: float = 1.0,
    rate: float = 0.5,
    tastes: float = 1.0,
) -> TasteData:
    """Return choice occasions drawn from a known conditional logit with two markets and an outside option.

    `tastes` scales an own-count effect: buyers who bought an option before like it more.
    """
    rng = np.random.default_rng(seed)
    shape = (size, products)
    total = rng.choice([0, 2, 7], size)
    bought = rng.multinomial(1, np.ones(products) / products, size) * total[:, None]
    personas = [Persona(f"F | MARKET {m}", "F", int(t), 20) for m in (0, 1) for t in (0, 2, 7)]
    market = rng.integers(0, 2, size)
    names = [ProductText(f"maker {j}", j == 0, 10.0 + j, "oz") for j in range(products)]
    pairs = [(j, b, t) for j in range(products) for t in (0, 2, 7) for b in {0, t}]
    place = {pair: at for at, pair in enumerate(pairs)}
    option = np.array([[place[j, bought[i, j], total[i]] for j in range(products)] for i in range(size)])
    regular = np.broadcast_to(1.0 + np.arange(products), shape).astype(float)
    price = regular * rng.uniform(0.6, 1.2, shape)
    share = np.full(shape, 1.0 / products)
    last = (bought > 0) & (rng.random(size) < 0.5)[:, None]
    utility = tastes * (bought > 0) - beta * np.log(price / regular) + lambda_ * last
    whole = np.concatenate([np.full((size, 1), np.log(rate)), utility], axis=1)
    chosen = (whole + rng.gumbel(size=whole.shape)).argmax(1)
    return TasteData(
        persona_texts=tuple(persona_text(persona) for persona in personas),
        option_texts=tuple(option_text(names[j], b, t) for j, b, t in pairs),
        markets=("F | MARKET 0", "F | MARKET 1"),
        persona=market * 3 + np.searchsorted([0, 2, 7], total),
        option=option,
        market=market,
        household=rng.integers(0, size // 4 + 1, size),
        price=price,
        regular_price=regular,
        promotion=np.zeros(shape, dtype=bool),
        bought=bought,
        last=last,
        share=share,
        reference_share=share.copy(),
        mask=np.ones(shape, dtype=bool),
        chosen=chosen,
        quantity=np.where(chosen > 0, 1 + rng.poisson(0.4, size), 0),
        log_sampling=np.full(size, np.log(rate)),
        history_total=total,
        weeks_seen=np.full(size, 20),
    )
