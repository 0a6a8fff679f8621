"""Tests of choice between sets: transitivity, regularity, independence of irrelevant alternatives."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from malles_env.evaluation.audit.checks.prices import BOUND, tell_bound
from malles_env.evaluation.audit.finding import Chart, Finding, Series, Share, not_applicable
from malles_env.evaluation.audit.states import PAIRS, Ladder, Triples
from malles_env.evaluation.audit.subject import Answers, Subject
from malles_env.type_aliases import BoolArray, FloatArray

DEMANDED = 1e-6
"""Least probability that a pair is bought at all for its odds to be judged."""
DRAWN = 1500
"""Most points of a scatter plot."""
_TRANSITIVITY = "share of triples (segment, triple) whose pairwise majorities run in a circle"
_IIA = "mean absolute change of two products' log odds when a third is listed, whole population"


def transitivity(subject: Subject, triples: Triples | None, tolerance: float = 1e-9, bound: float = BOUND) -> Finding:
    """Judge pairwise choices over triples: weak and strong stochastic transitivity (Tversky 1969; Luce 1959).

    With pi(a, b) the chance of a among buyers when only a and b are listed: weak stochastic transitivity forbids
    circles of majorities; strong demands pi(a, c) >= max(pi(a, b), pi(b, c)) where both are at least 1/2. The weak
    form decides the verdict; exceptions to the strong one warn, as heterogeneous consumers may break it.

    Args:
        subject: Names for the worst case.
        triples: Answers; None where there are fewer than three products.
        tolerance: Differences up to this count as ties.
        bound: Largest share of circles that passes.
    """
    if triples is None:
        return not_applicable("transitivity", _TRANSITIVITY, "needs three products", tell_bound(bound))
    beats, judged = _pair_shares(triples)
    weak, strong = _circles(beats, tolerance), _strong_broken(beats, tolerance)
    cycles, exceptions = Share.of(weak, judged), Share.of(strong, judged)
    verdict = cycles.verdict(bound)
    return Finding(
        name="transitivity",
        measure=_TRANSITIVITY,
        value=cycles.value,
        shown=f"{cycles}; strong form broken: {exceptions}",
        bound=tell_bound(bound),
        verdict="warn" if verdict == "pass" and exceptions.value > bound else verdict,
        asked=triples.asked,
        worst=_worst_circle(subject, triples, beats, weak & judged),
        details={
            **cycles.as_details(),
            "strong_broken": exceptions.broken,
            "strong_error": exceptions.error,
        },
        chart=_transitivity_chart(beats, judged),
    )


def regularity(
    subject: Subject,
    ladder: Ladder,
    without: Answers,
    triples: Triples | None,
    tolerance: float = 1e-9,
    bound: float = BOUND,
) -> Finding:
    """Judge whether listing one more product ever raises another option's probability.

    Regularity holds for every random-utility model (Block and Marschak 1960); the decoy effect breaks it.

    Args:
        subject: Names for the worst case.
        ladder: Its first rung holds the answers with the product listed.
        without: The same states without it, see `malles_env.evaluation.audit.states.without_one`.
        triples: Pairs and triples, judged as well when there are any.
        tolerance: Rises up to this (probability) count as none.
        bound: Largest share of broken cases that passes.
    """
    before, after = without.probability, ladder.probability[:, 0]
    options = np.hstack([np.ones((len(after), 1), dtype=bool), ladder.offer.available])
    options[np.arange(len(after)), 1 + ladder.product] = False
    judged = np.broadcast_to(options[:, None, :], after.shape)
    pieces = [(before, after, judged)]
    if triples is not None:
        pieces += [_added(triples, place) for place in range(len(PAIRS))]
    broken = np.concatenate([(late - early > tolerance) for early, late, _ in pieces])
    counted = np.concatenate([mask for *_, mask in pieces])
    share = Share.of(broken, counted)
    early, late = (np.concatenate([piece[side] for piece in pieces]) for side in (0, 1))
    return Finding(
        name="regularity",
        measure="share of additions to the shelf (segment, option) after which another option's probability rises",
        value=share.value,
        shown=str(share),
        bound=tell_bound(bound),
        verdict=share.verdict(bound),
        asked=len(before),
        worst=_worst_rise(subject, late - early, broken & counted),
        details=share.as_details(),
        chart=Chart(
            "Adding a product takes from the others: no point above the line",
            "probability of an option without the product",
            "with it",
            (_scatter("option and segment", early[counted], late[counted]),),
            diagonal=True,
        ),
    )


def independence(subject: Subject, triples: Triples | None) -> Finding:
    """Report how far two products' log odds move when a third is listed.

    A single multinomial logit has none of it (Luce 1959; McFadden 1974); unlike segments and similar products move
    odds in reality too, so this is reported and no failure.

    Args:
        subject: Gives the segment weights.
        triples: Answers; None where there are fewer than three products.
    """
    name = "independence of irrelevant alternatives"
    if triples is None:
        return not_applicable(name, _IIA, "needs three products", "no bound")
    within = _odds_change(triples, triples.pair, triples.whole)
    weights = subject.weights
    crowd_pair = np.einsum("s,tpsj->tpj", weights, triples.pair)[:, :, None]
    crowd_whole = np.einsum("s,tsj->tj", weights, triples.whole)[:, None]
    alone, beside = _log_odds(triples, crowd_pair, crowd_whole)
    crowd = np.abs(beside - alone)
    known = np.isfinite(crowd)
    value = float(crowd[known].mean()) if known.any() else 0.0
    return Finding(
        name=name,
        measure=_IIA,
        value=value,
        shown=f"{value:.2g} (largest {crowd[known].max() if known.any() else 0.0:.2g}); within segments {within:.2g}",
        bound="no bound; 0 for a single logit",
        verdict="reported",
        asked=triples.asked,
        details={"mean_within_segments": within, "largest": float(crowd[known].max()) if known.any() else 0.0},
        chart=Chart(
            "Odds of two products, alone and beside a third",
            "log odds, two listed",
            "log odds, three listed",
            (_scatter("pair of products", alone[known], beside[known]),),
            diagonal=True,
        ),
        shared=True,
    )


def _pair_shares(triples: Triples) -> tuple[FloatArray, BoolArray]:
    """Return pi[t, s, x, y], the chance of member x among buyers of members x and y, and which are judged."""
    rows = np.arange(len(triples.products))
    count, segments = len(rows), triples.whole.shape[1]
    beats = np.full((count, segments, 3, 3), 0.5)
    judged = np.ones((count, segments), dtype=bool)
    for place, (x, y) in enumerate(PAIRS):
        first = triples.pair[rows, place, :, 1 + triples.products[:, x]]
        second = triples.pair[rows, place, :, 1 + triples.products[:, y]]
        total = first + second
        judged &= total > DEMANDED
        beats[:, :, x, y] = first / np.maximum(total, 1e-300)
        beats[:, :, y, x] = second / np.maximum(total, 1e-300)
    return beats, judged


def _circles(beats: FloatArray, tolerance: float) -> BoolArray:
    wins = beats > 0.5 + tolerance
    round_one = wins[..., 0, 1] & wins[..., 1, 2] & wins[..., 2, 0]
    return np.asarray(round_one | (wins[..., 1, 0] & wins[..., 2, 1] & wins[..., 0, 2]))


def _strong_broken(beats: FloatArray, tolerance: float) -> BoolArray:
    broken = np.zeros(beats.shape[:2], dtype=bool)
    for x, y, z in permutations(range(3)):
        first, second = beats[..., x, y], beats[..., y, z]
        applies = (first >= 0.5) & (second >= 0.5)
        broken |= applies & (beats[..., x, z] < np.maximum(first, second) - tolerance)
    return broken


def _added(triples: Triples, place: int) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return one pair's answers before and after the third product, and the options that count."""
    judged = np.zeros(triples.whole.shape, dtype=bool)
    judged[..., 0] = True
    for member in PAIRS[place]:
        judged[np.arange(len(judged)), :, 1 + triples.products[:, member]] = True
    return triples.pair[:, place], triples.whole, judged


def _log_odds(triples: Triples, pair: FloatArray, whole: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log odds with two and with three listed; arrays ``(T, 3, X, J + 1)`` and ``(T, X, J + 1)``."""
    rows = np.arange(len(triples.products))
    alone, beside = [], []
    for place, (x, y) in enumerate(PAIRS):
        a, b = 1 + triples.products[:, x], 1 + triples.products[:, y]
        sides = (pair[rows, place, :, a], pair[rows, place, :, b], whole[rows, :, a], whole[rows, :, b])
        seen = np.minimum.reduce(sides) > DEMANDED
        logs = [np.where(seen, np.log(np.maximum(side, 1e-300)), np.nan) for side in sides]
        alone.append(logs[0] - logs[1])
        beside.append(logs[2] - logs[3])
    return np.stack(alone, axis=1), np.stack(beside, axis=1)


def _odds_change(triples: Triples, pair: FloatArray, whole: FloatArray) -> float:
    alone, beside = _log_odds(triples, pair, whole)
    change = np.abs(beside - alone)
    known = np.isfinite(change)
    return float(change[known].mean()) if known.any() else 0.0


def _transitivity_chart(beats: FloatArray, judged: BoolArray) -> Chart:
    """Draw pi(a, c) over max(pi(a, b), pi(b, c)) for the order a, b, c of each triple that strains it most."""
    strongest, across = np.ones(judged.shape), np.full(judged.shape, np.inf)
    for x, y, z in permutations(range(3)):
        larger = np.maximum(beats[..., x, y], beats[..., y, z])
        applies = (beats[..., x, y] >= 0.5) & (beats[..., y, z] >= 0.5)
        worse = applies & (beats[..., x, z] - larger < across - strongest)
        strongest, across = np.where(worse, larger, strongest), np.where(worse, beats[..., x, z], across)
    return Chart(
        "Strong stochastic transitivity: no point below the line",
        "larger of first over second and second over third",
        "share of first against third",
        (_scatter("triple and segment", strongest[judged], across[judged]),),
        diagonal=True,
        levels={"even": 0.5},
    )


def _scatter(label: str, x: FloatArray, y: FloatArray) -> Series:
    rows = np.linspace(0, len(x) - 1, min(len(x), DRAWN)).astype(int) if len(x) else np.zeros(0, dtype=int)
    return Series(label, tuple(x[rows].tolist()), tuple(y[rows].tolist()), "points")


def _worst_circle(subject: Subject, triples: Triples, beats: FloatArray, circles: BoolArray) -> str:
    if not circles.any():
        return ""
    margin = np.abs(beats - 0.5)[..., [0, 1, 2], [1, 2, 0]].min(axis=-1)
    t, s = (int(i) for i in np.unravel_index(np.where(circles, margin, -1.0).argmax(), margin.shape))
    members = triples.products[t]
    order = (0, 1, 2) if beats[t, s, 0, 1] > 0.5 else (0, 2, 1)
    names = " over ".join(subject.products[members[k]] for k in (*order, order[0]))
    listed = np.zeros(subject.num_products, dtype=bool)
    listed[members] = True
    return f"{subject.segments[s]}: {names} at {subject.tell_prices(triples.prices[t], listed)}"


def _worst_rise(subject: Subject, rise: FloatArray, broken: BoolArray) -> str:
    if not broken.any():
        return ""
    size = np.where(broken, rise, -np.inf)
    _, s, option = (int(i) for i in np.unravel_index(size.argmax(), size.shape))
    gainer = "no purchase" if option == 0 else subject.products[option - 1]
    return f"{subject.segments[s]}: {gainer} gains {size.max():.2g} from a product added beside it"
