"""A market that is open on a page: scenario, consumers and who sells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from malles_env.consumers.aligned import DRAW_MODELS
from malles_env.envs.spaces.slot_layout import SlotLayout
from malles_env.errors import invalid
from malles_env.market import Catalog, Consumers
from malles_env.scenarios import Scenario, load_scenario
from malles_env.type_aliases import BoolArray, IntArray

ASKED = ("prompted", "discussion")
"""Kinds of consumers that are asked anew in every period, which takes minutes or hours."""


@dataclass(frozen=True)
class World:
    """A scenario with its consumers built once; nothing of it changes, so visitors may share it.

    Attributes:
        scenario: The market.
        model: Who reads the tastes; None where they stand in the file.
        consumers: Who buys.
    """

    scenario: Scenario
    model: str | None
    consumers: Consumers

    @cached_property
    def catalog(self) -> Catalog:
        """Products and sellers as arrays."""
        return self.scenario.catalog()

    @cached_property
    def slot_layout(self) -> SlotLayout:
        """Which products each agent sells."""
        return SlotLayout(self.catalog)

    @property
    def agents(self) -> tuple[str, ...]:
        """``"seller_0"`` and so on."""
        return tuple(self.slot_layout.agents)

    @property
    def usual_shelf(self) -> BoolArray:
        """What every seller lists at first: its products of largest margin, shape ``(J,)``."""
        return self.slot_layout.default_offer[1]

    def products(self, agent: str) -> IntArray:
        """Return the products of an agent, shape ``(J_n,)``."""
        return self.slot_layout.products(self.slot_layout.index(agent))

    def seller_title(self, agent: str) -> str:
        """Return an agent's seller as people know it."""
        name = self.catalog.sellers[self.slot_layout.index(agent)]
        titles = {seller.name: seller.title for seller in self.scenario.sellers}
        return titles.get(name) or name

    def product_titles(self) -> list[str]:
        """Return the J titles; one that stands there twice with its product's name behind it."""
        titles = [product.title or product.product_id for product in self.scenario.products]
        names = self.scenario.product_ids
        return [
            f"{title} ({name})" if titles.count(title) > 1 else title for title, name in zip(titles, names, strict=True)
        ]


def price_steps(low: float, high: float) -> tuple[float, str]:
    """Return the step of a slider over prices, and how it writes them: cents, or finer where the range is narrow."""
    step = min(0.01, (high - low) / 100.0) if high - low < 100.0 else 0.1
    return (step, "%.2f") if step >= 0.01 else (10.0 ** np.floor(np.log10(step)), "%.4f")


def taste_models(scenario: Scenario) -> tuple[str, ...]:
    """Return the models that may read a scenario's tastes, its own first; none where they stand in the file."""
    own = getattr(scenario.consumers, "model", None)
    if scenario.consumers.kind != "aligned" or own is None:
        return ()
    return (own, *(name for name in DRAW_MODELS if name != own))


def open_world(source: str, model: str | None = None, *, draws: bool = False) -> World:
    """Open a market.

    Args:
        source: Name or path of a scenario.
        model: Who reads its tastes; None: its own.
        draws: Whether consumers carry draws of their tastes, too.

    Raises:
        InvalidInput: A scenario whose consumers are asked in every period.
        MissingResource: A model that is not there.
    """
    scenario = load_scenario(source)
    if scenario.consumers.kind in ASKED:
        allowed = "logit or aligned; consumers that are asked in every period: see `malles distil`"
        raise invalid(f"{scenario.name}: consumers.kind", scenario.consumers.kind, allowed)
    named = model or next(iter(taste_models(scenario)), None)
    return World(scenario, named, scenario.build_consumers(named, draws=draws))
