"""Each market's own terms: found, kept, applied there alone, inside their bounds, and drawn as far as they are open."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.price_lags import lagged_log_prices
from malles_env.preference.data.text import Persona, persona_text
from malles_env.preference.heads.bounds import LOG_BETA_BOUND, RHO_BOUND, at_bounds
from malles_env.preference.heads.coefficients import MARKET_TERMS
from malles_env.preference.heads.objective import score
from malles_env.preference.model import TasteModel
from malles_env.preference.persona_coefficients import TasteReading
from malles_env.preference.training.market_likelihood import MarketLog, Prior, fit_terms
from malles_env.preference.training.market_terms import SPREADS, fit_market_prices, terms_at_bounds
from tests.preference.conftest import PERSONAS, PRODUCTS, synthetic, tiny_model
from tests.preference.market_logs import BETA, knowing_markets, known_terms, market_log, own_elasticity, shelf_of
from tests.preference.test_model import BOUGHT, SHARE

NAMES = [part.name for part in fields(TasteReading)]


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


@torch.no_grad()
def betas(model: TasteModel, data: TasteData) -> list[float]:
    beta = score(data, model.heads, model.reader).option.beta.numpy()
    return [float(beta[data.market == market].mean()) for market in (0, 1)]


def test_sensitivities_of_markets_are_found_and_kept(tmp_path: Path) -> None:
    data = two_markets()
    model = knowing_markets(data.products.prefixes)
    before = betas(model, data)
    assert before[0] == pytest.approx(before[1], rel=1e-3)
    fit_market_prices(model, data, draws=3)
    flat, steep = betas(model, data)
    gamma = 0.5  # of the heads as they start; a discount's worth is counted beside beta
    assert flat == pytest.approx(1.0, abs=gamma) and steep == pytest.approx(4.0 - gamma, abs=0.6)
    with torch.no_grad():
        inside = score(data, model.heads, model.reader).utilities.softmax(1)[:, 1:].sum(1).numpy()
    assert inside.mean() == pytest.approx((data.chosen > 0).mean(), abs=0.01)
    model.save(tmp_path / "model")
    loaded = TasteModel.load(tmp_path / "model")
    assert betas(loaded, data) == pytest.approx([flat, steep], rel=1e-5)
    assert torch.equal(loaded.heads.market_draws, model.heads.market_draws)


def test_a_market_never_trained_on_keeps_what_the_heads_say() -> None:
    data = two_markets(2000)
    model = knowing_markets(data.products.prefixes[:1])
    before = betas(model, data)
    fit_market_prices(model, data, draws=2)
    flat, other = betas(model, data)
    assert flat != pytest.approx(before[0], rel=0.05)
    assert other == pytest.approx(before[1])
    assert not model.heads.market_terms[0].any() and not model.heads.market_draws[:, 0].any()
    elsewhere = model.draw_shelves(shelf_of(data, 1))
    assert not elsewhere.rho.any() and np.ptp(elsewhere.beta, axis=0).max() == 0.0


def test_all_terms_are_recovered_from_a_log_that_they_drew() -> None:
    """The prior pulls towards 0, so the truths are close in units of what so many occasions tell."""
    truth = known_terms(beta=(0.3, -0.4), level=(0.5, -0.3), rho=(1.2, -0.9), display=(0.5, -0.3), feature=(-0.2, 0.4))
    model = knowing_markets(market_log(10, truth).products.prefixes)
    fit_market_prices(model, market_log(30_000, truth), draws=0)
    found = model.heads.market_terms[1:].numpy()
    np.testing.assert_allclose(found[:, [0, 1, 3, 4]], truth[:, [0, 1, 3, 4]], atol=0.12)
    np.testing.assert_allclose(found[:, 2], truth[:, 2], atol=0.3)
    assert not terms_at_bounds(model.heads)
    reading = model.read_shelves(shelf_of(market_log(10, truth), 0))
    np.testing.assert_allclose(reading.rho, found[0, 2], rtol=1e-6)
    np.testing.assert_allclose(reading.display, 0.4 + found[0, 3], rtol=1e-5)


def test_sales_borrowed_by_an_earlier_deal_are_no_answer_to_the_price() -> None:
    """Where a deal empties the weeks after it, the slope found is that of the price, not of the calendar."""
    truth = known_terms()
    data = market_log(20_000, truth, pull=2.0)
    model = knowing_markets(data.products.prefixes)
    fit_market_prices(model, data, draws=0)
    np.testing.assert_allclose(betas(model, data), BETA, atol=0.25)


def test_earlier_prices_are_those_of_the_line_in_the_weeks_before() -> None:
    data = synthetic(400, seed=4)
    lags = lagged_log_prices(data)
    table: dict[tuple[int, int], list[float]] = {}
    for row, place in zip(*np.nonzero(data.mask), strict=True):
        at = (int(data.product[row, place]), int(data.period[row]))
        table.setdefault(at, []).append(float(data.log_price[row, place]))
    rng = np.random.default_rng(0)
    for row in rng.choice(len(data), 30, replace=False):
        for place in range(data.mask.shape[1]):
            line, week = int(data.product[row, place]), int(data.period[row])
            weeks = ([week - 1], range(week - 4, week - 1))
            for lag, window in enumerate(weeks):
                known = [np.mean(table[line, w]) for w in window if (line, w) in table]
                assert lags[row, place, lag] == pytest.approx(np.mean(known) if known else 0.0, abs=1e-5)


def test_the_fit_is_the_top_of_the_penalised_likelihood() -> None:
    """Against the same objective written out loop by loop: no nearby point is better."""
    rng = np.random.default_rng(2)
    rows, options = 60, 4
    utility = rng.normal(size=(rows, options + 1))
    utility[::5, -1] = -np.inf
    there = np.isfinite(utility[:, 1:])
    slope = np.where(there, rng.normal(size=there.shape), 0.0)
    design = np.where(there[..., None], rng.normal(size=(rows, options, 2)), 0.0)
    chosen, weight = rng.integers(0, options, rows), rng.integers(0, 3, rows).astype(float)
    prior = Prior(np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 0.5]), np.array([1.5, np.inf, 1.9]))

    def height(terms: np.ndarray) -> float:
        total = -0.5 * sum(((terms - prior.centre) / prior.spread) ** 2)
        for row in range(rows):
            moved = design[row] @ terms[1:] - slope[row] * (np.exp(terms[0]) - 1.0)
            whole = np.append(utility[row, 0], utility[row, 1:] + moved)
            total += weight[row] * (whole[chosen[row]] - np.log(np.exp(whole).sum()))
            if chosen[row]:
                total += weight[row] * (whole[chosen[row]] - np.log(np.exp(whole[1:]).sum()))
        return float(total)

    log = MarketLog(utility, slope, design, chosen, weight)
    best = fit_terms(log.weighed(weight), prior, np.zeros(3))
    top = height(best)
    for step in np.concatenate([np.eye(3), -np.eye(3)]) * 0.01:
        assert height(best + step) < top
    assert top > height(np.zeros(3))


def test_a_coefficient_at_its_bound_fails_training_by_name() -> None:
    truth = known_terms(rho=(9.0, 0.0))
    data = market_log(20_000, truth)
    model = knowing_markets(data.products.prefixes)
    with pytest.raises(InvalidInput, match=r"market terms: .*market 0.*: rho 1\.9: ended at a bound"):
        fit_market_prices(model, data, draws=0)
    (found,) = terms_at_bounds(model.heads)
    assert found.coefficient == "rho" and "market 0" in found.owner and found.value == pytest.approx(RHO_BOUND)


def test_what_counts_as_at_a_bound() -> None:
    values = {
        "rho": [1.8985, 1.8995, -1.9, 0.0],
        "log beta multiplier": [0.0, 0.0, LOG_BETA_BOUND, 0.0],
        "level": [9.0] * 4,
    }
    found = at_bounds(values, ["a", "b", "c", "d"])
    assert [(one.owner, one.coefficient) for one in found] == [("b", "rho"), ("c", "rho"), ("c", "log beta multiplier")]
    assert str(found[1]) == "c: rho -1.9"


def test_draws_repeat_by_seed_and_lie_about_the_fit() -> None:
    data = market_log(4000, known_terms(beta=(0.2, -0.2), rho=(0.8, 0.0)))
    found = []
    for seed in (0, 0, 1):
        model = knowing_markets(data.products.prefixes)
        fit_market_prices(model, data, draws=40, seed=seed)
        found.append(model.heads.market_draws)
    assert found[0].shape == (40, 3, len(MARKET_TERMS))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    shelf = shelf_of(data, 0)
    reading, draws = model.read_shelves(shelf), model.draw_shelves(shelf)
    for name in NAMES:
        one, many = getattr(reading, name), getattr(draws, name)
        assert many.shape == (40, *one.shape)
        close = 4 * many.std(0) / np.sqrt(40) + 1e-6
        assert (np.abs(many.mean(0) - one) <= close).all(), name
    assert draws.beta.std(0).min() > 0 and draws.rho.std(0).min() > 0
    assert draws.rho.std() < SPREADS["rho"]  # the occasions tell something


def test_draws_are_read_off_personas_and_products() -> None:
    """Each draw is what `read` would say with that draw's terms; a model without draws says so."""
    model = tiny_model()
    with pytest.raises(InvalidInput, match="market_draws"):
        model.read_draws(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    some = [Persona(PERSONAS[0].market, PERSONAS[0].category, 6, 36)]
    market = persona_text(some[0])
    model.heads = knowing_markets((market,)).heads
    model.heads.market_draws = torch.randn(5, 2, len(MARKET_TERMS), generator=torch.Generator().manual_seed(0)) * 0.3
    draws = model.read_draws(some, PRODUCTS, BOUGHT[:1], SHARE)
    assert draws.alpha.shape == (5, 1, 4) and draws.rho.shape == (5, 1)
    model.heads.market_terms.copy_(model.heads.market_draws[3])
    again = model.read(some, PRODUCTS, BOUGHT[:1], SHARE)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(draws, name)[3], getattr(again, name))


def covered(logs: int, size: int, draws: int) -> np.ndarray:
    """Return whether the 90% interval holds the true mean own-price elasticity, by log and market [logs, 2].

    Truths are drawn from the prior, as markets are taken to be. The interval runs from the 5% to the 95% quantile at
    the plotting positions k / (D + 1) ("weibull"), which hold a further draw with 90%.
    """
    inside = np.zeros((logs, 2), dtype=bool)
    rng = np.random.default_rng(11)
    spread = np.array([SPREADS[name] for name in MARKET_TERMS])
    bound = np.array([LOG_BETA_BOUND, np.inf, RHO_BOUND, np.inf, np.inf]) - 0.2
    for log in range(logs):
        truth = np.clip(rng.normal(0.0, spread, (2, len(spread))), -bound, bound)
        data = market_log(size, truth, seed=log)
        model = knowing_markets(data.products.prefixes)
        fit_market_prices(model, data, draws=draws, seed=log)
        for market in (0, 1):
            read = model.draw_shelves(shelf_of(data, market))
            drawn = own_elasticity(read.alpha, read.beta).mean(axis=(1, 2))
            low, high = np.quantile(drawn, (0.05, 0.95), method="weibull")
            level, beta = np.full(5, truth[market, 1]), np.full(5, BETA * np.exp(truth[market, 0]))
            inside[log, market] = low <= own_elasticity(level, beta).mean() <= high
    return inside


def test_intervals_of_draws_cover_the_truth_in_a_few_logs() -> None:
    """Six of the logs below: with 90% each, fewer than 8 of 12 intervals hold their truth in 4 of 1,000 such tests."""
    assert covered(6, 600, 19).sum() >= 8


@pytest.mark.slow
def test_intervals_of_draws_cover_the_truth_as_often_as_they_say() -> None:
    """Of 60 logs with two markets, 90% intervals cover in 80 to 97%."""
    assert 0.80 <= covered(60, 1000, 39).mean() <= 0.97
