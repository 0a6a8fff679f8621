"""Alignment: post-training a language model on purchases, and measuring how well it stands in for buyers.

Importing this package is light; names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "AlignConfig": "training.config",
    "Persona": "data.text",
    "ProductText": "data.text",
    "TasteModel": "model",
    "TasteReading": "persona_coefficients",
    "align": "training.trainer",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
