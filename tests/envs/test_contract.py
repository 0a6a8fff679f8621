"""What the official suites do not look at."""

import doctest
import importlib
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from gymnasium.utils.passive_env_checker import data_shares_objects

import malles_env
from malles_env.envs.display.recording import Recording
from malles_env.envs.display.rendering import as_image, as_text
from malles_env.errors import InvalidInput, MallesError
from tests.envs.bundled import ACTION_MODES, OBSERVATION_MODES, PROMOTED, SCENARIOS, arrays_of, make, sampled


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("action_mode", ACTION_MODES)
def test_same_seed_same_episode_to_the_last_bit(name, action_mode):
    def play(seed):
        env = make(name, action_mode=action_mode, max_cycles=210)
        observations, _ = env.reset(seed=seed)
        trace = [observations]
        trace += [env.step(actions) for actions in sampled(env, 5, 210)]
        assert env.agents == []
        return pickle.dumps([[np.asarray(x).tobytes() for x in part.values()] for t in trace[1:] for part in t[:2]])

    assert play(7) == play(7)
    assert play(7) != play(8)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("observation_mode", OBSERVATION_MODES)
def test_observations_are_in_their_space_and_finite(name, observation_mode):
    env = make(name, observation_mode=observation_mode, monitoring="full")
    observations, _ = env.reset(seed=1)
    for actions in sampled(env, 1, 52):
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
            assert all(np.isfinite(part).all() and part.dtype == np.float32 for part in arrays_of(observation))
        assert env.state_space.contains(env.state())
        observations, rewards, terminated, truncated, infos = env.step(actions)
        assert all(type(reward) is float and np.isfinite(reward) for reward in rewards.values())
        assert all(type(flag) is bool for flags in (terminated, truncated) for flag in flags.values())
        assert not any(terminated.values())
        assert all(type(value) is np.float64 for info in infos.values() for value in info.values())
    assert all(truncated.values())


@pytest.mark.parametrize("observation_mode", OBSERVATION_MODES)
def test_nothing_is_shared_between_agents_or_steps(observation_mode):
    env = make("soft-drinks", observation_mode=observation_mode)
    seen = [env.reset(seed=1)]
    seen += [env.step(actions) for actions in sampled(env, 1, 4)]
    agents = [[step[0][agent] for agent in env.possible_agents] for step in seen]
    for step in agents:
        for i, one in enumerate(step):
            assert not any(data_shares_objects(one, other) for other in step[i + 1 :])
            for a in arrays_of(one):
                assert not any(np.shares_memory(a, b) for other in step[i + 1 :] for b in arrays_of(other))
    for before, after in pairwise(seen[1:]):
        assert not data_shares_objects(before[0], after[0])
        assert not data_shares_objects(before[4], after[4])


@pytest.mark.parametrize("name", SCENARIOS)
def test_pickling_in_the_middle_continues_the_same(name):
    env = make(name)
    env.reset(seed=3)
    actions = sampled(env, 2, 20)
    for joint in actions[:10]:
        env.step(joint)
    copy = pickle.loads(pickle.dumps(env))
    for joint in actions[10:]:
        here, there = env.step(joint), copy.step(joint)
        assert here[1] == there[1]
        for agent in env.possible_agents:
            np.testing.assert_array_equal(here[0][agent], there[0][agent])


@pytest.mark.parametrize("name", SCENARIOS)
def test_money_in_infos_is_the_markets(name):
    env = make(name)
    env.reset(seed=1)
    _, rewards, _, _, infos = env.step(sampled(env, 1, 1)[0])
    for n, agent in enumerate(env.possible_agents):
        own = env.catalog.seller_of == n
        assert infos[agent]["profit"] == pytest.approx(env.outcome.profit[0, own].sum())
        assert infos[agent]["revenue"] == pytest.approx(env.outcome.revenue[0, own].sum())
        assert rewards[agent] == pytest.approx(infos[agent]["profit"] / env.scenario.reward_scale)
    assert sum(info["share"] for info in infos.values()) == pytest.approx(1.0)


def test_encode_is_the_inverse_of_decode():
    for mode in ACTION_MODES:
        env = make("soft-drinks", action_mode=mode)
        env.reset(seed=0)
        low, high = env.catalog.price_low, env.catalog.price_high
        wanted = {}
        for n, agent in enumerate(env.possible_agents):
            own = env.catalog.products_of(n)
            listed = np.arange(len(own)) < env.catalog.shelf[n]
            grid = low[own] + (high[own] - low[own]) * np.array([3, 7, 11])[: len(own)] / 14
            wanted[agent] = (own, grid, listed)
        env.step({agent: env.encode_action(agent, grid, listed) for agent, (_, grid, listed) in wanted.items()})
        for own, grid, listed in wanted.values():
            np.testing.assert_array_equal(env.outcome.listed[0, own], listed)
            np.testing.assert_allclose(env.outcome.prices[0, own[listed]], grid[listed], rtol=1e-6)


def test_capacity_keeps_the_best_scores():
    env = make("soft-drinks")
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() * 0 for agent in env.agents}
    slots = env.market_batch.slot_layout.slots
    store = env.possible_agents[2]  # three products, two places
    actions[store][slots : slots + 3] = [0.2, 0.9, 0.5]
    env.step(actions)
    np.testing.assert_array_equal(env.outcome.listed[0, env.catalog.products_of(2)], [False, True, True])
    assert env.outcome.listed[0].sum() == 2


@pytest.mark.parametrize("action_mode", ACTION_MODES)
def test_every_sampled_action_respects_the_shelf(action_mode):
    env = make("soft-drinks", action_mode=action_mode)
    env.reset(seed=0)
    for actions in sampled(env, 3, 40):
        env.step(actions)
        counts = np.bincount(env.catalog.seller_of, weights=env.outcome.listed[0])
        assert np.all(counts <= env.catalog.shelf)
        assert np.all(env.outcome.prices[0] >= env.catalog.price_low - 1e-6)
        assert np.all(env.outcome.prices[0] <= env.catalog.price_high + 1e-6)


def bad(kind):
    return {
        "nan": np.array([np.nan, 1.0], np.float32),
        "infinite": np.array([0.0, np.inf], np.float32),
        "outside": np.array([1.5, 0.0], np.float32),
        "shape": np.zeros(3, np.float32),
        "text": np.array(["a", "b"]),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"action of seller_1, \[0\]: got nan; allowed: -1 to 1"),
        ("infinite", r"action of seller_1, \[1\]: got inf; allowed: -1 to 1"),
        ("outside", r"action of seller_1, \[0\]: got 1.5; allowed: -1 to 1"),
        ("shape", r"action of seller_1: got float32 of shape \(3,\); allowed: real numbers of shape \(2,\)"),
        ("text", r"action of seller_1: got <U1"),
    ],
)
def test_bad_actions_are_named_and_nothing_happens(kind, message):
    env, twin = make("bertrand-duopoly"), make("bertrand-duopoly")
    env.reset(seed=1)
    twin.reset(seed=1)
    good = sampled(env, 1, 1)[0]
    with pytest.raises(InvalidInput, match=message):
        env.step(good | {"seller_1": bad(kind)})
    assert env.step(good)[1] == twin.step(good)[1]


def test_prices_outside_the_bounds_in_money_mode():
    env = make("bertrand-duopoly", action_mode="dict")
    env.reset(seed=1)
    actions = sampled(env, 1, 1)[0]
    actions["seller_0"]["price"] = np.array([99.0])
    with pytest.raises(InvalidInput, match=r"action of seller_0, \['price'\]\[0\]: got 99.0; allowed: 1.2"):
        env.step(actions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"action_mode": "both"}, "action_mode: got 'both'; allowed: continuous, discrete, dict"),
        ({"observation_mode": "image"}, "observation_mode"),
        ({"max_cycles": 0}, "max_cycles: got 0"),
        ({"demand": "none"}, "demand"),
        ({"monitoring": "all"}, "monitoring"),
        ({"render_mode": "gif"}, "render_mode"),
        ({"price_levels": 1}, "price_levels"),
        ({"scenario": "soft-drink"}, "soft-drinks"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(MallesError, match=message):
        malles_env.parallel_env(**({"scenario": "bertrand-duopoly"} | settings))


def test_calls_out_of_order_are_refused():
    env = make("bertrand-duopoly", max_cycles=1)
    with pytest.raises(MallesError, match="call reset"):
        env.step({})
    env.reset(seed=1)
    with pytest.raises(InvalidInput, match="got none for seller_1"):
        env.step({"seller_0": np.zeros(2, np.float32)})
    with pytest.raises(InvalidInput, match="seed: got -1"):
        env.reset(seed=-1)
    with pytest.raises(InvalidInput, match="agent: got 'seller_9'"):
        env.action_space("seller_9")


def test_rgb_array_and_ansi_show_the_episode():
    env = make("soft-drinks", render_mode="rgb_array")
    env.reset(seed=1)
    first = env.render()
    for actions in sampled(env, 1, 5):
        env.step(actions)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert not np.array_equal(first, picture)
    text = make("soft-drinks", render_mode="ansi")
    text.reset(seed=1)
    text.step(sampled(text, 1, 1)[0])
    assert text.catalog.products[0].product_id in text.render() or text.catalog.products[0].title in text.render()


def test_pictures_and_text_show_what_is_promoted():
    """Two recordings that differ in nothing but the promotion flags do not look alike."""
    env = make(PROMOTED)
    env.reset(seed=1)
    for actions in sampled(env, 1, 5):
        env.step(actions)
    catalog, outcome = env.catalog, env.outcome._replace(listed=np.ones_like(env.outcome.listed))
    flags = np.zeros_like(outcome.promoted)
    flags[0, 0, 1] = flags[1, 0, 3] = True
    texts, pictures = [], []
    for promoted in (None, np.zeros_like(flags), flags):
        recording = Recording()
        for _ in range(3):
            recording.add(outcome._replace(promoted=promoted))
        texts.append(as_text(catalog, recording).splitlines())
        pictures.append(as_image(catalog, recording))
    assert "D F" not in texts[0][1] and "D F" in texts[1][1]
    assert "  D -" in texts[2][3] and "  - F" in texts[2][5]
    assert all("  - -" in texts[1][2 + j] for j in range(5))
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[1], pictures[2])


def test_human_mode_writes_text_where_there_is_no_screen(monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    env = make("bertrand-duopoly", render_mode="human")
    env.reset(seed=1)
    env.step(sampled(env, 1, 1)[0])
    assert "Product B" in capsys.readouterr().out
    assert env.render() is None


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_plays_with_its_own_consumers(name):
    env = malles_env.parallel_env(name)
    env.reset(seed=1)
    units = 0.0  # over all periods: a lone seller may list nothing in one of them
    for actions in sampled(env, 1, 10):
        _, rewards, _, _, infos = env.step(actions)
        units += sum(info["units"] for info in infos.values())
    assert units > 0
    assert all(np.isfinite(reward) for reward in rewards.values())


@pytest.mark.parametrize("module", ["parallel", "play", "single", "sb3", "vector", "display.recording"])
def test_examples_in_docstrings(module):
    results = doctest.testmod(importlib.import_module(f"malles_env.envs.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_importing_the_package_stays_light():
    heavy = ("torch", "transformers", "numba", "polars", "matplotlib", "stable_baselines3", "pydantic", "scipy")
    code = f"import sys, malles_env; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
