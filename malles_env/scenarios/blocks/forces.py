"""The forces of a scenario file as pydantic models: promotion, reference prices, inertia, seasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from malles_env.market import Dynamics, Tastes
from malles_env.scenarios.blocks.entries import Entry, Money, Number


class PromotionEntry(Entry):
    """What being displayed and being advertised are worth, utils.

    Attributes:
        display, feature: None takes what the taste model reads; a number holds for all segments.
    """

    display: Number | None = None
    feature: Number | None = None


class PriceMemoryEntry(Entry):
    """Reference prices in logs, see `malles_env.market.Tastes`.

    Attributes:
        gain, loss: Utils per unit of log price below and above the reference price.
        memory: What the log reference price keeps of itself in a period.
    """

    gain: Money
    loss: Money
    memory: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.8


class InertiaEntry(Entry):
    """Loyalty to the last purchase that fades.

    Attributes:
        fade: Share of the loyal who forget their last purchase in a period.
        loyalty: Worth of the last purchase right after it, utils, for all segments; None keeps what the tastes have.
    """

    fade: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
    loyalty: Annotated[float, Field(strict=True, ge=-50.0, le=50.0)] | None = None


class SeasonsEntry(Entry):
    """Random traffic, see `malles_env.market.Dynamics`."""

    sd: Annotated[float, Field(strict=True, ge=0.0, le=2.0)]
    persistence: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)] = 0.0


class PantryEntry(Entry):
    """Stock at home that lowers purchases, see `malles_env.market.demand.pantry.Pantry`; usual are average prices.

    Attributes:
        theta: What a period's usual use at home takes from the utility of every product, utils, for all segments.
        keep: Share of the stock above the usual one that is still there a period later.
    """

    theta: Annotated[float, Field(strict=True, ge=0.0, le=50.0)]
    keep: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]


class ForcesEntry(Entry):
    """What moves demand beside prices and loyalty; a part that is not there does nothing.

    `malles consumers forces` estimates the block from choice occasions and keeps in it what predicts held-out ones.
    """

    promotion: PromotionEntry | None = None
    reference_price: PriceMemoryEntry | None = None
    inertia: InertiaEntry | None = None
    seasons: SeasonsEntry | None = None
    pantry: PantryEntry | None = None

    def on(self, tastes: Tastes) -> Tastes:
        """Return `tastes` with these forces and no others.

        Raises:
            InvalidInput: Reference prices in logs beside linear prices.
        """
        changed: dict[str, Any] = {"display": np.zeros(1), "feature": np.zeros(1), "pantry": np.zeros(1)}
        for name in ("display", "feature") if self.promotion is not None else ():
            given = getattr(self.promotion, name)
            changed[name] = getattr(tastes, name) if given is None else np.array(given)
        if self.reference_price is not None:
            memory = self.reference_price
            changed |= {"gain": np.array(memory.gain), "loss": np.array(memory.loss)}
        if self.inertia is not None and self.inertia.loyalty is not None:
            changed["lambda_"] = np.array(self.inertia.loyalty)
        if self.pantry is not None:
            changed["pantry"] = np.array(self.pantry.theta)
        return replace(tastes, **changed)

    def dynamics(self, memory: float) -> Dynamics:
        """Return the market's settings object.

        Args:
            memory: Of reference prices where this block names none.
        """
        price, inertia, seasons = self.reference_price, self.inertia, self.seasons
        return Dynamics(
            reference_memory=memory if price is None else price.memory,
            fade=0.0 if inertia is None else inertia.fade,
            season_sd=0.0 if seasons is None else seasons.sd,
            season_persistence=0.0 if seasons is None else seasons.persistence,
            **({} if self.pantry is None else {"pantry_keep": self.pantry.keep}),
        )
