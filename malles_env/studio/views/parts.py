"""A page in parts, of which only the one that is seen is worked out."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from malles_env.studio.logic.market import World
from malles_env.studio.state import readable


def show_parts(key: str, here: World, parts: dict[str, Callable[[World], None]]) -> None:
    """Draw tabs and what the chosen one holds.

    Args:
        key: Of the tabs, one per page.
        here: The market.
        parts: By name, what draws it.
    """
    tabs = st.tabs(list(parts), key=key, on_change="rerun")
    for tab, draw in zip(tabs, parts.values(), strict=True):
        with tab, readable():
            if tab.open:
                draw(here)
