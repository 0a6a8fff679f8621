"""Each market's own price sensitivity is found, applies there alone, and leaves the purchase rate as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.alignment.dataset import TasteData
from malles_env.alignment.market_prices import fit_market_prices
from malles_env.alignment.model import TasteModel, new_heads
from malles_env.alignment.objective import score

from .conftest import SIZES, synthetic, tiny_model


def two_markets(size: int = 6000) -> TasteData:
    """Return occasions whose first market answers to prices with 1, the second with 4."""
    flat, steep = synthetic(size, beta=1.0), synthetic(size, beta=4.0)
    first = flat.market == 0
    values = {
        name: np.where(
            first.reshape(-1, *[1] * (getattr(flat, name).ndim - 1)), getattr(flat, name), getattr(steep, name)
        )
        for name in ("chosen", "quantity", "price")
    }
    return replace(flat, **values)


def knowing_markets(data: TasteData, markets: tuple[str, ...]) -> TasteModel:
    model = tiny_model()
    model.heads = new_heads(model.backbone.width, sizes=SIZES, markets=markets)
    return model


@torch.no_grad()
def betas(model: TasteModel, data: TasteData) -> list[float]:
    beta = score(data, model.heads, model.reader).option.beta.numpy()
    return [float(beta[data.market == market].mean()) for market in (0, 1)]


def test_sensitivities_of_markets_are_found_and_kept(tmp_path: Path) -> None:
    data = two_markets()
    model = knowing_markets(data, data.goods.prefixes)
    before = betas(model, data)
    assert before[0] == pytest.approx(before[1], rel=1e-3)
    fit_market_prices(model, data)
    flat, steep = betas(model, data)
    gamma = 0.5  # of the heads as they start; a discount's worth is counted beside beta
    assert flat == pytest.approx(1.0, abs=gamma) and steep == pytest.approx(4.0 - gamma, abs=0.6)
    with torch.no_grad():
        inside = score(data, model.heads, model.reader).utilities.softmax(1)[:, 1:].sum(1).numpy()
    assert inside.mean() == pytest.approx((data.chosen > 0).mean(), abs=0.01)
    model.save(tmp_path / "model")
    assert betas(TasteModel.load(tmp_path / "model"), data) == pytest.approx([flat, steep], rel=1e-5)


def test_a_market_never_trained_on_keeps_what_the_heads_say() -> None:
    data = two_markets(2000)
    model = knowing_markets(data, data.goods.prefixes[:1])
    before = betas(model, data)
    fit_market_prices(model, data)
    flat, other = betas(model, data)
    assert flat != pytest.approx(before[0], rel=0.05)
    assert other == pytest.approx(before[1])
    assert not model.heads.market_price[0].any()
