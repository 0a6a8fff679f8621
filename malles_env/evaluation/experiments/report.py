"""The findings as a person and a program read them: tables, sentences and plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from malles_env.evaluation.experiments.channels import CHANNELS
from malles_env.evaluation.experiments.performance import Performance, performance
from malles_env.evaluation.experiments.price_test import OUTCOMES
from malles_env.evaluation.experiments.runner import DesignResult, Report
from malles_env.type_aliases import FloatArray

Cells = list[list[str]]
CLEAR = 2.0
"""Standard errors from 0 at which a bias counts as found."""


def tables(report: Report) -> Iterator[tuple[str, Cells]]:
    """Yield title and cells, header first, of each table."""
    yield "True effect per week", _truth_cells(report)
    yield "One experiment: profit per week", _experiment_cells(report)
    yield f"{report.settings.replications} experiments: profit per week", _performance_cells(report)
    if report.channels:
        yield "Bias of profit by channel", _channel_cells(report)


def remarks(report: Report) -> Iterator[str]:
    """Yield what is tested, then one sentence per design on its bias in profit."""
    k = OUTCOMES.index("profit")
    for name, found in report.designs.items():
        yield f"{name}: {found.design.method}"
    for name, found in report.designs.items():
        yield f"{name} {_verdict(report, found, k)}"


def title(report: Report) -> str:
    """Return what is tested, in words."""
    test = report.test
    moves = ", ".join(
        f"{test.catalog.product_ids[j]} {test.control[j]:.2f} -> {test.treatment[j]:.2f}" for j in test.products
    )
    return f"{test.seller_name}: {test.change:+.1%} on {moves}; {report.settings.horizon} weeks"


def _verdict(report: Report, found: DesignResult, k: int) -> str:
    truth, bias, error = report.truth.effect[k], found.expected_bias[k], found.expected_bias_se[k]
    if abs(bias) <= max(CLEAR * error, 1e-6 * max(abs(truth), 1e-12)):
        return "shows no bias"
    # on the side of the truth away from 0, or beyond 0 on the other
    side = "overstates" if bias * truth > 0.0 else "turns the sign of" if abs(bias) > abs(truth) else "understates"
    largest = max(found.parts, key=lambda name: abs(found.parts[name].part[k]))
    share = f" by {abs(bias / truth):.0%}" if side != "turns the sign of" and abs(bias) < 2 * abs(truth) else ""
    part = found.parts[largest].part[k]
    return f"{side} the effect{share}, bias {_signed(bias)} per week; largest part: {largest}, {_signed(part)}"


def _truth_cells(report: Report) -> Cells:
    truth = report.truth
    rows = [["outcome", "without change", f"effect, weeks 1 to {report.settings.horizon}", "first week", "settled"]]
    for k, name in enumerate(OUTCOMES):
        settled = "" if truth.steady is None else _signed(truth.steady[k])
        rows.append([name, f"{truth.control[k]:,.1f}", _signed(truth.effect[k]), _signed(truth.by_week[0, k]), settled])
    return rows


def _experiment_cells(report: Report) -> Cells:
    k, rows = OUTCOMES.index("profit"), [["design", "estimate", "standard error", "95% interval", "truth", "holds it"]]
    for name, found in report.designs.items():
        value, se, low, high = _first(found, k)
        truth = report.truth.effect[k]
        interval, holds = f"{_signed(low)} to {_signed(high)}", "yes" if low <= truth <= high else "no"
        rows.append([name, _signed(value), f"{se:,.1f}", interval, _signed(truth), holds])
    return rows


def _performance_cells(report: Report) -> Cells:
    k = OUTCOMES.index("profit")
    rows = [["design", "mean", "bias", "sd", "mean s.e.", "coverage", "power", "wrong sign"]]
    for name, found in report.designs.items():
        p = performance(found.estimates, report.truth.effect)
        rows.append([
            name, _signed(p.mean[k]), f"{_signed(p.bias[k])} ± {p.bias_se[k]:,.1f}", f"{p.sd[k]:,.1f}",
            f"{p.mean_se[k]:,.1f}", f"{p.coverage[k]:.1%} ± {p.coverage_se[k]:.1%}", f"{p.power[k]:.0%}",
            f"{p.wrong_sign[k]:.0%}",
        ])  # fmt: skip
    return rows


def _channel_cells(report: Report) -> Cells:
    k = OUTCOMES.index("profit")
    rows = [["design", "bias", *report.channels, *(f"bias, {name} held" for name in report.channels)]]
    for name, found in report.designs.items():
        parts = [found.parts[channel] for channel in report.channels]
        rows.append([
            name, _error(found.expected_bias[k], found.expected_bias_se[k]),
            *(_error(part.part[k], part.part_se[k]) for part in parts),
            *(_error(part.held[k], part.held_se[k]) for part in parts),
        ])  # fmt: skip
    return rows


def _first(found: DesignResult, k: int) -> tuple[float, float, float, float]:
    """Return estimate, standard error and interval of the first replication."""
    low, high = found.estimates.interval
    return tuple(float(part[0, k]) for part in (found.estimates.value, found.estimates.se, low, high))  # type: ignore[return-value]


def _signed(value: float) -> str:
    return f"{0.0 if abs(value) < 0.05 else value:+,.1f}"


def _error(value: float, se: float) -> str:
    return f"{_signed(value)} ± {se:,.1f}" if se > 0.0 else _signed(value)


def as_json(report: Report) -> dict[str, Any]:
    """Return all numbers as JSON values; the keys are listed in docs/guide/experiments.md."""
    test, truth = report.test, report.truth
    ids = test.catalog.product_ids
    return {
        "test": {
            "seller": test.seller_name,
            "products": list(test.product_ids),
            "change": test.change,
            "control_prices": dict(zip(ids, test.control.tolist(), strict=True)),
            "treatment_prices": dict(zip(ids, test.treatment.tolist(), strict=True)),
            "listed": [name for name, on in zip(ids, test.listed, strict=True) if on],
        },
        "settings": asdict(report.settings),
        "channels": {name: CHANNELS[name] for name in report.channels},
        "truth": {
            name: {
                "effect": float(truth.effect[k]),
                "steady": None if truth.steady is None else float(truth.steady[k]),
                "by_week": truth.by_week[:, k].tolist(),
                "control": float(truth.control[k]),
            }
            for k, name in enumerate(OUTCOMES)
        },
        "designs": {name: _design_json(found, truth.effect) for name, found in report.designs.items()},
    }


def _design_json(found: DesignResult, truth: FloatArray) -> dict[str, Any]:
    judged = performance(found.estimates, truth)
    return {
        "settings": asdict(found.design),  # type: ignore[call-overload]
        "method": found.design.method,
        "outcomes": {name: _outcome_json(found, judged, k) for k, name in enumerate(OUTCOMES)},
    }


def _outcome_json(found: DesignResult, judged: Performance, k: int) -> dict[str, Any]:
    value, se, low, high = _first(found, k)
    return {
        "experiment": {"estimate": value, "se": se, "low": low, "high": high},
        "replications": {field.name: float(getattr(judged, field.name)[k]) for field in fields(judged)},
        "expected_bias": {"value": float(found.expected_bias[k]), "se": float(found.expected_bias_se[k])},
        "by_channel": {
            name: {field.name: float(np.asarray(getattr(part, field.name))[k]) for field in fields(part)}
            for name, part in found.parts.items()
        },
    }
