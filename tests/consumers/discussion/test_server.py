"""A whole discussion against a real server: llama.cpp with SmolLM2 on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from malles_env import load_scenario
from malles_env.consumers.discussion import read_transcript
from malles_env.consumers.language import ServedModel
from malles_env.consumers.language.serving.server_client import Patience
from malles_env.errors import LanguageModelError
from malles_env.scenarios.consumer_kinds.discussion import discussion_consumers, only_segment
from tests.consumers.discussion.models import first_offer, short_cast
from tests.consumers.language.servers import ServerProcess, llama_server, smollm2_gguf

BRIEF = Patience(timeout=240, attempts=2, first_wait=0.01)


@pytest.fixture(scope="module")
def llama() -> Iterator[ServerProcess]:
    """The server, with room for two thousand tokens."""
    server = llama_server(smollm2_gguf())
    yield server
    server.kill()


@pytest.mark.slow
def test_three_rounds_are_talked_with_a_real_server(llama, tmp_path) -> None:
    """Notes, proposals and votes under a schema; then the server dies, and nothing is added to the transcript."""
    scenario, file = load_scenario("wholesale"), tmp_path / "talk.jsonl"
    model = ServedModel("smollm2", llama.url, patience=BRIEF, concurrency=1, top_logprobs=2000)
    consumers = only_segment(discussion_consumers(scenario, model, cast=short_cast(), rounds=3, transcript=file), 0)
    offer = first_offer(scenario, 1)
    response = consumers.respond(offer)

    np.testing.assert_allclose(response.probability.sum(-1), 1.0, atol=1e-9)
    assert (response.probability > 0).all() and np.ptp(response.probability) > 0.01
    assert ((response.quantity >= 1) & (response.quantity <= 20)).all()

    (line,) = read_transcript(file)
    turns = line["turns"]
    assert line["model"] == "smollm2" and line["scenario"] == "wholesale"
    assert [turn["form"] for turn in turns] == ["note"] * 3 + ["proposal"] * 3 + ["ballot"] * 3
    assert all(turn["prompt_tokens"] > 100 and turn["completion_tokens"] > 0 for turn in turns)
    assert all(turn["named"][0] in {*line["shelf"], "N"} and turn["quantity"] > 0 for turn in turns[6:])
    verdict = line["verdict"]["probability"]
    assert sum(verdict.values()) == pytest.approx(1.0)
    assert verdict["N"] == pytest.approx(response.probability[0, 0, 0])

    used = model.usage
    assert used.requests == 9 + 3 + 1 + len(scenario.products)  # turns, nominations, the choice, units of each product
    assert used.prompt_tokens > sum(turn["prompt_tokens"] for turn in turns)
    assert used.completion_tokens >= sum(turn["completion_tokens"] for turn in turns)

    llama.kill()
    with pytest.raises(LanguageModelError):
        consumers.respond(offer)
    assert len(list(read_transcript(file))) == 1
