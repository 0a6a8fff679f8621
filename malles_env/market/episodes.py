"""How markets start: seeds, the first state, and the blocks of markets their loyalty is kept in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from malles_env.errors import invalid
from malles_env.market.catalog import Catalog
from malles_env.market.population import Population
from malles_env.market.state import Blocks, MarketState
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

MOST_LANES = 64
"""Markets that the kernel walks together; more gained nothing, and their working arrays still fit the cache."""


def unset_state(catalog: Catalog, population: Population, batch: int, window: int) -> MarketState:
    """Return the state of `batch` markets before their first `restart`; `window` is the mean field's, in periods."""
    shape = (batch, catalog.num_products)
    blocks = blocks_of(np.zeros(batch, dtype=np.int64))
    loyalty = np.empty((blocks.number, population.num_segments, shape[1] + 1, blocks.lanes))
    loyalty[:] = population.initial_loyalty[None, :, :, None]
    return MarketState(
        stock=np.empty(shape),
        mean_field=np.empty(shape),
        window=np.empty((batch, window, shape[1])),
        period=np.zeros(batch, dtype=np.int64),
        streams=np.zeros((batch, 4), dtype=np.uint64),
        loyalty=loyalty,
        reference=np.empty(shape),
        log_reference=np.empty(shape),
        centre=np.empty(shape),
        season=np.zeros(batch),
        pantry=np.zeros((batch, population.num_segments)),
        draw=np.zeros(batch, dtype=np.int64),
        blocks=blocks,
        pipeline=np.zeros((batch, catalog.replenishment.longest if catalog.replenishment else 0, shape[1])),
    )


def blocks_of(draw: IntArray) -> Blocks:
    """Return blocks of at most `MOST_LANES` markets for the draws of B markets, shape ``(B,)``; markets keep order."""
    order = np.argsort(draw, kind="stable").astype(np.int64)
    cuts = [0, *np.flatnonzero(np.diff(draw[order])) + 1, len(draw)]
    first = np.array([at for low, high in itertools.pairwise(cuts) for at in range(low, high, MOST_LANES)])
    return Blocks(order, np.append(first, len(draw)).astype(np.int64), draw[order[first]])


def restart(
    state: MarketState,
    chosen: BoolArray,
    catalog: Catalog,
    population: Population,
    mean_field: FloatArray,
    centre: FloatArray,
) -> None:
    """Put markets back to their first period; their random streams go on.

    Args:
        state: Of all B markets, changed in place.
        chosen: Which markets, shape ``(B,)``.
        catalog: Gives stock and regular prices.
        population: Gives loyalty.
        mean_field: Shares consumers see first, shape ``(J,)``.
        centre: Shares at which they have no effect first, shape ``(J,)``.
    """
    state.stock[chosen] = catalog.stock
    state.pipeline[chosen] = 0.0
    state.mean_field[chosen] = mean_field
    state.window[chosen] = mean_field
    state.period[chosen] = 0
    state.reference[chosen] = catalog.regular_price
    state.log_reference[chosen] = 0.0
    state.centre[chosen] = centre
    state.season[chosen] = 0.0
    state.pantry[chosen] = 0.0
    put_loyalty(state, np.flatnonzero(chosen), population.initial_loyalty)


def redraw(state: MarketState, chosen: BoolArray, draws: int) -> None:
    """Give each chosen market one of `draws` tastes from its stream, and put markets of one draw side by side."""
    from malles_env.market.kernels.sampling import pick

    loyalty = loyalty_of(state)
    state.draw = state.draw.copy()
    pick(state.streams, draws, chosen, state.draw)
    state.blocks = blocks_of(state.draw)
    state.loyalty = np.zeros((state.blocks.number, *loyalty.shape[1:], state.blocks.lanes))
    put_loyalty(state, np.arange(len(loyalty)), loyalty)


def new_streams(seeds: int | Sequence[int] | None, batch: int) -> np.ndarray:
    """Return the random streams of `batch` markets, shape ``(B, 4)``.

    Args:
        seeds: One whole number (market b gets seed + b), one per market, or None for the system's entropy.
        batch: B.

    Raises:
        InvalidInput: Seeds that are negative or of the wrong number.
    """
    from malles_env.market.kernels.sampling import seed_streams

    if seeds is None:
        return seed_streams([int(word) for word in np.random.SeedSequence().generate_state(batch, np.uint64)])
    numbers = [int(seeds) + b for b in range(batch)] if isinstance(seeds, (int, np.integer)) else list(seeds)
    if len(numbers) != batch:
        raise invalid("seeds", numbers, f"{batch} whole numbers, one per market")
    for number in numbers:
        if int(number) < 0:
            raise invalid("seed", number, "a whole number of at least 0")
    return seed_streams(numbers)


def put_loyalty(state: MarketState, markets: IntArray, values: FloatArray, into: FloatArray | None = None) -> None:
    """Write the loyalty ``(S, J + 1)`` or ``(len(markets), S, J + 1)`` of some markets into their blocks.

    Args:
        state: Says which block a market is in.
        markets: Whole numbers.
        values: What to write.
        into: Blocks of the same form, by default the state's own.
    """
    block, lane = state.blocks.place()
    (state.loyalty if into is None else into)[block[markets], :, :, lane[markets]] = values


def loyalty_of(state: MarketState, blocks: FloatArray | None = None) -> FloatArray:
    """Return loyalty market by market, a fresh array ``(B, S, J + 1)``; by default that of the state's own blocks."""
    block, lane = state.blocks.place()
    return np.ascontiguousarray((state.loyalty if blocks is None else blocks)[block, :, :, lane])


def give_back(state: MarketState, blocks: FloatArray, markets: IntArray, before: FloatArray, lost: FloatArray) -> None:
    """Let consumers who found the stock gone rejoin their segment's shares of last purchases, in proportion.

    Args:
        state: Says which block a market is in.
        blocks: Loyalty after the period, changed in place.
        markets: Where stock ran out.
        before: Their loyalty before the period, ``(len(markets), S, J + 1)``.
        lost: Share of each segment that chose a product, did not get it, and would remember it,
            ``(len(markets), S, J)``.
    """
    after = loyalty_of(state, blocks)[markets]
    after[:, :, 1:] -= lost
    after += lost.sum(axis=2, keepdims=True) * before
    put_loyalty(state, markets, after, blocks)
