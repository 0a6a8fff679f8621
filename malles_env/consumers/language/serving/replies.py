"""Answers in words out of a server's chat completion, held against the schema they were to obey."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from malles_env.consumers.language.base import Reply
from malles_env.consumers.language.serving.server_client import Unusable
from malles_env.errors import MissingResource

LACKS_SCHEMA = (
    "answers outside the JSON schema: it does not support structured output (`response_format` json_schema; "
    "transformers serve ignores it, llama.cpp and vLLM obey)"
)


LONGEST_TOKEN = 40
"""Characters per token, on average over an answer, at most; beyond, it has more tokens than were asked for."""


def read_reply(found: Mapping[str, Any], schema: Mapping[str, Any] | None, most_tokens: int | None = None) -> Reply:
    """Return the answer of a chat completion.

    Args:
        found: The completion.
        schema: What the text was to obey.
        most_tokens: Tokens that were asked for, at most.

    Raises:
        Unusable: It has no text, text that breaks the schema, or far more text than was asked for.
    """
    try:
        choice = found["choices"][0]
        text, finished = choice["message"]["content"], choice["finish_reason"] != "length"
        usage = found.get("usage") or {}
        counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unusable("answers something that is not a chat completion") from error
    if not isinstance(text, str):
        raise Unusable("answers without text")
    if most_tokens is not None and len(text) > LONGEST_TOKEN * (most_tokens + 1):
        raise Unusable(f"answers with {len(text):,} characters where at most {most_tokens} tokens were asked for")
    if schema is not None:
        _check(text, finished, schema)
    return Reply(text, finished, *counts)


def _check(text: str, finished: bool, schema: Mapping[str, Any]) -> None:
    """Refuse what breaks the schema; of an answer that was cut, its first sign is looked at."""
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise MissingResource("answers by a JSON schema need: pip install 'malles-env[serve]'") from error
    if not finished:
        if schema.get("type") == "object" and not text.lstrip().startswith("{"):
            raise Unusable(LACKS_SCHEMA)
        return
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(LACKS_SCHEMA) from error
    if not Draft202012Validator(dict(schema)).is_valid(answer):
        raise Unusable(LACKS_SCHEMA)
