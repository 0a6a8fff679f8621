"""Decoding and encoding of actions where sellers differ in size, shelves are short and slots are empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from malles_env.envs import parallel_env, vec_env
from malles_env.envs.spaces.actions import Actions
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import InvalidInput
from malles_env.market import Catalog, Product
from tests.envs.bundled import ACTION_MODES, CROOKED, random_action, scenario_of

BIG = 0  # owns products 0, 2, 3 and may list 2 of them


def crooked(mode: Any, levels: int = 5) -> Actions:
    return Actions(SlotLayout(scenario_of(CROOKED).catalog()), mode, levels)


def decode(actions: Actions, **by_agent: Any) -> tuple[np.ndarray, np.ndarray]:
    rows = actions.blank(1)
    for n, agent in enumerate(actions.slot_layout.agents):
        if agent in by_agent:
            actions.put(rows, n, by_agent[agent])
    prices, listed = actions.decode(rows)
    return prices[0], listed[0]


def test_continuous_prices_are_linear_in_the_box() -> None:
    prices, listed = decode(crooked("continuous"), seller_0=np.array([-1, 0, 1, 1, -1, 0], np.float32))
    catalog = scenario_of(CROOKED).catalog()
    own = catalog.products_of(BIG)
    middle = (catalog.price_low[2] + catalog.price_high[2]) / 2
    np.testing.assert_allclose(prices[own], [catalog.price_low[0], middle, catalog.price_high[3]])
    np.testing.assert_array_equal(listed[own], [True, False, False])


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.3, 0.2, 0.1], [True, True, False]),
        ([0.1, 0.2, 0.3], [False, True, True]),
        ([0.5, 0.5, 0.5], [True, True, False]),
        ([0.0, 0.5, 0.1], [False, True, True]),
    ],
)
def test_beyond_capacity_the_best_scores_stay_and_of_equals_the_first(scores: list[float], kept: list[bool]) -> None:
    _, listed = decode(crooked("continuous"), seller_0=np.array([0, 0, 0, *scores], np.float32))
    np.testing.assert_array_equal(listed[[0, 2, 3]], kept)


def test_discrete_grid_reaches_both_ends_and_the_largest_margins_stay() -> None:
    catalog = scenario_of(CROOKED).catalog()
    prices, listed = decode(crooked("discrete"), seller_0=np.array([5, 0, 1]))
    np.testing.assert_allclose(prices[[0, 3]], [catalog.price_high[0], catalog.price_low[3]])
    np.testing.assert_array_equal(listed[[0, 2, 3]], [True, False, True])
    _, listed = decode(crooked("discrete"), seller_0=np.array([5, 5, 5]))
    np.testing.assert_array_equal(listed[[0, 2, 3]], [False, True, True])


def test_money_mode_takes_prices_as_they_are() -> None:
    action = {"price": np.array([3.5, 4.25, 6.0]), "listed": np.array([1, 0, 1], np.int8)}
    prices, listed = decode(crooked("dict"), seller_0=action)
    np.testing.assert_array_equal(prices[[0, 2, 3]], [3.5, 4.25, 6.0])
    np.testing.assert_array_equal(listed[[0, 2, 3]], [True, False, True])


def test_money_mode_takes_bounds_rounded_to_float32() -> None:
    catalog = Catalog((Product("p", "s", 0.1, 1.0, price_low=0.9, price_high=1.1),))
    actions = Actions(SlotLayout(catalog), "dict")
    price = np.array([1.1], np.float32)
    assert float(price[0]) > 1.1
    prices, _ = decode(actions, seller_0={"price": price, "listed": [1]})
    assert prices[0] == pytest.approx(1.1)
    assert prices[0] <= catalog.price_high[0] + 1e-15


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_empty_slots_change_nothing(mode: str) -> None:
    actions = crooked(mode)
    if mode == "dict":
        assert actions.space("seller_2")["price"].shape == (1,)
        return
    third = actions.space("seller_2")
    rng = np.random.default_rng(0)
    first, second = random_action(third, rng), random_action(third, rng)
    second[[0, 3] if mode == "continuous" else [0]] = first[[0, 3] if mode == "continuous" else [0]]
    assert not np.array_equal(first, second)
    for one, other in zip(decode(actions, seller_2=first), decode(actions, seller_2=second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", ACTION_MODES)
def test_a_batch_decodes_as_its_rows_do(mode: str) -> None:
    actions, rng = crooked(mode), np.random.default_rng(1)
    batch = actions.blank(7)
    joint = [[random_action(actions.space(a), rng) for a in actions.slot_layout.agents] for _ in range(7)]
    for n in range(actions.slot_layout.count):
        column = [row[n] for row in joint]
        stacked = {k: np.stack([c[k] for c in column]) for k in column[0]} if mode == "dict" else np.stack(column)
        actions.put(batch, n, stacked)
    singles = [decode(actions, **dict(zip(actions.slot_layout.agents, row, strict=True))) for row in joint]
    for i, whole in enumerate(actions.decode(batch)):
        np.testing.assert_array_equal(whole, np.stack([single[i] for single in singles]))


@pytest.mark.parametrize(
    ("mode", "action", "message"),
    [
        ("discrete", np.array([0, 6, 0]), r"action of seller_0, \[1\]: got 6.0; allowed: 0 to 5"),
        ("discrete", np.array([0, -1, 0]), r"got -1.0; allowed: 0 to 5"),
        ("discrete", np.array([0.0, 1.0, 2.0]), "got float64 of shape .*; allowed: whole numbers"),
        ("discrete", None, "got object of shape"),
        ("dict", np.zeros(3), "a dict with 'price' and 'listed'"),
        ("dict", {"price": np.ones(3)}, "a dict with 'price' and 'listed'"),
        ("dict", {"price": np.ones(2), "listed": np.ones(3)}, r"seller_0\['price'\].*3 numbers, one per product"),
        ("dict", {"price": [3, 4, np.nan], "listed": [1, 1, 1]}, r"\['price'\]\[2\]: got nan; allowed: 2.5 to 10"),
        ("dict", {"price": [3, 4, 5], "listed": [1, 2, 1]}, r"\['listed'\]\[1\]: got 2.0; allowed: 0 to 1"),
    ],
)
def test_bad_actions_are_named(mode: str, action: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decode(crooked(mode), seller_0=action)


def test_a_batch_names_the_market_of_a_bad_action() -> None:
    actions = crooked("continuous")
    rows = actions.blank(3)
    bad = np.zeros((3, 6))
    bad[2, 4] = np.nan
    actions.put(rows, 1, bad)
    with pytest.raises(InvalidInput, match=r"action of seller_1 in market 2, \[4\]: got nan"):
        actions.decode(rows)


def test_masks_close_empty_slots_and_sold_out_products() -> None:
    actions = crooked("discrete")
    stock = np.array([0.0, 9.0, 9.0, 9.0, np.inf])
    open_ = actions.masks(0, stock).reshape(3, 6)
    np.testing.assert_array_equal(open_[:, 1:].all(axis=1), [False, True, True])
    np.testing.assert_array_equal(actions.masks(2, stock).reshape(3, 6)[:, 1:].any(axis=1), [True, False, False])
    assert open_[:, 0].all()


class Stubborn:
    """An object whose own conversion to an array fails."""

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise RuntimeError("cannot be converted")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.ma.masked_array(np.zeros(2), mask=[True, False]), "masked entries"),
        (torch.zeros(2, requires_grad=True), "requires grad"),
        (Stubborn(), "Stubborn: cannot be converted"),
        ([[0.0], [1.0, 2.0]], "an array of numbers"),
    ],
)
def test_what_is_no_array_is_refused_in_one_line_by_every_face(action: Any, words: str) -> None:
    env, markets = parallel_env("bertrand-duopoly"), vec_env("bertrand-duopoly", num_markets=1)
    env.reset(seed=1)
    markets.reset()
    for step in (lambda: env.step({"seller_0": action, "seller_1": np.zeros(2)}), lambda: markets.step(action)):
        with pytest.raises(InvalidInput, match=words) as error:
            step()
        assert len(str(error.value).splitlines()) == 1
