"""Language models as sellers: what they are told, what they answer, and what is no answer."""

import json

import numpy as np
import pytest

from malles_agents.evaluate import play
from malles_agents.language_seller import LONG_RUN, SELL_MORE, LanguageSeller
from malles_agents.seat import Seat
from malles_env import parallel_env
from malles_env.consumers.language import Reply, Usage
from malles_env.errors import LanguageModelError


class Scripted:
    """A model whose answer is a function of the prompt."""

    name, identity = "scripted", "scripted"

    def __init__(self, answer):
        self.answer, self.usage, self.prompts = answer, Usage(), []

    def label_log_probabilities(self, prompts, labels):
        raise LanguageModelError("scripted: knows no labels")

    def complete(self, prompts, sampling):
        self.prompts += prompts
        assert sampling.schema["required"] == ["note", "prices", "listed"]
        return [Reply(self.answer(prompt), True, 1, 1) for prompt in prompts]


def said(price, listed=True, note="keep"):
    return json.dumps({"note": note, "prices": {"product_a": price}, "listed": {"product_a": listed}})


def seller(answer, **settings):
    return LanguageSeller(Seat.of("bertrand-duopoly", "seller_0"), Scripted(answer), **settings)


def test_it_plays_what_the_model_says_and_remembers():
    one = seller(lambda prompt: said(1.8 if "none yet" in prompt.shared else 1.6, note="went down"), periods=2)
    prices = play("bertrand-duopoly", one, episodes=1, max_cycles=5).prices
    np.testing.assert_allclose(prices[:, 0], [1.8, 1.6, 1.6, 1.6, 1.6], atol=1e-6)
    first, last = one.model.prompts[0], one.model.prompts[-1]
    assert first.system.startswith(LONG_RUN) and "unit cost 1.00, price from 1.25 to 2.15" in first.shared
    assert "Your note to yourself" not in first.shared and "note to yourself: went down" in last.shared
    assert last.shared.count("your profit") == 2 and "product_a 1.60" in last.shared


def test_a_product_may_stay_off_the_shelf():
    env = parallel_env("bertrand-duopoly", max_cycles=1, demand="expected")
    seen = env.reset(seed=0)[0]
    action, _ = seller(lambda prompt: said(1.8, listed=False)).predict(seen["seller_0"])
    infos = env.step({"seller_0": action, "seller_1": env.encode_action("seller_1", [1.5], [True])})[4]
    assert infos["seller_0"]["units"] == 0.0 < infos["seller_1"]["units"]


def test_a_batch_is_asked_market_by_market():
    one = seller(lambda prompt: said(1.7), prefix=SELL_MORE)
    space = one.seat.observation_space
    actions, memory = one.predict(np.stack([space.sample() * 0] * 3))
    assert actions.shape == (3, *one.seat.action_space.shape) and len(memory["note"]) == 3
    assert one.model.prompts[0].system.startswith(SELL_MORE) and len(one.model.prompts) == 3


@pytest.mark.parametrize(
    "answer",
    ["", "buy", "{}", said(9.0), said(0.1), said(float("nan")), said(1.8, listed="yes"), said(1.8)[:-5], "[1, 2]"],
)
def test_what_is_no_answer_is_an_error_and_no_action(answer):
    with pytest.raises(LanguageModelError, match="scripted"):
        one = seller(lambda prompt: answer)
        one.predict(one.seat.observation_space.sample() * 0)
