"""What each seller sees, number by number, and the way back to money and units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from malles_env.envs.spaces.observations import Layout
from malles_env.envs.spaces.slot_layout import SlotLayout
from tests.envs.bundled import ALONE, CROOKED, NAMES, make, sampled, scenario_of


def played(name: str, monitoring: Any = "prices", periods: int = 3) -> tuple[Any, dict[str, np.ndarray]]:
    env = make(name, monitoring=monitoring, max_cycles=10)
    observations, _ = env.reset(seed=5)
    for actions in sampled(env, 4, periods):
        observations, *_ = env.step(actions)
    return env, observations


@pytest.mark.parametrize("monitoring", ["full", "prices", "own"])
@pytest.mark.parametrize("name", NAMES)
def test_reading_gives_back_what_happened(name: str, monitoring: str) -> None:
    env, observations = played(name, monitoring)
    outcome, layout = env.outcome, env.market_batch.layout
    for view, agent in enumerate(env.possible_agents):
        seen = layout.read(observations[agent], view)
        own = env.catalog.seller_of == view
        public = np.ones_like(own) if monitoring != "own" else own
        sales = np.ones_like(own) if monitoring == "full" else own
        listed = outcome.listed[0] & public
        np.testing.assert_array_equal(seen["listed"], listed)
        np.testing.assert_allclose(seen["price"][listed], outcome.prices[0, listed], rtol=1e-5)
        np.testing.assert_allclose(seen["sales"][sales], outcome.units[0, sales], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(seen["mean_field"][public], env.market.state.mean_field[0, public], rtol=1e-5)
        assert np.isnan(seen["sales"][~sales]).all()
        assert np.isnan(seen["mean_field"][~public]).all()
        assert seen["time"] == pytest.approx(0.3)
        if np.isfinite(env.catalog.stock).any():
            np.testing.assert_allclose(seen["stock"][sales], env.market.state.stock[0, sales], rtol=1e-5, atol=1e-3)


def test_reading_a_batch_is_reading_its_rows() -> None:
    env, observations = played(CROOKED)
    rows = np.stack([observations["seller_1"], observations["seller_1"] * 0.5])
    batch = env.market_batch.layout.read(rows, 1)
    for i, row in enumerate(rows):
        for name, value in env.market_batch.layout.read(row, 1).items():
            np.testing.assert_array_equal(batch[name][i], value)


def test_own_slots_come_first_and_rivals_in_a_circle() -> None:
    layout = Layout(SlotLayout(scenario_of(CROOKED).catalog()), 300.0)
    assert [block.name for block in layout.blocks] == [
        "own_price", "own_listed", "own_cost", "own_stock", "own_sales", "rivals_price", "rivals_listed",
        "mean_field", "time", "seller",
    ]  # fmt: skip
    assert [block.size for block in layout.blocks] == [3, 3, 3, 3, 3, 6, 6, 9, 1, 3]
    perceived = layout.where[:, layout["mean_field"]]
    np.testing.assert_array_equal(perceived[0], [0, 2, 3, 1, -1, -1, 4, -1, -1])
    np.testing.assert_array_equal(perceived[1], [1, -1, -1, 4, -1, -1, 0, 2, 3])
    np.testing.assert_array_equal(perceived[2], [4, -1, -1, 0, 2, 3, 1, -1, -1])


@pytest.mark.parametrize("name", NAMES)
def test_all_sellers_share_one_space_and_start_from_something(name: str) -> None:
    env = make(name)
    observations, _ = env.reset(seed=0)
    assert len({str(env.observation_space(agent)) for agent in env.agents}) == 1
    assert len({str(env.action_space(agent)) for agent in env.agents}) == 1
    blocks = {agent: env.market_batch.layout.split(row) for agent, row in observations.items()}
    for n, agent in enumerate(env.agents):
        assert blocks[agent]["own_sales"].sum() == 0
        there = int((env.catalog.enters[env.catalog.products_of(n)] == 0).sum())
        assert blocks[agent]["own_listed"].sum() == min(env.catalog.shelf[n], there)
        np.testing.assert_array_equal(blocks[agent]["seller"], np.eye(len(env.agents))[n])


def test_a_seller_alone_sees_no_rivals() -> None:
    layout = Layout(SlotLayout(scenario_of(ALONE).catalog()), 300.0, "full")
    assert not any(block.name.startswith("rivals") for block in layout.blocks)


def test_dict_blocks_are_slices_of_the_flat_observation() -> None:
    flat, blocks = make(CROOKED), make(CROOKED, observation_mode="dict")
    first, second = flat.reset(seed=2)[0], blocks.reset(seed=2)[0]
    for actions in sampled(flat, 8, 6):
        for agent in flat.possible_agents:
            assert list(second[agent]) == [block.name for block in flat.market_batch.layout.blocks]
            np.testing.assert_array_equal(first[agent], np.concatenate(list(second[agent].values())))
        first, second = flat.step(actions)[0], blocks.step(actions)[0]


def test_stock_runs_out_in_the_eyes_of_its_owner() -> None:
    env = make(CROOKED, demand="expected", max_cycles=40)
    env.reset(seed=0)
    low = {
        agent: env.encode_action(agent, env.catalog.price_low[own], np.ones(len(own)))
        for agent, own in ((a, env.catalog.products_of(n)) for n, a in enumerate(env.agents))
    }
    for _ in range(30):
        observations, *_ = env.step(low)
    stock = env.market.state.stock[0]
    assert stock[1] == 0.0
    assert env.market_batch.layout.split(observations["seller_1"])["own_stock"][0] == 0.0
