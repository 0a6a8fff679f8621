"""How markets start: seeds, the first state, and the blocks of markets their loyalty is kept in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malles_env.errors import invalid
from malles_env.market.arrays import BoolArray, FloatArray, IntArray
from malles_env.market.catalog import Catalog
from malles_env.market.population import Population
from malles_env.market.state import MarketState

MOST_LANES = 64
"""Markets that the kernel walks together; more gained nothing, and their working arrays still fit the cache."""


def unset_state(catalog: Catalog, population: Population, batch: int, window: int) -> MarketState:
    """Return the state of `batch` markets before their first `restart`; `window` is the mean field's, in periods."""
    products, lanes = catalog.num_products, min(batch, MOST_LANES)
    blocks = -(-batch // lanes)
    loyalty = np.empty((blocks, population.num_segments, products + 1, lanes))
    loyalty[:] = population.initial_loyalty[None, :, :, None]
    return MarketState(
        stock=np.empty((batch, products)),
        mean_field=np.empty((batch, products)),
        window=np.empty((batch, window, products)),
        period=np.zeros(batch, dtype=np.int64),
        streams=np.zeros((batch, 4), dtype=np.uint64),
        loyalty=loyalty,
        reference=np.empty((batch, products)),
    )


def restart(
    state: MarketState, chosen: BoolArray, catalog: Catalog, population: Population, mean_field: FloatArray
) -> None:
    """Put markets back to their first period; their random streams go on.

    Args:
        state: Of all B markets, changed in place.
        chosen: Which markets, shape ``(B,)``.
        catalog: Gives stock and regular prices.
        population: Gives loyalty.
        mean_field: Shares consumers see first, shape ``(J,)``.
    """
    state.stock[chosen] = catalog.stock
    state.mean_field[chosen] = mean_field
    state.window[chosen] = mean_field
    state.period[chosen] = 0
    state.reference[chosen] = catalog.regular_price
    put_loyalty(state.loyalty, np.flatnonzero(chosen), population.initial_loyalty)


def new_streams(seeds: int | Sequence[int] | None, batch: int) -> np.ndarray:
    """Return the random streams of `batch` markets, shape ``(B, 4)``.

    Args:
        seeds: One whole number (market b gets seed + b), one per market, or None for the system's entropy.
        batch: B.

    Raises:
        InvalidInput: Seeds that are negative or of the wrong number.
    """
    from malles_env.market.sampling import seed_streams

    if seeds is None:
        return seed_streams([int(word) for word in np.random.SeedSequence().generate_state(batch, np.uint64)])
    numbers = [int(seeds) + b for b in range(batch)] if isinstance(seeds, (int, np.integer)) else list(seeds)
    if len(numbers) != batch:
        raise invalid("seeds", numbers, f"{batch} whole numbers, one per market")
    for number in numbers:
        if int(number) < 0:
            raise invalid("seed", number, "a whole number of at least 0")
    return seed_streams(numbers)


def put_loyalty(blocks: FloatArray, markets: IntArray, values: FloatArray) -> None:
    """Write the loyalty ``(S, J + 1)`` or ``(len(markets), S, J + 1)`` of some markets into their blocks."""
    lanes = blocks.shape[3]
    blocks[markets // lanes, :, :, markets % lanes] = values


def give_back(blocks: FloatArray, markets: IntArray, before: FloatArray, lost: FloatArray) -> None:
    """Let consumers who found the stock gone rejoin their segment's shares of last purchases, in proportion.

    Args:
        blocks: Loyalty after the period, changed in place.
        markets: Where stock ran out.
        before: Their loyalty before the period, ``(len(markets), S, J + 1)``.
        lost: Share of each segment that chose a product and did not get it, ``(len(markets), S, J)``.
    """
    after = loyalty_by_market(blocks)[markets]
    after[:, :, 1:] -= lost
    after += lost.sum(axis=2, keepdims=True) * before
    put_loyalty(blocks, markets, after)


def loyalty_by_market(blocks: FloatArray) -> FloatArray:
    """Return blocks ``(blocks, S, J + 1, lanes)`` as ``(blocks * lanes, S, J + 1)``; the last rows may be no market."""
    apart = np.moveaxis(blocks, 3, 1)
    return apart.reshape(-1, *apart.shape[2:])
