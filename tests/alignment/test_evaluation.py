"""Baselines and fidelity: known answers on synthetic shelves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from malles_env.alignment.baselines import (
    LOGIT_FEATURES,
    ConditionalLogit,
    LastPurchase,
    MarketRates,
    Popularity,
)
from malles_env.alignment.evaluation import clustered, clustered_ratio, elasticities, fidelity, paired
from malles_env.alignment.prediction import Prediction, predict

from .conftest import synthetic, tiny_model


def test_conditional_logit_recovers_the_truth() -> None:
    """On 6 000 shelves drawn with beta 2 and lambda 1 the fit finds both."""
    data = synthetic(6000, beta=2.0, lambda_=1.0, tastes=0.0)
    fitted = ConditionalLogit.fit(data, MarketRates.fit(data))
    named = dict(zip(LOGIT_FEATURES, fitted.coefficients, strict=True))
    slope = -named["log price"] + named["discount"] * 1.0  # log p and depth share the response near p = r
    assert slope == pytest.approx(2.0, abs=0.35)
    assert named["last"] == pytest.approx(1.0, abs=0.2)


def test_constant_heads_equal_the_logit_they_are() -> None:
    """A taste model with constant heads gives exactly the utilities of its constants."""
    data, model = synthetic(50), tiny_model()
    for read_out in (model.heads.prefix, model.heads.option):
        read_out[-1].weight.data.zero_()
    made = predict(model, data)
    expected = 0.8 * np.log(data.reference_share + 1e-3) - 1.8 * data.log_price + 0.5 * data.discount + 0.7 * data.last
    np.testing.assert_allclose(made.utilities[:, 1:], expected, atol=1e-5)
    np.testing.assert_allclose(made.utilities[:, 0], data.log_sampling, atol=1e-6)


def test_hit_and_top3_of_a_known_ranking() -> None:
    """Option 1 scored best, then 2, 3, ...: hits are the choices of option 1."""
    data = synthetic(400)
    scores = np.broadcast_to(-np.arange(5.0), data.mask.shape)
    whole = np.concatenate([np.zeros((400, 1)), scores], axis=1)
    found = fidelity(Prediction(whole, np.full(data.mask.shape, -1.0)), data)
    bought = data.chosen[data.chosen > 0]
    assert found["hit"].mean == pytest.approx((bought == 1).mean())
    assert found["top3"].mean == pytest.approx((bought <= 3).mean())


def test_popularity_matches_the_market_purchase_rate() -> None:
    """Mean predicted probability of buying nothing equals the share of no-purchase visits."""
    data = synthetic(4000)
    outside = np.exp(Popularity(MarketRates.fit(data)).predict(data).log_probability()[:, 0])
    assert outside.mean() == pytest.approx((data.chosen == 0).mean(), abs=0.01)


def test_last_purchase_beats_popularity_where_it_matters() -> None:
    """With strong loyalty the last purchase predicts better."""
    data = synthetic(3000, lambda_=3.0, beta=0.0)
    rates = MarketRates.fit(data)
    loyal = LastPurchase.fit(data, rates).predict(data)
    assert paired(loyal, Popularity(rates).predict(data), data)["nll_purchase"].mean < -0.05


def test_clustered_error_counts_households_not_rows() -> None:
    """Repeating every household's row four times leaves the error where it was."""
    values = np.random.default_rng(0).normal(size=200)
    once = clustered(values, np.arange(200))
    often = clustered(np.repeat(values, 4), np.repeat(np.arange(200), 4))
    assert often.se == pytest.approx(once.se)
    assert once.se == pytest.approx(values.std(ddof=1) / np.sqrt(200), rel=1e-6)
    assert clustered_ratio(2 * values**2, values**2, np.arange(200)).mean == pytest.approx(2.0)


def test_elasticities_of_a_known_logit() -> None:
    """Given a purchase the own elasticity is about -beta (1 - P); units respond more where buying is rare."""
    data = synthetic(2000, products=5)
    shape = data.mask.shape
    flat = replace(data, price=data.regular_price * 1.2)  # above the regular price no discount enters
    utilities = np.concatenate([np.full((2000, 1), 3.0), np.zeros(shape)], axis=1)
    column = np.ones(2000)
    prediction = Prediction(utilities, np.full(shape, -20.0), 2.0 * column, 0.0 * column, 0.0 * column)
    rows = elasticities(prediction, flat, flat.markets)
    assert [row.market for row in rows] == list(flat.markets)
    for row in rows:
        assert row.choice.mean == pytest.approx(-2.0 * (1 - 1 / 5), abs=0.02)
        assert row.units.mean == pytest.approx(-2.0 * (1 - 1 / 6), abs=0.02)
    assert elasticities(Prediction(utilities, np.zeros(shape)), data, data.markets) == []
