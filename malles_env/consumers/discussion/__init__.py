"""Consumers who talk before they buy: role agents in rounds, then a moderator who decides over the full shelf.

Roles and phases are data (`casts/*.yaml`), product sheets are data (`sheets/*.yaml`); importing this package is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Cast": "cast",
    "DiscussionConsumers": "consumers",
    "ProductSheet": "sheets",
    "TranscriptFile": "transcript",
    "list_casts": "cast",
    "load_cast": "cast",
    "load_sections": "sheets",
    "read_transcript": "transcript",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
