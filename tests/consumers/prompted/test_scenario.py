"""Prompted consumers in scenario files and environments, and episodes that go on after a failure."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from malles_env import load_scenario, parallel_env
from malles_env.errors import InvalidInput, LanguageModelError
from malles_env.scenarios import Scenario, parse_scenario, save_scenario
from malles_env.scenarios.consumer_kinds.prompted import opening_offer, prompted_consumers, with_prompted
from tests.consumers.prompted.models import Wrapped, tiny_model


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """Ice cream with three segments, one of whose products is short."""
    whole = load_scenario("ice-cream")
    products = [entry.model_dump() for entry in whole.products]
    products[0]["stock"] = 900.0
    few = {"segments": [entry.model_dump() for entry in whole.segments[:3]], "products": products}
    small = Scenario.model_validate({**whole.model_dump(), **few})
    return with_prompted(small, orders=2, threshold=0.2, quantity="one", market="premium ice cream")


def state_of(env) -> dict[str, np.ndarray]:
    state = env.market.state
    parts = {part.name: getattr(state, part.name) for part in fields(state)}
    parts |= parts.pop("blocks")._asdict()
    return {name: np.array(part) for name, part in parts.items()}


def play(env, failures: int, periods: int = 4) -> list:
    """Play an episode; each step may fail, is then checked to have changed nothing, and is taken again."""
    env.reset(seed=5)
    seen, failed = [], 0
    for _ in range(periods):
        actions = {agent: np.full(env.action_space(agent).shape, 0.3, np.float32) for agent in env.agents}
        while True:
            before, agents = state_of(env), list(env.agents)
            try:
                step = env.step(actions)
                break
            except LanguageModelError:
                failed += 1
                for name, part in state_of(env).items():
                    np.testing.assert_array_equal(part, before[name], err_msg=name)
                assert env.agents == agents
        seen.append((step[1], step[4]["seller_0"], {k: v.copy() for k, v in step[0].items()}))
    assert failed == failures
    return seen


@pytest.mark.parametrize("demand", ["multinomial", "exact"])
def test_an_episode_goes_on_where_a_failure_interrupted_it(scenario, demand) -> None:
    """One product sells out on the way, so that the loyalty of unserved buyers is given back, too."""
    model = tiny_model()
    smooth = parallel_env(scenario, consumers=prompted_consumers(scenario, model=model), demand=demand)
    expected = play(smooth, failures=0)
    assert smooth.market.state.stock[0, 0] == 0
    bumpy = Wrapped(model, lambda call: call in (1, 4, 5))
    found = play(parallel_env(scenario, consumers=prompted_consumers(scenario, model=bumpy), demand=demand), failures=3)
    for (rewards, info, seen), (other_rewards, other_info, other_seen) in zip(expected, found, strict=True):
        assert rewards == other_rewards
        np.testing.assert_equal(info, other_info)
        for agent in seen:
            np.testing.assert_array_equal(seen[agent], other_seen[agent])


def test_a_scenario_file_names_the_model(scenario, tmp_path) -> None:
    model = tiny_model()
    model.model.save_pretrained(tmp_path / "model")
    model.wording.tokenizer.save_pretrained(tmp_path / "model")
    named = with_prompted(scenario, model=str(tmp_path / "model"), orders=1, loyalty="none", quantity="one")
    again = load_scenario(save_scenario(named, tmp_path / "shop.yaml"))
    assert again == named
    env = parallel_env(again, max_cycles=2)
    env.reset(seed=0)
    rewards = env.step({agent: env.action_space(agent).sample() * 0 + 0.2 for agent in env.agents})[1]
    direct = again.build_consumers().respond(opening_offer(again))
    other = prompted_consumers(again, model=model).respond(opening_offer(again))
    np.testing.assert_allclose(direct.probability, other.probability, atol=1e-5)
    assert all(np.isfinite(reward) for reward in rewards.values())
    known = again.build_consumers()
    known.respond(opening_offer(again))
    assert known.model.usage.requests == 0 < known.model.usage.cached, "answers are kept on disk"


def test_a_server_is_named_by_its_address(scenario) -> None:
    from malles_env.consumers.language import CachedModel, ServedModel

    served = with_prompted(scenario, model="shopper", server="http://127.0.0.1:9/v1")
    consumers = served.build_consumers()
    assert isinstance(consumers.model, CachedModel) and isinstance(consumers.model.model, ServedModel)
    plain = with_prompted(scenario, model="shopper", server="http://127.0.0.1:9/v1", cache=False)
    assert (
        isinstance(plain.build_consumers().model, ServedModel) and plain.with_model("other").consumers.model == "other"
    )


def test_calibration_gives_the_observed_shares(scenario) -> None:
    fitted = with_prompted(scenario, orders=1, quantity="one", calibrate="shares", purchase_rate=0.12)
    consumers = prompted_consumers(fitted, model=tiny_model())
    weights = fitted.population().weights
    shares = weights @ consumers.respond(opening_offer(fitted)).probability[0]
    result = np.array([product.reference_share for product in fitted.products])
    np.testing.assert_allclose(shares, [0.88, *(0.12 * result / result.sum())], atol=1e-8)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{kind: prompted, rho: 0.5}", r"consumers.rho: got 0.5; .*one channel at a time"),
        ("{kind: prompted, shift: {tea: 1.0}}", r"consumers.shift: got 'tea'; .*product_a"),
        ("{kind: prompted, orders: 0}", r"consumers.orders: got 0; allowed: at least 1"),
        ("{kind: prompted, loyalty: maybe}", r"consumers.loyalty: got 'maybe'"),
        ("{kind: prompted, calibrate: shares}", r"reference_share: got None; .*calibrate is shares"),
        ("{kind: prompted, words: x}", r"there is no such field"),
        ("{kind: prompted}\nmean_field: {coupling: equilibrium}", r"mean_field.coupling: got 'equilibrium'"),
    ],
)
def test_entries_that_do_not_fit_are_refused(entry, message, duopoly_text) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_scenario(f"{duopoly_text}consumers: {entry}\n")


@pytest.fixture(scope="module")
def duopoly_text() -> str:
    import yaml

    result = load_scenario("bertrand-duopoly").model_dump(mode="json", exclude_defaults=True)
    del result["consumers"]
    return yaml.safe_dump(result)


def test_numbers_of_the_wrong_length_are_refused(scenario) -> None:
    wrong = with_prompted(scenario, temperature=[1.0, 2.0])
    with pytest.raises(InvalidInput, match=r"calibration.temperature.*\(3,\)"):
        prompted_consumers(wrong, model=tiny_model())
