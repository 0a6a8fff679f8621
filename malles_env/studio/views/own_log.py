"""*Your log*: upload an export, map its columns, read the checks, build a market and play it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from malles_env.scenarios import save_scenario
from malles_env.studio.logic import own_log
from malles_env.studio.settings import chosen
from malles_env.studio.state import plain, readable, session

if TYPE_CHECKING:
    from malles_env.data.exports import Imported

KINDS = ["csv", "tsv", "txt", "gz", "xlsx", "parquet", "rda"]
_FORMATS = {
    "": "found in the column",
    "dmy": "day first (31/12/2025)",
    "mdy": "month first (12/31/2025)",
    "ymd": "year first (2025-12-31)",
}


def show() -> None:
    """Draw the page."""
    st.header("Your log")
    st.write(
        "A market from your own receipts: one row per product of a trip, with date, product, price and customer. The "
        "files stay on this machine."
    )
    with readable():
        _upload()
    now = session()
    if now.files:
        with readable():
            _columns()
    if now.imported is not None:
        with readable():
            _checks(now.imported)
        with readable():
            _build(now.imported)
    with st.expander("Open a scenario file instead"), readable():
        _open_file()


def _upload() -> None:
    now = session()
    given = st.file_uploader(
        "1. Export of your till or shop", KINDS, accept_multiple_files=True, key="export",
        help=f"At most {chosen().upload} MB each. Several files: parts or tables of one export.",
    )  # fmt: skip
    files = [now.folder.save(file.name, file.getvalue()) for file in given]
    if files != now.files:
        now.files, now.imported = files, None


def _columns() -> None:
    now = session()
    st.subheader("2. Which column is which")
    names = own_log.headers(now.files)
    chosen: dict[str, str] = {}
    guessed: dict[str, str] = {}
    try:
        plan = own_log.read_files(now.files, own_log.LogChoices({}))
        guessed = {target: column.source for target, column in plan.mapped.columns.items()}
    except ValueError as error:  # columns that cannot be guessed are for the visitor to name
        st.warning(plain(error))
    options = [own_log.GUESS, own_log.LEAVE_OUT, *names]
    with st.form("columns"):
        columns = st.columns(2)
        for n, (target, meaning) in enumerate(own_log.column_meanings().items()):
            shown = f"guess: {guessed[target]}" if target in guessed else "guess: none"
            chosen[target] = columns[n % 2].selectbox(
                target.replace("_", " "), options, help=meaning, key=f"column {target}",
                format_func=lambda name, shown=shown: shown if name == own_log.GUESS else name,
            )  # fmt: skip
        dates = columns[0].selectbox("How dates are written", list(_FORMATS), format_func=_FORMATS.__getitem__)
        market = columns[1].text_input(
            "All products are one market, called", placeholder="only if your export names none"
        )
        guests = st.checkbox("Keep rows without a customer (each receipt is then a household)")
        sent = st.form_submit_button("Read the log", type="primary")
    if sent:
        now.imported = None
        with st.spinner("reading and checking the log"):
            choices = own_log.LogChoices(chosen, market.strip(), dates, guests)
            now.imported = own_log.import_files(now.files, choices, now.folder.path / "log")


def _checks(imported: Imported) -> None:
    st.subheader("3. Checks")
    facts = imported.report.facts
    st.write(
        f"{facts['rows']:,} rows, {facts['households']:,} households, {facts['products bought']:,} products in "
        f"{facts['markets']:,} markets, {facts['first_day']} to {facts['last_day']}."
    )
    for row in own_log.check_rows(imported):
        with st.container(border=True):
            light = f":{own_log.LIGHTS[row['verdict']]}-badge[{row['verdict']}]"
            st.markdown(f"{light} **{plain(row['check'])}**: {plain(row['finding'])}")
            if row["advice"]:
                st.markdown(f"What to do: {plain(row['advice'])}")
    with st.expander("Rows that were dropped or mended, and why"):
        st.dataframe(own_log.dropped_rows(imported), hide_index=True, width="stretch")


def _build(imported: Imported) -> None:
    now = session()
    st.subheader("4. Build the market")
    with st.form("build"):
        market = st.selectbox("Market", own_log.market_names(imported))
        left, middle, right = st.columns(3)
        as_logged = left.checkbox(
            "The log shows how often people buy", True, help="It does not if it holds one market alone."
        )
        rate = left.slider("Else, percent who buy in a week", 1, 99, 20)
        households = int(middle.number_input("Fewest households in a segment", 2, 1000, 20))
        segments = int(right.number_input("Segments", 1, 30, 14))
        sent = st.form_submit_button("Build and open it", type="primary")
    if sent:
        with st.spinner("building the market: a language model reads its households"):
            path = own_log.build(
                imported, now.folder.path / "log", now.folder.path, market,
                purchase_rate=None if as_logged else rate / 100.0, min_households=households, segments=segments,
            )  # fmt: skip
        _opened(path)


def _opened(path: Path) -> None:
    """Open a market that was built from this visitor's files, and draw everything anew."""
    now = session()
    if path not in now.own:
        now.own.append(path)
    now.open(str(path), None)
    now.just_built = True
    st.rerun()


def _open_file() -> None:
    now = session()
    given = st.file_uploader("Scenario (.yaml)", ["yaml", "yml"], key="scenario")
    if given is not None and st.button("Open it"):
        scenario = own_log.checked_scenario(given.name, given.getvalue())
        _opened(save_scenario(scenario, now.folder.path / f"{scenario.name}.yaml"))
