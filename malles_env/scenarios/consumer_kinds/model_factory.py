"""The language model that answers live for a scenario's consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from malles_env.scenarios.blocks.live_model_config import DiscussionEntry, LiveModelEntry

if TYPE_CHECKING:
    from malles_env.consumers.language import LanguageModel

DISCUSSION_MEMORY = 1000
"""Megabytes in which a local model keeps what the roles of a discussion have read."""


def language_model(entry: LiveModelEntry) -> LanguageModel:
    """Return the model an entry names; its servers get the user's key only if the user named or lists it.

    Raises:
        InvalidInput: ``$MALLES_TRUSTED_SERVERS`` holds something that is no plain URL.
        MissingResource: It is not there; the message says how to get it.
    """
    from malles_env.consumers.language import CachedModel, LocalModel, ServedModel
    from malles_env.consumers.language.serving.addresses import NO_KEY, is_trusted

    model: LanguageModel
    if entry.servers:
        key = None if entry.named_by_user("server") or all(map(is_trusted, entry.servers)) else NO_KEY
        model = ServedModel(entry.model, entry.servers, api_key=key, top_logprobs=entry.top_logprobs)
    else:
        kept = DISCUSSION_MEMORY if isinstance(entry, DiscussionEntry) else 0
        model = LocalModel.load(entry.model, reading_memory=kept)
    return CachedModel(model) if entry.cache else model
