"""Logs drawn from known terms of two markets, beside tastes as untrained heads say them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.heads.coefficients import MARKET_TERMS
from malles_env.preference.model import TasteModel, new_heads
from malles_env.type_aliases import FloatArray
from tests.preference.conftest import SIZES, synthetic, tiny_model

BETA, GAMMA, DISPLAY, FEATURE, LAMBDA = 1.8, 0.5, 0.4, 0.3, 0.3
"""What heads say before training, and what these logs are drawn from."""


def known_terms(**values: tuple[float, float]) -> FloatArray:
    """Return the terms of two markets [2, terms]; those not named (beta, level, rho, display, feature) are 0."""
    names = ("beta", "level", "rho", "display", "feature")
    assert len(names) == len(MARKET_TERMS)
    return np.stack([np.array(values.get(name, (0.0, 0.0))) for name in names], axis=1)


def market_log(size: int, terms: FloatArray, *, seed: int = 0, pull: float = 0.0) -> TasteData:
    """Return occasions of two markets whose deals come with displays, and whose shares move about their long-run level.

    Prices are those of a line and a week. `pull` is what a log price of the week before adds to the utility: sales
    that a deal borrowed.
    """
    rng = np.random.default_rng([seed, 7])
    data = synthetic(size, seed=seed)
    weeks = np.arange(60)
    calendar = np.where(rng.random((10, 60)) < 0.35, rng.uniform(0.6, 0.9, (10, 60)), rng.uniform(0.97, 1.03, (10, 60)))
    at = (data.product, data.period[:, None])
    ratio, before = calendar[at], calendar[data.product, np.maximum(data.period - 1, weeks[0])[:, None]]
    shape = data.mask.shape
    deal = ratio < 0.95
    display, feature = (rng.random(shape) < np.where(deal, often, 0.1) for often in (0.5, 0.3))
    share = np.clip(data.long_share + rng.normal(0.0, 0.08, shape), 0.0, 1.0)
    own = terms[data.market][:, :, None]
    utility = (
        own[:, 1]
        - BETA * np.exp(own[:, 0]) * np.log(ratio)
        + GAMMA * np.maximum(0.0, 1.0 - ratio)
        + (DISPLAY + own[:, 3]) * display
        + (FEATURE + own[:, 4]) * feature
        + own[:, 2] * (share - data.long_share)
        + LAMBDA * data.last
        + pull * np.log(before)
    )
    whole = np.concatenate([data.log_sampling[:, None], utility], axis=1)
    chosen = (whole + rng.gumbel(size=whole.shape)).argmax(1)
    return replace(
        data,
        price=(ratio * data.regular_price).astype(np.float32),
        share=share.astype(np.float32),
        display=display,
        feature_ad=feature,
        chosen=chosen,
        quantity=np.where(chosen > 0, 1, 0),
    )


def knowing_markets(markets: tuple[str, ...]) -> TasteModel:
    """Return a tiny model with untrained heads that know these markets."""
    model = tiny_model()
    model.heads = new_heads(model.backbone.width, sizes=SIZES, markets=markets)
    return model


def shelf_of(data: TasteData, market: int) -> TasteData:
    """Return one occasion of a market."""
    return data.take(np.flatnonzero(data.market == market)[:1])


def own_elasticity(alpha: FloatArray, beta: FloatArray) -> FloatArray:
    """Return the own-price elasticity of each product's demand just above the regular price, -beta (1 - P) [..., J]."""
    odds = np.exp(alpha)
    return -beta * (1.0 - odds / (1.0 + odds.sum(-1, keepdims=True)))
