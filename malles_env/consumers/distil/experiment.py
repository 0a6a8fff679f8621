"""The whole way from slow consumers to fast ones: ask, fit, choose what to ask next, judge on fresh states."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from malles_env.consumers.distil.active import choose
from malles_env.consumers.distil.answers import AnswerLog
from malles_env.consumers.distil.asking import Elsewhere, Interview, identity_of, market_of
from malles_env.consumers.distil.design import Design, fresh_states, joined_offers, price_steps
from malles_env.consumers.distil.fidelity import Fidelity, judge, total_variation
from malles_env.consumers.distil.fit import Experiment, Fit, fit
from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import invalid
from malles_env.evaluation.audit.subject import Answers, Subject, Watch, take
from malles_env.market import Offer, Tastes
from malles_env.market.demand.choice import purchases
from malles_env.market.tastes import PriceTransform

FORMAT = 2
"""Changes when the same settings ask other questions than before."""
PLAY = 64
"""States of play that the active choice aims at."""
STRENGTH = 1e-2
"""Strength of the prior while questions are still chosen."""


@dataclass(frozen=True)
class DistilSettings:
    """How an experiment is made.

    Attributes:
        questions: Most questions put for the fit; each is answered by every segment.
        fresh: Further questions to judge the fit on; 0 leaves it unjudged.
        seed: Of the design, the candidates and the fresh states.
        choice: ``"active"`` chooses every second question by its information, ``"random"`` takes all as drawn.
        batch: Questions put between two fits; the first batch is drawn.
        pool: Candidates a batch is chosen from.
        target: Stops asking when the answers of a whole new batch are predicted with at most this median total
            variation, twice in a row; None asks all questions.
        price_transform: ``"log"``, ``"linear"``, or None for what predicts held-out answers better.
        in_flight: Questions put at once.
        fresh_shares: Judge on states in which loyalty is shares over last purchases, as in play, rather than one last
            purchase per segment.
        design: Spread of the questions.

    Raises:
        InvalidInput: A setting out of range.
    """

    questions: int = 96
    fresh: int = 128
    seed: int = 0
    choice: Literal["active", "random"] = "active"
    batch: int = 8
    pool: int = 256
    target: float | None = None
    price_transform: PriceTransform | None = None
    in_flight: int = 1
    fresh_shares: bool = False
    design: Design = field(default_factory=Design)

    def __post_init__(self) -> None:
        """Check every setting."""
        for name, low in (("questions", 1), ("fresh", 0), ("seed", 0), ("batch", 1), ("in_flight", 1)):
            if getattr(self, name) < low:
                raise invalid(name, getattr(self, name), f"{low} or more")
        if self.choice not in ("active", "random"):
            raise invalid("choice", self.choice, "'active' or 'random'")
        if self.pool < self.batch:
            raise invalid("pool", self.pool, f"at least the batch, {self.batch}")
        if self.target is not None and not self.target > 0:
            raise invalid("target", self.target, "more than 0")

    def asked(self, subject: Subject) -> dict[str, Any]:
        """Return all that answers kept on disk depend on; more questions may be asked later, so not their number."""
        return {
            "format": FORMAT,
            "consumers": identity_of(subject.consumers),
            "market": market_of(subject),
            "seed": self.seed,
            "choice": self.choice,
            "batch": self.batch,
            "pool": self.pool,
            "fresh_shares": self.fresh_shares,
            "design": asdict(self.design),
        }


@dataclass(frozen=True)
class Distilled:
    """What an experiment ended in.

    Attributes:
        tastes: The fitted coefficients.
        fit: How they were fitted.
        experiment: What they rest on.
        fidelity: How well they stand for the consumers asked; None when not judged.
        curve: Questions asked before each batch, and the median total variation with which the fit so far predicted
            that batch.
        facts: Questions, answers, seconds, use of a language model.
    """

    tastes: Tastes
    fit: Fit
    experiment: Experiment
    fidelity: Fidelity | None
    curve: list[tuple[int, float]]
    facts: dict[str, Any]

    @property
    def consumers(self) -> LogitConsumers:
        """Consumers for the fast engine."""
        return LogitConsumers(self.tastes)


def distil(
    subject: Subject,
    settings: DistilSettings | None = None,
    *,
    answers: Path | None = None,
    watch: Watch | None = None,
    elsewhere: Elsewhere | None = None,
) -> Distilled:
    """Fit fast consumers to slow ones.

    Args:
        subject: The consumers and their market; `malles_env.workflows.audit.audit_subject` makes one.
        settings: How to ask.
        answers: File in which answers are kept; an interrupted experiment continues from it.
        watch: Called with the progress.
        elsewhere: Where questions are put, e.g. on a cluster; the numbers are the same. None puts them here.

    Raises:
        InvalidInput: The file holds answers to other questions or of other consumers; or an answer is no distribution.
        CorruptFile: The file is damaged.
        LanguageModelError: A language model behind the consumers could not be asked; what was answered is kept.
    """
    settings = settings or DistilSettings()
    ready = nullcontext() if elsewhere is None else elsewhere.executor.session()
    with AnswerLog(answers, settings.asked(subject)) as log, ready:
        interview = Interview(subject, log, settings.in_flight, watch, elsewhere)
        experiment, curve = _ask(interview, settings)
        whole = fit(experiment, settings.price_transform)
        tastes = whole.tastes(subject.regular_price)
        fidelity = _judged(interview, settings, tastes) if settings.fresh else None
        return Distilled(tastes, whole, experiment, fidelity, curve, _facts(interview, experiment))


def _ask(interview: Interview, settings: DistilSettings) -> tuple[Experiment, list[tuple[int, float]]]:
    """Ask batch by batch; return all answers and how well each batch was predicted."""
    subject, curve = interview.subject, []
    play = fresh_states(subject, PLAY, settings.seed + 1_000_003)
    experiment: Experiment | None = None
    guess: Fit | None = None
    for start in range(0, settings.questions, settings.batch):
        offer = _batch(interview, settings, start, guess, experiment, play)
        answers = interview.ask("questions", offer, start, settings.questions)
        if guess is not None:
            curve.append((start, _foreseen(guess, subject, offer, answers)))
        active = (np.arange(len(offer.prices)) % 2 == 0) & (settings.choice == "active") & (guess is not None)
        experiment = _joined(experiment, Experiment(offer, answers, subject.weights, active))
        if _enough(curve, settings.target):
            break
        if settings.choice == "active" or settings.target is not None:
            guess = fit(experiment, settings.price_transform, STRENGTH)
    assert experiment is not None
    return experiment, curve


def _batch(
    interview: Interview,
    settings: DistilSettings,
    start: int,
    guess: Fit | None,
    experiment: Experiment | None,
    play: Offer,
) -> Offer:
    """Return the questions from number `start` on, a drawn one after each chosen one.

    A whole batch is chosen even if fewer questions are wanted of it: an experiment may go on later.
    """
    subject, count = interview.subject, min(settings.batch, settings.questions - start)
    drawn = settings.design.draw(subject, start + settings.batch, (settings.seed,))
    drawn = take(drawn, np.arange(start, start + settings.batch))
    if settings.choice == "random" or guess is None or experiment is None:
        return take(drawn, np.arange(count))
    pool = settings.design.draw(subject, settings.pool, (settings.seed, start))
    kept = interview.log.kept.get(("chosen", start))
    if kept is None:
        kept = {"candidates": choose(guess, experiment, pool, play, (settings.batch + 1) // 2)}
        interview.log.keep("chosen", start, kept)
    both = joined_offers(take(pool, np.asarray(kept["candidates"], dtype=np.int64)), drawn)
    turns = np.arange(count)
    return take(both, np.where(turns % 2 == 0, turns // 2, len(kept["candidates"]) + turns // 2))


def _foreseen(guess: Fit, subject: Subject, offer: Offer, answers: Answers) -> float:
    predicted = purchases(guess.tastes(subject.regular_price), offer)[0]
    return float(np.median(total_variation(predicted, answers.probability)))


def _enough(curve: list[tuple[int, float]], target: float | None) -> bool:
    return target is not None and len(curve) >= 2 and max(value for _, value in curve[-2:]) <= target


def _joined(before: Experiment | None, new: Experiment) -> Experiment:
    if before is None:
        return new
    answers = Answers(
        np.concatenate([before.answers.probability, new.answers.probability]),
        np.concatenate([before.answers.quantity, new.answers.quantity]),
    )
    chosen = np.concatenate([before.actively, new.actively])
    return Experiment(joined_offers(before.offer, new.offer), answers, new.weights, chosen)


def _judged(interview: Interview, settings: DistilSettings, tastes: Tastes) -> Fidelity:
    subject = interview.subject
    fresh = fresh_states(subject, settings.fresh, settings.seed, shares=settings.fresh_shares)
    steps = price_steps(subject)
    return judge(subject, tastes, (fresh, interview.ask("fresh", fresh)), (steps, interview.ask("prices", steps)))


def _facts(interview: Interview, experiment: Experiment) -> dict[str, Any]:
    used = asdict(interview.usage)
    return {
        "questions": len(experiment),
        "questions_in_all": interview.asked,
        "answers": len(experiment) * interview.subject.num_segments,
        "taken_from_file": interview.log.resumed,
        "seconds_asking": interview.seconds,
        "usage": used if any(used.values()) else None,
    }
