"""Faults of real servers: down, killed, stopped, spoiling its answers, another model under the same name.

Each ends in a clear error or in a counted retry; afterwards things go on, nothing is counted twice and nothing lost.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from malles_env.consumers.language import AnswerCache, CachedModel, Prompt, Sampling, ServedModel
from malles_env.consumers.language.serving.server_client import Patience
from malles_env.errors import LanguageModelError
from tests.consumers.language.servers import (
    Proxy,
    ServerProcess,
    free_port,
    llama_server,
    misbehaving,
    other_weights,
    smollm2_gguf,
)

pytestmark = pytest.mark.slow
QUICK = Patience(timeout=120, attempts=6, first_wait=0.01)
PROMPTS = [Prompt("", "Tea or milk? ", f"Household {n}.", "Answer:") for n in range(4)]
LABELS = ("A", "B", "N")


def asking(url: str, name: str, patience: Patience = QUICK, **settings: object) -> ServedModel:
    """Return a model asked through completions, the cheapest way."""
    more = {"api": "completions", "top_logprobs": 20_000, "concurrency": 1} | settings
    return ServedModel(name, url, patience=patience, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.gguf"
    shutil.copyfile(smollm2_gguf(), path)
    return path


@pytest.fixture(scope="module")
def llama(weights: Path) -> Iterator[ServerProcess]:
    server = llama_server(weights)
    yield server
    server.kill()


@pytest.fixture
def spoiled(llama: ServerProcess, weights: Path) -> Iterator[tuple[Proxy, ServedModel]]:
    with misbehaving(llama) as (proxy, url):
        model = asking(url, str(weights))
        assert model.identity  # known before the trouble begins
        proxy.asked.clear()
        proxy.answered = 0
        yield proxy, model


def test_passing_faults_are_retried_counted_and_leave_no_trace(
    spoiled: tuple[Proxy, ServedModel], llama: ServerProcess, weights: Path
) -> None:
    proxy, model = spoiled
    proxy.plan = ["429", "garbage", "503", "truncated", "empty"]
    before = model.usage.prompt_tokens
    logs = model.label_log_probabilities(PROMPTS[:2], LABELS)
    direct = asking(llama.url, str(weights))
    np.testing.assert_allclose(logs, direct.label_log_probabilities(PROMPTS[:2], LABELS), atol=1e-3)
    assert (model.usage.requests, model.usage.retries, model.usage.failures) == (2, 5, 0)
    assert len(proxy.asked) == 2 + 5
    assert model.usage.prompt_tokens - before < 2 * 60  # each prompt counted once


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("429", "keeps answering 429"),
        ("500", "keeps answering 500"),
        ("garbage", "not JSON"),
        ("truncated", "not JSON"),
        ("empty", "log probabilities"),
        ("drop", "cannot be reached"),
        ("nan", "log probabilities that are none"),
        ("model", "another model: 'another-model'"),
        ("deep", "not JSON"),
        ("redirect", "redirects"),
    ],
)
def test_lasting_faults_are_clear_errors_and_the_episode_goes_on(
    spoiled: tuple[Proxy, ServedModel], fault: str, message: str, tmp_path: Path
) -> None:
    """The first question is answered, the second is not; after the fault only what is missing is asked."""
    proxy, model = spoiled
    cached = CachedModel(model, AnswerCache(tmp_path))
    proxy.plan, proxy.always = ["good"], fault
    with pytest.raises(LanguageModelError, match=message):
        cached.label_log_probabilities(PROMPTS[:3], LABELS)
    assert (model.usage.requests, model.usage.failures, model.usage.cached) == (1, 1, 0)
    assert cached.cache.info().entries == 1
    proxy.always = "good"
    proxy.asked.clear()
    logs = cached.label_log_probabilities(PROMPTS[:3], LABELS)
    assert np.isfinite(logs).all()
    assert (model.usage.requests, model.usage.cached) == (3, 1)
    asked = [body["prompt"] for body in proxy.asked if "prompt" in body]
    assert [f"Household {n}" in text for n, text in zip((1, 2), asked, strict=True)] == [True, True]


def test_an_answer_that_drips_in_is_given_up_and_the_episode_goes_on(
    spoiled: tuple[Proxy, ServedModel], weights: Path, tmp_path: Path
) -> None:
    """No piece of it is late, but the whole is; twice it is a counted retry, for ever it is an error."""
    proxy, _ = spoiled
    with_url = spoiled[1]._line.servers[0].url
    model = asking(with_url, str(weights), Patience(timeout=6.0, attempts=3, first_wait=0.01))
    cached = CachedModel(model, AnswerCache(tmp_path))
    assert model.identity
    proxy.plan = ["drip"]
    began = time.monotonic()
    assert np.isfinite(cached.label_log_probabilities(PROMPTS[:1], LABELS)).all()
    assert (model.usage.requests, model.usage.retries, model.usage.failures) == (1, 1, 0)
    proxy.always = "drip"
    with pytest.raises(LanguageModelError, match="no answer within 6 s"):
        cached.label_log_probabilities(PROMPTS[:2], LABELS)
    assert time.monotonic() - began < 90
    proxy.always = "good"
    assert np.isfinite(cached.label_log_probabilities(PROMPTS[:2], LABELS)).all()
    assert cached.cache.info().entries == model.usage.requests == 2


def test_an_answer_of_far_more_tokens_than_asked_is_a_counted_retry_and_then_an_error(
    spoiled: tuple[Proxy, ServedModel],
) -> None:
    proxy, model = spoiled
    proxy.plan = ["long"]
    assert len(model.complete(PROMPTS[:1], Sampling(8))[0].text) < 400
    assert (model.usage.requests, model.usage.retries, model.usage.failures) == (1, 1, 0)
    proxy.always = "long"
    with pytest.raises(LanguageModelError, match="200,000 characters where at most 8 tokens"):
        model.complete(PROMPTS[:1], Sampling(8))


def test_a_server_that_counts_nonsense_is_believed_in_its_answer_alone(spoiled: tuple[Proxy, ServedModel]) -> None:
    proxy, model = spoiled
    tokens = model.usage.prompt_tokens
    proxy.plan = ["usage"]
    assert np.isfinite(model.label_log_probabilities(PROMPTS[:1], LABELS)).all()
    assert (model.usage.requests, model.usage.retries, model.usage.prompt_tokens) == (1, 0, tokens)


def test_refusals_are_not_repeated(spoiled: tuple[Proxy, ServedModel]) -> None:
    proxy, model = spoiled
    proxy.always = "400"
    with pytest.raises(LanguageModelError, match="refuses with 400"):
        model.label_log_probabilities(PROMPTS[:1], LABELS)
    assert (len(proxy.asked), model.usage.retries) == (1, 0)


def test_a_stopped_server_times_out_and_goes_on_when_resumed(llama: ServerProcess, weights: Path) -> None:
    model = asking(llama.url, str(weights), Patience(timeout=8.0, attempts=2, first_wait=0.01))
    expected = model.label_log_probabilities(PROMPTS[:1], LABELS)
    llama.halt()
    try:
        with pytest.raises(LanguageModelError, match="no answer within 8 s"):
            model.label_log_probabilities(PROMPTS[:1], LABELS)
    finally:
        llama.resume()
    assert (model.usage.requests, model.usage.failures, model.usage.retries) == (1, 1, 1)
    np.testing.assert_allclose(model.label_log_probabilities(PROMPTS[:1], LABELS), expected, atol=1e-3)


def test_a_slow_server_is_a_counted_retry(llama: ServerProcess, weights: Path) -> None:
    model = asking(llama.url, str(weights), Patience(timeout=8.0, attempts=3, first_wait=0.01))
    assert model.identity
    llama.halt()
    later = threading.Timer(9.0, llama.resume)
    later.start()
    try:
        assert np.isfinite(model.label_log_probabilities(PROMPTS[:1], LABELS)).all()
    finally:
        later.join()
    assert model.usage.retries >= 1
    assert (model.usage.requests, model.usage.failures) == (1, 0)


def test_a_killed_server_is_an_error_and_its_successor_is_asked_for_the_rest(weights: Path, tmp_path: Path) -> None:
    server = llama_server(weights)
    model = asking(server.url, str(weights), Patience(timeout=120, attempts=2, first_wait=0.05))
    cached = CachedModel(model, AnswerCache(tmp_path))
    cached.label_log_probabilities(PROMPTS[:1], LABELS)
    killer = threading.Timer(0.5, server.kill)
    killer.start()
    many = [*PROMPTS, *(Prompt("", "Tea, milk, bread or sugar? " * 8, str(n), "Answer:") for n in range(20))]
    with pytest.raises(LanguageModelError, match="cannot be reached"):
        cached.label_log_probabilities(many, LABELS)
    killer.join()
    answered, kept = model.usage.requests, cached.cache.info().entries
    assert kept == answered < len(many)
    successor = llama_server(weights, server.port)
    try:
        assert np.isfinite(cached.label_log_probabilities(many[:6], LABELS)).all()
        assert cached.cache.info().entries == model.usage.requests >= 6
    finally:
        successor.kill()


def test_a_server_killed_and_back_within_the_patience_is_a_counted_retry(weights: Path) -> None:
    server = llama_server(weights)
    model = asking(server.url, str(weights), Patience(timeout=120, attempts=12, first_wait=0.2, longest_wait=2))
    expected = model.label_log_probabilities(PROMPTS[:1], LABELS)
    server.kill()
    back: list[ServerProcess] = []
    starter = threading.Timer(0.5, lambda: back.append(llama_server(weights, server.port)))
    starter.start()
    try:
        np.testing.assert_allclose(model.label_log_probabilities(PROMPTS[:1], LABELS), expected, atol=1e-3)
    finally:
        starter.join()
        back[0].kill()
    assert model.usage.retries > 0
    assert (model.usage.requests, model.usage.failures) == (2, 0)


def test_another_model_under_the_same_name_is_noticed(weights: Path, tmp_path: Path) -> None:
    """Same file name, same sizes, other weights: only the words after the fixed question tell."""
    path = tmp_path / "model.gguf"
    shutil.copyfile(weights, path)
    server = llama_server(path)
    model = asking(server.url, str(path), check_after=0.0)
    before = model.identity
    server.kill()
    path.unlink()
    other_weights(weights, path)
    swapped = llama_server(path, server.port)
    try:
        with pytest.raises(LanguageModelError, match="another model than before"):
            model.label_log_probabilities(PROMPTS[:1], LABELS)
        assert model.usage.requests == 0
        assert asking(swapped.url, str(path)).identity != before
    finally:
        swapped.kill()


def test_a_swap_during_a_call_spoils_the_call(weights: Path, tmp_path: Path) -> None:
    """The server dies between two questions and comes back as another model, while the call waits."""
    path = tmp_path / "model.gguf"
    shutil.copyfile(weights, path)
    server = llama_server(path)
    model = asking(server.url, str(path), Patience(timeout=120, attempts=20, first_wait=0.2, longest_wait=2))
    cached = CachedModel(model, AnswerCache(tmp_path / "answers"))
    assert cached.identity
    server.kill()
    path.unlink()
    other_weights(weights, path)
    back: list[ServerProcess] = []
    starter = threading.Timer(0.5, lambda: back.append(llama_server(path, server.port)))
    starter.start()
    try:
        with pytest.raises(LanguageModelError, match="another model than before"):
            cached.label_log_probabilities(PROMPTS[:2], LABELS)
        assert cached.cache.info().entries == 0
    finally:
        starter.join()
        back[0].kill()


def test_a_server_that_is_down_at_the_start_can_be_started_later(weights: Path) -> None:
    port = free_port()
    model = asking(f"http://127.0.0.1:{port}/v1", str(weights), Patience(timeout=120, attempts=2, first_wait=0.01))
    with pytest.raises(LanguageModelError, match="is it running"):
        model.complete(PROMPTS[:1], Sampling(2))
    server = llama_server(weights, port)
    try:
        assert model.complete(PROMPTS[:1], Sampling(2))[0].completion_tokens == 2
        assert (model.usage.requests, model.usage.failures) == (1, 1)
    finally:
        server.kill()
