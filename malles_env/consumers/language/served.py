"""ServedModel: a language model behind a server of the OpenAI protocol: llama.cpp, vLLM, transformers serve, OpenAI."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from malles_env.consumers.language.base import Prompt, Reply, Sampling, Usage
from malles_env.consumers.language.serving import decisions
from malles_env.consumers.language.serving.addresses import NO_KEY
from malles_env.consumers.language.serving.logprobs import check_labels, first_token, label_logs
from malles_env.consumers.language.serving.replies import read_reply
from malles_env.consumers.language.serving.server_client import Patience, ServerClient, Talk, Unsupported, Unusable
from malles_env.consumers.language.wording import WORDING, messages, parted_lead, plain_text
from malles_env.errors import LanguageModelError, invalid
from malles_env.files import json_hash
from malles_env.type_aliases import FloatArray

Api = Literal["auto", "chat", "completions", "systemone", "decisions"]
APIS = ("auto", "chat", "completions", "systemone", "decisions")
_PROBE = Prompt("", "Name the days of the week, then the months of the year, then count to twenty.")
_TRIAL = Prompt("", "Tea or coffee?")
_BEGUN = Prompt("", "Spell the alphabet.", "", "A, B, C, D, E,")
_NEXT = " F"
"""With its space: a new turn would begin without one."""
_PASSING = ("created", "permission")
"""What a server's entry of a model states anew each time; vLLM gives every look a permission of a new number."""
T = TypeVar("T")
_Request = tuple[str, dict[str, Any], Callable[[dict[str, Any]], T]]


class ServedModel:
    """A language model on a server, or on several that have the same weights.

    Each question goes to the server with the fewest under way, and to another one if that dies. Servers must report the
    same of the model and say the same words after a fixed question; then an answer counts for all of them, and a cache
    of answers does not ask which one gave it.

    Args:
        model: Its name on the server.
        base_url: Of the server, usually ending in ``/v1``, without user name, password or query; or of several.
        api_key: None takes ``$OPENAI_API_KEY``; servers of one's own often need none. Where a file chose the address,
            give ``addresses.NO_KEY``.
        api: Where labels are asked: ``"chat"`` or ``"completions"`` with log probabilities, ``"systemone"`` or
            ``"decisions"`` with typed answers; ``"auto"`` takes typed answers where the server has them, else chat.
        concurrency: Requests under way at once at each server.
        patience: Timeout, attempts and waits.
        top_logprobs: Tokens whose probability is asked; OpenAI allows 20, llama.cpp any number.
        label_token_ids: Token id of each label, for vLLM's ``logprob_token_ids``, which reports exactly these.
        prices: Money per million prompt tokens and per million tokens written.
        check_after: Seconds after which the next call first makes sure that the same model still answers.
    """

    def __init__(
        self,
        model: str,
        base_url: str | Sequence[str] = "http://127.0.0.1:8000/v1",
        *,
        api_key: str | None = None,
        api: Api = "auto",
        concurrency: int = 8,
        patience: Patience | None = None,
        top_logprobs: int = 20,
        label_token_ids: Mapping[str, int] | None = None,
        prices: tuple[float, float] = (0.0, 0.0),
        check_after: float = 60.0,
    ) -> None:
        if api not in APIS:
            raise invalid("api", api, ", ".join(APIS))
        if top_logprobs < 1:
            raise invalid("top_logprobs", top_logprobs, "1 or more")
        key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY") or NO_KEY
        urls = [base_url] if isinstance(base_url, str) else list(base_url)
        self.name, self._usage = model, Usage()
        self._line = ServerClient(urls, key, concurrency, patience or Patience(), self._usage)
        self._api: Api = api
        self._continues: bool | None = None
        self._top, self._ids, self._prices = top_logprobs, dict(label_token_ids or {}), prices
        self._check_after, self._checked = check_after, 0.0
        self._identity = self._seen = ""
        self._others: set[str] = set()

    @property
    def usage(self) -> Usage:
        """What was asked so far; probes count as tokens and money, not as requests."""
        return self._usage

    @property
    def identity(self) -> str:
        """Hash of what the server reports about the model and of its likeliest words after a fixed question.

        Raises:
            LanguageModelError: The server cannot be asked.
        """
        if not self._identity:
            self._seen = self._look()
            self._identity = json_hash([WORDING, self.name, self._seen, self.api, self._top])
        return self._identity

    @property
    def api(self) -> Api:
        """Where labels are asked; found out on first use."""
        if self._api == "auto":
            self._api = self._find_api()
        return self._api

    @property
    def continues(self) -> bool:
        """Whether the server's chat continues an answer begun (llama.cpp, vLLM); found out on first use."""
        if self._continues is None:
            self._continues = self._find_continues()
        return self._continues

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
        """Return log probabilities of each label as the next word ``(N, L)``; see `LanguageModel`."""
        if not prompts or not labels:
            return np.zeros((len(prompts), len(labels)))
        check_labels(labels)
        api = self.api
        rows = self._ask([_job(*self._label_request(api, prompt, labels), self._count) for prompt in prompts])
        return np.array(rows, dtype=np.float64)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        """Return an answer in words to each prompt; see `LanguageModel`."""
        if not prompts:
            return []
        return self._ask([_job(*self._words_request(prompt, sampling), self._count) for prompt in prompts])

    def _label_request(self, api: Api, prompt: Prompt, labels: Sequence[str]) -> _Request[list[float]]:
        if api == "systemone":
            asked = decisions.systemone_request(self.name, prompt, labels)
            return "/systemone", asked, lambda found: decisions.read_systemone(found, labels)
        if api == "decisions":
            asked = decisions.decisions_request(self.name, prompt, labels)
            return "/decisions", asked, lambda found: decisions.read_decisions(found, labels)
        body: dict[str, Any] = {"model": self.name, "max_tokens": 1, "temperature": 1.0, "seed": 0}
        if self._ids:
            body["logprob_token_ids"] = [self._ids[label] for label in labels if label in self._ids]
        if api == "completions":
            body |= {"prompt": plain_text(prompt), "logprobs": self._top}
            return "/completions", body, lambda found: label_logs(first_token(found), labels)
        begun = parted_lead(prompt)[1]
        turns = (
            _begun_turns(prompt) if begun and self.continues else {"messages": messages(prompt, lead_in_question=True)}
        )
        body |= {**turns, "logprobs": True, "top_logprobs": self._top}
        return "/chat/completions", body, lambda found: label_logs(first_token(found), labels)

    def _words_request(self, prompt: Prompt, sampling: Sampling) -> _Request[Reply]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": messages(prompt, lead_in_question=True),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }
        if sampling.schema is not None:
            form = {"name": "answer", "schema": sampling.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return "/chat/completions", body, lambda found: read_reply(found, sampling.schema, sampling.max_tokens)

    def _count(self, found: Mapping[str, Any]) -> None:
        self._count_probe(found)
        self._usage.requests += 1

    def _count_probe(self, found: Mapping[str, Any]) -> None:
        """Count tokens and money of a usable answer.

        Raises:
            Unusable: The answer says that another model of the server gave it.
        """
        if str(found.get("model", self.name)) in self._others:
            raise Unusable(f"answers as another model: {str(found['model'])[:80]!r} instead of {self.name!r}")
        counts = _mapping(found.get("usage"))
        prompt = _counted(counts.get("prompt_tokens", counts.get("input_tokens")))
        written = _counted(counts.get("completion_tokens", counts.get("output_tokens")))
        shared = _mapping(counts.get("prompt_tokens_details") or counts.get("input_tokens_details"))
        usage = self._usage
        usage.prompt_tokens += prompt
        usage.shared_tokens += _counted(shared.get("cached_tokens"))
        usage.completion_tokens += written
        usage.cost += (self._prices[0] * prompt + self._prices[1] * written) / 1e6

    def _look(self) -> str:
        """Return what the servers report about the model and its likeliest words after a fixed question, as JSON.

        Those that cannot be asked are left alone, as long as one can.

        Raises:
            LanguageModelError: None can be asked, or two have different models.
        """

        async def look(talk: Talk) -> tuple[dict[str, Any], str]:
            try:
                models = (await talk.get("/models")).get("data")
            except Unsupported:
                models = []
            listed = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
            entry: dict[str, Any] = next(
                (one for one in listed if self.name in (one.get("id"), *(one.get("aliases") or ()))), {}
            )
            self._others = {str(one.get("id")) for one in listed} - {self.name, str(entry.get("id", self.name))}
            words = _job(*self._words_request(_PROBE, Sampling(max_tokens=16)), self._count_probe)
            return {key: entry[key] for key in entry if key not in _PASSING}, (await words(talk)).text

        answers: dict[str, str] = {}
        found = self._line.look(look)
        for server, answer in zip(self._line.servers, found, strict=True):
            server.down = isinstance(answer, LanguageModelError)
            if not isinstance(answer, LanguageModelError):
                answers[server.shown], server.faulty = json.dumps(answer, sort_keys=True), False
        if not answers:
            for server in self._line.servers:
                server.down = False
            raise next(answer for answer in found if isinstance(answer, LanguageModelError))
        self._checked = time.monotonic()
        (first, seen), *others = answers.items()
        for shown, other in others:
            if other != seen:
                raise LanguageModelError(
                    f"language model servers {first} and {shown}: different models answer as {self.name!r} (their "
                    "entries or words after a fixed question differ); start them with the same weights and settings"
                )
        return seen

    def _find_api(self) -> Api:
        typed: tuple[Api, ...] = ("systemone", "decisions")
        for api in typed:
            job = _job(*self._label_request(api, _TRIAL, ("A", "B")), self._count_probe)
            if self._unless_refused(job) is not None:
                return api
        return "chat"

    def _find_continues(self) -> bool:
        body = {"model": self.name, "max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 1}
        body |= _begun_turns(_BEGUN)
        found = self._unless_refused(_job("/chat/completions", body, first_token, self._count_probe))
        return found is not None and found[0][0] == _NEXT

    def _unless_refused(self, job: Callable[[Talk], Awaitable[T]]) -> T | None:
        """Return the answer to a probe, or None where the server refuses it for good, which is no failure."""
        failures = self._usage.failures
        try:
            return self._line.ask([job])[0]
        except LanguageModelError as error:
            if not isinstance(error.__cause__, Unsupported):
                raise
            self._usage.failures = failures
            return None

    def _make_sure(self) -> None:
        """Find out on first use, then now and again and after faults, whether the same model answers."""
        if self.identity and not self._line.faulty and time.monotonic() - self._checked <= self._check_after:
            return
        if self._look() != self._seen:
            raise LanguageModelError(
                f"language model server {self._line.shown}: another model than before answers as {self.name!r} (its "
                "entry or its words after a fixed question changed); make a new ServedModel to go on with that one"
            )

    def _ask(self, jobs: Sequence[Callable[[Talk], Awaitable[T]]]) -> list[T]:
        """Do the jobs; where the line broke meanwhile, make sure that it was one model that answered."""
        self._make_sure()
        found = self._line.ask(jobs)
        if self._line.faulty:
            self._make_sure()
        return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _counted(value: Any) -> int:
    """Return a number of tokens that a server reported, 0 where it is none."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 1e15 else 0


def _begun_turns(prompt: Prompt) -> dict[str, Any]:
    """Return the messages of a prompt whose answer is begun; vLLM continues it when asked to, llama.cpp always."""
    opening, begun = parted_lead(prompt)
    asked = messages(dataclasses.replace(prompt, lead=opening), lead_in_question=True)
    answer = {"role": "assistant", "content": begun}
    return {"messages": [*asked, answer], "continue_final_message": True, "add_generation_prompt": False}


def _job(
    path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T], count: Callable[[dict[str, Any]], None]
) -> Callable[[Talk], Awaitable[T]]:
    """Return a job that sends a request and counts its answer once it can be used."""

    def use(found: dict[str, Any]) -> T:
        answer = read(found)
        count(found)
        return answer

    return lambda talk: talk.post(path, body, use)
