"""What consumers may offer beside `Consumers` so that an audit can ask them the same thing in another form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from malles_env.market import Consumers


@runtime_checkable
class Reordered(Protocol):
    """Consumers that can be shown the same shelf in another order."""

    def reordered(self, order: Sequence[int]) -> Consumers:
        """Return consumers whose product k is this one's product ``order[k]``."""
        ...


@runtime_checkable
class Reworded(Protocol):
    """Consumers that can be asked about the same products in other words."""

    def reworded(self, seed: int) -> Consumers:
        """Return consumers of the same products, paraphrased; equal seeds give equal words."""
        ...


@runtime_checkable
class Relabelled(Protocol):
    """Consumers that answer by a label per product, which can be exchanged."""

    def relabelled(self, labels: Sequence[str]) -> Consumers:
        """Return consumers to whom product k goes by ``labels[k]``."""
        ...
