"""What learned strategies do: limit cycles, responses to a deviation, and how far they are from best replies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_agents.sellers.tabular.market import GridMarket
from malles_agents.sellers.tabular.sessions import Sessions
from malles_env.type_aliases import BoolArray, FloatArray, IntArray


def transitions(market: GridMarket, greedy: IntArray) -> IntArray:
    """Return the state each state is followed by, shape ``(K,)``, under strategies ``(N, K)``."""
    return np.asarray(market.weights @ greedy)


def limit_cycle(market: GridMarket, greedy: IntArray, state: int) -> IntArray:
    """Return the states visited for ever from `state` on, in their order."""
    following = transitions(market, greedy)
    seen: dict[int, int] = {}
    path: list[int] = []
    while state not in seen:
        seen[state] = len(path)
        path.append(state)
        state = int(following[state])
    return np.array(path[seen[state] :], dtype=np.int64)


@dataclass(frozen=True)
class Limits:
    """Where sessions end.

    Attributes:
        profit: Of each seller, averaged over the limit cycle, shape ``(R, N)``.
        price: The same for prices.
        length: States of the cycle, shape ``(R,)``.
        gain: Profit gain, shape ``(R,)``.
    """

    profit: FloatArray
    price: FloatArray
    length: IntArray
    gain: FloatArray


def limits(found: Sessions) -> Limits:
    """Return prices and profits averaged over the cycle that the greedy strategies reach, session by session."""
    market = found.market
    cycles = [limit_cycle(market, greedy, int(last)) for greedy, last in zip(found.greedy, found.last, strict=True)]
    profit = np.array([market.profit[:, cycle].mean(axis=1) for cycle in cycles])
    price = np.array([market.prices[cycle].mean(axis=0) for cycle in cycles])
    return Limits(profit, price, np.array([len(cycle) for cycle in cycles]), market.gain(profit))


def strategy_value(market: GridMarket, greedy: IntArray, seller: int, discount: float) -> FloatArray:
    """Return a seller's discounted profit from each state on, shape ``(K,)``, when all follow their strategies.

    Solves V = profit(next) + discount V(next) exactly, by squaring the deterministic path 2^k steps ahead.
    """
    following = transitions(market, greedy)
    value, factor = market.profit[seller, following], discount
    while factor > 1e-18:
        value = value + factor * value[following]
        following, factor = following[following], factor * factor
    return np.asarray(value)


def reply_states(market: GridMarket, greedy: IntArray, seller: int) -> IntArray:
    """Return the state that follows each state for each own action, rivals on their strategies, ``(K, m)``."""
    rivals = transitions(market, greedy) - market.weights[seller] * greedy[seller]
    return np.asarray(rivals[:, None] + market.weights[seller] * np.arange(market.levels))


def best_reply_value(market: GridMarket, greedy: IntArray, seller: int, discount: float) -> FloatArray:
    """Return the value of the exact dynamic best reply to the rivals' strategies, shape ``(K,)``.

    Policy iteration on the K states: each policy is valued exactly, then improved until no action gains.
    """
    states = reply_states(market, greedy, seller)
    gains = market.profit[seller][states]
    mine = greedy.copy()
    while True:
        value = strategy_value(market, mine, seller, discount)
        action = gains + discount * value[states]
        now = action[np.arange(len(action)), mine[seller]]
        better = action.max(axis=1) > now + 1e-12
        if not better.any():
            return value
        mine[seller] = np.where(better, action.argmax(axis=1), mine[seller])


@dataclass(frozen=True)
class Play:
    """How near to equilibrium the sessions' strategies are.

    Attributes:
        one_shot: Whether each seller's strategy is a best reply on its path by the one-shot check, ``(R, N)``.
        one_shot_gap: Mean relative loss of value by that check over all states, ``(R, N)``.
        gap: Best-response gap of each seller on its path: share of the exact dynamic best reply's value that the
            strategy leaves, mean over the limit cycle, ``(R, N)``.
        extra: What the best reply earns more than the strategy, relative to the strategy, ``(R, N)``.
    """

    one_shot: BoolArray
    one_shot_gap: FloatArray
    gap: FloatArray
    extra: FloatArray


def equilibrium_play(found: Sessions, tolerance: float = 1e-9) -> Play:
    """Check strategies against one-shot deviations and against the exact dynamic best reply.

    The one-shot check of Calvano et al. (2020, section IV.B) lets a seller deviate once and return to its own strategy:
    passing it in every state would make a strategy optimal, passing it on the path alone does not.
    """
    market, discount = found.market, found.settings.discount
    shape = (len(found.last), market.num_sellers)
    one_shot, slack = np.zeros(shape, dtype=bool), np.zeros(shape)
    gap, extra = np.zeros(shape), np.zeros(shape)
    for r, greedy in enumerate(found.greedy):
        cycle = limit_cycle(market, greedy, int(found.last[r]))
        for i in range(market.num_sellers):
            value = strategy_value(market, greedy, i, discount)
            states = reply_states(market, greedy, i)
            once = (market.profit[i][states] + discount * value[states]).max(axis=1)
            one_shot[r, i] = bool((once[cycle] <= value[cycle] * (1.0 + tolerance)).all())
            slack[r, i] = float((1.0 - value / once).mean())
            best = best_reply_value(market, greedy, i, discount)[cycle]
            gap[r, i] = float((1.0 - value[cycle] / best).mean())
            extra[r, i] = float((best / value[cycle] - 1.0).mean())
    return Play(one_shot, slack, gap, extra)


@dataclass(frozen=True)
class Impulse:
    """Responses to one seller's one-period deviation, D of them (one per seller and session with a fixed point).

    Attributes:
        prices: Deviator, then rival, from the period before the deviation on, shape ``(D, T + 1, 2)``.
        gain: Discounted profit with the deviation over that without, minus 1, shape ``(D,)``.
        back: Periods after the deviation until the old prices are there for good; -1 if never, shape ``(D,)``.
    """

    prices: FloatArray
    gain: FloatArray
    back: IntArray


def impulse_response(found: Sessions, periods: int = 25, horizon: int = 2_000) -> Impulse:
    """Force each seller of a duopoly to its static best reply for one period, then follow the strategies.

    Only sessions that end in a fixed point take part (Calvano et al. 2020, section IV.C).

    Args:
        found: Sessions of two sellers.
        periods: T, periods kept of the price paths.
        horizon: Periods of the discounted sums.
    """
    market, discount = found.market, found.settings.discount
    prices, gains, back = [], [], []
    for greedy, last in zip(found.greedy, found.last, strict=True):
        cycle = limit_cycle(market, greedy, int(last))
        if len(cycle) > 1:
            continue
        home, following = int(cycle[0]), transitions(market, greedy)
        for i in range(2):
            replies = reply_states(market, greedy, i)[home]
            path = [home, int(replies[market.profit[i, replies].argmax()])]
            while len(path) <= horizon:
                path.append(int(following[path[-1]]))
            states = np.array(path)
            earned = market.profit[i, states[1:]] @ discount ** np.arange(horizon)
            usual = market.profit[i, home] * (1.0 - discount**horizon) / (1.0 - discount)
            away = np.flatnonzero(states != home)
            gains.append(earned / usual - 1.0)
            back.append(0 if not len(away) else -1 if away[-1] == horizon else int(away[-1]))
            prices.append(market.prices[states[: periods + 1]][:, [i, 1 - i]])
    return Impulse(np.array(prices).reshape(-1, periods + 1, 2), np.array(gains), np.array(back, dtype=np.int64))
