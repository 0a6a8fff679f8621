"""Who buys: consumers behind one protocol, `malles_env.market.Consumers`."""

from malles_env.consumers.logit import LogitConsumers
from malles_env.market.offer import Consumers, Offer, Response

__all__ = ["Consumers", "LogitConsumers", "Offer", "Response"]
