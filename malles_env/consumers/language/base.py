"""What a language model is asked and what it answers: one protocol for local models and servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from malles_env.type_aliases import FloatArray


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question, cut where others go on differently: what comes first is shared, so it is read once.

    Attributes:
        system: Rules and role; may be empty.
        shared: First part of the user's message: shelf, prices, mean field.
        own: Rest of the user's message: the household and the question.
        lead: Beginning of the answer, at whose end labels are read, e.g. ``"Answer:"``.
    """

    system: str
    shared: str
    own: str = ""
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in words.

    Attributes:
        text: What was said.
        finished: False where the answer was cut at the token limit.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
    """

    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Usage:
    """What was asked so far. Answers from the cache count as `cached` only.

    Attributes:
        requests: Questions put to the model.
        prompt_tokens: Tokens of their prompts.
        shared_tokens: Those of them that were not read anew: read once for several questions, or with an earlier one.
        completion_tokens: Tokens written.
        cached: Questions answered from the cache.
        retries: Requests repeated after a fault.
        failures: Requests given up.
        seconds: Wall-clock time spent waiting for answers.
        cost: Money, at the prices the model was set up with.
    """

    requests: int = 0
    prompt_tokens: int = 0
    shared_tokens: int = 0
    completion_tokens: int = 0
    cached: int = 0
    retries: int = 0
    failures: int = 0
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True)
class Sampling:
    """How answers in words are drawn.

    Attributes:
        max_tokens: Longest answer, 1 or more.
        temperature: 0 takes the likeliest token.
        seed: Seed of the draw; the same prompt and seed give the same answer where the backend can promise it.
        schema: JSON schema the answer must obey; None is free text.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    schema: dict[str, Any] | None = field(default=None, hash=False)


@runtime_checkable
class LanguageModel(Protocol):
    """A causal language model that can be asked. Implementations keep no conversation."""

    @property
    def name(self) -> str:
        """What a person calls it: a path, a hub id, or the model's name on a server."""
        ...

    @property
    def identity(self) -> str:
        """Identifies weights and wording of the template: equal identities give equal answers."""
        ...

    @property
    def usage(self) -> Usage:
        """What was asked so far."""
        ...

    def label_log_probabilities(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> FloatArray:
        """Return log probabilities of each label as the next word of the answer, ``(N, L)``, summing to 1 over labels.

        Args:
            prompts: N questions; those with equal `system` and `shared` share the reading of these.
            labels: L answers distinguished by their first token, e.g. ``("A", "B", "N")``.

        Raises:
            InvalidInput: Two labels begin with the same token.
            LanguageModelError: The model cannot be reached, or does not give probabilities of labels.
        """
        ...

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
        """Return an answer in words to each prompt.

        Raises:
            LanguageModelError: The model cannot be reached, or its answers break the schema.
        """
        ...


def forget(model: LanguageModel) -> None:
    """Let a model drop what it keeps of earlier questions, if it keeps anything (`LocalModel.forget`)."""
    drop = getattr(model, "forget", None)
    if drop is not None:
        drop()
