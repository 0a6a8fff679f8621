"""What a test of the audit found, as plain data: number, bound, verdict, worst case and the series of its plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from malles_env.files import json_plain
from malles_env.type_aliases import BoolArray

Verdict = Literal["pass", "warn", "fail", "reported", "not applicable"]
Style = Literal["line", "faint", "points", "bars"]


@dataclass(frozen=True)
class Series:
    """One set of points of a plot.

    Attributes:
        label: What it shows; empty leaves it out of the legend.
        x, y: Coordinates, same length.
        style: How it is drawn.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: Style = "line"


@dataclass(frozen=True)
class Chart:
    """The plot of a finding, free of any plotting library.

    Attributes:
        title: What obeying the law looks like, in words.
        x_label, y_label: Axes with units.
        series: What is drawn.
        ticks: Names of the places 0, 1, ... of the horizontal axis; empty for a numeric axis.
        levels: Horizontal reference lines, by label.
        diagonal: Whether the line y = x is drawn.
        log_x: Whether the horizontal axis is logarithmic.
        least_y: The vertical axis reaches at least this far up and down, so that rounding noise looks like none.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    levels: Mapping[str, float] = field(default_factory=dict)
    diagonal: bool = False
    log_x: bool = False
    least_y: float | None = None


@dataclass(frozen=True)
class Finding:
    """The outcome of one test.

    Attributes:
        name: Name of the test, e.g. ``law of demand``.
        measure: What `value` is, in words.
        value: The number judged; None when the test does not apply.
        shown: The value with its error or counts, as a person reads it.
        bound: What passes, in words.
        verdict: ``pass``, ``warn`` (inside the bound, yet not clean), ``fail``, ``reported`` (no bound applies) or
            ``not applicable``.
        asked: Offers whose answers it judges.
        worst: The worst case in words, or why a test does not apply.
        details: Further numbers, plain JSON.
        chart: The plot; None when there is nothing to draw.
        shared: Whether these answers were asked for an earlier test, and counted there.
    """

    name: str
    measure: str
    value: float | None
    shown: str
    bound: str
    verdict: Verdict
    asked: int
    worst: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    chart: Chart | None = None
    shared: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return all fields but the chart as plain JSON."""
        fields = {name: value for name, value in asdict(self).items() if name != "chart"}
        return {name: json_plain(value) for name, value in fields.items()}


def not_applicable(name: str, measure: str, reason: str, bound: str = "") -> Finding:
    """Return the finding of a test that cannot be put to these consumers."""
    return Finding(name, measure, None, "", bound, "not applicable", 0, reason)


@dataclass(frozen=True)
class Share:
    """How many of the judged cases break a law.

    Attributes:
        broken: Their number.
        judged: Cases judged.
        error: Standard error of the share, clustered by state (cases of one state are not independent).
        states: States they come from.
    """

    broken: int
    judged: int
    error: float
    states: int

    @classmethod
    def of(cls, broken: BoolArray, judged: BoolArray | None = None) -> Share:
        """Count cases.

        Args:
            broken: Shape ``(N, ...)``, one state per row.
            judged: Cases that count, same shape; default all.
        """
        counts = np.ones(broken.shape, dtype=bool) if judged is None else judged
        top = (broken & counts).reshape(len(broken), -1).sum(axis=1).astype(float)
        bottom = counts.reshape(len(broken), -1).sum(axis=1).astype(float)
        total = bottom.sum()
        share = top.sum() / total if total else 0.0
        correction = len(top) / max(len(top) - 1, 1)
        error = np.sqrt(correction * ((top - share * bottom) ** 2).sum()) / total if total else 0.0
        return cls(int(top.sum()), int(total), float(error), len(top))

    @property
    def value(self) -> float:
        """Return the share, 0 when nothing was judged."""
        return self.broken / self.judged if self.judged else 0.0

    def as_details(self) -> dict[str, float]:
        """Return the counts, the error and the share of states a law may yet break in without having been seen.

        With no broken case among n random states, a share of states above ``1 - 0.05 ** (1 / n)`` would have shown
        with 95% certainty.
        """
        unseen = 1.0 - 0.05 ** (1.0 / max(self.states, 1))
        found: dict[str, float] = {"broken": self.broken, "judged": self.judged, "error": self.error}
        return found if self.broken else {**found, "states_unseen_95": unseen}

    def __str__(self) -> str:
        """Return e.g. ``0 of 14,000`` or ``0.0123 ± 0.0030 (172 of 14,000)``."""
        counts = f"{self.broken:,} of {self.judged:,}"
        return counts if not self.broken else f"{self.value:.4f} ± {self.error:.4f} ({counts})"

    def verdict(self, bound: float) -> Verdict:
        """Return ``pass`` for none, ``warn`` for some within `bound`, ``fail`` beyond it."""
        if self.value > bound:
            return "fail"
        return "warn" if self.broken else "pass"
