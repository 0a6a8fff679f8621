"""Sellers for hidden draws of the tastes: robust actions, least squares, and Thompson sampling over the draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.evaluation.draws import over_draws
from malles_agents.planning.hidden_draws import SENSITIVITIES, ThompsonDraws, best_of_draws, draws_of
from malles_agents.planning.search import EpisodeValue
from malles_agents.registry import default_rivals, make_seller
from malles_agents.seller_view import Seen, SellerView
from malles_agents.sellers.least_squares import IteratedLeastSquares
from malles_agents.studies.tournament import Tournament, play_match
from malles_env.cli import app
from malles_env.consumers import LogitConsumers
from malles_env.envs import vec_env
from malles_env.errors import InvalidInput
from malles_env.market import Offer
from malles_env.scenarios import load_scenario
from tests.agents.evaluation.test_draws import Drawn, uncertain
from tests.envs.bundled import settings_of

DUOPOLY = "bertrand-duopoly"


@pytest.fixture(scope="module")
def consumers() -> Drawn:
    return uncertain()


@pytest.fixture(scope="module")
def played(consumers):
    """Return scores of all sellers and of constant prices over the draws of the small duopoly."""
    scenario = load_scenario(DUOPOLY)
    rivals = default_rivals(scenario, "seller_0", consumers=consumers)
    names = ("robust-stationary", "robust-stationary:max-min", "iterated-least-squares", "thompson-draws", "ucb")
    constant = tuple(f"fixed:{price}" for price in (1.3, 1.42, 1.48, 1.6, 1.73))
    sellers = {name: [make_seller(name, scenario, consumers=consumers)] for name in (*names, *constant)}
    found = over_draws(scenario, consumers.draws, sellers, rivals=rivals, episodes=3)
    return {name: scores.summary() for name, scores in found.items()}


def test_learning_the_draw_beats_every_constant_price_and_comes_close_to_knowing_it(played):
    learned, known = played["thompson-draws"], played["clairvoyant"]
    for name, scores in played.items():
        if name.startswith(("fixed", "robust")):
            assert learned["profit"]["mean"] > scores["profit"]["mean"], name
            assert learned["least_of_best"] > scores["least_of_best"], name
    assert learned["profit"]["mean"] > played["ucb"]["profit"]["mean"]
    assert learned["profit"]["mean"] > 0.985 * known["profit"]["mean"]  # measured: .997
    assert learned["least_of_best"] > 0.97


def test_robust_actions_are_best_in_what_they_are_for(played):
    """A constant price can be no better on average, or in the worst draw, than the one searched for just that."""
    for name, scores in played.items():
        if name.startswith("fixed"):
            assert scores["profit"]["mean"] < 1.002 * played["robust-stationary"]["profit"]["mean"], name
            assert scores["least_of_best"] < 1.005 * played["robust-stationary:max-min"]["least_of_best"], name
    assert played["robust-stationary"]["least_of_best"] < played["robust-stationary:max-min"]["least_of_best"]


def test_robust_prices_are_the_best_of_a_fine_grid(consumers):
    scenario = load_scenario(DUOPOLY)
    view = SellerView.of(scenario, "seller_0", consumers=consumers)
    table, grid = best_of_draws(view), np.linspace(1.3, 1.9, 121)
    profit = []
    for tastes in consumers.draws:
        buyers = LogitConsumers(tastes)
        rivals = default_rivals(scenario, "seller_0", consumers=buyers)
        value = EpisodeValue(scenario, "seller_0", rivals, consumers=buyers)
        profit.append(value(np.arange(len(grid)), grid[:, None], np.ones((len(grid), 1), dtype=bool)))
    shares = np.array(profit) / table.value[:, None]
    assert shares.max() < 1.0 + 1e-6
    for name, best in (("", np.mean(profit, axis=0).argmax()), (":max-min", shares.min(axis=0).argmax())):
        seller = make_seller(f"robust-stationary{name}", scenario, consumers=consumers)
        assert seller.prices[0] == pytest.approx(grid[best], abs=0.008)


def test_possible_tastes_sell_the_same_at_regular_prices():
    """Where consumers carry no draws, price sensitivity is what is not known."""
    for name in (DUOPOLY, "soft-drinks"):
        view = SellerView.of(name, "seller_0", consumers=settings_of(name)["consumers"])
        catalog, population = view.catalog, view.scenario.population()
        offer = Offer(
            catalog.regular_price[None],
            np.ones((1, catalog.num_products), dtype=bool),
            catalog.regular_price,
            np.full((1, catalog.num_products), 1.0 / catalog.num_products),
            population.initial_loyalty[None],
        )
        found = [LogitConsumers(tastes).respond(offer).probability for tastes in draws_of(view)]
        assert len(found) == len(SENSITIVITIES)
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-9)
    with pytest.raises(InvalidInput, match="consumers have no tastes"):
        draws_of(SellerView.of(DUOPOLY, "seller_0", consumers=Speechless()))


class Speechless:
    num_segments, num_products = 1, 2

    def respond(self, offer):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "theta"),
    [
        ("soft-drinks", 0.0),
        ("ice-cream", 0.0),
        pytest.param("ice-cream", 0.4, marks=pytest.mark.slow),
        ("wholesale", 0.0),
    ],
)
def test_the_true_draw_predicts_sales_exactly_and_is_found(name, theta):
    """Against expected demand of its own draw nothing is left to explain: all that consumers carry moves right."""
    quick = settings_of(name)["consumers"]
    tastes = replace(quick.tastes, pantry=theta)
    scenario = load_scenario(name)
    factors = (0.7, 1.0, 1.4)
    draws = tuple(replace(tastes, beta=factor * tastes.beta) for factor in factors)
    seller = ThompsonDraws(SellerView.of(scenario, "seller_1", consumers=Drawn(tastes, draws)))
    truth = LogitConsumers(draws[2])
    env = vec_env(scenario, num_markets=2, learner="seller_1", consumers=truth, demand="expected", max_cycles=9)
    env.seed(0)
    observation, state = env.reset(), None
    start = np.ones(2, dtype=bool)
    for period in range(8):
        if period:
            seen = seller.view.read(observation)
            known = {key: value.copy() for key, value in state.items()}
            mean, _ = seller.expected(seen, known, np.arange(2), 2)
            own = seller.view.products
            np.testing.assert_allclose(mean[seen.listed[:, own]], seen.sales[:, own][seen.listed[:, own]], rtol=2e-4)
        action, state = seller.predict(observation, state, start)
        observation, *_ = env.step(action)
        start = np.zeros(2, dtype=bool)
    assert (seller.posterior(state)[:, 2] > 0.99).all()


def test_least_squares_finds_the_best_price_of_its_own_curve():
    view = SellerView.of(DUOPOLY, "seller_0")
    seller = IteratedLeastSquares(view)
    memory, fresh = seller.start(1), np.ones(1, dtype=bool)
    nothing = np.full((1, 2), np.nan)
    slope, prices = 4.0, None
    for _ in range(3):
        x = 1.0 if prices is None else prices[0, 0] / view.regular_price[0]
        sales = np.array([[np.exp(6.0 - slope * x) - 0.5, np.nan]])
        asked = np.array([[view.regular_price[0] * x, 1.5]])
        seen = Seen(asked, np.ones((1, 2), bool), nothing, np.full((1, 2), np.inf), sales, nothing, nothing)
        prices, _ = seller.decide_in(seen, memory, fresh)
        fresh = np.zeros(1, dtype=bool)
    assert prices[0, 0] == pytest.approx(view.unit_cost[0] + view.regular_price[0] / slope)
    with pytest.raises(InvalidInput, match="first_cut"):
        IteratedLeastSquares(view, first_cut=1.0)


def test_they_enter_tournament_and_evaluate_by_name(tmp_path):
    names = ("robust-stationary:max-min", "iterated-least-squares", "thompson-draws:3")
    tournament = Tournament((DUOPOLY,), names, episodes=2, cycles=8)
    for name in names:
        match = play_match(tournament, DUOPOLY, name, "thompson-draws:3")
        assert match.seller == name
        assert np.isfinite(match.profit).all()
        assert match == play_match(tournament, DUOPOLY, name, "thompson-draws:3")
    shown = CliRunner().invoke(app, ["evaluate", DUOPOLY, "--sellers", ",".join(names[1:]), "--episodes", "2"])
    assert shown.exit_code == 0, shown.output
    for name in ("robust-stationary:best", "thompson-draws:-1", "iterated-least-squares:2"):
        with pytest.raises(InvalidInput, match="seller: got"):
            make_seller(name, DUOPOLY)
