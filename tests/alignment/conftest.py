"""Tiny taste models and shelves shared by the alignment tests."""

from __future__ import annotations

import pytest
import torch

from malles_env.alignment.backbones import new_embedded
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
