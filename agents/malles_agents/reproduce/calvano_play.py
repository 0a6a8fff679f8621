"""What the Q-learners of Calvano et al. (2020) have learned: punishment, and how far from best replies they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from malles_agents.plots import COLOURS, FAINT, new_figure, save_figure
from malles_agents.reproduce.base import Options, Reproduction, row
from malles_agents.reproduce.calvano import grid_nash_rows
from malles_agents.sellers.tabular import GridMarket, QSettings, learn
from malles_agents.sellers.tabular.analysis import Impulse, equilibrium_play, impulse_response, limits
from malles_agents.standard_errors import mean_se


def impulse(options: Options) -> Reproduction:
    """Force one seller to its static best reply for a period and watch both come back."""
    market = GridMarket()
    found = learn(
        market, QSettings(), sessions=options.sessions or 300, seed=options.seed, workers=options.workers,
        watch=options.watch,
    )  # fmt: skip
    reply = impulse_response(found)
    sample = f"{len(reply.gain) // 2} of {len(found.last)} sessions (fixed points), both sellers deviating in turn"
    prices, back = reply.prices, reply.back
    samples: dict[str, np.ndarray] = {
        "price before the deviation": prices[:, 0, 1],
        "deviator's price in the deviation": prices[:, 1, 0],
        "rival's price one period later": prices[:, 2, 1],
        "rival cuts its price in the next period (share)": prices[:, 2, 1] < prices[:, 0, 1] - 1e-9,
        "deviation unprofitable (share)": reply.gain < 0,
        "deviator's gain in discounted profit (%)": 100 * reply.gain,
        "back at the old prices within 25 periods (share)": (back >= 0) & (back <= 25),
        "periods until back, of those that come back": np.where(back >= 0, back, np.nan),
    }
    rows = tuple(row(name, _by_session(values), sample=sample) for name, values in samples.items())
    data = {
        "deviator_price": prices[:, :, 0].mean(axis=0).tolist(),
        "rival_price": prices[:, :, 1].mean(axis=0).tolist(),
        "unprofitable": mean_se(_by_session(reply.gain < 0))._asdict(),
    }
    return Reproduction(
        "calvano-impulse", "A one-period price cut is punished and forgiven", rows, data,
        {"sessions": options.sessions, "seed": options.seed},
        draw=lambda path: _draw_impulse(reply, market, path),
    )  # fmt: skip


def _by_session(values: np.ndarray) -> np.ndarray:
    """Return one number per session from its two deviations, which are not independent; lost ones are left out."""
    means = np.nanmean(np.asarray(values, dtype=np.float64).reshape(-1, 2), axis=1)
    return np.asarray(means[~np.isnan(means)])


def _draw_impulse(reply: Impulse, market: GridMarket, path: Path) -> Path:
    figure, axis = new_figure()
    time = np.arange(reply.prices.shape[1])
    for k, (name, colour) in enumerate((("deviator", COLOURS[1]), ("rival", COLOURS[0]))):
        axis.plot(time, reply.prices[:, :, k].mean(axis=0), color=colour, marker="o", markersize=3, label=name)
    axis.axhline(market.nash.prices[0], color=FAINT, linestyle=":", label="Nash price")
    axis.axhline(market.monopoly.prices[0], color=FAINT, linestyle="--", label="joint-profit price")
    axis.set_xlabel("period (the deviation is in period 1)")
    axis.set_ylabel("price (money)")
    axis.set_title("A price cut is punished and forgiven: mean over sessions", loc="left")
    axis.legend(frameon=False)
    return save_figure(figure, path)


def equilibrium(options: Options) -> Reproduction:
    """Compare the learned strategies with best replies: once, and for ever."""
    market = GridMarket()
    found = learn(
        market, QSettings(), sessions=options.sessions or 1000, seed=options.seed, workers=options.workers,
        watch=options.watch,
    )  # fmt: skip
    play, ends = equilibrium_play(found), limits(found)
    sample = f"{len(ends.gain)} sessions"
    both = np.asarray(play.one_shot.all(axis=1))
    rows = (
        row("profit gain", ends.gain, sample=sample),
        *grid_nash_rows(market),
        row("one-shot check passed on the path, both (share)", both, sample=sample),
        row("one-shot check passed on the path, per seller (share)", play.one_shot.mean(axis=1), sample=sample),
        row("best-response gap, value left (%)", 100 * play.gap.mean(axis=1), sample=sample),
        row("exact dynamic best reply earns more by (%)", 100 * play.extra.mean(axis=1), sample=sample),
        row("the same where the one-shot check passes (%)", 100 * play.extra[both].mean(axis=1), sample=sample)
        if both.any() else row("sessions that pass the one-shot check", [0.0], sample=sample),
        row("both sellers at an exact best reply (share)", (play.extra < 1e-9).all(axis=1), sample=sample),
    )  # fmt: skip
    data = {"best_response_gap": mean_se(play.gap.mean(axis=1))._asdict(), "one_shot_nash": mean_se(both)._asdict()}
    return Reproduction(
        "calvano-equilibrium", "Learned strategies are exploitable where the one-shot check sees none", rows, data,
        {"sessions": options.sessions, "seed": options.seed},
        ("The one-shot check lets a seller deviate for one period and return to its own strategy. The exact best reply "
         "is found by policy iteration over all 225 states against the rival's fixed strategy.",),
        lambda path: _draw_gap(100 * play.extra.mean(axis=1), both, path),
    )  # fmt: skip


def _draw_gap(extra: np.ndarray, passed: np.ndarray, path: Path) -> Path:
    figure, axis = new_figure()
    bins = np.linspace(0, max(float(extra.max()), 1.0), 31)
    axis.hist(
        [extra[passed], extra[~passed]], bins=bins, stacked=True, color=[COLOURS[0], COLOURS[1]],
        label=["one-shot check says Nash", "one-shot check says not"],
    )  # fmt: skip
    axis.set_xlabel("what an exact best reply would earn more (%), mean of both sellers")
    axis.set_ylabel("sessions")
    axis.set_title("How far learned strategies are from best replies (0: none to gain)", loc="left")
    axis.legend(frameon=False)
    return save_figure(figure, path)
