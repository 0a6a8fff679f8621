"""*Compare*: sellers and saved policies on the same held-out seeds."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from malles_agents.evaluation.evaluate import Played
from malles_env.studio import charts
from malles_env.studio.logic.compare import Question, compared, mismatch, price_curves, saved_policies, score_rows
from malles_env.studio.logic.market import World
from malles_env.studio.logic.play import RIVALS
from malles_env.studio.logic.tables import as_csv
from malles_env.studio.settings import chosen
from malles_env.studio.state import plain, readable, session, world


def show() -> None:
    """Draw the page."""
    here, now = world(), session()
    st.header("Compare sellers")
    st.write(f"Every seller takes the place of {plain(here.seller_title(now.agent))} on the same held-out seeds.")
    question = _question(here)
    if question is not None:
        with readable(), st.status("playing", expanded=False) as status:
            for words in mismatch(here, question.policies):
                st.warning(plain(words))
            found = compared(here, question, lambda name: status.update(label=f"playing {name}"))
            now.answer = (here, question, found)
            status.update(label="played", state="complete")
    if now.answer is not None:
        _answer(*now.answer)


def _question(here: World) -> Question | None:
    """Draw the form; return what is asked when it is sent."""
    policies = saved_policies(chosen().runs)
    with st.form("compare"):
        sellers = st.multiselect("Sellers", RIVALS, ["regular-price", "cost-plus", "best-response"])
        more = st.text_input("More kinds, separated by commas", placeholder="cost-plus:0.3, discount:0.2, thompson:1")
        files = st.multiselect(
            "Saved policies", policies, format_func=lambda path: path.parent.relative_to(chosen().runs).as_posix(),
            placeholder="none chosen" if policies else f"none found in {chosen().runs}", disabled=not policies,
        )  # fmt: skip
        left, right = st.columns(2)
        rivals = left.selectbox("Rivals", RIVALS)
        episodes = int(right.number_input("Episodes", 2, 512, 32))
        best = st.checkbox("Add the best constant prices (a search that knows demand)", True)
        sent = st.form_submit_button("Compare", type="primary")
    if not sent:
        return None
    kinds = [*sellers, *(kind.strip() for kind in more.split(",") if kind.strip())]
    return Question(session().agent, tuple(dict.fromkeys(kinds)), tuple(files), rivals, episodes, best)


def _answer(here: World, question: Question, found: Mapping[str, Played]) -> None:
    scenario = here.scenario
    money, period = scenario.currency, scenario.period
    rows = score_rows(dict(found))
    st.subheader(f"{plain(here.seller_title(question.agent))} against {question.rivals}")
    chart = charts.bars(rows, "seller", "profit", f"profit per episode ({money})", "profit s.e.")
    st.altair_chart(chart, width="stretch")
    shown = {
        "profit": st.column_config.NumberColumn(f"profit ({money})", format="%,.0f"),
        "profit s.e.": st.column_config.NumberColumn("± s.e.", format="%,.0f"),
        "share": st.column_config.NumberColumn("share", format="percent"),
        "share s.e.": None,
        "surplus": st.column_config.NumberColumn(
            f"surplus ({money})", format="%.3f", help=f"Per consumer and {period}."
        ),
        "surplus s.e.": None,
    }
    st.dataframe(rows, hide_index=True, width="stretch", column_config=shown)
    where = scenario.title or scenario.name
    st.caption(f"{where}; {question.episodes} episodes; ± one standard error over episodes, the lines two.")
    curves = price_curves(here, question, dict(found))
    left, right = st.columns(2)
    left.subheader("What they ask")
    titles = (period, "price / regular price")
    left.altair_chart(charts.lines(curves, "period", "price", "seller", titles=titles), width="stretch")
    right.subheader("What they sell")
    titles = (period, "share of purchases")
    right.altair_chart(charts.lines(curves, "period", "share", "seller", titles=titles), width="stretch")
    st.caption("The first of the episodes; price: mean over the products on the shelf.")
    left, right = st.columns(2)
    left.download_button("Export the scores (CSV)", as_csv(rows), "scores.csv", "text/csv", width="stretch")
    right.download_button("Export the curves (CSV)", as_csv(curves), "curves.csv", "text/csv", width="stretch")
