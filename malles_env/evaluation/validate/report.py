"""The findings as a person and a program read them: tables, Markdown and plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from malles_env.evaluation.validate.deals import LEADS
from malles_env.evaluation.validate.estimation.estimates import Estimate, JointTest
from malles_env.evaluation.validate.instruments import OWN, InstrumentCheck, PriceRow
from malles_env.evaluation.validate.regimes import Regime
from malles_env.evaluation.validate.runner import EventCheck, Report, Validation

Cells = list[list[str]]
WEAK = 10.0
"""First-stage F below which an instrument counts as weak (Staiger and Stock 1997)."""
DOUBT = 0.05
"""Leads whose joint test has a smaller p value are called found."""


def tables(found: Validation) -> Iterator[tuple[str, Cells]]:
    """Yield title and cells, header first, of each table of a market."""
    if found.instruments is not None:
        yield "Price response of choice given a purchase", _price_cells(found.instruments, found.tastes)
    if found.events is not None:
        yield "Around deals: log change against other weeks at the regular price", _deal_cells(found.events)
        yield "Elasticities to prices of this week, the next four and the last four", _lag_cells(found.events)
    if found.regimes is not None:
        yield "Products at 10% off or more, given a purchase", _regime_cells(found.regimes.regimes)


def remarks(found: Validation) -> Iterator[str]:
    """Yield what stands below the tables, a line each."""
    if (check := found.instruments) is not None:
        yield _instrument_remark(check)
    if (events := found.events) is not None:
        units = events.studies[0]
        yield (
            f"events: {events.starts} starts and {events.stops} stops, {events.rows} product weeks; "
            f"{leads_words(units.leads)}"
        )
    if (regimes := found.regimes) is not None:
        unlike = "; it never saw a deal, taste models may have been trained on these" if regimes.regimes[1:] else ""
        yield (
            f"regimes: price coefficient of the logit on shallow prices {regimes.coefficient} "
            f"({regimes.trained:,} purchases){unlike}"
        )


def leads_words(test: JointTest) -> str:
    """Return what the placebo says, in words."""
    numbers = f"F({test.restrictions}, {test.clusters - test.restrictions}) = {test.f:.2f}, p = {test.p:.3f}"
    if test.p < DOUBT:
        return f"leads found ({numbers}): sales move before deals start, so their effect is not the price's alone"
    return f"no leads found ({numbers})"


def _instrument_remark(check: InstrumentCheck) -> str:
    f = ", ".join(f"{name} {value:,.0f}" for name, value in check.first_stage.items())
    weak = [name for name, value in check.first_stage.items() if value < WEAK]
    f += f" (weak: {', '.join(weak)})" if weak else ""
    residuals = ", ".join(f"{name} {_long(estimate)}" for name, estimate in check.residuals.items())
    doubted = any(abs(estimate.t) >= 2 for estimate in check.residuals.values())
    words = "prices are mismeasured or move with local demand" if doubted else "no sign of mismeasured prices"
    few = (
        ""
        if OWN in check.residuals
        else f"; own store's prices are known for {check.known} purchases of common products only, which are left out"
    )
    return (
        f"instruments: {check.stores} stores, whose log prices differ by {check.store_spread:.3f} within weeks; "
        f"first-stage F: {f}; residual of the first stage: {residuals}: {words}{few}"
    )


def _price_cells(check: InstrumentCheck, tastes: tuple[PriceRow, ...]) -> Cells:
    rows = [
        [row.name, str(row.coefficient), str(row.elasticity), row.coefficient.cluster, f"{row.visits:,}"]
        for row in (*check.rows, *tastes)
    ]
    return [["estimate", "coefficient", "elasticity", "errors by", "purchases"], *rows]


def _deal_cells(events: EventCheck) -> Cells:
    head = ["counted", "deal weeks", f"{LEADS} weeks before", "p of leads", "4 weeks after", "errors by"]
    rows = [
        [s.outcome, str(s.deal), str(s.lead), f"{s.leads.p:.3f}", str(s.dip), s.deal.cluster] for s in events.studies
    ]
    return [head, *rows]


def _lag_cells(events: EventCheck) -> Cells:
    head = ["counted", "this week", "next weeks", "p of next", "last weeks", "borrowed", "errors by"]
    rows = [
        [s.outcome, str(s.current), str(s.lead), f"{s.leads.p:.3f}", str(s.lag), str(s.borrowed), s.current.cluster]
        for s in events.lags
    ]
    return [head, *rows]


def _regime_cells(regimes: tuple[Regime, ...]) -> Cells:
    head = ["predicted by", "observed share", "predicted share", "slope of log odds", "observed lift", "predicted lift"]
    rows = []
    for r in regimes:
        numbers = (r.slope, r.observed_lift, r.predicted_lift, r.observed_lift.cluster, f"{r.visits:,}")
        rows.append([r.name, _share(r.observed), _share(r.predicted), *map(str, numbers)])
    return [[*head, "errors by", "purchases"], *rows]


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ± {estimate.se:.3f}"


def _long(estimate: Estimate) -> str:
    return f"{estimate} (t = {estimate.t:.1f})"


def markdown(report: Report, command: str) -> str:
    """Return all tables as a Markdown page.

    Args:
        report: The findings.
        command: The command line that made them.
    """
    lines = ["# Causal checks of price response", "", "```bash", command, "```", ""]
    for found in report.found:
        lines += [f"## {found.market}", "", f"{found.purchases:,} purchases.", ""]
        for title, (head, *rows) in tables(found):
            cut = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
            lines += [f"**{title}**", "", *(f"| {' | '.join(row)} |" for row in cut), ""]
        lines += [f"- {line}" for line in remarks(found)] + [""]
    lines += [f"- left out: {market}: {why}" for market, why in report.left_out.items()]
    return "\n".join(lines).rstrip() + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Return all numbers as JSON values; every estimate has value, se, cluster and clusters."""
    return {
        "settings": asdict(report.settings),
        "left_out": report.left_out,
        "markets": {found.market: asdict(found) for found in report.found},
    }
