"""Runs the checks on markets of a log and gathers what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from malles_env.errors import InvalidInput, invalid
from malles_env.evaluation.validate.deals import product_weeks
from malles_env.evaluation.validate.events import EventStudy, LagStudy, event_study, lag_study
from malles_env.evaluation.validate.instruments import InstrumentCheck, PriceRow, instrument_check
from malles_env.evaluation.validate.regimes import Regime, RegimeCheck, regime_check
from malles_env.evaluation.validate.rows import ChoiceRows, choice_rows
from malles_env.evaluation.validate.tastes import Predict, Said, taste_data
from malles_env.type_aliases import OnMessage

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

CHECKS = ("instruments", "events", "regimes")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ValidateSettings:
    """What is checked and how.

    Attributes:
        checks: Some of `CHECKS`.
        limit: Purchases a taste model is asked about with prices moved, at most.
        seed: Seed of their draw; nothing else is random.
        least_purchases: Purchases that a market needs to be among all markets.
    """

    checks: tuple[str, ...] = CHECKS
    limit: int = 1000
    seed: int = 0
    least_purchases: int = 1000

    def __post_init__(self) -> None:
        """Refuse unknown checks and numbers below 1."""
        for name in self.checks:
            if name not in CHECKS:
                raise invalid("checks", name, f"one or several of {', '.join(CHECKS)}")
        for name in ("limit", "least_purchases"):
            if getattr(self, name) < 1:
                raise invalid(name, getattr(self, name), "a whole number, at least 1")
        if not self.checks:
            raise invalid("checks", "none", f"one or several of {', '.join(CHECKS)}")


@dataclass(frozen=True)
class EventCheck:
    """The event studies of a market.

    Attributes:
        starts: Deals whose start is seen.
        stops: Deals whose stop is seen.
        rows: Product weeks that the studies rest on.
        studies: Of units, of purchases, and of what each taste model expects to be purchased.
        lags: The same outcomes on prices of this week, the next and the last ones.
    """

    starts: int
    stops: int
    rows: int
    studies: tuple[EventStudy, ...]
    lags: tuple[LagStudy, ...]


@dataclass(frozen=True)
class Validation:
    """What was found in one market; None stands for a check not asked for or refused.

    Attributes:
        market: Its name.
        purchases: Purchases on record.
        instruments: Own-store prices against other stores'.
        tastes: What each taste model says of its price coefficient and elasticity.
        events: Event studies of deals.
        regimes: Held-out price regimes.
    """

    market: str
    purchases: int
    instruments: InstrumentCheck | None = None
    tastes: tuple[PriceRow, ...] = ()
    events: EventCheck | None = None
    regimes: RegimeCheck | None = None


@dataclass(frozen=True)
class Report:
    """All markets.

    Attributes:
        settings: What was checked.
        found: One per market.
        left_out: Market -> which checks it refused and why; empty where markets were named.
    """

    settings: ValidateSettings
    found: tuple[Validation, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def validate(
    occasions: Occasions,
    markets: Sequence[str] | None = None,
    models: Mapping[str, Predict] | None = None,
    settings: ValidateSettings | None = None,
    notify: OnMessage = lambda words: None,
) -> Report:
    """Check the price response of markets, and of taste models on the same purchases.

    Args:
        occasions: Choice occasions of a log.
        markets: Their names; None takes every market with enough purchases and leaves out the checks
            that its data refuse.
        models: Taste models by name.
        settings: What is checked.
        notify: Called with what is being done, in words.

    Raises:
        InvalidInput: An unknown market, too little data for a check of a named market, or a result that is no number.
    """
    settings, models = settings or ValidateSettings(), models or {}
    names = large_markets(occasions, settings.least_purchases) if markets is None else list(dict.fromkeys(markets))
    found, left_out = [], {}
    for market in names:
        attempt = _Attempts(market, settings.checks, markets is None, notify)
        result = _market(occasions, market, models, settings, attempt)
        if attempt.refused:
            left_out[market] = "; ".join(attempt.refused)
        if len(attempt.refused) < len(settings.checks):
            found.append(result)
    if not found:
        raise InvalidInput("markets: none can be checked; " + "; ".join(f"{k}: {v}" for k, v in left_out.items()))
    return Report(settings, tuple(found), left_out)


@dataclass
class _Attempts:
    """Runs the checks of a market that were asked for.

    Attributes:
        market: Its name.
        checks: The checks asked for.
        lenient: Whether a check that the data refuse is noted instead of raised.
        notify: Called with what is being done, in words.
        refused: What was noted.
    """

    market: str
    checks: tuple[str, ...]
    lenient: bool
    notify: OnMessage
    refused: list[str] = field(default_factory=list)

    def __call__(self, check: str, compute: Callable[[], Result]) -> Result | None:
        """Return what a check finds; None where it was not asked for or is refused."""
        if check not in self.checks:
            return None
        self.notify(f"{self.market}: {check}")
        try:
            return compute()
        except InvalidInput as error:
            if not self.lenient:
                raise InvalidInput(f"{self.market}: {error}") from None
            self.refused.append(f"{check}: {error}")
            return None


def large_markets(occasions: Occasions, least: int) -> list[str]:
    """Return the markets with at least `least` purchases, sorted.

    Raises:
        InvalidInput: There is none.
    """
    bought = occasions.occasions.filter(occasions.occasions["chosen"] > 0)
    counts = bought.group_by("market").len().rows()
    names = sorted(str(market) for market, number in counts if number >= least)
    if not names:
        most = max((number for _, number in counts), default=0)
        raise invalid("min_purchases", least, f"at most {most}, the purchases of the largest market")
    return names


def _market(
    occasions: Occasions, market: str, models: Mapping[str, Predict], settings: ValidateSettings, attempt: _Attempts
) -> Validation:  # fmt: skip
    rows = choice_rows(occasions, market)
    data = taste_data(occasions, market) if models else None
    asked = [Said(n, f, data, rows, settings.limit, settings.seed) for n, f in models.items()] if data else []
    instruments = attempt("instruments", lambda: instrument_check(rows))
    tastes = tuple(PriceRow(said.name, *said.price_row()) for said in asked) if instruments else ()
    events = attempt("events", lambda: event_check(rows, asked))
    regimes = attempt("regimes", lambda: _regimes(rows, asked))
    return Validation(market, rows.visits, instruments, tastes, events, regimes)


def event_check(rows: ChoiceRows, asked: Sequence[Said] = ()) -> EventCheck:
    """Return the event studies of a market's units and purchases, and of what taste models expect.

    Raises:
        InvalidInput: Too few deals, or an estimate that is no number.
    """
    weeks = product_weeks(rows)
    counts = {"units": weeks.units, "purchases": weeks.purchases}
    counts |= {said.name: said.expected(weeks.product, weeks.week) for said in asked}
    return EventCheck(
        weeks.starts,
        weeks.stops,
        int(np.sum(weeks.known)),
        tuple(event_study(name, weeks, values) for name, values in counts.items()),
        tuple(lag_study(name, weeks, values) for name, values in counts.items()),
    )


def _regimes(rows: ChoiceRows, asked: Sequence[Said]) -> RegimeCheck:
    check, judging = regime_check(rows)
    said: tuple[Regime, ...] = tuple(one.regime(judging) for one in asked)
    return RegimeCheck(check.coefficient, check.trained, check.regimes + said)
