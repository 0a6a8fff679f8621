"""Fits a scenario's prompted consumers to the visits of real households, and judges them on later ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from malles_env.errors import InvalidInput
from malles_env.files import json_plain
from malles_env.scenarios.blocks.entries import AlignedEntry
from malles_env.scenarios.blocks.live_model_config import PromptedEntry
from malles_env.scenarios.consumer_kinds.prompted import opening_offer, prompted_again, prompted_consumers
from malles_env.scenarios.schema import Scenario
from malles_env.workflows.calibration_visits import find_visits

if TYPE_CHECKING:
    from malles_env.consumers.language import LanguageModel
    from malles_env.consumers.prompted import Calibration, Pooled, PromptedConsumers, Score, VisitAnswers, Visits
    from malles_env.consumers.prompted.pooling import Tried
    from malles_env.data.occasions import Occasions
    from malles_env.evaluation.metrics import Estimate

KNOWN = ("train", "validation")
"""Splits that are fitted to; the test weeks are never among them."""
FITTED = ("temperature", "outside", "rho", "price_sensitivity", "unit_temperature", "unit_tilt", "shift", "calibrate")
ROWS = {
    "as asked": "what the model said",
    "one for all": "one temperature and outside offset for all personas",
    "calibrated": "those of each persona, drawn towards the ones for all",
    "without the model": "the same fit to even answers: what the choices alone say of shelf and persona",
}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Calibrated:
    """What came out.

    Attributes:
        scenario: With the fitted numbers in its consumers' entry.
        market: The log's market.
        fit, test: The visits, and what the model said to them.
        pooled: The fit.
        scores: Row of `ROWS` -> how it did on the test visits.
    """

    scenario: Scenario
    market: str
    fit: VisitAnswers
    test: VisitAnswers
    pooled: Pooled
    scores: dict[str, Score]


def calibrate(
    scenario: Scenario,
    occasions: Occasions,
    *,
    market: str | None = None,
    visits: int = 400,
    test_visits: int = 200,
    seed: int = 0,
    price_sensitivity: bool = False,
    answered_by: LanguageModel | None = None,
    progress: Progress = lambda words, done, of: None,
    **how: Any,
) -> Calibrated:
    """Ask a language model about real visits, fit the calibration to them, and judge it on visits of the test weeks.

    Args:
        scenario: A scenario built from the log.
        occasions: The log's choice occasions.
        market: Name of its market there; default the one that the scenario's aligned consumers name.
        visits: Most visits fitted to, of the training and validation weeks.
        test_visits: Most visits judged on, of the test weeks.
        seed: Seed of both draws and of the folds.
        price_sensitivity: Whether the model is asked, too, what prices mean to it (2 J shelves more), for the surplus.
        answered_by: Who is asked instead of the model named by the entry.
        progress: Called with what is being asked about, how many are done, and how many there are.
        how: Fields of `PromptedEntry` instead of the scenario's own.

    Raises:
        InvalidInput: No such market or field, or too few visits.
        MissingResource, LanguageModelError: The model is not there, or failed; answers so far are in the cache.
    """
    from malles_env.consumers.prompted import ask_visits, fit_pooled

    name = market or market_of(scenario)
    asked = _entered(scenario, how)
    entry = asked.consumers
    assert isinstance(entry, PromptedEntry)
    past = find_visits(asked, occasions, name, KNOWN, visits, seed)
    later = find_visits(asked, occasions, name, ("test",), test_visits, seed)
    consumers = prompted_consumers(asked, entry.model_copy(update={"calibrate": "none"}), answered_by)
    regular = asked.catalog().regular_price
    fit = ask_visits(consumers, past, regular, partial(progress, "fitting"))
    test = ask_visits(consumers, later, regular, partial(progress, "test"))
    segments, rho = len(asked.segments), entry.mean_field == "numbers"
    pooled = fit_pooled(fit, segments, rho=rho, seed=seed)
    bare = fit_pooled(_even(fit), segments, rho=rho, seed=seed)
    found = _scores(test, (consumers.fitted, pooled.pool, pooled.personas, bare.personas))
    if price_sensitivity:
        pooled = _with_price_sensitivity(pooled, consumers, asked)
    return Calibrated(entered(asked, pooled.personas), name, fit, test, pooled, found)


def market_of(scenario: Scenario) -> str:
    """Return the log's market that a scenario was built from.

    Raises:
        InvalidInput: The scenario does not say.
    """
    if not isinstance(scenario.consumers, AlignedEntry):
        raise InvalidInput(
            f"market: got the scenario {scenario.name!r}, whose {scenario.consumers.kind} consumers name no market of "
            "a log; allowed: a scenario with aligned consumers, or the market's name beside it"
        )
    return scenario.consumers.market


def entered(scenario: Scenario, fitted: Calibration, digits: int = 4) -> Scenario:
    """Return a prompted scenario with fitted numbers in its consumers' entry, rounded to so many decimals."""
    entry = scenario.consumers
    assert isinstance(entry, PromptedEntry)
    by_segment = ("temperature", "outside", "rho", "price_sensitivity")
    numbers: dict[str, Any] = {name: tuple(getattr(fitted, name).round(digits).tolist()) for name in by_segment}
    shift = zip(scenario.product_ids, fitted.shift.round(digits).tolist(), strict=True)
    numbers["shift"] = {name: value for name, value in shift if value}
    for name in ("rho", "price_sensitivity"):
        if not any(numbers[name]):
            del numbers[name]
    for name in ("unit_temperature", "unit_tilt"):
        numbers[name] = round(getattr(fitted, name), digits)
    return scenario.model_copy(update={"consumers": entry.model_copy(update=numbers)})


def described(found: Calibrated, command: str) -> Scenario:
    """Return the calibrated scenario that says what was fitted to what, and by which command."""
    before, after = (found.scores[row].values["nats_all"] for row in ("as asked", "calibrated"))
    entry = found.scenario.consumers
    assert isinstance(entry, PromptedEntry)
    note = (
        f"Temperature and offsets of {entry.model} fitted to {len(found.fit.visits)} visits of the weeks up to "
        f"validation in the market {found.market!r}. On {len(found.test.visits)} visits of later weeks: {before} nats "
        f"as asked, {after} calibrated. They belong to this model, these words and {entry.orders} shelf orders."
    )
    return found.scenario.model_copy(update={"made_by": command, "notes": (*found.scenario.notes, note)})


def as_json(found: Calibrated) -> dict[str, Any]:
    """Return all numbers; what is not known is null."""
    pooled = found.pooled
    content: dict[str, Any] = json_plain({
        "market": found.market,
        "consumers": found.scenario.consumers.model_dump(mode="json", exclude_defaults=True),
        "visits": {"fit": _counts(found.fit.visits), "test": _counts(found.test.visits)},
        "segments": [segment.name for segment in found.scenario.segments],
        "chosen": _candidate(pooled.chosen),
        "tried": [_candidate(one) for one in pooled.tried],
        "pool": {"temperature": float(pooled.pool.temperature[0]), "outside": float(pooled.pool.outside[0])},
        "scores": {
            row: {"values": _pairs(score.values), "gains": _pairs(score.gains)} for row, score in found.scores.items()
        },
    })  # fmt: skip
    return content


def _counts(visits: Visits) -> dict[str, Any]:
    return {
        "visits": len(visits),
        "purchases": int((visits.chosen > 0).sum()),
        "households": len(np.unique(visits.household)),
        "by_segment": np.bincount(visits.segment).tolist(),
    }


def _candidate(one: Tried) -> dict[str, Any]:
    return {"pull": "infinite" if math.isinf(one.pull) else one.pull, "shift": one.shift, "nats": one.nats}


def _pairs(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: {"mean": one.mean, "se": one.se} for name, one in estimates.items()}


def _entered(scenario: Scenario, how: dict[str, Any]) -> Scenario:
    """Return the scenario asked live as it says itself, but for `how`; what was fitted before is left out."""
    own = scenario.consumers
    chosen = own.model_dump(exclude={"kind", *FITTED}) if isinstance(own, PromptedEntry) else {}
    return prompted_again(scenario, chosen, how)


def _scores(test: VisitAnswers, fitted: Sequence[Calibration]) -> dict[str, Score]:
    """Return the scores of `ROWS` by the calibration of each."""
    from malles_env.consumers.prompted import scores

    answers = {row: _even(test) if row == "without the model" else test for row in ROWS}
    return scores(answers, dict(zip(ROWS, fitted, strict=True)), "as asked")


def _with_price_sensitivity(pooled: Pooled, consumers: PromptedConsumers, scenario: Scenario) -> Pooled:
    """Return the fit with what prices mean to the model, which is asked about shelves of other prices."""
    from malles_env.consumers.prompted import measured_price_sensitivity

    slope = measured_price_sensitivity(consumers.calibrated(pooled.personas), opening_offer(scenario))
    return replace(pooled, personas=replace(pooled.personas, price_sensitivity=slope))


def _even(asked: VisitAnswers) -> VisitAnswers:
    """Return answers of a model that finds everything on the shelf, and any number of units, equally likely."""
    there = np.isfinite(asked.log_choice)
    even = np.where(there, -np.log(there.sum(axis=1, keepdims=True)), -np.inf)
    units = np.where(np.isnan(asked.log_units), np.nan, -np.log(asked.log_units.shape[1]))
    return replace(asked, log_choice=even, log_units=units)
