"""Tests of invariance: answers must not hang on the order, the labels or the wording of products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from malles_env.evaluation.audit.finding import Chart, Finding, Series, Verdict, not_applicable
from malles_env.evaluation.audit.states import random_states
from malles_env.evaluation.audit.subject import Answers, Asker, Subject
from malles_env.evaluation.audit.twins import Relabelled, Reordered, Reworded
from malles_env.market import Consumers, Offer
from malles_env.type_aliases import FloatArray, IntArray

ORDER_BOUNDS = (0.01, 0.05)
"""Mean total variation from the order or labels as given, up to which the test passes, and up to which it warns."""
WORDING_BOUNDS = (0.05, 0.15)
"""Likewise for wordings, which carry a little meaning of their own."""
LABELS = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "123456789", "abcdefghijklmnopqrstuvwxyz", "ZYXWVUTSRQPONMLKJIHGFEDCBA")


def position_bias(subject: Subject, asker: Asker, states: int, seed: int, orders: int) -> Finding:
    """Show the shelf in other orders and compare the answers, product by product.

    Orders are rotations of the shelf, evenly spaced, so that with as many orders as products each product stands in
    each place once. Language models asked over a list favour places in it (Zheng et al. 2024).

    Args:
        subject: Who is asked.
        asker: Asks and counts.
        states: Random states to ask about.
        seed: Of the states.
        orders: Other orders, at most J - 1.
    """
    name, measure = "position bias", "mean total variation between answers to the shelf as given and in another order"
    bound = _tell(ORDER_BOUNDS)
    if not isinstance(subject.consumers, Reordered):
        return not_applicable(
            name, measure, "these consumers cannot be shown another order (no reordered(order))", bound
        )
    size = subject.num_products
    if size < 2:
        return not_applicable(name, measure, "needs two products", bound)
    offer, _ = random_states(subject, states, np.random.default_rng([seed, 4]))
    before = asker.asked
    answers, places = [asker.ask(subject.consumers, offer)], [np.arange(size)]
    starts = _starts(size, orders)
    for start in starts:
        order = np.roll(np.arange(size), -start)
        place = np.argsort(order)  # where each product stands now
        twin = asker.ask(subject.consumers.reordered(order.tolist()), _permuted(offer, order))
        columns = np.concatenate([[0], 1 + place])
        answers.append(Answers(twin.probability[:, :, columns], twin.quantity[:, :, place]))
        places.append(place)
    names = [f"the order from place {start + 1} on" for start in starts]
    slots = _excess_by_slot(subject, answers, places)
    chart = Chart(
        "A place in the list is worth nothing",
        "place in the list",
        "choice probability above the product's own mean",
        (Series("", tuple(float(k) for k in range(size)), tuple(slots), "bars"),),
        ticks=tuple(str(k + 1) for k in range(size)),
        levels={"": 0.0},
        least_y=ORDER_BOUNDS[0],
    )
    return _compare(
        subject, name, measure, answers, ORDER_BOUNDS, asker.asked - before, chart, names,
        {"excess_by_place": slots.tolist(), "orders": len(answers)},
    )  # fmt: skip


def label_bias(subject: Subject, asker: Asker, states: int, seed: int) -> Finding:
    """Give the products other labels and compare the answers.

    Args:
        subject: Who is asked.
        asker: Asks and counts.
        states: Random states to ask about.
        seed: Of the states.
    """
    name, measure = "label bias", "mean total variation between answers with the labels as given and with others"
    consumers = subject.consumers
    if not isinstance(consumers, Relabelled):
        reason = "these consumers answer without labels (no relabelled(labels))"
        return not_applicable(name, measure, reason, _tell(ORDER_BOUNDS))
    if subject.num_products > len(LABELS[0]):
        return not_applicable(name, measure, f"more than {len(LABELS[0])} products", _tell(ORDER_BOUNDS))
    sets = [labels[: subject.num_products] for labels in LABELS if len(labels) >= subject.num_products]
    twins = [consumers.relabelled(tuple(labels)) for labels in sets]
    return _twins(
        subject, asker, twins, [f"{x[0]} to {x[-1]}" for x in sets], states, seed, name, measure, ORDER_BOUNDS
    )


def paraphrase_stability(subject: Subject, asker: Asker, states: int, seed: int, wordings: int) -> Finding:
    """Describe the same products in other words and compare the answers.

    Args:
        subject: Who is asked.
        asker: Asks and counts.
        states: Random states to ask about.
        seed: Of states and wordings.
        wordings: Paraphrases.
    """
    name, measure = (
        "paraphrase stability",
        "mean total variation between answers to the products as given and paraphrased",
    )
    consumers = subject.consumers
    if not isinstance(consumers, Reworded):
        reason = "these consumers read no texts that could be paraphrased (no reworded(seed))"
        return not_applicable(name, measure, reason, _tell(WORDING_BOUNDS))
    twins = [consumers.reworded(seed + k) for k in range(1, wordings + 1)]
    labels = [f"wording {k}" for k in range(1, wordings + 1)]
    return _twins(subject, asker, twins, labels, states, seed, name, measure, WORDING_BOUNDS)


def _twins(
    subject: Subject,
    asker: Asker,
    twins: Sequence[Consumers],
    labels: Sequence[str],
    states: int,
    seed: int,
    name: str,
    measure: str,
    bounds: tuple[float, float],
) -> Finding:
    offer, _ = random_states(subject, states, np.random.default_rng([seed, 5]))
    before = asker.asked
    answers = [asker.ask(consumers, offer) for consumers in (subject.consumers, *twins)]
    apart = [float(_variation(subject, answers[0], other).mean()) for other in answers[1:]]
    chart = Chart(
        "The same products in other words: distance from the first answers",
        "",
        "total variation, mean",
        (Series("", tuple(float(k) for k in range(len(apart))), tuple(apart), "bars"),),
        ticks=tuple(labels),
        levels={"pass up to": bounds[0], "fail above": bounds[1]},
    )
    details = {"from_first": dict(zip(labels, apart, strict=True))}
    return _compare(subject, name, measure, answers, bounds, asker.asked - before, chart, labels, details)


def _compare(
    subject: Subject,
    name: str,
    measure: str,
    answers: Sequence[Answers],
    bounds: tuple[float, float],
    asked: int,
    chart: Chart,
    names: Sequence[str],
    details: Mapping[str, object],
) -> Finding:
    """Judge the mean total variation from the first answers, over the others, states and segments."""
    apart = np.stack([_variation(subject, answers[0], other) for other in answers[1:]])  # (others, B)
    value = float(apart.mean())
    error = float(apart.mean(axis=0).std(ddof=1) / np.sqrt(apart.shape[1])) if apart.shape[1] > 1 else float("nan")
    verdict: Verdict = "pass" if value <= bounds[0] else "warn" if value <= bounds[1] else "fail"
    p, b = (int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    worst = f"{names[p]} differs by {apart.max():.2g} in state {b + 1}"
    return Finding(
        name=name,
        measure=measure,
        value=value,
        shown=f"{value:.2g} ± {error:.1g} (largest {apart.max():.2g})",
        bound=_tell(bounds),
        verdict=verdict,
        asked=asked,
        worst=worst if value > 1e-12 else "",
        details={"error": error, "largest": float(apart.max()), **details},
        chart=chart,
    )


def _variation(subject: Subject, first: Answers, second: Answers) -> FloatArray:
    """Return the total variation between two answers, segments weighted, shape ``(B,)``."""
    apart = 0.5 * np.abs(first.probability - second.probability).sum(axis=2)
    return np.asarray(apart @ subject.weights)


def _starts(size: int, orders: int) -> list[int]:
    """Return the first places of `orders` rotations, evenly spaced, without the identity."""
    count = min(orders, size - 1)
    return [round((k + 1) * size / (count + 1)) for k in range(count)]


def _permuted(offer: Offer, order: IntArray) -> Offer:
    columns = np.concatenate([[0], 1 + order])
    return Offer(
        offer.prices[:, order],
        offer.available[:, order],
        offer.regular_price[order],
        offer.mean_field[:, order],
        offer.loyalty[:, :, columns],
    )


def _excess_by_slot(subject: Subject, answers: Sequence[Answers], places: Sequence[IntArray]) -> FloatArray:
    """Return the mean of probability minus the product's mean over orders, by place, shape ``(J,)``."""
    chance = np.stack([np.einsum("s,bsj->j", subject.weights, a.probability[:, :, 1:]) for a in answers])
    chance /= len(answers[0].probability)
    excess = chance - chance.mean(axis=0)
    total, count = np.zeros(subject.num_products), np.zeros(subject.num_products)
    for values, place in zip(excess, places, strict=True):
        np.add.at(total, place, values)
        np.add.at(count, place, 1.0)
    return total / np.maximum(count, 1.0)


def _tell(bounds: tuple[float, float]) -> str:
    return f"at most {bounds[0]:g}; fail above {bounds[1]:g}"
