"""What the shipped taste models advise: no coefficient at a bound, no drifting elasticity, no contradiction."""

from functools import cache

import numpy as np
import pytest

from malles_env.consumers.aligned import DRAW_MODELS
from malles_env.preference.heads.bounds import at_bounds
from malles_env.scenarios import load_scenario

RETAIL = ("soft-drinks", "ice-cream")
WORLDS = [
    pytest.param(name, model, marks=[pytest.mark.slow] if model != "embedded" else [])
    for name in RETAIL
    for model in DRAW_MODELS
]


@cache
def consumers(name: str, model: str):
    return load_scenario(name).build_consumers(model)


def played(name: str, model: str, factors: list[float], weeks: int = 52):
    """Play constant prices of the first seller, as multiples of regular ones, expected demand; weeks x markets."""
    scenario = load_scenario(name)
    catalog = scenario.catalog()
    prices = np.tile(scenario.average_price(), (len(factors), 1))
    own = catalog.products_of(0)
    prices[:, own] = np.array(factors)[:, None] * catalog.regular_price[own]
    best = [catalog.products_of(n)[: catalog.shelf[n]] for n in range(catalog.num_sellers)]
    listed = np.isin(np.arange(catalog.num_products), np.concatenate(best))
    market = scenario.market(len(factors), "expected", consumers(name, model))
    return [market.step(prices, listed) for _ in range(weeks)], own


@pytest.mark.parametrize(("name", "model"), WORLDS)
def test_no_coefficient_is_at_its_bound(name, model):
    tastes = consumers(name, model).tastes
    assert at_bounds({"rho": tastes.rho}, [segment.name for segment in load_scenario(name).segments]) == []


@pytest.mark.parametrize(("name", "model"), WORLDS)
def test_the_elasticity_of_a_lasting_cut_hardly_drifts(name, model):
    outcomes, own = played(name, model, [1.0, 0.99])
    units = [outcome.units[:, own].sum(axis=1) for outcome in (outcomes[1], outcomes[51])]
    early, late = (float(np.log(after / before) / np.log(0.99)) for before, after in units)
    assert early < 0
    assert abs(late / early - 1.0) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", RETAIL)
def test_the_models_advise_alike(name):
    """What a 35% cut does to the first seller's profit differs by less than a factor of 1.35 between the models."""
    ratios = []
    for model in DRAW_MODELS:
        outcomes, _ = played(name, model, [1.0, 0.65])
        profit = np.sum([outcome.seller_profit[:, 0] for outcome in outcomes], axis=0)
        ratios.append(profit[1] / profit[0])
    assert max(ratios) < 1.35 * min(ratios)
