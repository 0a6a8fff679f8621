"""Language models as sellers: what they are given, what they answer, and what is no answer."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from malles_agents.evaluation.evaluate import play
from malles_agents.registry import make_seller
from malles_agents.seller_view import SellerView
from malles_agents.sellers.language import LONG_RUN, SELL_MORE, LanguageSeller
from malles_env import parallel_env
from malles_env.cli import app
from malles_env.consumers.language import Reply, Usage
from malles_env.consumers.language.partial import PartlyAnswered
from malles_env.errors import InvalidInput, LanguageModelError
from tests.consumers.language import tiny
from tests.consumers.language.servers import llama_server, smollm2_gguf


class Scripted:
    """A model whose answer is a function of the prompt and the question's seed."""

    name, identity = "scripted", "scripted"

    def __init__(self, answer):
        self.answer, self.usage, self.prompts, self.sampled = answer, Usage(), [], []

    def label_log_probabilities(self, prompts, labels):
        raise LanguageModelError("scripted: knows no labels")

    def complete(self, prompts, sampling):
        self.prompts += prompts
        self.sampled.append(sampling)
        return [Reply(self.answer(prompt), True, 1, 1) for prompt in prompts]


def said(price, shelf=("P1",), note="keep"):
    return json.dumps({"note": note, "prices": {"P1": price}, "shelf": list(shelf)})


def seller(answer, **settings):
    return LanguageSeller(SellerView.of("bertrand-duopoly", "seller_0"), Scripted(answer), **settings)


def test_it_plays_what_the_model_says_and_remembers():
    one = seller(lambda prompt: said(180 if "none yet" in prompt.own else 160, note="went down"), periods=2, note=30)
    prices = play("bertrand-duopoly", one, episodes=1, max_cycles=5).prices
    np.testing.assert_allclose(prices[:, 0], [1.8, 1.6, 1.6, 1.6, 1.6], atol=1e-6)
    first, last = one.model.prompts[0], one.model.prompts[-1]
    assert first.system.startswith(LONG_RUN) and "P1 (product_a): unit cost 100, price 125 to 215" in first.shared
    assert "Rivals' products: P2 (product_b)" in first.shared and "units of 0.01 money" in first.shared
    assert "Your note to yourself" not in first.own and "note to yourself: went down" in last.own
    assert last.own.count("160, 150; ") == 2  # the rival asks cost plus one half
    assert (first.system, first.shared) == (last.system, last.shared)  # what is read once


def test_a_product_may_stay_off_the_shelf():
    env = parallel_env("bertrand-duopoly", max_cycles=1, demand="expected")
    seen = env.reset(seed=0)[0]
    action, _ = seller(lambda prompt: said(180, shelf=["none"])).predict(seen["seller_0"])
    infos = env.step({"seller_0": action, "seller_1": env.encode_action("seller_1", [1.5], [True])})[4]
    assert infos["seller_0"]["units"] == 0.0 < infos["seller_1"]["units"]


def test_a_short_shelf_bounds_the_answer():
    view = SellerView.of("ice-cream", "seller_1")
    one = LanguageSeller(view, Scripted(lambda prompt: json.dumps({"prices": prices, "shelf": shelf})))
    prices, shelf = {"P2": 300, "P3": 310}, ["P3"]
    assert one.schema()["properties"]["shelf"]["maxItems"] == view.capacity == 1
    observation = view.observation_space.sample() * 0
    found = view.encode(np.array([3.0, 3.1]), np.array([False, True]))
    np.testing.assert_array_equal(one.predict(observation)[0], found)
    assert "At most 1 of yours on the shelf." in one.model.prompts[0].shared
    shelf = ["P2", "P3"]
    with pytest.raises(LanguageModelError, match="at most 1 of P2, P3"):
        one.predict(observation)
    with pytest.raises(InvalidInput, match="listings"):
        LanguageSeller(view, one.model, listings=False)


def test_prices_alone_may_be_asked():
    one = seller(lambda prompt: '{"prices":{"P1":170}}', listings=False)
    assert one.schema()["required"] == ["prices"]
    action, _ = one.predict(one.view.observation_space.sample() * 0)
    np.testing.assert_array_equal(action, one.view.encode(np.array([1.7]), np.array([True])))
    assert "shelf" not in one.model.prompts[0].system


def test_a_batch_is_asked_market_by_market():
    one = seller(lambda prompt: said(170), prefix=SELL_MORE)
    space = one.view.observation_space
    actions, memory = one.predict(np.stack([space.sample() * 0] * 3))
    assert actions.shape == (3, *one.view.action_space.shape) and len(memory["note"]) == 3
    assert one.model.prompts[0].system.startswith(SELL_MORE) and len(one.model.prompts) == 3


@pytest.mark.parametrize(
    "answer",
    ["", "buy", "{}", said(900), said(10), said(float("nan")), said(170.5), said("170"), said(True), said(180)[:-5],
     "[1, 2]", said(180, shelf=["P2"]), said(180, shelf=[["P1"]]), said(180, shelf=[]),
     said(180, shelf=["P1", "none"])],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_and_no_action(answer):
    one = seller(lambda prompt: answer)
    with pytest.raises(LanguageModelError, match=r"scripted: .*asked 3 times"):
        one.predict(one.view.observation_space.sample() * 0)
    assert one.retries == 2


def test_a_bad_answer_is_asked_for_again_and_counted():
    answers = iter([said(170), "oh", said(190)])
    one = seller(lambda prompt: next(answers))
    actions, _ = one.predict(np.stack([one.view.observation_space.sample() * 0] * 2))
    encode = one.view.encode(np.array([[1.7], [1.9]]), np.ones((2, 1), dtype=bool))
    np.testing.assert_array_equal(actions, encode)
    first, again = one.model.sampled
    assert one.retries == 1 and again.seed != first.seed and again.temperature > first.temperature == 0.0


def test_an_episode_goes_on_where_the_model_failed():
    broken = [False]
    one = seller(lambda prompt: "oh" if broken[0] else said(170), attempts=1)
    observation = one.view.observation_space.sample() * 0
    _, memory = one.predict(observation)
    broken[0] = True
    kept = {name: rows.copy() for name, rows in memory.items()}
    with pytest.raises(LanguageModelError):
        one.predict(observation, memory)
    broken[0] = False
    for name, rows in kept.items():
        np.testing.assert_array_equal(memory[name], rows)
    assert one.predict(observation, memory)[1]["profit"][0, -1] == 0.0


def test_a_real_model_answers_within_the_bounds():
    one = LanguageSeller(SellerView.of("ice-cream", "seller_1"), tiny.local(), temperature=1.0, note=20)
    found = play("ice-cream", one, "seller_1", episodes=2, max_cycles=2)
    own = found.prices[:, one.view.products]
    assert np.all((own >= one.view.price_low) & (own <= one.view.price_high)) and one.retries == 0
    assert np.all(found.listed[:, one.view.products].sum(axis=1) <= 1)


def test_language_models_enter_by_name(tmp_path):
    folder = tiny.save(tmp_path / "model")
    one = make_seller(f"language:{folder}", "bertrand-duopoly", "seller_1")
    assert isinstance(one, LanguageSeller) and one.model.name == str(folder)
    assert make_seller(f"language:{folder}", "ice-cream").model is one.model  # loaded once
    served = make_seller("language:some/model@http://127.0.0.1:1/v1", "bertrand-duopoly")
    assert served.model.name == "some/model"
    for spec in ("language:@http://127.0.0.1:1/v1", "language:some@nowhere"):
        with pytest.raises(InvalidInput, match=r"MODEL@URL|seller: got a URL that is not shown"):
            make_seller(spec, "bertrand-duopoly")


def test_a_language_model_plays_the_tournament(tmp_path):
    folder = tiny.save(tmp_path / "model")
    answer = CliRunner().invoke(
        app,
        ["tournament", "--scenario", "bertrand-duopoly", "--seller", "nash", "--entry", f"language:{folder}",
         "--episodes", "2", "--cycles", "2", "--workers", "1", "--out", str(tmp_path / "t")],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    assert f"| language:{folder} |" in answer.output
    wrong = CliRunner().invoke(app, ["tournament", "--entry", "langage:smollm2", "--out", str(tmp_path / "t")])
    assert wrong.exit_code == 2 and "langage:smollm2" in wrong.stderr and "language" in wrong.stderr


@pytest.mark.slow
def test_a_served_model_keeps_to_the_bounds():
    """llama.cpp's server with SmolLM2, whose grammar bounds whole numbers."""
    server = llama_server(smollm2_gguf())
    try:
        one = make_seller(f"language:{smollm2_gguf()}@{server.url}", "ice-cream", "seller_1")
        one.sampling = replace(one.sampling, temperature=1.0)
        found = play("ice-cream", one, "seller_1", episodes=2, max_cycles=2)
    finally:
        server.kill()
    own = found.prices[:, one.view.products]
    assert np.all((own >= one.view.price_low) & (own <= one.view.price_high))
    assert one.retries == one.model.usage.failures == 0 < one.model.usage.requests


def test_an_error_with_answers_comes_whole_out_of_a_worker():
    error = pickle.loads(pickle.dumps(PartlyAnswered("server: down", {1: "kept"})))
    assert str(error) == "server: down" and error.answers == {1: "kept"}
