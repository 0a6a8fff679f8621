"""Several servers with one model: load, deaths, strangers among them, one cache of answers for all."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from malles_agents.registry import make_seller
from malles_env.consumers.language import AnswerCache, CachedModel, Patience, Prompt, ServedModel
from malles_env.errors import InvalidInput, LanguageModelError
from malles_env.scenarios import load_scenario
from malles_env.scenarios.consumer_kinds.model_factory import language_model
from malles_env.scenarios.consumer_kinds.prompted import with_prompted
from malles_env.scenarios.loader import load_scenario as read_scenario
from malles_env.scenarios.loader import save_scenario
from tests.consumers.language.servers import llama_server, smollm2_gguf
from tests.consumers.language.small_server import LABELS, Small, servers

QUICK = Patience(timeout=5, attempts=3, first_wait=0.01)


def questions(count: int) -> list[Prompt]:
    return [Prompt("Shop.", "A or B?", f"Household {n}.", "Answer:") for n in range(count)]


def test_the_server_with_the_fewest_questions_under_way_gets_the_next() -> None:
    with servers() as (slow, fast):
        slow.delay, fast.delay = 0.2, 0.01
        model = ServedModel("m", [slow.url, fast.url], api="chat", concurrency=2, patience=QUICK)
        model.label_log_probabilities(questions(30), LABELS)
        assert slow.answered + fast.answered == 30
        assert 2 <= slow.answered < fast.answered
        assert slow.most <= 3 and model.usage.requests == 30 and model.usage.retries == 0


def test_answers_are_those_of_one_server_when_one_dies_in_the_middle() -> None:
    with servers(3) as (one, other, third):
        alone = ServedModel("m", third.url, api="chat", patience=QUICK).label_log_probabilities(questions(40), LABELS)
        one.dies_after = 5
        model = ServedModel("m", [one.url, other.url], api="chat", concurrency=2, patience=QUICK)
        found = model.label_log_probabilities(questions(40), LABELS)
        np.testing.assert_array_equal(found, alone)
        assert one.answered == 5 and 40 <= one.answered + other.answered <= 42  # one under way is asked again
        assert model.usage.requests == 40 and model.usage.failures == 0 and model.usage.retries >= 1
        again = model.label_log_probabilities(questions(10), LABELS)  # and the next call goes on with what is there
        np.testing.assert_array_equal(again, alone[:10])


def test_a_server_that_is_back_is_asked_again_once_it_was_looked_at() -> None:
    with servers() as (one, other):
        one.dies_after = 2
        model = ServedModel("m", [one.url, other.url], api="chat", concurrency=1, patience=QUICK, check_after=0.0)
        model.label_log_probabilities(questions(8), LABELS)
        assert one.answered == 2
        one.thread.join()
        back = Small(one.port)
        try:
            model.label_log_probabilities(questions(8), LABELS)
            assert back.answered >= 2
        finally:
            back.die()


def test_a_server_with_another_model_is_refused_at_the_start_and_when_it_takes_a_place() -> None:
    with servers() as (one, other):
        other.words = "Tuesday"
        model = ServedModel("m", [one.url, other.url], api="chat", patience=QUICK)
        result = (
            rf"language model servers http://127.0.0.1:{one.port} and http://127.0.0.1:{other.port}: different models"
        )
        with pytest.raises(LanguageModelError, match=result):
            model.label_log_probabilities(questions(1), LABELS)
        other.words = "Monday"
        model = ServedModel("m", [one.url, other.url], api="chat", patience=QUICK, check_after=0.0)
        model.label_log_probabilities(questions(4), LABELS)
        other.words = "Tuesday"
        with pytest.raises(LanguageModelError, match=r"different models answer as 'm'"):
            model.label_log_probabilities(questions(4), LABELS)


def test_one_server_that_is_down_from_the_start_is_left_alone_and_all_are_one_line() -> None:
    with servers() as (one, other):
        other.die()
        model = ServedModel("m", [other.url, one.url], api="chat", patience=QUICK)
        assert model.label_log_probabilities(questions(4), LABELS).shape == (4, 2)
        one.dies_after = one.answered
        with pytest.raises(LanguageModelError, match=r"language model server http://127.0.0.1:\d+: cannot be reached"):
            model.label_log_probabilities(questions(4), LABELS)
        with pytest.raises(LanguageModelError, match="cannot be reached"):
            model.label_log_probabilities(questions(4), LABELS)


def test_answers_of_one_server_are_in_the_cache_for_all(tmp_path: Path) -> None:
    with servers(3) as (one, other, third):
        first = CachedModel(ServedModel("m", one.url, api="chat", patience=QUICK), AnswerCache(tmp_path))
        both = CachedModel(ServedModel("m", [other.url, third.url], api="chat", patience=QUICK), AnswerCache(tmp_path))
        known = first.label_log_probabilities(questions(6), LABELS)
        np.testing.assert_array_equal(both.label_log_probabilities(questions(6), LABELS), known)
        assert both.usage.cached == 6 and other.answered + third.answered == 0
        assert first.identity == both.identity


def test_scenario_files_and_sellers_name_several_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    urls = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    result = with_prompted(load_scenario("bertrand-duopoly"), model="m", server=urls)
    assert result.consumers.servers == urls and language_model(result.consumers).model._line.api_key == "sk-secret"
    path = tmp_path / "market.yaml"
    save_scenario(result, path)
    read = read_scenario(str(path)).consumers
    assert read.servers == urls and language_model(read).model._line.api_key == "none"
    monkeypatch.setenv("MALLES_TRUSTED_SERVERS", urls[0])  # a key that goes to one server of several goes to all
    assert language_model(read).model._line.api_key == "none"
    monkeypatch.setenv("MALLES_TRUSTED_SERVERS", ",".join(urls))
    assert language_model(read).model._line.api_key == "sk-secret"
    assert with_prompted(result, server=urls[:1]).consumers.server == urls[0]
    seller = make_seller(f"language:m@{urls[0]}@{urls[1]}", "bertrand-duopoly", "seller_0")
    assert [server.url for server in seller.model.model._line.servers] == list(urls)


@pytest.mark.parametrize("wrong", [(), ("http://127.0.0.1:1/v1",) * 2, ("http://127.0.0.1:1/v1", "ftp://x")])
def test_no_server_one_twice_or_no_url_are_refused(wrong: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        ServedModel("m", wrong)
    with pytest.raises(InvalidInput, match=r"consumers.*server"):
        with_prompted(load_scenario("bertrand-duopoly"), server=wrong)


@pytest.mark.slow
def test_a_real_server_killed_in_the_middle_leaves_the_answers_of_one(tmp_path: Path) -> None:
    weights = smollm2_gguf()
    asked = [Prompt("Shop.", "A tea 2.00, B milk 1.00. ", f"Household of {n}.", "Answer:") for n in range(12)]
    patience = Patience(timeout=120, attempts=3, first_wait=0.01)
    one, other = llama_server(weights), llama_server(weights)
    try:
        how = {"api": "completions", "top_logprobs": 2000, "patience": patience}
        known = ServedModel(str(weights), other.url, **how).label_log_probabilities(asked, LABELS)
        model = ServedModel(str(weights), [one.url, other.url], concurrency=1, **how)
        assert model.identity
        timer = threading.Timer(0.5, one.kill)
        timer.start()
        found = np.concatenate([model.label_log_probabilities(asked[n : n + 4], LABELS) for n in (0, 4, 8)])
        timer.join()
        np.testing.assert_allclose(found, known, atol=1e-4)
        assert model._line.servers[0].down or model.label_log_probabilities(asked[:4], LABELS).shape == (4, 2)
    finally:
        one.process.kill()
        other.kill()
