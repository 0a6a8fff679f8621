"""*Runs*: learning curves of the runs on disk."""

from __future__ import annotations

import streamlit as st

from malles_env.studio import charts
from malles_env.studio.logic.runs import curve_rows, find_runs, run_rows
from malles_env.studio.logic.tables import as_csv
from malles_env.studio.settings import chosen
from malles_env.studio.state import plain

SHOWN = 8
"""Curves drawn at first."""


def show() -> None:
    """Draw the page."""
    folder = chosen().runs
    st.header("Runs")
    found, complaints = find_runs(folder)
    for words in complaints[:5]:
        st.warning(plain(words))
    if not found:
        st.info(f"No runs in {plain(folder)}. Make one: malles train ice-cream, or malles demo.")
        return
    rows = run_rows(found)
    st.dataframe(
        rows, hide_index=True, width="stretch",
        column_config={name: st.column_config.NumberColumn(format="%,.0f") for name in ("steps", "of", "last profit")},
    )  # fmt: skip
    names = [run.name for run in found]
    picked = st.multiselect("Learning curves", names, names[:SHOWN])
    points = curve_rows([run for run in found if run.name in picked])
    if not points:
        st.info("None of these has a curve yet.")
        return
    titles = ("training steps (periods, all markets together)", "profit per episode, exploring")
    st.altair_chart(charts.lines(points, "steps", "profit", "run", titles=titles), width="stretch")
    st.caption("Money of each run's market. Profit while exploring is below what the finished policy earns.")
    st.download_button("Export (CSV)", as_csv(points), "curves.csv", "text/csv")
