"""Charts of the pages: drawn by Streamlit's own Altair in the browser, in the colours of the visitor's theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from malles_env.type_aliases import FloatArray

COLOURS = ("#2a8fd0", "#e0722c", "#1fa37a", "#c978a6", "#d8a21b", "#6cb8e8", "#a08a4e", "#8585b0")
"""Distinguished by people with red-green colour blindness, and readable on white and on black."""
HEIGHT = 340
FEW = 15
"""Most points of a line that are marked; a line of one point would not be seen."""
NUMBERED = 12
"""Most products for which a heat map writes its numbers."""


_LEGEND = alt.Legend(title=None, orient="top", columns=2, labelLimit=220, symbolType="stroke")


def lines(
    rows: Sequence[Mapping[str, Any]], x: str, y: str, colour: str, *, titles: tuple[str, str], zero: bool = False,
    dashed: str | None = None,
) -> alt.Chart:  # fmt: skip
    """Return lines over `x`, one per value of `colour`.

    Args:
        rows: The points.
        x: Name of the column along the x axis.
        y: Of that along the y axis.
        colour: Of that which parts the lines.
        titles: Of the two axes, with units.
        zero: Whether the y axis begins at 0.
        dashed: Column that is true where a line is dashed.
    """
    frame = pd.DataFrame(list(rows))
    order = list(dict.fromkeys(frame[colour])) if len(frame) else []
    shades = alt.Scale(domain=order, range=[COLOURS[i % len(COLOURS)] for i in range(len(order))])
    found = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2.2, point=len(frame) > 0 and frame[x].nunique() <= FEW)
        .encode(
            x=alt.X(f"{x}:Q", title=titles[0], axis=alt.Axis(tickMinStep=1, grid=False)),
            y=alt.Y(f"{y}:Q", title=titles[1], scale=alt.Scale(zero=zero), axis=alt.Axis(labelFlush=False)),
            color=alt.Color(f"{colour}:N", scale=shades, sort=order, legend=_LEGEND),
            tooltip=[colour, x, alt.Tooltip(f"{y}:Q", format=",.4~g")],
        )
    )
    if dashed is not None:
        found = found.encode(strokeDash=alt.condition(f"datum[{dashed!r}]", alt.value([5, 4]), alt.value([1, 0])))
    return found.properties(height=HEIGHT)


def band(
    prices: FloatArray, low: FloatArray, high: FloatArray, line: alt.Chart, currency: str, words: str
) -> alt.LayerChart:
    """Return a band behind lines over the same prices."""
    frame = pd.DataFrame({"price": prices, "low": low, "high": high, "what": words})
    shade = (
        alt.Chart(frame)
        .mark_area(opacity=0.25, color=COLOURS[5])
        .encode(x=alt.X("price:Q", title=f"price ({currency})"), y=alt.Y("low:Q"), y2="high:Q", tooltip=["what"])
    )
    return (shade + line).properties(height=HEIGHT)


def heat_map(
    matrix: FloatArray, rows: Sequence[str], columns: Sequence[str], titles: tuple[str, str], *, digits: int = 2,
    signed: bool = True,
) -> alt.LayerChart:  # fmt: skip
    """Return a matrix as coloured squares with its numbers.

    Args:
        matrix: Numbers, shape ``(rows, columns)``; NaN stays empty.
        rows: Names of the rows.
        columns: Names of the columns.
        titles: Of rows and columns.
        digits: Decimals of the numbers.
        signed: Whether colours part at 0; shades go by square roots, so that small numbers are seen beside large ones.
    """
    shown = np.sign(matrix) * np.sqrt(np.abs(matrix))
    frame = pd.DataFrame(
        [
            {"row": row, "column": column, "value": float(matrix[i, k]), "shade": float(shown[i, k])}
            for i, row in enumerate(rows)
            for k, column in enumerate(columns)
            if np.isfinite(matrix[i, k])
        ]
    )
    limit = float(np.nanmax(np.abs(shown), initial=1e-9))
    low = -limit if signed else 0.0
    scale = alt.Scale(scheme="redblue" if signed else "blues", domain=[low, limit])
    every: dict[str, Any] = {"labelOverlap": len(columns) > NUMBERED, "labelFlush": False}
    base = alt.Chart(frame).encode(
        x=alt.X(
            "column:N", sort=list(columns), title=titles[1], axis=alt.Axis(labelAngle=-60, labelLimit=150, **every)
        ),
        y=alt.Y("row:N", sort=list(rows), title=titles[0], axis=alt.Axis(labelLimit=170, **every)),
        tooltip=["row", "column", alt.Tooltip("value:Q", format=f".{digits}f")],
    )
    squares = base.mark_rect().encode(color=alt.Color("shade:Q", scale=scale, legend=None))
    height = max(180, 34 * len(rows) + 130)
    if len(columns) > NUMBERED:
        return alt.layer(squares).properties(height=height)
    pale = f"abs(datum.shade) > {0.6 * limit}" if signed else f"datum.shade > {0.6 * limit}"
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.Text("value:Q", format=f".{digits}f"),
        color=alt.condition(pale, alt.value("white"), alt.value("#1a1a1a")),
    )
    return (squares + numbers).properties(height=height)


def bars(rows: Sequence[Mapping[str, Any]], name: str, value: str, title: str, error: str | None = None) -> Any:
    """Return horizontal bars in the order of the rows, with two standard errors where a column holds one."""
    frame = pd.DataFrame(list(rows))
    order = list(frame[name])
    base = alt.Chart(frame).encode(y=alt.Y(f"{name}:N", sort=order, title=None, axis=alt.Axis(labelLimit=180)))
    found = base.mark_bar(color=COLOURS[0], height={"band": 0.6}).encode(
        x=alt.X(f"{value}:Q", title=title), tooltip=[name, alt.Tooltip(f"{value}:Q", format=",.4~g")]
    )
    height = max(120, 34 * len(order) + 60)
    if error is None:
        return found.properties(height=height)
    ends = frame.assign(low=frame[value] - 2.0 * frame[error], high=frame[value] + 2.0 * frame[error])
    whiskers = alt.Chart(ends).mark_rule(color="#808080", strokeWidth=2).encode(
        y=alt.Y(f"{name}:N", sort=order, title=None), x="low:Q", x2="high:Q"
    )  # fmt: skip
    return (found + whiskers).properties(height=height)
