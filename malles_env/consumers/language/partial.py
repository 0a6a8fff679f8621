"""The error of a call that was answered in part, with the answers there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from malles_env.errors import LanguageModelError


class PartlyAnswered(LanguageModelError):
    """Some questions of a call could not be answered; the answers to the others are kept.

    Attributes:
        answers: Answer by place of its prompt in the call: a row of label log probabilities [L], or a `Reply`.
    """

    def __init__(self, message: str, answers: Mapping[int, Any]) -> None:
        super().__init__(message)
        self.answers = dict(answers)

    def __reduce__(self) -> tuple[Any, ...]:
        """Come whole out of a worker process, where an exception would be rebuilt from its message alone."""
        return type(self), (str(self), self.answers)
