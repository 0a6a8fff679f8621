"""One Q-learning session, compiled: N sellers, memory of one period, until the greedy strategies stand still."""

from __future__ import annotations

import numpy as np

from malles_env.compiling import njit
from malles_env.market.kernels.sampling import StateArray, uniform
from malles_env.type_aliases import FloatArray, IntArray


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def session(
    profit: FloatArray,
    weights: IntArray,
    values: FloatArray,
    greedy: IntArray,
    alpha: float,
    beta: float,
    discount: float,
    stable: int,
    most: int,
    stream: StateArray,
) -> tuple[int, int, bool]:
    """Play until nobody's greedy strategy has changed for `stable` periods in a row, or `most` periods.

    All sellers move at once on the last price vector, explore with probability exp(-beta t) and update
    Q <- (1 - alpha) Q + alpha (profit + discount max Q'). Only the strategy in the state just left can change, and only
    there is it checked; the counter counts periods, not sellers. The best action of each state is kept, so a row is
    scanned only when its best value falls.

    Args:
        profit: Of each seller in each state, shape ``(N, K)``.
        weights: What a price index adds to the state's number, shape ``(N,)``.
        values: Q, shape ``(N, K, m)``; updated in place.
        greedy: Best action, shape ``(N, K)``; updated in place.
        alpha: Learning rate.
        beta: Decay of exploration per period.
        discount: Discount factor.
        stable: Periods without change that end the session.
        most: Cap on periods.
        stream: Random state, shape ``(4,)``; advanced in place.

    Returns:
        Periods played, the last state, and whether the strategies stood still.
    """
    sellers, states, levels = values.shape
    best = np.empty((sellers, states))
    for i in range(sellers):
        for k in range(states):
            best[i, k] = values[i, k, greedy[i, k]]
    actions = np.empty(sellers, dtype=np.int64)
    state = 0
    for i in range(sellers):
        state += int(uniform(stream) * levels) * weights[i]
    explore, fade, quiet = 1.0, np.exp(-beta), 0
    period = 0
    while period < most:
        period += 1
        following = 0
        for i in range(sellers):
            draw = uniform(stream)
            # below `explore` the draw is uniform on [0, explore): scaled up, it picks the action too
            actions[i] = min(int(draw / explore * levels), levels - 1) if draw < explore else greedy[i, state]
            following += actions[i] * weights[i]
        explore *= fade
        quiet += 1
        for i in range(sellers):
            a = actions[i]
            new = (1.0 - alpha) * values[i, state, a] + alpha * (profit[i, following] + discount * best[i, following])
            values[i, state, a] = new
            if a != greedy[i, state]:
                if new > best[i, state]:
                    greedy[i, state], best[i, state], quiet = a, new, 0
            elif new >= best[i, state]:
                best[i, state] = new
            else:
                top = a
                for other in range(levels):
                    if values[i, state, other] > values[i, state, top]:
                        top = other
                best[i, state] = values[i, state, top]
                if top != a:
                    greedy[i, state], quiet = top, 0
        state = following
        if quiet >= stable:
            return period, state, True
    return period, state, False
