"""Consumers whose tastes are given: latent-class random utility, the fast path and the ground truth of tests."""

from __future__ import annotations

from dataclasses import dataclass

from malles_env.market.demand.choice import respond
from malles_env.market.offer import Offer, Response
from malles_env.market.tastes import Tastes


@dataclass(frozen=True)
class LogitConsumers:
    """Multinomial-logit consumers with loyalty and mean-field coupling (McFadden 1974; Brock and Durlauf 2001).

    Attributes:
        tastes: Coefficients of S segments over J products. `Market` reads them directly and answers with its
            compiled kernel.
    """

    tastes: Tastes

    @property
    def num_segments(self) -> int:
        """S."""
        return self.tastes.num_segments

    @property
    def num_products(self) -> int:
        """J."""
        return self.tastes.num_products

    def respond(self, offer: Offer) -> Response:
        """Answer an offer, see `malles_env.market.demand.choice.respond`."""
        return respond(self.tastes, offer)


@dataclass(frozen=True)
class DrawnLogit(LogitConsumers):
    """Logit consumers whose tastes are uncertain.

    Attributes:
        draws: Plausible tastes beside the mean ones, see `malles_env.market.Market`.
    """

    draws: tuple[Tastes, ...]
