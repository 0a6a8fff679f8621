"""The registry of consumer kinds: which function builds the consumers of each kind of entry in a scenario file.

The modules of `malles_env.scenarios.consumer_kinds` register themselves when `malles_env.scenarios` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from malles_env.market import Consumers


class Builder(Protocol):
    """Builds who buys in a scenario."""

    def __call__(self, scenario: Any, entry: Any, *, draws: bool = False) -> Consumers:
        """Return the consumers.

        Args:
            scenario: The scenario.
            entry: Its consumers, of the kind that the builder is registered for.
            draws: Whether tastes that a model predicts also carry draws of them; kinds without draws ignore it.
        """
        ...


BUILDERS: dict[str, Builder] = {}
"""Kind of consumers, as in the file -> what builds them."""


def builds(kind: str) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a function as the builder of a kind of consumers."""

    def register(builder: Builder) -> Builder:
        BUILDERS[kind] = builder
        return builder

    return register


def consumers_of(scenario: Any, *, draws: bool = False) -> Consumers:
    """Return the consumers that a scenario's own entry describes.

    Args:
        scenario: The scenario.
        draws: See `Builder`.

    Raises:
        InvalidInput, MissingResource, LanguageModelError: As their builder says.
    """
    return BUILDERS[scenario.consumers.kind](scenario, scenario.consumers, draws=draws)
