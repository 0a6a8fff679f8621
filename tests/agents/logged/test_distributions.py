"""Draws and densities agree, with each other and with what Stable-Baselines3 says of its own policies."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from malles_agents.logged.distributions import CensoredNormal, Choices, Read, SquashedNormal
from malles_agents.logged.stochastic import Sampled, as_stochastic, as_target
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_env import vec_env
from malles_env.errors import InvalidInput

ALL = Read(np.ones(2, dtype=bool), 2)
COUNT = 20_000


def rows(one):
    return np.tile(np.asarray(one, dtype=float), (COUNT, 1))


@pytest.mark.parametrize(
    ("logging", "policy"),
    [
        (
            CensoredNormal(rows([0.8, -0.2]), np.full(2, 0.5), ALL),
            CensoredNormal(rows([1.1, 0.0]), np.full(2, 0.4), ALL),
        ),
        (
            SquashedNormal(rows([0.5, 0.0]), rows([0.7, 0.8]), ALL),
            SquashedNormal(rows([0.2, 0.1]), rows([0.6, 0.6]), ALL),
        ),
        (
            Choices([rows([0.5, 0.5]), rows([0.2, 0.3, 0.5])], ALL),
            Choices([rows([0.9, 0.1]), rows([0.4, 0.4, 0.2])], ALL),
        ),
    ],
    ids=["censored", "squashed", "choices"],
)
def test_ratios_of_densities_carry_one_policy_to_another(logging, policy):
    rng = np.random.default_rng(0)
    drawn, wanted = logging.draw(rng), policy.draw(rng).astype(float)
    ratio = np.exp(policy.log_density(drawn) - logging.log_density(drawn))
    assert abs(ratio.mean() - 1.0) < 4.0 * ratio.std() / COUNT**0.5
    for column in range(2):
        there = ratio * drawn[:, column]
        error = (there.var() + wanted[:, column].var()) ** 0.5 / COUNT**0.5
        assert abs(there.mean() - wanted[:, column].mean()) < 4.0 * error


def test_prices_without_noise_are_certain():
    fixed = CensoredNormal(np.array([[0.25, 3.0]]), np.array([0.0, 0.0]), ALL)
    assert fixed.draw(np.random.default_rng(0)).tolist() == [[0.25, 1.0]]
    assert fixed.log_density(np.array([[0.25, 1.0]], dtype=np.float32)) == [0.0]
    assert np.isneginf(fixed.log_density(np.array([[0.26, 1.0]], dtype=np.float32)))


def test_the_price_of_what_is_not_listed_does_not_count():
    read = Read(np.array([True, False, True, False]), 1, listed=2)
    drawn = CensoredNormal(np.zeros((1, 4)), np.array([1.0, 1.0, 0.0, 0.0]), read)
    shelved = CensoredNormal(np.array([[0.0, 0.0, 1.0, 0.0]]), np.array([1.0, 1.0, 0.0, 0.0]), read)
    assert drawn.log_density(np.array([[0.3, 0.9, 0.0, 0.0]])) == pytest.approx([0.0])
    assert shelved.log_density(np.array([[0.3, 0.9, 1.0, 0.0]])) == pytest.approx([-0.5 * 0.3**2 - 0.918938533])


def test_of_a_score_only_its_sign_counts_where_all_products_fit():
    read = Read(np.ones(2, dtype=bool), 1, listed=1, signs=True)
    drawn = CensoredNormal(np.tile([0.0, 0.3], (COUNT, 1)), np.array([0.0, 0.5]), read)
    action = drawn.draw(np.random.default_rng(0))
    listed = action[:, 1] > 0.0
    density = np.exp(drawn.log_density(action))
    assert len(set(density[listed].round(12))) == len(set(density[~listed].round(12))) == 1
    assert density[listed][0] + density[~listed][0] == pytest.approx(1.0)
    assert density[listed][0] == pytest.approx(listed.mean(), abs=4.0 * 0.5 / COUNT**0.5)
    rule = CensoredNormal(np.tile([0.0, 1.0], (COUNT, 1)), np.zeros(2), read)
    assert (np.exp(rule.log_density(action)) == listed).all()


@pytest.mark.parametrize("spec", ["random", "epsilon:0.3:nash", "nash"])
def test_probabilities_of_all_discrete_actions_sum_to_one(spec):
    view = SellerView.of("soft-drinks", "seller_0", action_mode="discrete", price_levels=3)
    seller = as_target(make_seller(spec, view.scenario, view.agent, action_mode="discrete", price_levels=3), view, spec)
    every = np.array(list(product(*(range(int(size)) for size in view.action_space.nvec))))
    own = every[(every[:, ~seller.read.columns] == 0).all(axis=1)]  # slots without a product are not read
    seen = np.repeat(start_of("soft-drinks", "discrete"), len(own), axis=0)
    found, _ = seller.distribution(seen)
    assert np.exp(found.log_density(own)).sum() == pytest.approx(1.0)
    assert np.isfinite(found.log_density(found.draw(np.random.default_rng(0)))).all()


def test_random_prices_have_the_density_of_the_price_box():
    view = SellerView.of("soft-drinks", "seller_0")
    seller = as_stochastic(make_seller("random", view.scenario, view.agent), view, "random")
    found, _ = seller.distribution(np.repeat(start_of("soft-drinks", "continuous"), 50, axis=0))
    drawn = found.draw(np.random.default_rng(0))
    listed = min(view.capacity, len(view.products))
    shelves = {tuple(row) for row in drawn[:, view.slots : view.slots + len(view.products)] > 0}
    assert {sum(shelf) for shelf in shelves} == {listed}
    assert np.exp(found.log_density(drawn)) == pytest.approx(0.5**listed / len(shelves))
    drawn[0, view.slots] = -drawn[0, view.slots]  # one product more or less than a full shelf
    assert np.isneginf(found.log_density(drawn)[0])


def start_of(scenario, action_mode):
    env = vec_env(scenario, num_markets=1, learner="seller_0", action_mode=action_mode, seed=0)
    return env.reset()


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC"])
def test_trained_policies_have_the_density_that_sb3_says(algorithm):
    import stable_baselines3

    env = vec_env("bertrand-duopoly", num_markets=2, learner="seller_0", seed=0)
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", env, seed=0, device="cpu")
    seen, view = np.repeat(env.reset(), 20, axis=0), SellerView.of("bertrand-duopoly", "seller_0")
    found, _ = Sampled(model, view).distribution(seen)
    drawn = 0.3 * found.draw(np.random.default_rng(0))  # away from the bounds, where a clipped draw has a mass
    drawn[:, 1] = np.abs(drawn[:, 1])  # listed: else the price does not count
    found = replace(found, read=replace(found.read, signs=False))  # SB3 knows no signs
    tensor = torch.as_tensor(seen)
    with torch.no_grad():
        if algorithm == "SAC":
            mean, log_std, _ = model.policy.actor.get_action_dist_params(tensor)
            known = model.policy.actor.action_dist.proba_distribution(mean, log_std).log_prob(torch.as_tensor(drawn))
        else:
            known = model.policy.get_distribution(tensor).log_prob(torch.as_tensor(drawn))
    assert found.log_density(drawn) == pytest.approx(known.numpy(), abs=2e-4)


def test_a_recurrent_policy_remembers_from_period_to_period():
    from sb3_contrib import RecurrentPPO

    env = vec_env("bertrand-duopoly", num_markets=3, learner="seller_0", seed=0)
    model = RecurrentPPO("MlpLstmPolicy", env, seed=0, device="cpu")
    seller, seen = Sampled(model, SellerView.of("bertrand-duopoly", "seller_0")), env.reset()
    fresh, state, memory = np.ones(3, dtype=bool), None, None
    for _ in range(3):
        found, state = seller.distribution(seen, state, fresh)
        known, memory = model.predict(seen, memory, fresh, deterministic=True)
        assert np.clip(found.mean, -1, 1) == pytest.approx(known, abs=1e-5)
        seen, fresh = env.step(known)[0], np.zeros(3, dtype=bool)


@pytest.mark.parametrize(
    ("spec", "mode", "message"),
    [
        ("cost-plus:0.4", "continuous", "gaussian:0.2:cost-plus:0.4"),
        ("nash", "discrete", "epsilon:0.1:nash"),
        ("ucb", "continuous", "gaussian:0.2:cost-plus"),
        ("gaussian:0.2:ucb", "continuous", "draws nothing itself"),
        ("gaussian:0.2:nash", "discrete", "epsilon"),
        ("epsilon:0.2:nash", "continuous", "gaussian"),
        ("epsilon:2:nash", "discrete", "from 0 to 1"),
        ("gaussian:nash", "continuous", "a finite number"),
        ("gaussian:0.1", "continuous", "gaussian:NUMBER:SELLER"),
        ("gaussian:0.1:nobody", "continuous", "cost-plus"),
    ],
)
def test_what_cannot_be_logged_is_refused(spec, mode, message):
    view = SellerView.of("bertrand-duopoly", "seller_0", action_mode=mode)
    with pytest.raises(InvalidInput, match=message):
        as_stochastic(make_seller(spec, view.scenario, view.agent, action_mode=mode), view, spec)


def test_a_seller_with_a_memory_is_no_base():
    view = SellerView.of("bertrand-duopoly", "seller_0")
    seller = make_seller("gaussian:0.2:grim", view.scenario, view.agent)
    with pytest.raises(InvalidInput, match="memory"):
        seller.predict(start_of("bertrand-duopoly", "continuous"))
