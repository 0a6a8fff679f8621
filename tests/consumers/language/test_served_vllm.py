"""ServedModel before a real vLLM server: its `logprob_token_ids`, schemas, and what its list of models tells.

vLLM is heavy and pins its own libraries, so that it has an environment of its own; `$MALLES_VLLM` names its program.
docs/design/servers.md tells how to get it for a CPU.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from malles_env.consumers.language import LocalModel, Patience, Prompt, Sampling, ServedModel
from malles_env.errors import LanguageModelError
from malles_env.preference.encoder.backbones import smollm2_directory
from tests.consumers.language.servers import ServerProcess, vllm_server

VLLM = os.environ.get("MALLES_VLLM", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VLLM, reason="$MALLES_VLLM does not name the program of vLLM"),
]
LABELS = (*"ABCDEFGH", "N")
SHELF = "The shelf:\n" + "\n".join(f"{code}: {at + 1}.49, tea {at}" for at, code in enumerate(LABELS[:-1]))
ASKED = [
    Prompt("You shop.", SHELF, f"\nThe household took {code} three times.\nAnswer with a code, or N.", "Answer:")
    for code in "ACF"
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return smollm2_directory()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    process = vllm_server(VLLM, folder)
    yield process
    process.process.terminate()  # killed, it would leave the process of its engine behind
    process.process.wait(timeout=60)


def token_ids(folder: Path, before: str = "") -> dict[str, int]:
    """Return the token of each label behind some text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {label: tokenizer.encode(before + label, add_special_tokens=False) for label in LABELS}
    assert all(len(tokens) == 1 for tokens in found.values())
    return {label: tokens[0] for label, tokens in found.items()}


def asked(server: ServerProcess, **settings: object) -> ServedModel:
    return ServedModel("smollm2", server.url, patience=Patience(timeout=120), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_label_token_ids_give_what_the_weights_say(server: ServerProcess, folder: Path, api: str) -> None:
    """In a chat the lead ends the question and the label begins the answer; in a completion a space comes before it."""
    ids = token_ids(folder, "" if api == "chat" else " ")
    found = asked(server, api=api, label_token_ids=ids).label_log_probabilities(ASKED, LABELS)
    local = LocalModel.load(str(folder))
    local.wording.chat = api == "chat"
    prompts = ASKED
    if api == "chat":
        prompts = [Prompt(one.system, one.shared, f"{one.own}\n{one.lead}") for one in ASKED]
    np.testing.assert_allclose(found, local.label_log_probabilities(prompts, LABELS), atol=1e-3)


def test_an_answer_begun_is_gone_on_with(server: ServerProcess, folder: Path) -> None:
    model = asked(server, api="chat", top_logprobs=20)
    assert model.continues
    shelf = "Codes on the shelf: " + ", ".join(f"{row}{place}" for row in "ABC" for place in "123") + "."
    own = "\nBefore: C2 (five times). Last: C2.\nAnswer with a code."
    found = model.label_log_probabilities([Prompt("Shop.", shelf, own, "Answer: C")], "123")
    asks = [Prompt("Shop.", shelf, f"{own}\nAnswer:", "C")]
    local = LocalModel.load(str(folder)).label_log_probabilities(asks, "123")
    np.testing.assert_allclose(found, local, atol=1e-3)


def test_labels_among_too_few_tokens_are_an_error_that_names_the_ids(server: ServerProcess) -> None:
    model = asked(server)
    assert model.api == "chat"  # an ordinary model is none for `/v1/systemone`, and vLLM says 501
    with pytest.raises(LanguageModelError, match="label_token_ids"):
        model.label_log_probabilities(ASKED, "QZ")


def test_it_stays_the_same_model_though_its_entry_tells_a_new_permission_every_time(
    server: ServerProcess, folder: Path
) -> None:
    model = asked(server, api="chat", label_token_ids=token_ids(folder), check_after=0.0)
    first, again = (model.label_log_probabilities(ASKED[:1], LABELS) for _ in range(2))
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert model.identity == asked(server, api="chat").identity


def test_words_obey_the_schema(server: ServerProcess) -> None:
    schema = {
        "type": "object",
        "properties": {"product": {"enum": list("ABC")}, "quantity": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["product", "quantity"],
        "additionalProperties": False,
    }
    (reply,) = asked(server, api="chat").complete(ASKED[:1], Sampling(40, schema=schema))
    vote = json.loads(reply.text)
    assert vote["product"] in "ABC" and 1 <= vote["quantity"] <= 9
