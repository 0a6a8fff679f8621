"""What surrounds every page: the side with market, taste model and seller, and the way from page to page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from malles_env.scenarios import list_scenarios, load_scenario
from malles_env.studio.logic.market import ASKED, taste_models
from malles_env.studio.state import readable, session, world
from malles_env.studio.views import compare, consumers, own_log, runs, seller, what_if

PAGES: tuple[tuple[Callable[[], None], str, str, str], ...] = (
    (seller.show, "Be the seller", "seller", ":material/storefront:"),
    (what_if.show, "What if", "what-if", ":material/tune:"),
    (compare.show, "Compare", "compare", ":material/leaderboard:"),
    (consumers.show, "Consumers", "consumers", ":material/groups:"),
    (own_log.show, "Your log", "your-log", ":material/upload_file:"),
    (runs.show, "Runs", "runs", ":material/show_chart:"),
)
"""Function, title, address and icon of each page; the icons come with Streamlit."""
_ABOUT = "malles studio: pricing policies meet consumers learned from real transactions. Served on this machine only."


def run() -> None:
    """Draw the page that the visitor is on."""
    st.set_page_config("malles studio", _icon(), layout="wide", menu_items={"About": _ABOUT})
    pages = [
        st.Page(show, title=title, icon=icon, url_path=path, default=n == 0)
        for n, (show, title, path, icon) in enumerate(PAGES)
    ]
    chosen = st.navigation(pages)
    framed(chosen.run)


def _icon() -> Image.Image:
    """Return the picture of the browser's tab; without one of our own, Streamlit lets the browser ask Google for it."""
    picture = np.zeros((32, 32, 4), dtype=np.uint8)
    for left, top in ((3, 18), (13, 10), (23, 3)):
        picture[top:29, left : left + 6] = (42, 143, 208, 255)
    return Image.fromarray(picture)


def framed(show: Callable[[], None]) -> None:
    """Draw the side, then a page; what the package refuses is one readable line."""
    with st.sidebar, readable():
        _side()
    with readable():
        show()


def _side() -> None:
    now = session()
    names = list(dict.fromkeys([now.source, *list_scenarios(), *map(str, now.own)]))
    offered = [name for name in names if load_scenario(name).consumers.kind not in ASKED]
    if st.session_state.get("market") not in offered or now.just_built:
        st.session_state["market"], now.just_built = now.source, False
    source = st.selectbox("Market", offered, format_func=_title, key="market")
    models = taste_models(load_scenario(source))
    model: str | None = None
    if len(models) > 1:
        at = models.index(now.model) if source == now.source and now.model in models else 0
        words = "Reads the tastes; the two shipped models give different advice."
        model = st.selectbox("Taste model", models, at, help=words, key=f"model {source}")
    now.open(source, model)
    agents = world().agents
    agent = st.selectbox(
        "Seller", agents, agents.index(now.agent), format_func=world().seller_title, key=f"seller {source}"
    )
    if agent != now.agent:
        now.agent, now.play = agent, None
    scenario = world().scenario
    st.caption(
        f"{len(scenario.products)} products of {len(scenario.sellers)} sellers; {scenario.population_size:,.0f} "
        f"consumers each {scenario.period}; {scenario.max_cycles} {scenario.period}s."
    )


def _title(source: str) -> str:
    scenario = load_scenario(source)
    own = " (yours)" if Path(source).suffix in (".yaml", ".yml") else ""
    return f"{scenario.title or scenario.name}{own}"
