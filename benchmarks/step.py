"""How many steps per second: one market behind PettingZoo, batches of markets, a peer, and the floor.

Run it as ``python -m benchmarks.step [--json FILE]``. Rates are per second of CPU time of one thread, so that other
work on the machine matters little (one row is per second of the wall clock, on two threads). The measurements take
turns, several rounds each, and the table gives the median with the lowest and highest round. Actions are drawn
beforehand: sampling a Gymnasium Box costs more than a step.

The floor is the time of the S x J exponentials per market that the textbook form of the model needs, by NumPy's
single-precision `exp`. The engine itself works in double precision, for which the same exponentials are shown too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads its threads

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import malles_env
from benchmarks.markets import (
    CONSUMERS,
    PRODUCTS,
    SEGMENTS,
    SELLERS,
    batched_market,
    forced_market,
    gift_market,
    scenario,
)
from malles_env.scenarios import Scenario

BATCH = 1024
ROUNDS = 9
SECONDS_PER_ROUND = 0.4
FLOOR = "floor: the bare exponentials, single precision"
THREADED = "1024 markets, sampled demand, 2 threads (wall clock)"
PROMOTED = "the same, promotion on"
ORDERED = "the same, replenishment on"
VECTOR = "vec_env, 256 of these markets"
VECTOR_PROMOTED, VECTOR_ORDERED = f"{VECTOR}, promotion on", f"{VECTOR}, replenishment on"
FORCED = "soft-drinks, all forces, 1,024 markets, draws"
WORDS, BARE = "gifts, 256 markets, sampled demand", "a bare logit of that size"
PEER = "econgym BertrandDiff-v0, 4 sellers"
Run = Callable[[], None]


def parallel_steps(name_or_scenario: object, calls: int = 200) -> tuple[Run, int]:
    """Return a function that plays `calls` periods of a parallel env with actions drawn beforehand."""
    env = malles_env.parallel_env(name_or_scenario, max_cycles=10**9)
    env.reset(seed=0)
    actions = [{agent: env.action_space(agent).sample() for agent in env.agents} for _ in range(50)]

    def run() -> None:
        for i in range(calls):
            env.step(actions[i % 50])

    return run, calls


def vector_steps(of: Scenario, markets: int = 256, calls: int = 8) -> tuple[Run, int]:
    """Return a function that plays `calls` periods of `vec_env` with actions of all sellers drawn beforehand."""
    env = malles_env.vec_env(of, num_markets=markets, max_cycles=10**9)
    env.seed(0)
    env.reset()
    rng, shape = np.random.default_rng(0), (env.num_envs, *env.action_space.shape)  # type: ignore[misc]
    actions = [rng.uniform(-1.0, 1.0, shape).astype(np.float32) for _ in range(calls)]

    def run() -> None:
        for action in actions:
            env.step(action)

    return run, calls * markets


def batched_steps(threads: int = 1, **options: object) -> tuple[Run, int]:
    """Return a function that plays one period in `BATCH` markets."""
    market = batched_market(BATCH, **options)  # type: ignore[arg-type]
    market.threads = threads
    rng = np.random.default_rng(0)
    prices = rng.uniform(1.0, 4.0, (BATCH, PRODUCTS))
    listed = np.ones((BATCH, PRODUCTS), dtype=bool)

    def run() -> None:
        market.advance(prices, listed)

    return run, BATCH


def forced_steps() -> tuple[Run, int]:
    """Return a function that plays one period of soft drinks with every force and hidden draws in `BATCH` markets."""
    market = forced_market(BATCH)
    market.reset(0)
    rng, shape = np.random.default_rng(0), (BATCH, market.num_products)
    prices = rng.uniform(market.catalog.price_low, market.catalog.price_high, shape)
    listed = np.ones(shape, dtype=bool)
    promoted = rng.random((2, *shape)) < 0.2

    def run() -> None:
        market.advance(prices, listed, promoted)

    return run, BATCH


def gift_steps(*, bare: bool) -> tuple[Run, int]:
    """Return a function that plays one period of the market made of words, or of a bare logit of its size."""
    market = gift_market(BATCH // 4, bare=bare)
    market.reset(0)
    rng, shape = np.random.default_rng(0), (BATCH // 4, market.num_products)
    prices = rng.uniform(market.catalog.price_low, market.catalog.price_high, shape)
    listed = rng.random(shape) < 1.0 / 3.0

    def run() -> None:
        market.advance(prices, listed)

    return run, BATCH // 4


def peer_steps(calls: int = 500) -> tuple[Run, int]:
    """Return a function that plays the peer: no consumers, no sampling, one linear demand formula."""
    import econgym

    env = econgym.make("BertrandDiff-v0", n=SELLERS)
    env.reset()
    prices = [0.5] * SELLERS

    def run() -> None:
        for _ in range(calls):
            env.step(prices)

    return run, calls


def floor_steps(precision: type[np.floating]) -> tuple[Run, int]:
    """Return a function that takes the bare exponentials of `BATCH` markets."""
    utility = np.random.default_rng(0).normal(size=(BATCH, SEGMENTS, PRODUCTS)).astype(precision)
    chunk = utility[:16]  # small enough to stay in the cache
    out = np.empty_like(chunk)

    def run() -> None:
        for _ in range(BATCH // 16):
            np.exp(chunk, out=out)

    return run, BATCH


def rate(run: Run, steps: int, clock: Callable[[], float]) -> float:
    """Return steps per second of `clock` over about `SECONDS_PER_ROUND`."""
    start, done = clock(), 0
    while (spent := clock() - start) < SECONDS_PER_ROUND:
        run()
        done += steps
    return done / spent


def measure(jobs: dict[str, tuple[Run, int]]) -> dict[str, np.ndarray]:
    """Return the rates of all jobs, measured in turns."""
    for run, _ in jobs.values():
        run()  # compile and warm up
    rounds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in track(range(ROUNDS), "measuring in turns"):
        for name, (run, steps) in jobs.items():
            clock = time.perf_counter if name == THREADED else time.process_time
            rounds[name].append(rate(run, steps, clock))
    return {name: np.array(rates) for name, rates in rounds.items()}


def main(json_file: Annotated[Path | None, typer.Option("--json", help="Also write the medians here.")] = None) -> None:
    """Measure and print."""
    jobs = {
        "parallel env, 64 segments, 16 products, 4 sellers": parallel_steps(scenario()),
        PROMOTED: parallel_steps(scenario(promotions=True)),
        ORDERED: parallel_steps(scenario(replenishment=True)),
        "parallel env, bertrand-duopoly": parallel_steps("bertrand-duopoly"),
        PEER: peer_steps(),
        f"{BATCH} markets, expected demand": batched_steps(demand="expected"),
        f"{BATCH} markets, sampled demand": batched_steps(demand="multinomial"),
        f"{BATCH} markets, sampled, with quantities": batched_steps(demand="multinomial", quantities=True),
        f"{BATCH} markets, expected, loyalty and quantities": batched_steps(
            demand="expected", loyal=True, quantities=True
        ),
        FORCED: forced_steps(),
        WORDS: gift_steps(bare=False),
        BARE: gift_steps(bare=True),
        VECTOR: vector_steps(scenario()),
        VECTOR_PROMOTED: vector_steps(scenario(promotions=True)),
        VECTOR_ORDERED: vector_steps(scenario(replenishment=True)),
        THREADED: batched_steps(demand="multinomial", threads=2),
        FLOOR: floor_steps(np.float32),
        "the same exponentials in double precision": floor_steps(np.float64),
    }
    rates = measure(jobs)
    floor, peer = np.median(rates[FLOOR]), np.median(rates[PEER])
    table = Table(title=f"Steps per CPU-second, one thread; S = {SEGMENTS}, J = {PRODUCTS}, N = {CONSUMERS:,}")
    for heading in (
        "what",
        "median of rounds",
        "lowest round",
        "highest round",
        "median / floor row",
        "median / econgym row",
    ):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=heading == "what")
    for name, found in rates.items():
        middle = np.median(found)
        table.add_row(name, f"{middle:,.0f}", f"{found.min():,.0f}", f"{found.max():,.0f}",
                      f"{middle / floor:.2f}", f"{middle / peer:.2f}")  # fmt: skip
    Console(width=140).print(table)
    if json_file is not None:
        names = list(jobs)
        medians = {name: float(np.median(found)) for name, found in rates.items()}
        found_keys = {
            "parallel_env_steps_per_s": medians[names[0]],
            "gifts_to_bare_logit": medians[WORDS] / medians[BARE],
            "parallel_env_promotion_steps_per_s": medians[PROMOTED],
            "parallel_env_replenishment_steps_per_s": medians[ORDERED],
            "vec_env_market_steps_per_s": medians[VECTOR],
            "vec_env_promotion_market_steps_per_s": medians[VECTOR_PROMOTED],
            "vec_env_replenishment_market_steps_per_s": medians[VECTOR_ORDERED],
            "parallel_env_duopoly_steps_per_s": medians[names[3]],
            "peer": {PEER: medians[PEER]},
            "batched_expected": medians[names[5]],
            "batched_sampled": medians[names[6]],
            "batched_sampled_two_threads_wall": medians[THREADED],
            "batched_sampled_quantities": medians[names[7]],
            "batched_expected_loyalty": medians[names[8]],
            "batched_forces_draws": medians[FORCED],
            "floor_market_steps_per_s": float(floor),
            "floor_double_precision": medians[names[-1]],
            "spread": {name: [float(found.min()), float(found.max())] for name, found in rates.items()},
        }
        json_file.write_text(json.dumps(found_keys, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
