"""The reference figures of the cereal market are pyblp's: estimated and solved anew by it, if installed."""

import numpy as np
import pytest

from malles_agents.reproduce.cereal import PUBLISHED
from malles_env.scenarios import load_scenario
from research.cereal import build_cereal, estimate

MARKET = "C01Q1"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_reference_figures_and_scenario_come_from_pyblp():
    pyblp = pytest.importorskip("pyblp")
    results = estimate()
    products = results.problem.products
    firm = products.firm_ids[products.market_ids.flatten() == MARKET].flatten()
    cost = results.compute_costs(market_id=MARKET)
    first, second = np.unique(firm)[:2]
    owners = (np.arange(len(firm)), firm, np.where(firm == second, first, firm), np.zeros(len(firm), dtype=int))
    loop = pyblp.Iteration("simple", {"atol": 1e-13})
    for expected, ids in zip(PUBLISHED.values(), owners, strict=True):
        prices = results.compute_prices(firm_ids=ids[:, None], costs=cost, market_id=MARKET, iteration=loop)
        shares = results.compute_shares(prices, market_id=MARKET)
        profit = results.compute_profits(prices, shares, cost, market_id=MARKET).sum()
        surplus = results.compute_consumer_surpluses(prices, market_id=MARKET).item()
        assert (prices.mean(), profit, surplus) == pytest.approx(expected, abs=1e-5)
    bundled, built = load_scenario("cereal"), build_cereal(MARKET, results)
    np.testing.assert_allclose(bundled.build_consumers().tastes.alpha, built.build_consumers().tastes.alpha, rtol=1e-3)
    np.testing.assert_allclose(bundled.catalog().unit_cost, built.catalog().unit_cost, rtol=1e-4)
