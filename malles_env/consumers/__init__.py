"""Who buys: consumers behind one protocol, `malles_env.market.Consumers`."""

from __future__ import annotations

from typing import Any

from malles_env.consumers.logit import LogitConsumers
from malles_env.consumers.utility import UtilityConsumers
from malles_env.market.offer import Consumers, Offer, Response

__all__ = ["AlignedConsumers", "Consumers", "LogitConsumers", "Offer", "Response", "UtilityConsumers"]


def __getattr__(name: str) -> Any:
    """Load `AlignedConsumers` on first use."""
    if name == "AlignedConsumers":
        from malles_env.consumers.aligned import AlignedConsumers

        return AlignedConsumers
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
