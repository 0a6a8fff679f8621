"""What a calendar of prices looks like in four numbers: spread, weeks on deal, depth of deals, persistence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malles_env.type_aliases import BoolArray, FloatArray

DEAL = 0.1
"""A week is on deal whose price is this share or more below the line's usual price."""
USUAL = 90.0
"""The usual price is this percentile of the line's prices."""
CHANGE = 0.05
FEWEST = 8
"""A line needs so many weeks on the shelf to be measured."""
MATCH = 1.5
MEASURES = ("sd", "changes", "on_deal", "depth", "autocorrelation")


def line_shape(prices: FloatArray) -> dict[str, float]:
    """Return the measures of one line's weekly prices.

    Args:
        prices: Money, of the weeks in which it was on the shelf, shape ``(T,)``, T at least 2.

    Returns:
        ``sd`` of the log price; ``changes``: share of weeks whose price differs by more than 5% from that of the week
        before; ``on_deal``: share of weeks 10% or more below the 90th percentile of the prices; ``depth``: mean
        distance from that percentile in those weeks, as a share of it, 0 where there are none; ``autocorrelation`` of
        the log price from one week to the next, 0 where it never moves.
    """
    logs, usual = np.log(prices), float(np.percentile(prices, USUAL))
    on_deal = prices <= (1.0 - DEAL) * usual + 1e-9
    moved = logs - logs.mean()
    spread = float((moved**2).sum())
    return {
        "sd": float(logs.std(ddof=1)) if np.ptp(prices) > 0 else 0.0,
        "changes": float((np.abs(np.expm1(np.diff(logs))) > CHANGE).mean()),
        "on_deal": float(on_deal.mean()),
        "depth": float((1.0 - prices[on_deal] / usual).mean()) if on_deal.any() else 0.0,
        "autocorrelation": float((moved[1:] * moved[:-1]).sum()) / spread if spread > 1e-12 else 0.0,
    }


def calendar_shape(
    prices: FloatArray, listed: BoolArray, lines: Sequence[int] | None = None
) -> dict[str, float] | None:
    """Return the median of each measure over lines, see `line_shape`; None where no line was on the shelf long enough.

    Args:
        prices: Money, shape ``(T, J)``.
        listed: Which lines were on the shelf, shape ``(T, J)``.
        lines: The lines to look at; default all J.
    """
    chosen = range(prices.shape[1]) if lines is None else lines
    found = [line_shape(prices[listed[:, j], j]) for j in chosen if listed[:, j].sum() >= FEWEST]
    if not found:
        return None
    return {name: float(np.median([shape[name] for shape in found])) for name in MEASURES} | {
        "lines": float(len(found))
    }


def alike(model: dict[str, float] | None, real: dict[str, float] | None) -> bool:
    """Return whether spread, share of weeks on deal and depth lie within a factor of 1.5 of the real ones."""
    if model is None or real is None:
        return False
    return all(real[name] / MATCH <= model[name] <= MATCH * real[name] for name in ("sd", "on_deal", "depth"))
