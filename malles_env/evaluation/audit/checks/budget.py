"""Test of budget sense: all prices up means less bought, absurd prices mean nothing bought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from malles_env.evaluation.audit.checks.prices import BOUND
from malles_env.evaluation.audit.finding import Chart, Finding, Series, Share
from malles_env.evaluation.audit.states import random_states
from malles_env.evaluation.audit.subject import Asker, Subject, take
from malles_env.type_aliases import FloatArray

SCALES = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 4.0, 1000.0)
"""All prices of a state times these; the last is the absurd one."""
ABSURD = 0.01
"""Most units left at absurd prices, as a share of those at the state's own."""


def budget_sense(
    subject: Subject, asker: Asker, states: int, seed: int, tolerance: float = 1e-9, bound: float = BOUND
) -> Finding:
    """Scale all prices together and look at units and spending per consumer.

    Judged: expected units never rise as all prices rise (so spending at doubled prices is at most twice as much);
    at absurd prices nearly nothing is bought; at the lower price bounds probabilities are still a distribution.
    Consumers here have no budget of their own, so spending has no bound beyond that and is reported.

    Args:
        subject: Who is asked.
        asker: Asks and counts.
        states: Random states to ask about; the base state is one more.
        seed: Of the states.
        tolerance: Rises up to this (units per consumer) count as none.
        bound: Largest share of broken steps that passes.
    """
    bought, prices, sums = _scaled(subject, asker, states, seed)
    units, spending = bought.sum(axis=3), np.einsum("nksj,nkj->nks", bought, prices)
    rise = np.diff(units, axis=1)
    share = Share.of(rise > tolerance)
    at = {scale: place for place, scale in enumerate(SCALES)}
    crowd, money = units @ subject.weights, spending @ subject.weights  # (N, K)
    left = float(crowd[:, -1].sum() / max(crowd[:, at[1.0]].sum(), 1e-300))
    doubled = money[:, at[2.0]] / np.maximum(money[:, at[1.0]], 1e-300)
    off = float(np.abs(sums - 1.0).max())
    proper = off <= max(1e-6, tolerance)
    verdict = share.verdict(bound) if left <= ABSURD and proper else "fail"
    return Finding(
        name="budget sense",
        measure="share of rises of all prices together (segment, step) after which expected units rise",
        value=share.value,
        shown=f"{share}; units left at absurd prices {left:.2g}; spending at doubled prices x {doubled.mean():.2f}",
        bound=f"at most {bound:g} of steps; at most {ABSURD:g} of the units left; probabilities sum to 1",
        verdict=verdict,
        asked=len(sums),
        worst=_worst(subject, rise) if share.broken else "",
        details={
            **share.as_details(),
            "units_left_at_absurd_prices": left,
            "spending_at_doubled_prices": {"mean": float(doubled.mean()), "largest": float(doubled.max())},
            "probability_sum_error": off,
            "scales": list(SCALES),
            "units_per_consumer": crowd[0].tolist(),
            "spending_per_consumer": money[0].tolist(),
            "spending_shares": _spending_shares(subject, bought[0, at[1.0]]),
        },
        chart=_chart(crowd[0], money[0], at[1.0]),
    )


def _worst(subject: Subject, rise: FloatArray) -> str:
    """Return where units rise most ``(N, K - 1, S)``, in words."""
    n, k, s = (int(i) for i in np.unravel_index(rise.argmax(), rise.shape))
    return (
        f"{subject.segments[s]}: units rise by {rise.max():.2g} as prices go from x {SCALES[k]:g} to "
        f"x {SCALES[k + 1]:g} of state {n + 1}"
    )


def _chart(units: FloatArray, spending: FloatArray, base: int) -> Chart:
    """Return the chart of units and spending per consumer ``(K,)``, as multiples of those at the scale `base`."""
    return Chart(
        "All prices scaled together, base state",
        "all prices, as a multiple of the base prices",
        "as a multiple of the value at base prices",
        (
            Series("units per consumer", SCALES[:-1], tuple(units[:-1] / max(units[base], 1e-300))),
            Series("spending per consumer", SCALES[:-1], tuple(spending[:-1] / max(spending[base], 1e-300))),
        ),
        log_x=True,
        levels={"": 1.0},
    )


def _scaled(subject: Subject, asker: Asker, states: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return units ``(N, K, S, J)`` and prices ``(N, K, J)``, base state first, and all sums of probabilities."""
    drawn, _ = random_states(subject, states, np.random.default_rng([seed, 6]))
    base = subject.base()
    offer = replace(
        drawn,
        **{
            name: np.concatenate([getattr(base, name), getattr(drawn, name)])
            for name in ("prices", "available", "mean_field", "loyalty")
        },
    )
    count, scales = len(offer.prices), len(SCALES)
    grown = take(offer, np.repeat(np.arange(count), scales))
    grown.prices[:] *= np.tile(SCALES, count)[:, None]
    lowest = replace(base, prices=subject.price_low[None].copy())
    answers = asker.ask(subject.consumers, grown)
    at_lowest = asker.ask(subject.consumers, lowest)
    shape = (count, scales, subject.num_segments, subject.num_products)
    sums = np.concatenate([answers.probability, at_lowest.probability]).sum(axis=2)
    return answers.units.reshape(shape), grown.prices.reshape(count, scales, -1), sums


def _spending_shares(subject: Subject, units: FloatArray) -> dict[str, float]:
    """Return each product's share of spending, from units ``(S, J)`` of the base state at base prices."""
    money = subject.weights @ units * subject.prices
    return dict(zip(subject.products, (money / max(money.sum(), 1e-300)).tolist(), strict=True))
