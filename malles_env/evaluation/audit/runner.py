"""Runs all tests of the audit on one subject, asking as little as they need."""

from __future__ import annotations

import time
from dataclasses import dataclass

from malles_env.errors import invalid
from malles_env.evaluation.audit.checks.budget import budget_sense
from malles_env.evaluation.audit.checks.elasticity import elasticity_finding, own_elasticities
from malles_env.evaluation.audit.checks.estimates import coefficients_at_bound
from malles_env.evaluation.audit.checks.invariance import label_bias, paraphrase_stability, position_bias
from malles_env.evaluation.audit.checks.prices import BOUND, discount_monotonicity, law_of_demand, substitution
from malles_env.evaluation.audit.checks.rationality import independence, regularity, transitivity
from malles_env.evaluation.audit.finding import Finding
from malles_env.evaluation.audit.states import Ladder, ask_triples, discount_ladder, price_ladder, without_one
from malles_env.evaluation.audit.subject import Asker, Subject, Watch

MOST_TWIN_STATES = 50
"""States put to twins (other orders, labels, wordings), at most; what they measure needs no more."""


@dataclass(frozen=True)
class AuditSettings:
    """How thoroughly consumers are asked.

    Attributes:
        states: Random states per test, at least 1. A law is tested on states x segments x steps.
        seed: Of all random draws.
        batch: Most offers in one call of `respond`.
        tolerance: What counts as no change: 1e-9 for exact consumers, more for those that sample.
        bound: Largest share of cases that may break a law.
        orders: Other orders of the shelf.
        wordings: Other wordings of the products.

    Raises:
        InvalidInput: A number out of range.
    """

    states: int = 200
    seed: int = 0
    batch: int = 64
    tolerance: float = 1e-9
    bound: float = BOUND
    orders: int = 3
    wordings: int = 3

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low in (("states", 1), ("seed", 0), ("batch", 1), ("orders", 1), ("wordings", 1)):
            if getattr(self, name) < low:
                raise invalid(name, getattr(self, name), f"a whole number of at least {low}")
        for name in ("tolerance", "bound"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise invalid(name, getattr(self, name), "a number from 0 up to 1")


@dataclass(frozen=True)
class AuditReport:
    """All findings of an audit.

    Attributes:
        findings: One per test, in the order they were made.
        settings: How the consumers were asked.
        asked: Offers put to the consumers.
        answers: Offers times segments.
        seconds: Wall-clock time.
    """

    findings: tuple[Finding, ...]
    settings: AuditSettings
    asked: int
    answers: int
    seconds: float

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the tests that failed."""
        return tuple(finding.name for finding in self.findings if finding.verdict == "fail")

    def finding(self, name: str) -> Finding:
        """Return the finding of the test called `name`."""
        return next(finding for finding in self.findings if finding.name == name)


def audit(subject: Subject, settings: AuditSettings | None = None, watch: Watch | None = None) -> AuditReport:
    """Put every test to the consumers.

    Args:
        subject: The consumers and their market.
        settings: How thoroughly to ask.
        watch: Called with the progress.

    Raises:
        InvalidInput: An answer has the wrong shape, is negative or not a number.
    """
    how = settings or AuditSettings()
    asker, start = Asker(how.batch, watch), time.perf_counter()
    law = {"tolerance": how.tolerance, "bound": how.bound}
    asker.label = "law of demand"
    ladder = price_ladder(subject, asker, how.states, how.seed)
    findings = [law_of_demand(subject, ladder, **law)]
    asker.label = "discount monotonicity"
    findings.append(discount_monotonicity(subject, discount_ladder(subject, asker, how.states, how.seed), **law))
    findings.append(substitution(subject, ladder, **law))
    asker.label = "own-price elasticities"
    findings.append(elasticity_finding(subject, own_elasticities(subject, asker)))
    findings.extend(_choice_between_sets(subject, asker, ladder, how))
    few = min(how.states, MOST_TWIN_STATES)
    asker.label = "position bias"
    findings.append(position_bias(subject, asker, few, how.seed, how.orders))
    asker.label = "label bias"
    findings.append(label_bias(subject, asker, few, how.seed))
    asker.label = "paraphrase stability"
    findings.append(paraphrase_stability(subject, asker, few, how.seed, how.wordings))
    asker.label = "budget sense"
    findings.append(budget_sense(subject, asker, few, how.seed, **law))
    findings.append(coefficients_at_bound(subject))
    seconds = time.perf_counter() - start
    return AuditReport(tuple(findings), how, asker.asked, asker.asked * subject.num_segments, seconds)


def _choice_between_sets(subject: Subject, asker: Asker, ladder: Ladder, how: AuditSettings) -> list[Finding]:
    law = {"tolerance": how.tolerance, "bound": how.bound}
    asker.label = "transitivity"
    triples = ask_triples(subject, asker, how.states, how.seed) if subject.num_products >= 3 else None
    asker.label = "regularity"
    without = without_one(subject, asker, ladder)
    return [
        transitivity(subject, triples, **law),
        regularity(subject, ladder, without, triples, **law),
        independence(subject, triples),
    ]
