"""The compiled period: what the kernel needs once per market, and the threads that share its blocks."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.market.catalog import Catalog
from malles_env.market.demand.dynamics import Dynamics
from malles_env.market.demand.mean_field import MeanField
from malles_env.market.population import Population
from malles_env.market.state import Demand

if TYPE_CHECKING:
    from malles_env.market.kernels.ordering import StockRoom
    from malles_env.market.kernels.period_kernel import Terms


def terms_of(
    catalog: Catalog, population: Population, settings: MeanField, demand: Demand, dynamics: Dynamics
) -> Terms:
    """Return what settling a period needs to know of a market."""
    from malles_env.market.kernels.period_kernel import EXPECTED, GAUSSIAN, MULTINOMIAL, Terms

    return Terms(  # writable copies: the catalog's arrays are read-only until pickled, and each kind is compiled anew
        # ordered units are paid for when ordered; what is left to pay when they are sold is the tax
        catalog.unit_cost.copy() if catalog.replenishment is None else np.full(catalog.num_products, catalog.unit_tax),
        catalog.listing_fee.copy(),
        catalog.seller_of.copy(),
        population.size,
        {"expected": EXPECTED, "gaussian": GAUSSIAN}.get(demand, MULTINOMIAL),
        settings.shares == "buyers",
        catalog.net_of_tax,
        settings.pace,
        dynamics.reference_memory,
    )


def stock_room_of(catalog: Catalog) -> StockRoom | None:
    """Return what keeps the stock of a catalog's products; None where they are not ordered."""
    if catalog.replenishment is None:
        return None
    from malles_env.market.kernels.ordering import StockRoom

    return StockRoom(catalog)


def rules_of(settings: MeanField, promoted: bool) -> tuple[bool, bool, float, float, int, bool]:
    """Return the mean field's settings, and whether anything is promoted, as the kernel takes them."""
    return (
        settings.coupling == "equilibrium",
        settings.shares == "buyers",
        settings.relaxation,
        settings.tolerance,
        settings.max_iterations,
        promoted,
    )


def play_blocks(threads: int, blocks: int, given: tuple[Any, ...], tiered: tuple[Any, ...] = ()) -> bool:
    """Run the compiled period, on several threads if there are blocks for them; say whether any sale was lost.

    Args:
        threads: Most threads.
        blocks: Blocks of markets.
        given: The arguments of `malles_env.market.kernels.period_kernel.play` after its range of blocks.
        tiered: Where quantity discounts are posted, those of
            `malles_env.market.kernels.tier_period_kernel.play_tiered` before these.
    """
    play, given = _compiled(bool(tiered)), (*tiered, *given)
    if threads == 1 or blocks == 1:
        return bool(play(0, blocks, *given))
    cuts = np.linspace(0, blocks, min(threads, blocks) + 1).astype(int).tolist()
    parts = [_pool().submit(play, low, high, *given) for low, high in itertools.pairwise(cuts)]
    return max(bool(part.result()) for part in parts)


@cache
def _compiled(tiered: bool) -> Any:
    """Return the compiled period; its first call in a process loads machine code, or compiles it once per machine."""
    if tiered:
        from malles_env.market.kernels.tier_period_kernel import play_tiered

        return play_tiered
    from malles_env.market.kernels.period_kernel import play

    return play


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that all markets of this process share."""
    return ThreadPoolExecutor(thread_name_prefix="market")
