"""Many Q-learning sessions over the cores, and what they end in."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from malles_agents.sellers.tabular.market import GridMarket
from malles_env.errors import invalid
from malles_env.market.kernels.sampling import seed_streams
from malles_env.type_aliases import BoolArray, FloatArray, IntArray, OnProgress


@dataclass(frozen=True)
class QSettings:
    """How the sellers learn; the defaults are the representative experiment of Calvano et al. (2020).

    Attributes:
        alpha: Learning rate, in (0, 1].
        beta: Exploration in period t is exp(-beta t); at least 0.
        discount: Discount factor, in [0, 1).
        stable: Periods without a change of any greedy strategy that count as convergence.
        most: Cap on periods.
    """

    alpha: float = 0.15
    beta: float = 4e-6
    discount: float = 0.95
    stable: int = 100_000
    most: int = 1_000_000_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0.0 < self.alpha <= 1.0:
            raise invalid("alpha", self.alpha, "more than 0 and at most 1")
        if not self.beta >= 0.0:
            raise invalid("beta", self.beta, "at least 0")
        if not 0.0 <= self.discount < 1.0:
            raise invalid("discount", self.discount, "at least 0 and less than 1")
        if self.stable < 1 or self.most < 1:
            raise invalid("stable, most", (self.stable, self.most), "whole numbers of at least 1")


@dataclass(frozen=True)
class Sessions:
    """R finished sessions of one market.

    Attributes:
        market: The stage game.
        settings: How the sellers learned.
        periods: Periods played in each, shape ``(R,)``; convergence lies `settings.stable` periods earlier.
        converged: Whether strategies stood still, shape ``(R,)``.
        last: State in which each ended, shape ``(R,)``.
        greedy: Price index each seller's strategy answers each state with, shape ``(R, N, K)``.
        values: Q, shape ``(R, N, K, m)``; None unless asked for.
        cpu_seconds: CPU time of the learning itself, all threads together.
    """

    market: GridMarket
    settings: QSettings
    periods: IntArray
    converged: BoolArray
    last: IntArray
    greedy: IntArray
    values: FloatArray | None
    cpu_seconds: float

    @property
    def periods_per_cpu_s(self) -> float:
        """Periods of all sessions per CPU-second."""
        return float(self.periods.sum()) / max(self.cpu_seconds, 1e-9)


def learn(
    market: GridMarket,
    settings: QSettings | None = None,
    *,
    sessions: int = 20,
    seed: int = 0,
    workers: int | None = None,
    keep_values: bool = False,
    watch: OnProgress | None = None,
) -> Sessions:
    """Let the sellers of `sessions` independent markets learn.

    Args:
        market: The stage game.
        settings: How they learn.
        sessions: R, at least 1.
        seed: Session r draws from the stream of (seed, r); the number of workers changes nothing.
        workers: Threads; default all cores.
        keep_values: Keep the Q tables (N m^(N + 1) numbers a session).
        watch: Called with sessions done and R.

    Raises:
        InvalidInput: Fewer than one session, or a negative seed.
    """
    if sessions < 1:
        raise invalid("sessions", sessions, "a whole number of at least 1")
    if seed < 0:
        raise invalid("seed", seed, "a whole number of at least 0")
    rules = settings or QSettings()
    _run(market, QSettings(stable=1, most=1), _streams(seed, 1)[0])  # loads or compiles outside the clock
    streams, ended = _streams(seed, sessions), [None] * sessions
    found: list[tuple[int, int, bool, IntArray, FloatArray] | None] = list(ended)
    started = time.process_time()
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        jobs = {pool.submit(_run, market, rules, streams[r]): r for r in range(sessions)}
        for done, job in enumerate(as_completed(jobs), 1):
            periods, last, converged, greedy, values = job.result()
            found[jobs[job]] = (periods, last, converged, greedy, values if keep_values else np.empty(0))
            if watch is not None:
                watch(done, sessions)
    spent = time.process_time() - started
    rows = [row for row in found if row is not None]
    return Sessions(
        market, rules, np.array([r[0] for r in rows]), np.array([r[2] for r in rows]), np.array([r[1] for r in rows]),
        np.array([r[3] for r in rows]), np.array([r[4] for r in rows]) if keep_values else None, spent,
    )  # fmt: skip


def _streams(seed: int, sessions: int) -> np.ndarray:
    return seed_streams([seed * 1_000_003 + r for r in range(sessions)])


def _run(market: GridMarket, settings: QSettings, stream: np.ndarray) -> tuple[int, int, bool, IntArray, FloatArray]:
    from malles_agents.sellers.tabular.kernel import session

    first = market.first_values(settings.discount)
    values = np.ascontiguousarray(np.repeat(first[:, None, :], market.num_states, axis=1))
    greedy = np.ascontiguousarray(values.argmax(axis=2))
    periods, last, converged = session(
        market.profit, market.weights, values, greedy, settings.alpha, settings.beta, settings.discount,
        settings.stable, settings.most, stream.copy(),
    )  # fmt: skip
    return periods, last, converged, greedy, values
