"""Sellers over draws of the tastes, and policies that say which world they come from."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.evaluation.comparison import Comparison, compare_in_console
from malles_agents.evaluation.draws import OverDraws, over_draws
from malles_agents.registry import default_rivals, make_seller
from malles_env.cli import app
from malles_env.consumers import LogitConsumers
from malles_env.envs import parallel_env, vec_env
from malles_env.errors import InvalidInput
from malles_env.market import Tastes
from malles_env.scenarios import load_scenario

runner = CliRunner()


@dataclass(frozen=True)
class Drawn(LogitConsumers):
    draws: tuple[Tastes, ...] = ()


def uncertain(spread: float = 0.5, count: int = 3) -> Drawn:
    """Duopoly consumers whose price sensitivity is known up to a factor."""
    tastes = load_scenario("bertrand-duopoly").build_consumers().tastes
    factors = np.linspace(1 - spread, 1 + spread, count)
    draws = tuple(replace(tastes, beta=factor * tastes.beta, alpha=factor * tastes.alpha) for factor in factors)
    return Drawn(tastes, draws)


def test_measures_are_what_their_names_say():
    episodes = np.array([[1.0, 3.0], [5.0, 5.0], [9.0, 7.0], [10.0, 10.0], [10.0, 20.0]])
    best = np.array([2.0, 6.0, 8.0, 11.0, 20.0])
    scores = OverDraws(episodes.mean(axis=1), episodes, best, np.array([8.0])).summary()
    assert scores["profit"] == {"mean": 8.0, "se": pytest.approx(np.std([2, 5, 8, 10, 15], ddof=1) / np.sqrt(5))}
    assert scores["cvar10"] == 1.0  # the worst of ten
    assert scores["worst"] == 2.0
    assert scores["regret"] == pytest.approx(np.mean([0, 1, 0, 1, 5]))
    assert scores["least_of_best"] == 0.75


def test_knowing_the_draw_beats_every_price_that_does_not():
    consumers, scenario = uncertain(), load_scenario("bertrand-duopoly")
    rivals = default_rivals(scenario, "seller_0", consumers=consumers)
    sellers = {name: [make_seller(name, scenario, consumers=consumers)] for name in ("nash", "cost-plus:0.6")}
    found = over_draws(scenario, consumers.draws, sellers, rivals=rivals, episodes=4, max_cycles=6)
    assert set(found) == {"nash", "cost-plus:0.6", "clairvoyant"}
    top = found["clairvoyant"].summary()
    assert top["regret"] == 0.0
    assert top["of_best"] == 1.0
    assert found["nash"].episodes.shape == (3, 4)
    for name in ("nash", "cost-plus:0.6"):
        assert found[name].summary()["regret"] > 0.01 * top["profit"]["mean"]
    with pytest.raises(InvalidInput, match="carry no draws"):
        over_draws(scenario, (), sellers)


@pytest.mark.parametrize("demand", ["multinomial", "expected"])
def test_a_seed_gives_the_same_hidden_draw_in_every_face(demand):
    options = {"consumers": uncertain(count=5), "tastes": "draws", "demand": demand, "max_cycles": 3}
    markets = vec_env("bertrand-duopoly", num_markets=6, **options)
    markets.seed(7)
    markets.reset()
    alone = parallel_env("bertrand-duopoly", **options)
    alone.reset(seed=7 + 4)
    assert alone.market.state.draw[0] == markets.market.state.draw[4]
    assert len(np.unique(markets.market.state.draw)) > 1
    actions = {agent: np.array([0.1, 1.0], np.float32) for agent in alone.agents}
    rewards = alone.step(actions)[1]
    vector = markets.step(np.tile(np.array([0.1, 1.0], np.float32), (12, 1)))[1]
    assert [rewards[a] for a in ("seller_0", "seller_1")] == pytest.approx(vector.reshape(6, 2)[4].tolist(), rel=1e-6)


def test_draws_are_refused_where_there_are_none():
    with pytest.raises(InvalidInput, match="tastes: got 'draws'; allowed: 'mean'"):
        vec_env("bertrand-duopoly", num_markets=2, tastes="draws")
    shown = runner.invoke(app, ["evaluate", "bertrand-duopoly", "--tastes", "draws"])
    assert shown.exit_code == 2
    assert "carry no draws" in shown.stderr
    with pytest.raises(InvalidInput, match=r"cost_share: got 1\.0; allowed: at least 0 and less than 1"):
        compare_in_console(Comparison("bertrand-duopoly", ["nash"], cost_share=1.0))


def test_a_policy_warns_where_the_world_is_another(tmp_path):
    out = tmp_path / "run"
    trained = runner.invoke(
        app, ["train", "bertrand-duopoly", "--out", str(out), "--steps", "512", "--rivals", "fixed"]
    )
    assert trained.exit_code == 0, trained.output
    config = json.loads((out / "config.json").read_text())
    assert config["scenario_hash"] == load_scenario("bertrand-duopoly").digest()
    assert (config["model"], config["tastes"]) == (None, "mean")
    question = ["evaluate", "bertrand-duopoly", "--sellers", "", "--policy", str(out / "policy.zip"), "--episodes", "2"]
    same = runner.invoke(app, question)
    assert same.exit_code == 0, same.output
    assert "warning" not in same.output
    assert "tastes from the scenario file" in same.output
    cheap = runner.invoke(app, [*question, "--cost-share", "0.2"])
    assert "was trained with another version of the scenario" in cheap.output
    assert "unit costs 20% of average prices" in cheap.output
    (out / "config.json").write_text(json.dumps(config | {"tastes": "draws"}))
    other = runner.invoke(app, [*question, "--tastes", "mean"])
    assert "was trained with tastes draws, and is judged with mean" in other.output


def test_cost_shares_set_unit_costs():
    scenario = load_scenario("soft-drinks")
    dear = scenario.with_cost_share(0.66)
    np.testing.assert_allclose(dear.catalog().unit_cost, 0.66 * scenario.average_price())
    assert dear.digest() != scenario.digest() == load_scenario("soft-drinks").digest()
