"""Sellers that act inside an env: the default rule, memories, and mistakes."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest

import malles_env
from malles_env.errors import InvalidInput, MallesError
from malles_env.market import Consumers
from tests.envs.bundled import ACTION_MODES, CROOKED, NAMES, RULED, make, random_action, settings_of


class Counting:
    """A rival with a memory: it counts its own steps since the episode began and raises its price with them."""

    def __init__(self, width: int) -> None:
        self.width, self.starts = width, []  # type: tuple[int, list[Any]]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.starts.append(np.array(episode_start))
        count = np.zeros(len(observation)) if state is None else state
        count = np.where(episode_start, 0.0, count + 1.0)
        return np.tile(count[:, None] / 10.0, (1, self.width)), count


def single(name: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("malles_env/Pricing-v0", **settings_of(name), **settings)


@pytest.mark.parametrize("mode", ACTION_MODES)
@pytest.mark.parametrize("name", NAMES)
def test_default_rivals_keep_regular_prices_and_full_shelves(name: str, mode: Any) -> None:
    env = single(name, action_mode=mode)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    env.step(random_action(env.action_space, rng))
    core: Any = env.unwrapped
    catalog, outcome = core.market.catalog, core.outcome
    regular = np.clip(catalog.regular_price, catalog.price_low, catalog.price_high)
    grid = (catalog.price_high - catalog.price_low) / 14 / 2 if mode == "discrete" else 1e-6 * regular
    grid = grid + (0.25 if name == RULED else 0.0)  # half the way between two endings
    for n in range(1, catalog.num_sellers):
        own = catalog.products_of(n)
        shelf = own[outcome.listed[0, own]]
        assert len(shelf) == min(catalog.shelf[n], (catalog.enters[own] == 0).sum())
        assert (np.abs(outcome.prices[0, shelf] - regular[shelf]) <= grid[shelf] + 1e-12).all()


def test_memories_last_an_episode_and_no_longer() -> None:
    rival = Counting(2)
    batch = malles_env.vec_env(
        **settings_of("bertrand-duopoly"), num_markets=3, learner="seller_1", rivals=rival, max_cycles=4
    )
    batch.reset()
    prices = []
    for _ in range(8):
        batch.step(np.zeros((3, 2), np.float32))
        prices.append(batch.outcome.prices[0, 0])
    assert [bool(start.all()) for start in rival.starts] == [True, False, False, False] * 2
    np.testing.assert_array_equal(prices[:4], prices[4:])
    assert np.all(np.diff(prices[:4]) > 0)


def test_second_episodes_are_the_same_in_both_faces() -> None:
    env = make("bertrand-duopoly", max_cycles=5)
    batch = malles_env.vec_env(**settings_of("bertrand-duopoly"), num_markets=1, max_cycles=5, seed=3)
    rows, (observations, _) = batch.reset(), env.reset(seed=3)
    action = np.full(2, 0.25, np.float32)
    for _ in range(3):
        for _ in range(5):
            np.testing.assert_array_equal(rows, np.stack(list(observations.values())))
            observations, *_ = env.step(dict.fromkeys(env.agents, action))
            rows, _, dones, _ = batch.step(np.stack([action, action]))
        assert dones.all()
        observations, _ = env.reset()


def test_copies_and_originals_go_the_same_way() -> None:
    env = single(CROOKED)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    actions = [random_action(env.action_space, rng) for _ in range(6)]
    env.step(actions[0])
    twin = copy.deepcopy(env)
    for action in actions[1:4]:
        here, there = env.step(action), twin.step(action)
        np.testing.assert_array_equal(here[0], there[0])
        assert here[1:] == there[1:]


def test_consumers_can_be_exchanged() -> None:
    consumers = settings_of("soft-drinks")["consumers"]
    assert isinstance(consumers, Consumers)
    with pytest.raises(InvalidInput, match="consumers"):
        malles_env.parallel_env("bertrand-duopoly", consumers=consumers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seller": "seller_4"}, "agent: got 'seller_4'; allowed: seller_0, seller_1"),
        ({"seller": "all"}, "seller: got 'all'"),
        ({"rivals": {"seller_0": Counting(2)}}, "rivals: got 'seller_0'; allowed: seller_1"),
        ({"rivals": {"seller_1": 3}}, r"rivals\['seller_1'\]: got 3"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        single("bertrand-duopoly", **settings)


def test_a_rival_that_answers_badly_is_named() -> None:
    env = single("bertrand-duopoly", rivals=Counting(5)).unwrapped
    env.reset(seed=0)
    with pytest.raises(InvalidInput, match=r"action of seller_1: got .* allowed: real numbers of shape \(2,\)"):
        env.step(np.zeros(2, np.float32))


def test_steps_outside_an_episode_are_refused() -> None:
    env = single("bertrand-duopoly", max_cycles=1).unwrapped
    with pytest.raises(MallesError, match="call reset"):
        env.step(np.zeros(2, np.float32))
    env.reset()
    assert env.step(np.zeros(2, np.float32))[3] is True
    with pytest.raises(MallesError, match="call reset"):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_an_episode_of_named_sellers_is_that_of_the_same_rivals(mode: Any) -> None:
    sellers = {"seller_0": "random", "seller_1": "thompson"} if mode == "continuous" else {"seller_1": "nash"}
    env = malles_env.parallel_env("bertrand-duopoly", max_cycles=12, action_mode=mode)
    played = [infos["seller_1"]["profit"] for infos in malles_env.play_episode(env, sellers, seed=3)]
    assert len(played) == 12 and env.agents == []
    again = [infos["seller_1"]["profit"] for infos in malles_env.play_episode(env, sellers, seed=3)]
    assert again == played
    other = single("bertrand-duopoly", rivals={"seller_1": sellers["seller_1"]}, max_cycles=12, action_mode=mode)
    core: Any = other.unwrapped
    other.reset(seed=3)
    prices, listed = core.core.market_batch.slot_layout.default_offer
    if "seller_0" not in sellers:  # who is not named asks regular prices
        for profit in played:
            other.step(core.encode_action(prices[:1], listed[:1]))
            assert core.outcome.seller_profit[0, 1] == profit


@pytest.mark.parametrize(
    ("sellers", "words"),
    [
        ("nobody", "nobody"),
        ({"seller_7": "nash"}, "sellers: got 'seller_7'"),
        ({"seller_0": 3}, r"sellers\['seller_0'\]"),
    ],
)
def test_sellers_that_do_not_exist_are_refused_before_the_first_period(sellers: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        malles_env.play_episode(malles_env.parallel_env("bertrand-duopoly"), sellers)
