import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from malles_env.cli import app
from malles_env.consumers import LogitConsumers
from malles_env.consumers.distil import Design, DistilSettings, Experiment, distil, fit, fresh_states
from malles_env.consumers.distil.active import choose, information
from malles_env.consumers.distil.features import Layout
from malles_env.consumers.distil.fidelity import judge, total_variation
from malles_env.consumers.distil.newton import choice_loss
from malles_env.consumers.distil.report import as_json, table
from malles_env.errors import InvalidInput
from malles_env.market.demand.choice import own_price_elasticity, respond
from malles_env.scenarios import load_scenario, save_scenario
from malles_env.workflows.distillation import distilled_scenario
from tests.consumers.distil.cases import Hidden, Slow, subject, tastes

QUICK = DistilSettings(questions=24, fresh=30, batch=6, pool=48, price_transform="log")


def test_information_is_the_curvature_of_the_likelihood():
    """The Hessian of a logit's cross-entropy is its Fisher information, whatever was answered."""
    market = subject(LogitConsumers(tastes()))
    offer = Design().draw(market, 5, (0,))
    layout = Layout(4, "log")
    theta = np.random.default_rng(0).normal(0.0, 0.5, layout.size)
    answers = respond(tastes(), offer).probability[:, 0]
    _, _, hessian = choice_loss(layout.features(offer, 0), offer.available, answers)(theta)
    factor = information(layout, theta, offer, 0)
    np.testing.assert_allclose(np.einsum("npj,nqj->pq", factor, factor), hessian, atol=1e-12)


def test_chosen_questions_lower_the_expected_error_more_than_drawn_ones():
    consumers = LogitConsumers(tastes())
    market = subject(consumers)
    result = distil(market, replace(QUICK, questions=6, fresh=0, choice="random")).experiment
    guess = fit(result, "log", 1e-2)
    pool, play = Design().draw(market, 64, (5,)), fresh_states(market, 40, 3)
    chosen = choose(guess, result, pool, play, 6)
    assert len(set(chosen)) == 6

    def expected(rows):
        total = 0.0
        for s in range(3):
            terms = [(result.offer, slice(None)), (pool, rows)]
            seen = [information(guess.layout, guess.theta[s], offer, s)[which] for offer, which in terms]
            precision = sum(np.einsum("npj,nqj->pq", each, each) for each in seen)
            spread = np.linalg.inv(precision + np.diag(1e-3 / guess.layout.spread**2))
            features = guess.layout.features(play, s)
            draws = np.random.default_rng(0).multivariate_normal(guess.theta[s], 1e-4 * spread, 300)
            at = chances(features @ guess.theta[s], play.available)
            total += sum(((chances(features @ theta, play.available) - at) ** 2).sum() for theta in draws)
        return total

    assert expected(chosen) < 0.7 * np.mean([expected(list(range(n, n + 6))) for n in (0, 20, 40)])


def chances(utility, available):
    exp_u = np.where(available, np.exp(utility), 0.0)
    return exp_u / (1.0 + exp_u.sum(axis=1, keepdims=True))


def test_known_tastes_are_found_again():
    found = distil(subject(LogitConsumers(tastes())), replace(QUICK, price_transform=None))
    assert found.fidelity.median < 1e-4
    assert found.fidelity.largest < 1e-3
    assert found.fidelity.units_error < 1e-3
    assert found.fidelity.elasticity_error < 1e-3
    assert found.fidelity.violations_asked == found.fidelity.violations_fitted == 0.0
    assert found.experiment.actively.sum() == 9  # every second one after the first batch


def test_hidden_classes_keep_an_honest_distance():
    consumers = Hidden((tastes(4), replace(tastes(4), alpha=tastes(4).alpha[:, ::-1] + 0.5, beta=3 * tastes(4).beta)))
    found = distil(subject(consumers), replace(QUICK, questions=48))
    assert 0.005 < found.fidelity.median < 0.1
    assert found.fidelity.p95 > found.fidelity.median
    assert 0 < found.fidelity.median_se < found.fidelity.median


def test_asking_stops_once_new_answers_are_foreseen():
    settings = replace(QUICK, questions=200, fresh=0, target=0.02)
    found = distil(subject(LogitConsumers(tastes())), settings)
    assert found.facts["questions"] < 60
    assert all(value <= 0.02 for _, value in found.curve[-2:])


def test_in_flight_questions_change_no_answer():
    one, many = (distil(subject(LogitConsumers(tastes())), replace(QUICK, in_flight=n)) for n in (1, 5))
    np.testing.assert_allclose(one.tastes.alpha, many.tastes.alpha, atol=1e-9)


def test_fidelity_knows_distances_and_elasticities():
    """Against given tastes with another alpha everything can be computed by hand."""
    truth, other = tastes(), replace(tastes(), alpha=tastes().alpha + 0.3)
    market = subject(LogitConsumers(truth))
    found = distil(market, QUICK)
    fresh, steps = found.experiment.offer, None
    from malles_env.consumers.distil.design import price_steps
    from malles_env.evaluation.audit.subject import Asker

    steps = price_steps(market)
    asked = Asker().ask(market.consumers, fresh), Asker().ask(market.consumers, steps)
    fidelity = judge(market, other, (fresh, asked[0]), (steps, asked[1]))
    far = total_variation(respond(other, fresh).probability, respond(truth, fresh).probability)
    assert fidelity.median == np.median(far)
    assert fidelity.largest == far.max()
    same = judge(market, truth, (fresh, asked[0]), (steps, asked[1]))
    assert same.median == same.units_error == same.elasticity_error == 0.0
    plain = replace(truth, lambda_=np.zeros(3), gamma=np.zeros(3))
    slope = own_price_elasticity(plain, market.base()).mean()
    by_hand = judge(market, plain, (fresh, asked[0]), (steps, asked[1]))
    assert np.mean([each.fitted for each in by_hand.elasticities]) == pytest.approx(slope, rel=0.15)


def test_a_rise_against_the_law_of_demand_is_counted():
    class Snob(Slow):
        def respond(self, offer):
            return super().respond(replace(offer, prices=offer.regular_price**2 / offer.prices))

    found = distil(subject(Snob(tastes())), QUICK)
    assert found.fidelity.violations_asked == 1.0
    assert found.fidelity.violations_fitted == 0.0
    assert found.fidelity.median > 0.03


def test_table_and_json_tell_cost_and_fidelity():
    found = distil(subject(Slow(tastes())), QUICK)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table(found, "title"))
        text = console.export_text()
    assert "total variation, median" in text
    assert "requests to the language model" in text
    result = json.loads(json.dumps(as_json(found, QUICK, scenario="x")))
    assert result["fidelity"]["median"] == found.fidelity.median
    assert result["asked"]["usage"]["requests"] == pytest.approx(24 + 30 + 9)
    assert len(result["tastes"]["alpha"]) == 3


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"questions": 0}, "questions"),
        ({"choice": "best"}, "choice"),
        ({"pool": 2}, "pool"),
        ({"target": 0.0}, "target"),
    ],
)
def test_settings_out_of_range_are_named(setting, named):
    with pytest.raises(InvalidInput, match=f"{named}: got"):
        DistilSettings(**setting)


@pytest.fixture(scope="module")
def small():
    """The textbook duopoly with consumers who remember, feel each other and answer to discounts."""
    scenario = load_scenario("bertrand-duopoly")
    entry = scenario.consumers.tastes.model_copy(update={"rho": 0.8, "lambda_": 1.2, "gamma": 1.5, "kappa": -1.0})
    return scenario.model_copy(update={"consumers": scenario.consumers.model_copy(update={"tastes": entry})})


def test_the_command_writes_a_scenario_that_plays_the_same(small, tmp_path):
    source, out = save_scenario(small, tmp_path / "small.yaml"), tmp_path / "fast.yaml"
    outcome = tmp_path / "numbers.json"
    words = ["distil", str(source), "--out", str(out), "--questions", "24", "--fresh", "20", "--json", str(outcome)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "total variation, median" in result.output
    fast = load_scenario(out)
    assert fast.consumers.kind == "logit"
    assert fast.consumers.tastes.price_transform == "linear"
    assert "fresh states" in fast.notes[-1]
    assert json.loads(outcome.read_text())["fidelity"]["median"] < 1e-3
    assert (tmp_path / "fast.answers.jsonl").exists()
    profits = []
    for scenario in (small, fast):
        market = scenario.market(4, demand="expected")
        prices = np.linspace(1.4, 2.1, 8).reshape(4, 2)
        profits.append([market.step(prices, True).profit for _ in range(5)])
    np.testing.assert_allclose(profits[0], profits[1], rtol=1e-3)


def test_a_mistake_is_named_before_anything_is_asked(tmp_path):
    for words, message in (
        (["--out", str(tmp_path / "x.txt")], "out: got"),
        (["--out", str(tmp_path / "x.yaml"), "--consumers", "elves"], "consumers: got 'elves'"),
        (["--out", str(tmp_path / "x.yaml"), "--model", "smollm2"], "model: got 'smollm2'"),
        (["--out", str(tmp_path / "x.yaml"), "--price-transform", "cubic"], "price_transform: got 'cubic'"),
    ):
        result = CliRunner().invoke(app, ["distil", "bertrand-duopoly", *words])
        assert result.exit_code == 2
        assert message in result.output
    assert not list(tmp_path.iterdir())


def test_a_scenario_of_the_fit_says_how_good_it_is(small):
    from malles_env.workflows.audit import audit_subject

    found = distil(audit_subject(small), replace(QUICK, fresh=0))
    made = distilled_scenario(small, found, asked="them", command="malles distil")
    assert made.made_by == "malles distil"
    assert "fidelity was not measured" in made.notes[-1]


def test_experiments_hold_together():
    market = subject(LogitConsumers(tastes()))
    found = distil(market, replace(QUICK, fresh=0))
    part = found.experiment.take(np.arange(3))
    assert isinstance(part, Experiment)
    assert len(part) == 3
    assert not part.actively.any()
