"""The API that one can guess: markets in Python, functions as rewards, observations and sellers, tables of episodes."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test
from pettingzoo.utils import OrderEnforcingWrapper
from pettingzoo.utils.conversions import parallel_to_aec_wrapper

import malles_env
from malles_agents.evaluation.evaluate import play
from malles_env import AlignedConsumers, Recording, Scenario, UtilityConsumers, load_scenario, parallel_env, vec_env
from malles_env import pricing_v0 as module
from malles_env.envs import EnvSettings
from malles_env.envs.core.hooks import FunctionSeller
from malles_env.envs.registration import gymnasium_ids
from malles_env.errors import InvalidInput
from malles_env.market import Tastes

DUOPOLY = load_scenario("bertrand-duopoly")
FIELDS = {
    "name": "one",
    "sellers": [{"name": "a"}],
    "products": [
        {
            "product_id": "p", "seller": "a", "unit_cost": 1.0, "regular_price": 2.0, "price_low": 1.0,
            "price_high": 3.0,
        }
    ],
    "segments": [{"name": "everyone"}],
    "population_size": 10.0,
    "consumers": {"kind": "logit", "tastes": {"alpha": np.array([1.0]), "beta": np.float64(2.0)}},
}  # fmt: skip


def steps(env, periods=4, seed=0):
    """Play random actions; yield what each step returned."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(periods):
        actions = {a: rng.uniform(-1, 1, env.action_space(a).shape).astype(np.float32) for a in env.agents}
        yield env.step(actions)


def refused(call, *words):
    with pytest.raises(InvalidInput) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_every_name_of_the_front_door_is_there():
    assert len(malles_env.__all__) <= 25
    for name in malles_env.__all__:
        assert getattr(malles_env, name) is not None
        assert name in dir(malles_env)


# -- markets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bertrand-duopoly", "ice-cream"])
def test_a_market_in_python_plays_as_its_scenario_does(name):
    scenario = load_scenario(name)
    given, usual = parallel_env(scenario.market()), parallel_env(name)
    for one, other in zip(steps(given), steps(usual), strict=True):
        for agent in usual.possible_agents:
            np.testing.assert_array_equal(one[0][agent], other[0][agent])
            assert one[1][agent] == pytest.approx(other[1][agent] * scenario.reward_scale, rel=1e-12)
            assert one[4][agent] == other[4][agent]


def test_a_market_in_python_keeps_its_demand_and_is_not_played_itself():
    market = DUOPOLY.market(demand="expected")
    env = parallel_env(market, max_cycles=20)
    assert env.market.demand == "expected" and env.market is not market
    parallel_api_test(env, num_cycles=15)
    assert market.state.period.tolist() == [0]
    assert vec_env(market, num_markets=3).market.num_markets == 3
    assert parallel_env(market, demand="multinomial").market.demand == "multinomial"
    refused(lambda: vec_env(market, 2, learner="seller_0", rivals="cost-plus"), "rivals", "Scenario")


# -- scenarios -------------------------------------------------------------------------------------------------------


def test_a_scenario_in_python_is_checked_in_the_words_of_files():
    assert Scenario(**FIELDS).consumers.tastes.alpha == (1.0,)
    wrong = {**FIELDS, "products": [{**FIELDS["products"][0], "unit_cost": -1.0}], "max_cycle": 3}
    refused(lambda: Scenario(**wrong), "one: products[0].unit_cost: got -1.0; allowed: at least 0", "mean max_cycles?")
    refused(lambda: Scenario(), "scenario: name: is missing")


def test_a_scenario_is_one_line_and_a_table_in_which_words_are_escaped():
    result = Scenario(**{**FIELDS, "title": "<script>alert(1)</script>"})
    assert repr(result) == "<Scenario one: 1 sellers, 1 products, 1 segments, logit consumers, 52 weeks>"
    html = result._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "<td>p</td>" in html


def test_one_more_product_stands_with_its_seller_and_has_the_tastes_of_the_one_it_is_like():
    more = DUOPOLY.with_product("c", like="product_a", unit_cost=0.5, tastes={"alpha": 7.0})
    assert more.product_ids == ("product_a", "c", "product_b")
    np.testing.assert_array_equal(more.tastes_of(more.consumers.tastes).alpha, [[8.0, 7.0, 8.0]])
    assert more.catalog().unit_cost.tolist() == [1.0, 0.5, 1.0]
    twin = DUOPOLY.with_product("c", like="product_b")
    market = twin.market(demand="expected")
    units = market.step(1.5, True).units[0]
    assert units[1] == units[2] == units[0]


def test_one_more_seller_sells_copies_and_what_else_it_is_given():
    more = DUOPOLY.with_seller(
        "entrant", [{"product_id": "own", "like": "product_b", "unit_cost": 0.9}], like="seller_a"
    )
    assert more.seller_names == ("seller_a", "seller_b", "entrant")
    assert more.product_ids[2:] == ("entrant_a", "own")
    assert len(list(steps(parallel_env(more), 2))) == 2


def test_more_of_a_scenario_whose_tastes_differ_between_products_and_segments():
    wholesale = load_scenario("wholesale")
    j = 1
    more = wholesale.with_product("copy", like=wholesale.product_ids[j])
    place = more.product_ids.index("copy")
    tastes, before = more.tastes_of(more.consumers.tastes), wholesale.tastes_of(wholesale.consumers.tastes)
    for name in ("alpha", "beta", "kappa"):
        np.testing.assert_array_equal(getattr(tastes, name)[:, place], getattr(before, name)[:, j])
        np.testing.assert_array_equal(np.delete(getattr(tastes, name), place, axis=1), getattr(before, name))


def test_copies_refuse_what_does_not_fit():
    refused(lambda: DUOPOLY.with_product("c", seller="seller_a", unit_cost=1.0), "tastes['alpha']: is missing", "like=")
    refused(
        lambda: DUOPOLY.with_product("c", like="nobody"), "like: got 'nobody'; allowed: one of product_a, product_b"
    )
    refused(lambda: DUOPOLY.with_product("c", like="product_a", tastes={"alpha": [1.0, 2.0]}), "one per segment")
    refused(lambda: DUOPOLY.with_product("c", like="product_a", tastes={"rho": 1.0}), "got 'rho'", "alpha")
    refused(lambda: DUOPOLY.with_product("product_a", like="product_b"), "a name used once")
    refused(lambda: DUOPOLY.with_seller("e"), "the seller of at least one product")
    refused(lambda: load_scenario("ice-cream").with_product("c", tastes={"alpha": 1.0}), "kind: aligned")
    refused(lambda: DUOPOLY.with_consumers(UtilityConsumers(np.zeros, 2)), "consumers=")
    refused(lambda: Scenario.from_log("nowhere", "m", segment=3), "did you mean segments?")


def test_other_consumers_are_tastes_a_block_or_a_model():
    tastes = Tastes(alpha=np.full((1, 2), 7.0), beta=np.array([4.0]), price_transform="linear")
    other = DUOPOLY.with_consumers(tastes)
    np.testing.assert_array_equal(other.build_consumers().tastes.alpha, tastes.alpha)
    assert DUOPOLY.with_consumers(DUOPOLY.consumers) == DUOPOLY
    assert load_scenario("ice-cream").with_consumers("smollm2").consumers.model == "smollm2"
    refused(lambda: DUOPOLY.with_consumers("smollm2"), "kind: logit")


def test_read_tastes_stand_in_a_copy_and_sell_the_same():
    scenario = load_scenario("ice-cream")
    consumers = AlignedConsumers.from_pretrained("embedded", scenario)
    assert consumers.weights_hash and consumers.tastes.num_products == len(scenario.products)
    one, other = scenario.with_consumers(consumers), scenario
    for a, b in zip(steps(parallel_env(one)), steps(parallel_env(other)), strict=True):
        assert a[1] == b[1]
    refused(lambda: AlignedConsumers.from_pretrained("embedded", "ice-cream"), "load_scenario")
    refused(lambda: AlignedConsumers.from_pretrained("embedded", DUOPOLY), "kind: logit")


# -- functions -------------------------------------------------------------------------------------------------------


def duopoly_utility(offer):
    return (8.0 - 4.0 * offer.prices)[:, None, :]


def test_own_consumers_are_the_logit_they_say():
    own = UtilityConsumers(duopoly_utility, num_products=2, money_per_util=0.25)
    given = parallel_env("bertrand-duopoly", consumers=own, demand="expected")
    for one, other in zip(steps(given), steps(parallel_env("bertrand-duopoly", demand="expected")), strict=True):
        for agent, info in other[4].items():
            assert one[4][agent] == pytest.approx(info, rel=1e-9)


def test_own_consumers_move_loyalty_and_are_checked():
    own = UtilityConsumers(lambda offer: np.array([1.0, 2.0]), num_products=2, num_segments=1)
    market = DUOPOLY.market(consumers=own, demand="expected")
    market.step(1.5, True)
    np.testing.assert_allclose(market.loyalty.sum(axis=2), 1.0)
    share = np.exp([1.0, 2.0]) / (1.0 + np.exp([1.0, 2.0]).sum())
    np.testing.assert_allclose(market.loyalty[0, 0, 1:], share)
    refused(lambda: UtilityConsumers(duopoly_utility, 0), "num_products")
    wrong = DUOPOLY.market(consumers=UtilityConsumers(lambda offer: np.zeros(3), 2))
    refused(lambda: wrong.step(1.5, True), "utility: got shape (3,)")


def units_sold(outcome):
    return outcome.units


def own_price_twice(seen):
    return np.concatenate([seen["own_price"], 2.0 * seen["own_price"]], axis=-1)


SETTINGS: EnvSettings = {"reward_fn": units_sold, "observation_fn": own_price_twice, "max_cycles": 3}


def test_own_rewards_and_observations_in_every_face():
    action = np.array([0.2, 1.0], dtype=np.float32)
    env = parallel_env("bertrand-duopoly", **SETTINGS)
    env.reset(seed=5)
    seen, rewards, _, _, infos = env.step(dict.fromkeys(env.agents, action))
    assert seen["seller_0"] == pytest.approx([0.2, 0.4]) and env.observation_space("seller_0").shape == (2,)
    assert rewards == {agent: info["units"] for agent, info in infos.items()}
    parallel_api_test(parallel_env("bertrand-duopoly", **SETTINGS), num_cycles=10)

    single = gymnasium.make("malles_env/Pricing-v0", rivals=lambda seen: action, **SETTINGS)
    single.reset(seed=5)
    observation, reward, *_ = single.step(action)
    np.testing.assert_array_equal(observation, seen["seller_0"])
    assert reward == rewards["seller_0"] and observation in single.observation_space

    vector = gymnasium.make_vec("malles_env/BertrandDuopoly-v0", num_envs=2, rivals=lambda seen: action, **SETTINGS)
    vector.reset(seed=5)
    observation, reward, *_ = vector.step(np.tile(action, (2, 1)))
    np.testing.assert_array_equal(observation[0], seen["seller_0"])
    assert reward[0] == rewards["seller_0"]

    markets = vec_env("bertrand-duopoly", 2, seed=5, **SETTINGS)
    markets.reset()
    observation, reward, _, _ = markets.step(np.tile(action, (4, 1)))
    np.testing.assert_array_equal(observation[0], seen["seller_0"])
    assert reward[:2].tolist() == list(rewards.values())


@pytest.mark.parametrize("rivals", [None, "cost-plus:0.3", {"seller_1": "undercut"}])
def test_rivals_by_name_see_the_usual_observation(rivals):
    usual = vec_env("clearance", 2, learner="seller_0", rivals=rivals if rivals != {"seller_1": "undercut"} else None)
    own = vec_env(
        "clearance", 2, learner="seller_0", rivals=rivals if rivals != {"seller_1": "undercut"} else None,
        observation_fn=own_price_twice,
    )  # fmt: skip
    for env in (usual, own):
        env.seed(3)
        env.reset()
        for _ in range(3):
            env.step(np.zeros((2, *env.action_space.shape), np.float32))
    np.testing.assert_array_equal(usual.outcome.prices, own.outcome.prices)
    np.testing.assert_array_equal(usual.outcome.units, own.outcome.units)


def test_functions_of_the_wrong_kind_are_refused():
    refused(lambda: parallel_env(reward_fn=3), "reward_fn: got 3")
    refused(lambda: parallel_env(observation_fn=own_price_twice, observation_mode="dict"), "observation_mode")
    refused(lambda: parallel_env(observation_fn=lambda seen: np.zeros(3)), "observation_fn: got (3,)")
    refused(lambda: parallel_env(observation_fn=lambda seen: np.full((1, 2, 1), np.nan)), "finite")
    refused(lambda: list(steps(parallel_env(reward_fn=lambda outcome: np.zeros(5)))), "reward_fn: got (5,)", "(1, 2)")
    refused(lambda: list(steps(parallel_env(reward_fn=lambda outcome: [np.inf, 0.0]))), "finite")
    refused(lambda: vec_env(learner="seller_0", rivals=3), "a function of observations")


def test_a_plain_function_is_a_seller():
    def half(seen):
        return np.tile(np.float32([0.5, 1.0]), (len(seen), 1))

    runs = [play("bertrand-duopoly", seller, rivals={"seller_1": half}, episodes=3, max_cycles=2)
            for seller in (half, FunctionSeller(half))]  # fmt: skip
    np.testing.assert_array_equal(runs[0].profit, runs[1].profit)
    low, high = DUOPOLY.products[0].price_low, DUOPOLY.products[0].price_high
    np.testing.assert_allclose(runs[0].prices, low + 0.75 * (high - low))


# -- names and tables ------------------------------------------------------------------------------------------------


def test_each_bundled_scenario_has_a_gymnasium_id():
    assert set(gymnasium_ids().values()) == set(malles_env.list_scenarios())
    assert gymnasium_ids()["malles_env/SoftDrinks-v0"] == "soft-drinks"
    env = gymnasium.make("malles_env/IceCream-v0", max_cycles=2)
    assert env.unwrapped.scenario.name == "ice-cream"


def test_the_module_has_the_names_of_pettingzoo():
    assert isinstance(module.env("bertrand-duopoly"), OrderEnforcingWrapper)
    assert type(module.raw_env("bertrand-duopoly")) is parallel_to_aec_wrapper
    assert module.parallel_env is malles_env.parallel_env


@pytest.mark.parametrize(
    "make",
    [
        parallel_env,
        lambda name: vec_env(name, 2),
        lambda name: gymnasium.make("malles_env/Pricing-v0", scenario=name).unwrapped,
        lambda name: gymnasium.make_vec("malles_env/Pricing-v0", 2, scenario=name).unwrapped,
    ],
)
def test_envs_are_one_line_and_a_table(make):
    env = make("bertrand-duopoly")
    assert repr(env).startswith(f"<{type(env).__name__} bertrand-duopoly: 2 sellers, 2 products, 52 periods")
    assert "\n" not in repr(env)
    assert "<td>product_b</td>" in env._repr_html_()


def test_an_episode_is_a_table():
    env = parallel_env("soft-drinks", demand="expected")
    recording, units = Recording(catalog=env.catalog, most=3), []
    for _ in steps(env, 4):
        recording.add(env.outcome)
        units.append(env.outcome.units[0])
    table = recording.to_polars()
    assert table["period"].unique().to_list() == [1, 2, 3]  # the first is no longer kept
    assert table["product"].to_list()[: env.catalog.num_products] == list(env.catalog.product_ids)
    np.testing.assert_array_equal(table["units"].to_numpy().reshape(3, -1), units[1:])
    assert recording.to_pandas()["seller"].tolist() == table["seller"].to_list()
    assert Recording().to_polars().is_empty()
