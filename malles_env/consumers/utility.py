"""Consumers of a user's own: a function that says what products are worth, and the choice that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.market.offer import Offer, Response
from malles_env.type_aliases import FloatArray


@dataclass(frozen=True)
class UtilityConsumers:
    """Multinomial-logit consumers with any utility: the choice probabilities, loyalty and surplus are worked out here.

    A buyer takes one unit. Buying nothing has utility 0, and the logit's consumer surplus is the log-sum times
    `money_per_util` (Small and Rosen 1981), exact where utility is linear in prices with slope -1 / `money_per_util`.

    >>> from malles_env import UtilityConsumers, parallel_env
    >>> def utility(offer):
    ...     return (8.0 - 4.0 * offer.prices)[:, None, :]
    >>> own = UtilityConsumers(utility, num_products=2, money_per_util=0.25)
    >>> env = parallel_env("bertrand-duopoly", consumers=own, demand="expected")

    Attributes:
        utility: Called with an `Offer`; returns utils of each product, broadcastable to ``(B, S, J)``. It must not
            depend on the order of products nor keep state. What is not available is left out here.
        num_products: J.
        num_segments: S.
        money_per_util: Money that one util is worth, at least 0.

    Raises:
        InvalidInput: A number out of range.
    """

    utility: Callable[[Offer], FloatArray]
    num_products: int
    num_segments: int = 1
    money_per_util: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not callable(self.utility):
            raise invalid("utility", self.utility, "a function of an Offer")
        for name in ("num_products", "num_segments"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise invalid(name, value, "a whole number of at least 1")
        if not 0.0 <= self.money_per_util < np.inf:
            raise invalid("money_per_util", self.money_per_util, "a number of at least 0")

    def respond(self, offer: Offer) -> Response:
        """Answer an offer.

        Raises:
            InvalidInput: Utilities of another shape, or not finite.
        """
        shape = (len(offer.prices), self.num_segments, self.num_products)
        values = np.asarray(self.utility(offer), dtype=np.float64)
        try:
            values = np.broadcast_to(values, shape)
        except ValueError:
            raise InvalidInput(
                f"utility: got shape {values.shape}; allowed: {shape} or what broadcasts to it"
            ) from None
        if not np.isfinite(values).all():
            raise invalid("utility", float(values[~np.isfinite(values)][0]), "finite numbers")
        utility = np.where(offer.available[:, None, :], values, -np.inf)
        shift = np.maximum(utility.max(axis=2, keepdims=True), 0.0)
        weight = np.exp(np.concatenate([np.zeros((*shape[:2], 1)), utility], axis=2) - shift)
        total = weight.sum(axis=2, keepdims=True)
        probability = weight / total
        # buyers move to what they bought, the others stay where they were
        loyalty = probability[:, :, :1] * offer.loyalty
        loyalty[:, :, 1:] += probability[:, :, 1:]
        surplus = self.money_per_util * (np.log(total) + shift)[:, :, 0]
        return Response(probability, np.ones(shape), loyalty, surplus)
