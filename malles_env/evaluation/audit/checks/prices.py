"""Tests of price response: law of demand, discount monotonicity, signs of substitution."""

from __future__ import annotations

import numpy as np

from malles_env.evaluation.audit.finding import Chart, Finding, Series, Share
from malles_env.evaluation.audit.states import Ladder
from malles_env.evaluation.audit.subject import Subject
from malles_env.type_aliases import BoolArray, FloatArray

BOUND = 1e-3
"""Largest share of cases that may break a law: 1 in 1,000."""
SHOWN = 8
"""Products that get a line of their own in a plot."""


def law_of_demand(subject: Subject, ladder: Ladder, tolerance: float = 1e-9, bound: float = BOUND) -> Finding:
    """Judge whether a product's choice probability ever rises with its own price.

    Every step up the ladder is a case, per segment. Random-utility consumers with a negative price response obey
    everywhere (McFadden 1974); Giffen goods, the textbook exception, are no matter of grocery brands.

    Args:
        subject: Names for the worst case.
        ladder: A price ladder.
        tolerance: Rises up to this (probability) count as none: 1e-9 for exact consumers.
        bound: Largest share of broken cases that passes.
    """
    own = ladder.own(ladder.probability[..., 1:])
    rise = np.diff(own, axis=1)
    broken = rise > tolerance
    share = Share.of(broken)
    demand = _by_product(subject, ladder, own)
    return Finding(
        name="law of demand",
        measure="share of own-price rises (segment, product, step) after which the product's choice probability rises",
        value=share.value,
        shown=str(share),
        bound=tell_bound(bound),
        verdict=share.verdict(bound),
        asked=ladder.asked,
        worst=_worst_step(subject, ladder, rise, broken, "probability"),
        details={
            **share.as_details(),
            "broken_by_product": _count_by_product(subject, ladder, broken),
            "largest_rise": float(rise.max()),
        },
        chart=Chart(
            "Demand falls as a product's own price rises",
            "own price, as a multiple of the price before",
            "choice probability, as a multiple of that before",
            _lines(subject, ladder, demand),
        ),
    )


def discount_monotonicity(subject: Subject, ladder: Ladder, tolerance: float = 1e-9, bound: float = BOUND) -> Finding:
    """Judge whether a deeper discount ever lowers a product's choice probability or expected units.

    Args:
        subject: Names for the worst case.
        ladder: A discount ladder.
        tolerance: Falls up to this count as none.
        bound: Largest share of broken cases that passes.
    """
    chance, units = ladder.own(ladder.probability[..., 1:]), ladder.own(ladder.units)
    fall = np.maximum(-np.diff(chance, axis=1), -np.diff(units, axis=1))
    broken = fall > tolerance
    share = Share.of(broken)
    return Finding(
        name="discount monotonicity",
        measure="share of discount deepenings (segment, product, step) after which probability or units fall",
        value=share.value,
        shown=str(share),
        bound=tell_bound(bound),
        verdict=share.verdict(bound),
        asked=ladder.asked,
        worst=_worst_step(subject, ladder, fall, broken, "probability or units", "falls by"),
        details={
            **share.as_details(),
            "probability_falls": int((np.diff(chance, axis=1) < -tolerance).sum()),
            "units_fall": int((np.diff(units, axis=1) < -tolerance).sum()),
            "broken_by_product": _count_by_product(subject, ladder, broken),
        },
        chart=Chart(
            "Units rise as a discount deepens",
            "discount depth below the regular price",
            "units, as a multiple of those without discount",
            _lines(subject, ladder, _by_product(subject, ladder, units)),
        ),
    )


def substitution(subject: Subject, ladder: Ladder, tolerance: float = 1e-9, bound: float = BOUND) -> Finding:
    """Judge whether a rival or the outside option ever loses when a product's own price rises.

    Under additive random utility all options are gross substitutes (McFadden 1981; Anderson, de Palma and Thisse
    1992). Only steps that obey the law of demand are judged: where own demand rises, adding-up forces
    another's down, and the law of demand has already counted the step.

    Args:
        subject: Names for the worst case.
        ladder: A price ladder.
        tolerance: Falls up to this (probability) count as none.
        bound: Largest share of broken cases that passes.
    """
    change = np.diff(ladder.probability, axis=1)  # (N, K-1, S, J+1)
    lawful = np.diff(ladder.own(ladder.probability[..., 1:]), axis=1) <= tolerance
    options = _rivals_on_shelf(ladder)
    judged = lawful[..., None] & options[:, None, None, :]
    broken = (change < -tolerance) & judged
    share = Share.of(broken, judged)
    inside, outside = _diverted(subject, ladder)
    places = tuple(float(j) for j in range(subject.num_products))
    return Finding(
        name="substitution signs",
        measure="share of own-price rises (segment, product, step, option) after which another option loses",
        value=share.value,
        shown=str(share),
        bound=tell_bound(bound),
        verdict=share.verdict(bound),
        asked=ladder.asked,
        worst=_worst_pair(subject, ladder, change, broken),
        details={
            **share.as_details(),
            "diverted_to_rivals": dict(zip(subject.products, inside.tolist(), strict=True)),
            "diverted_to_outside": dict(zip(subject.products, outside.tolist(), strict=True)),
        },
        chart=Chart(
            "Where buyers go who leave a dearer product",
            "product whose price rises",
            "share of the demand it loses",
            (Series("rivals", places, tuple(inside), "bars"), Series("no purchase", places, tuple(outside), "bars")),
            ticks=subject.products,
            levels={"": 0.0},
        ),
        shared=True,
    )


def tell_bound(bound: float) -> str:
    """Return the bound on a share of broken cases in words."""
    return f"at most {bound:g} of cases"


def _rivals_on_shelf(ladder: Ladder) -> BoolArray:
    """Return which options could gain: listed rivals and the outside option, shape ``(N, J + 1)``."""
    listed = ladder.offer.available.copy()
    listed[np.arange(len(listed)), ladder.product] = False
    return np.hstack([np.ones((len(listed), 1), dtype=bool), listed])


def _by_product(subject: Subject, ladder: Ladder, own: FloatArray) -> FloatArray:
    """Return each product's own demand relative to the first rung, over segments and states, shape ``(J, K)``."""
    demand = own @ subject.weights  # (N, K)
    summed = np.zeros((subject.num_products, demand.shape[1]))
    np.add.at(summed, ladder.product, demand)
    return summed / np.maximum(summed[:, :1], 1e-300)


def _lines(subject: Subject, ladder: Ladder, demand: FloatArray) -> tuple[Series, ...]:
    """Return a line per product, named while they are few; of many the mean stands out."""
    x = tuple(float(step) for step in ladder.steps)
    tested = [j for j in range(subject.num_products) if (ladder.product == j).any()]
    if len(tested) <= SHOWN:
        return tuple(Series(subject.products[j], x, tuple(demand[j])) for j in tested)
    faint = tuple(Series("", x, tuple(demand[j]), "faint") for j in tested)
    return (*faint, Series(f"mean of {len(tested)} products", x, tuple(demand[tested].mean(axis=0))))


def _count_by_product(subject: Subject, ladder: Ladder, broken: BoolArray) -> dict[str, int]:
    counts = np.bincount(ladder.product, broken.sum(axis=(1, 2)), subject.num_products)
    return {name: int(count) for name, count in zip(subject.products, counts, strict=True) if count}


def _diverted(subject: Subject, ladder: Ladder) -> tuple[FloatArray, FloatArray]:
    """Return per product which share of demand lost on the last rung went to rivals and to the outside option."""
    change = np.einsum("s,nsj->nj", subject.weights, ladder.probability[:, -1] - ladder.probability[:, 0])
    own = change[np.arange(len(change)), 1 + ladder.product]
    lost, rivals, outside = (
        np.bincount(ladder.product, values, subject.num_products)
        for values in (-own, change[:, 1:].sum(axis=1) - own, change[:, 0])
    )
    safe = np.where(np.abs(lost) > 1e-12, lost, np.inf)
    return rivals / safe, outside / safe


def _worst_step(
    subject: Subject, ladder: Ladder, size: FloatArray, broken: BoolArray, what: str, verb: str = "rises by"
) -> str:
    if not broken.any():
        return ""
    n, k, s = (int(i) for i in np.unravel_index(np.where(broken, size, -np.inf).argmax(), size.shape))
    return (
        f"{subject.segments[s]}: {what} of {subject.products[ladder.product[n]]} {verb} {size[n, k, s]:.2g} as its "
        f"{_move(subject, ladder, n, k)}"
    )


def _worst_pair(subject: Subject, ladder: Ladder, change: FloatArray, broken: BoolArray) -> str:
    if not broken.any():
        return ""
    size = np.where(broken, -change, -np.inf)
    n, k, s, option = (int(i) for i in np.unravel_index(size.argmax(), size.shape))
    loser = "no purchase" if option == 0 else subject.products[option - 1]
    return (
        f"{subject.segments[s]}: {loser} loses {size[n, k, s, option]:.2g} as the price of "
        f"{subject.products[ladder.product[n]]}, whose {_move(subject, ladder, n, k)}"
    )


def _move(subject: Subject, ladder: Ladder, n: int, k: int) -> str:
    before, after = ladder.own_price[n, k], ladder.own_price[n, k + 1]
    rivals = ladder.offer.available[n].copy()
    rivals[ladder.product[n]] = False
    beside = subject.tell_prices(ladder.offer.prices[n], rivals)
    return f"price goes from {before:.4g} to {after:.4g}" + (f" beside {beside}" if beside else "")
