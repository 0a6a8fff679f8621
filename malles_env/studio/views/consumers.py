"""*Consumers*: segments, histories and tastes; a product named in words; discussions turn by turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from malles_env.studio import charts
from malles_env.studio.logic import consumers
from malles_env.studio.logic.market import World
from malles_env.studio.logic.tables import as_csv
from malles_env.studio.settings import chosen
from malles_env.studio.state import plain, session, world
from malles_env.studio.views.parts import show_parts


def show() -> None:
    """Draw the page."""
    here = world()
    st.header("Consumers")
    show_parts("consumers", here, {"Segments": _segments, "A new product": _new_product, "Discussions": _talks})


def _segments(here: World) -> None:
    rows = consumers.segment_rows(here.scenario)
    st.subheader("Who buys")
    st.dataframe(rows, hide_index=True, width="stretch")
    st.download_button("Export (CSV)", as_csv(rows), "segments.csv", "text/csv")
    liking = consumers.liking_rows(here)
    names, people = here.product_titles(), [row["segment"] for row in rows]
    matrix = np.array([row["buys %"] for row in liking]).reshape(len(people), len(names))
    st.subheader("What they buy")
    st.caption(f"Percent of each segment that buys the product in a {here.scenario.period} at average prices.")
    chart = charts.heat_map(matrix, people, names, ("segment", "product"), digits=1, signed=False)
    st.altair_chart(chart, width="stretch")
    tastes = consumers.taste_rows(here)
    st.subheader("What moves them")
    st.dataframe(tastes, hide_index=True, width="stretch")
    model = f"Read by {plain(here.model)}. " if here.model else "As the scenario's file gives them. "
    st.caption(
        f"{model}Utils: of the log of price, of a discount's depth, of what others buy, of having bought it last."
    )


def _new_product(here: World) -> None:
    scenario = here.scenario
    if here.scenario.consumers.kind != "aligned":
        st.info("The tastes of this market stand in its file; choose one whose tastes a model reads, e.g. ice cream.")
        return
    with st.form("product"):
        words = st.text_input("The product in words: its brand or name", "Ben's chocolate fudge", max_chars=60)
        left, middle, right = st.columns(3)
        usual = float(np.mean(scenario.average_price()))
        price = left.number_input(f"Price ({scenario.currency})", 0.01, 100.0 * usual, round(usual, 2))
        size = middle.number_input("Size", 0.0, 10_000.0, float(scenario.products[0].size_value))
        unit = right.text_input("Unit of the size", scenario.products[0].size_unit, max_chars=60)
        store = st.checkbox("The shop's own label")
        sent = st.form_submit_button("Who would buy it?", type="primary")
    if not sent:
        st.caption("The shipped models read brand, label and size; words beside those of the log mean little to them.")
        return
    with st.spinner("a language model reads the product"):
        found = consumers.reception(here, consumers.NewProduct(words, price, store, size, unit))
    st.metric(f"Consumers who would buy it in a {scenario.period}", f"{found.total:.2%}")
    shares = zip(found.share.tolist(), (segment.name for segment in scenario.segments), strict=True)
    rows = [{"segment": name, "buys %": 100.0 * share} for share, name in sorted(shares, reverse=True)]
    left, right = st.columns(2)
    left.subheader("Who")
    left.altair_chart(charts.bars(rows, "segment", "buys %", "percent of the segment"), width="stretch")
    right.subheader("Instead of what")
    taken = sorted(found.taken_from.items(), key=lambda pair: -pair[1])
    names = [
        {"instead of": "buying nothing" if name == "nobody" else name, "part": 100.0 * part} for name, part in taken
    ]
    right.altair_chart(charts.bars(names, "instead of", "part", "percent of its buyers"), width="stretch")
    st.caption(
        f"First {scenario.period}, other products at average prices. No data say how well a product sells that nobody "
        "sold: it is read as one of median share. Compare segments and prices rather than trust the level."
    )


def _talks(here: World) -> None:
    found = consumers.transcripts(chosen().runs)
    given = st.file_uploader("A transcript (.jsonl)", "jsonl", key="transcript")
    if given is not None:
        path: Path | None = session().folder.save(given.name, given.getvalue())
    else:
        path = st.selectbox("Transcripts on disk", found, None, format_func=_below, disabled=not found, key="talks",
            placeholder="choose one" if found else f"none found in {chosen().runs}")  # fmt: skip
    if path is None:
        st.caption("Make one with: malles discuss wholesale --out runs/talks.jsonl")
        return
    talks = consumers.discussions(path)
    number = int(st.number_input("Discussion", 1, len(talks), 1)) - 1 if len(talks) > 1 else 0
    _talk(talks[number], f"{path} {number}")


def _below(path: Path) -> str:
    return path.relative_to(chosen().runs).as_posix()


def _talk(talk: dict[str, Any], key: str) -> None:
    st.write(plain(talk["buyer"]))
    shelf = [{"": code, "on the shelf": title} for code, title in talk["shelf"].items()]
    with st.expander("The shelf"):
        st.dataframe(shelf, hide_index=True, width="stretch")
    turns = talk["turns"]
    shown = st.slider("Turns shown", 0, len(turns), min(1, len(turns)), key=f"turns {key}") if turns else 0
    heard = ""
    for turn in turns[:shown]:
        phase = f"Round {turn['round']}: {turn['phase']}"
        if phase != heard:
            st.markdown(f"**{plain(phase)}**")
            heard = phase
        with st.chat_message(turn["role"], avatar=":material/person:"):
            st.markdown(f"**{plain(turn['role'])}**")
            said, vote = consumers.turn_words(talk, turn)
            st.markdown(plain(said))
            if vote:
                st.caption(plain(vote))
    if shown == len(turns):
        st.subheader("The moderator decides")
        rows = consumers.verdict_rows(talk)
        st.dataframe(rows, hide_index=True, width="stretch") if rows else st.caption("No decision was reached.")
