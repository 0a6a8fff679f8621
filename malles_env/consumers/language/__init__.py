"""Language models behind one protocol: local ones through transformers, served ones through the OpenAI protocol.

Backends load on first use, so that importing this package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from malles_env.consumers.language.base import LanguageModel, Prompt, Reply, Sampling, Usage

if TYPE_CHECKING:
    from malles_env.consumers.language.cache import AnswerCache, CachedModel
    from malles_env.consumers.language.local import LocalModel
    from malles_env.consumers.language.served import ServedModel
    from malles_env.consumers.language.serving.server_client import Patience

__all__ = [
    "AnswerCache",
    "CachedModel",
    "LanguageModel",
    "LocalModel",
    "Patience",
    "Prompt",
    "Reply",
    "Sampling",
    "ServedModel",
    "Usage",
]

_HOMES = {
    "AnswerCache": "cache",
    "CachedModel": "cache",
    "LocalModel": "local",
    "Patience": "serving.server_client",
    "ServedModel": "served",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
