"""ServedModel: pure readers, then real servers on loopback; faults are in test_served_faults."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from malles_env.consumers.language import LanguageModel, Prompt, Sampling, ServedModel
from malles_env.consumers.language.local import LocalModel
from malles_env.consumers.language.serving.decisions import (
    decisions_request,
    is_score,
    read_decisions,
    read_systemone,
    systemone_request,
)
from malles_env.consumers.language.serving.logprobs import first_token, label_logs
from malles_env.consumers.language.serving.replies import read_reply
from malles_env.consumers.language.serving.server_client import Patience, Unusable
from malles_env.consumers.language.wording import messages, parted_lead, plain_text
from malles_env.errors import InvalidInput, LanguageModelError
from tests.consumers.language.servers import (
    ServerProcess,
    free_port,
    llama_server,
    recording,
    smollm2_gguf,
    transformers_server,
)
from tests.consumers.language.tiny import LABELS, questions, save

BRIEF = Patience(timeout=120, attempts=3, first_wait=0.01)
SCHEMA = {
    "type": "object",
    "properties": {"choice": {"enum": ["A", "B", "N"]}},
    "required": ["choice"],
    "additionalProperties": False,
}
SHORT = [Prompt("Shop.", "A tea 2.00, B milk 1.00, N nothing. ", f"Household of {n}.", "Answer:") for n in (1, 5)]


def test_tokens_count_for_the_one_label_they_begin() -> None:
    pairs = [(" A", np.log(0.3)), ("A", np.log(0.1)), ("Bu", np.log(0.2)), ("\n", np.log(0.3)), ("N", np.log(0.001))]
    found = np.exp(label_logs(pairs, ["A", "Butter", "N"]))
    np.testing.assert_allclose(found, np.array([0.4, 0.2, 0.001]) / 0.601)


def test_labels_that_were_not_given_are_bounded_or_refused() -> None:
    pairs = [("A", np.log(0.9)), ("x", np.log(0.001))]
    found = np.exp(label_logs(pairs, ["A", "B"]))
    np.testing.assert_allclose(found, [0.9 / 0.901, 0.001 / 0.901])
    with pytest.raises(LanguageModelError, match=r"labels B, .* raise top_logprobs"):
        label_logs([("A", np.log(0.2)), ("x", np.log(0.1))], ["A", "B"])
    with pytest.raises(LanguageModelError, match="100%"):
        label_logs([("x", np.log(0.2))], ["A", "B"])


@pytest.mark.parametrize("logprobs", [None, {}, {"content": []}, {"content": [{"top_logprobs": []}]}, {"content": "?"}])
def test_answers_without_log_probabilities_are_noticed(logprobs: object) -> None:
    with pytest.raises(Unusable, match="log probabilities"):
        first_token({"choices": [{"logprobs": logprobs}]})


def test_both_forms_of_log_probabilities_are_read() -> None:
    chat = {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "A", "logprob": -0.5}]}]}}]}
    older = {"choices": [{"logprobs": {"top_logprobs": [{"A": -0.5}]}}]}
    assert first_token(chat) == first_token(older) == [("A", -0.5)]


def test_labels_that_begin_another_are_refused_before_anything_is_sent() -> None:
    model = ServedModel("any", f"http://127.0.0.1:{free_port()}/v1", api="chat")
    for labels in (["1", "10"], ["A", "A"], ["", "A"]):
        with pytest.raises(InvalidInput, match="labels"):
            model.label_log_probabilities(questions(1), labels)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"api": "post"}, {"concurrency": 0}, {"top_logprobs": 0}):
        with pytest.raises(InvalidInput):
            ServedModel("any", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        Patience(attempts=0)


def test_waits_double_with_jitter_and_heed_the_server() -> None:
    patience = Patience(first_wait=1.0, longest_wait=8.0)
    for attempt, middle in enumerate([1, 2, 4, 8, 8]):
        waits = {patience.wait(attempt, None) for _ in range(50)}
        assert len(waits) > 40
        assert 0.5 * middle <= min(waits) <= max(waits) <= 1.5 * middle
    assert patience.wait(0, "3") == 3.0
    assert patience.wait(0, "600") == 8.0


def test_counting_labels_are_asked_as_a_score_and_read_by_place() -> None:
    assert is_score("123") and is_score(["3", "4"])
    assert not is_score("132") and not is_score(["A", "B"]) and not is_score(["1"])
    body = systemone_request("m", SHORT[0], ["1", "2"])
    assert body["questions"]["answer"] == {"type": "score", "instructions": "Answer:", "criteria": ["1", "2"]}
    found = {"answers": {"answer": {"probabilities": {"0": 0.25, "1": 0.75}}}}
    np.testing.assert_allclose(np.exp(read_systemone(found, ["1", "2"])), [0.25, 0.75])


def test_decisions_are_asked_and_read_as_the_openai_client_types_them() -> None:
    """Bodies against the client's own types; no server on this machine has the endpoint."""
    from openai.types.decision import Decision
    from openai.types.decision_create_params import DecisionCreateParams
    from pydantic import TypeAdapter

    for labels, options in ((["A", "B"], "value"), (["1", "2"], "label")):
        TypeAdapter(DecisionCreateParams).validate_python(decisions_request("m", SHORT[0], labels))
        result = [
            {"probability": share, options: label, "value": label}
            for share, label in zip((0.2, 0.8), labels, strict=True)
        ]
        kind = "choice" if options == "value" else "score"
        if kind == "score":
            result = [option | {"value": at} for at, option in enumerate(result)]
        answer = {"type": kind, "choice": labels[1], "score": 0.8, "confidence": 0.6, "probabilities": result}
        counts = {"input_tokens": 5, "output_tokens": 0, "total_tokens": 5}
        counts |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
        counts |= {"output_tokens_details": {"reasoning_tokens": 0}}
        found = Decision.model_validate({"answers": [answer], "model": "m", "usage": counts}).model_dump()
        np.testing.assert_allclose(np.exp(read_decisions(found, labels)), [0.2, 0.8])
    with pytest.raises(Unusable):
        read_decisions({"answers": [{"type": "refusal"}]}, ["A", "B"])


@pytest.mark.parametrize("text", ["free words", '{"choice": "C"}', '{"choice": "A", "more": 1}', "[]"])
def test_answers_outside_the_schema_are_noticed(text: str) -> None:
    found = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    with pytest.raises(Unusable, match="structured output"):
        read_reply(found, SCHEMA)
    assert read_reply(found, None).text == text
    with pytest.raises(Unusable):
        read_reply({"choices": []}, None)


@pytest.mark.parametrize(
    ("lead", "parts"),
    [
        ("Answer:", ("Answer:", "")),
        ("Answer: B", ("Answer:", "B")),
        ("Answer: B3\nPackages:", ("Answer: B3\nPackages:", "")),
        ("", ("", "")),
    ],
)
def test_an_answer_begun_is_distinguished_from_its_opening(lead: str, parts: tuple[str, str]) -> None:
    prompt = Prompt("", "Shelf.", " Which?", lead)
    assert parted_lead(prompt) == parts
    (turn,) = messages(prompt, lead_in_question=True)
    begins = f"\nThe answer begins with {parts[1]}; write only what comes next." if parts[1] else ""
    assert turn["content"] == "Shelf. Which?" + (f"\n{parts[0]}{begins}" if lead else "")


def test_a_server_that_is_down_is_named_so_and_counted() -> None:
    model = ServedModel("any", f"http://127.0.0.1:{free_port()}/v1", patience=BRIEF)
    with pytest.raises(LanguageModelError, match=r"cannot be reached .* is it running"):
        model.label_log_probabilities(questions(2), LABELS)
    assert (model.usage.requests, model.usage.failures, model.usage.retries) == (0, 1, 2)


@pytest.fixture(scope="module")
def llama() -> Iterator[ServerProcess]:
    server = llama_server(smollm2_gguf())
    yield server
    server.kill()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    folder = save(tmp_path_factory.mktemp("model"))
    server = transformers_server(folder, tmp_path_factory.mktemp("hub"))
    yield server, str(folder)
    server.kill()


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (
            b'{"error": {"message": "the model is still loading"}}',
            "",
            "answers with an error: the model is still loading",
        ),
        (b'{"error": "busy"}', "", "answers with an error: busy"),
        (gzip.compress(b" " * 10_000_000), "gzip", "answers in a packed form that was not asked for"),
        (b'{"choices": "' + b"x" * 65_000_000, "", "answers with more than 64,000,000 bytes"),
    ],
    ids=["error", "error-text", "gzip-bomb", "endless"],
)
def test_answers_that_are_errors_or_take_all_memory_are_named(body: bytes, encoding: str, expected: str) -> None:
    with recording() as server:
        model = ServedModel("m", server.url, api="chat", patience=Patience(timeout=60, attempts=1))
        server.body, server.encoding = body, encoding
        with pytest.raises(LanguageModelError, match=expected):
            _ = model.identity
        assert {headers["accept-encoding"] for headers in server.headers} == {"identity"}


@pytest.mark.slow
class TestLlama:
    """llama.cpp's server with SmolLM2: log probabilities and schemas."""

    def model(self, llama: ServerProcess, **settings: object) -> ServedModel:
        return ServedModel(str(smollm2_gguf()), llama.url, patience=BRIEF, **settings)  # type: ignore[arg-type]

    def test_it_is_near_the_same_weights_in_this_process(self, llama: ServerProcess) -> None:
        """Activations are quantized there (0.2 nats at the median, section 1 of the research), so: near, not equal."""
        served = self.model(llama, api="completions", top_logprobs=5000)
        local = LocalModel.load("smollm2")
        local.wording.chat = False
        found, expected = (one.label_log_probabilities(SHORT, "ABN") for one in (served, local))
        assert plain_text(SHORT[0]).endswith("Answer:")
        np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=0.1)
        assert served.usage.requests == 2
        assert served.usage.completion_tokens >= 2

    def test_it_is_found_to_have_no_typed_decisions(self, llama: ServerProcess) -> None:
        model = self.model(llama, top_logprobs=5000, prices=(1e6, 2e6))
        assert model.api == "chat"
        logs = model.label_log_probabilities(SHORT, "ABN")
        np.testing.assert_allclose(np.exp(logs).sum(1), 1.0)
        assert isinstance(model, LanguageModel)
        usage = model.usage
        assert (usage.requests, usage.failures, usage.retries) == (2, 0, 0)
        assert usage.cost == usage.prompt_tokens + 2 * usage.completion_tokens > 0

    def test_an_answer_begun_is_gone_on_with(self, llama: ServerProcess) -> None:
        """The place in a row of the shelf is read behind the row, as it is from the weights in this process."""
        served, local = self.model(llama, api="chat", top_logprobs=5000), LocalModel.load("smollm2")
        assert served.continues
        own = "\nBefore: C2 (five times). Last: C2.\nAnswer with a code."
        shelf = "Codes on the shelf: " + ", ".join(f"{row}{place}" for row in "ABC" for place in "123") + "."
        found = served.label_log_probabilities([Prompt("Shop.", shelf, own, "Answer: C")], "123")
        begun = local.label_log_probabilities([Prompt("Shop.", shelf, f"{own}\nAnswer:", "C")], "123")
        np.testing.assert_allclose(np.exp(found), np.exp(begun), atol=0.15)
        assert found.argmax() == begun.argmax()

    def test_too_few_tokens_are_an_error(self, llama: ServerProcess) -> None:
        with pytest.raises(LanguageModelError, match="raise top_logprobs"):
            self.model(llama, api="chat", top_logprobs=1).label_log_probabilities(SHORT[:1], "ABN")

    def test_words_obey_the_schema_and_the_seed(self, llama: ServerProcess) -> None:
        model = self.model(llama, api="chat")
        drawn = [
            model.complete(SHORT[:1], Sampling(40, temperature=1.5, seed=seed, schema=SCHEMA))[0] for seed in (1, 1, 2)
        ]
        assert drawn[0] == drawn[1]
        assert all(json.loads(reply.text)["choice"] in "ABN" for reply in drawn)
        assert not model.complete(SHORT[:1], Sampling(3))[0].finished

    def test_identity_is_the_same_for_the_same_server(self, llama: ServerProcess) -> None:
        assert self.model(llama, api="chat").identity == self.model(llama, api="chat").identity


@pytest.mark.slow
class TestTransformersServe:
    """`transformers serve` with the tiny model: typed decisions; log probabilities and schemas silently ignored."""

    def test_typed_decisions_are_found_and_used(self, serve: tuple[ServerProcess, str]) -> None:
        server, name = serve
        model = ServedModel(name, server.url, patience=BRIEF)
        assert model.api == "systemone"
        for labels in (("A", "B", "N"), ("1", "2", "3", "4"), ("ground coffee", "green tea")):
            logs = model.label_log_probabilities(questions(3), labels)
            np.testing.assert_allclose(np.exp(logs).sum(1), 1.0)
            assert np.ptp(logs, axis=0).max() > 1e-3
        assert model.usage.requests == 9
        assert model.usage.prompt_tokens > 0

    def test_missing_log_probabilities_are_an_error_that_says_so(self, serve: tuple[ServerProcess, str]) -> None:
        server, name = serve
        model = ServedModel(name, server.url, api="chat", patience=BRIEF)
        with pytest.raises(LanguageModelError, match="does not support `logprobs`"):
            model.label_log_probabilities(questions(1), LABELS)
        assert model.usage.requests == 0

    def test_an_ignored_schema_is_an_error_that_says_so(self, serve: tuple[ServerProcess, str]) -> None:
        server, name = serve
        model = ServedModel(name, server.url, patience=BRIEF)
        assert model.complete(questions(1), Sampling(8))[0].text
        with pytest.raises(LanguageModelError, match="does not support structured output"):
            model.complete(questions(1), Sampling(8, schema=SCHEMA))

    def test_other_names_are_refused_by_the_server_at_once(self, serve: tuple[ServerProcess, str]) -> None:
        server, _ = serve
        model = ServedModel("no/such-model", server.url, patience=BRIEF)
        with pytest.raises(LanguageModelError, match=r"no/such-model|refuses|keeps answering"):
            model.complete(questions(1), Sampling(4))


def test_help_is_offered_where_the_path_is_wrong(tmp_path: Path) -> None:
    model = ServedModel("any", "http://127.0.0.1:1/v1", patience=Patience(attempts=1))
    with pytest.raises(LanguageModelError, match=r"127\.0\.0\.1:1"):
        model.complete(questions(1), Sampling(4))
