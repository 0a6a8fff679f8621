"""Tiny taste models and shelves shared by the alignment tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.shelves import product_table
from malles_env.preference.data.text import Persona, ProductText, market_text, persona_text, product_text
from malles_env.preference.encoder.backbones import new_embedded
from malles_env.preference.heads.taste_heads import Sizes
from malles_env.preference.model import TasteModel

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
SIZES = Sizes(text=8, hidden=16, dropout=0.1)
HISTORY = 6


def tiny_model(seed: int = 0, width: int = 32, layers: int = 2, *, members: int = 2, scale: float = 0.3) -> TasteModel:
    """Return a small random taste model whose heads react to text and history; `scale` 0 leaves them as they start."""
    texts = [persona_text(persona) for persona in PERSONAS] + [product_text(product) for product in PRODUCTS]
    backbone = new_embedded(texts, width=width, layers=layers, vocabulary=400, seed=seed)
    model = TasteModel.untrained(backbone, sizes=SIZES, members=members, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for member in (*model.heads.warm.members, *model.heads.cold.members):
        outputs = (member.option_out, member.prefix_out, member.units_out, member.linear, member.shelf_linear)
        for layer in outputs:
            layer.weight.data += torch.randn(layer.weight.shape, generator=generator) * scale
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
    market = rng.integers(0, 2, size)
    prefixes = tuple(market_text(f"F | MARKET {m}", "F") for m in (0, 1))
    names = [ProductText(f"maker {j}", j == 0, 10.0 + j, "oz") for j in range(products)]
    regular = 1.0 + np.arange(products)
    table = product_table(prefixes, np.repeat([0, 1], products), names * 2, np.tile(regular, 2))
    total = rng.choice([0, 2, 6], size)
    favourite = rng.integers(0, products, size)
    bought = (np.arange(products) == favourite[:, None]) * total[:, None]
    known = np.arange(HISTORY) < total[:, None]
    product = market[:, None] * products + np.arange(products)
    price = regular * rng.uniform(0.6, 1.2, shape)
    share = np.full(shape, 1.0 / products, dtype=np.float32)
    last = (bought > 0) & (rng.random(size) < 0.5)[:, None]
    utility = tastes * (bought > 0) - beta * np.log(price / regular) + lambda_ * last
    whole = np.concatenate([np.full((size, 1), np.log(rate)), utility], axis=1)
    chosen = (whole + rng.gumbel(size=whole.shape)).argmax(1)
    blank = np.zeros(shape, dtype=bool)
    elsewhere = rng.integers(20, 60, size).astype(np.float32)
    return TasteData(
        products=table,
        markets=("F | MARKET 0", "F | MARKET 1"),
        prefix=market,
        market=market,
        household=rng.integers(0, size // 4 + 1, size),
        period=rng.integers(5, 40, size),
        product=product,
        price=price.astype(np.float32),
        regular_price=np.broadcast_to(regular, shape).astype(np.float32),
        display=blank,
        feature_ad=blank,
        bought=bought,
        last=last,
        share=share,
        reference_share=share,
        long_share=share,
        store_sales=np.full(shape, 3.0, dtype=np.float32),
        mean_quantity=np.full(shape, 1.4, dtype=np.float32),
        brand_elsewhere=rng.integers(0, 4, shape).astype(np.float32),
        brand_share=np.full(shape, 0.01, dtype=np.float32),
        mask=np.ones(shape, dtype=bool),
        chosen=chosen,
        quantity=np.where(chosen > 0, 1 + rng.poisson(0.4, size), 0),
        log_sampling=np.full(size, np.log(rate), dtype=np.float32),
        history_total=total,
        weeks_seen=np.full(size, 20),
        elsewhere=elsewhere,
        elsewhere_private=np.floor(elsewhere / 3),
        elsewhere_deal=np.floor(elsewhere / 2),
        known=np.ones(size, dtype=bool),
        past=np.where(known, product[np.arange(size), favourite][:, None], -1),
        past_known=known,
        past_ago=np.where(known, 3.0 * (np.arange(HISTORY) + 1), 0).astype(np.float32),
        past_quantity=known.astype(np.float32),
        past_depth=np.where(known, 0.1, 0.0).astype(np.float32),
    )
