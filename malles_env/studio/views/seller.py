"""*Be the seller*: set prices, shelf and promotion, play a week or to the end, and see how you did."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import streamlit as st

from malles_env.files import slug
from malles_env.studio import charts
from malles_env.studio.logic.market import World, price_steps
from malles_env.studio.logic.play import RIVALS, HandPlay, Move, constant_profits, usual_move
from malles_env.studio.logic.tables import as_csv
from malles_env.studio.state import best_known, plain, readable, session, world


def show() -> None:
    """Draw the page."""
    here, now = world(), session()
    scenario = here.scenario
    st.header(f"Be the seller: {here.seller_title(now.agent)}")
    st.write(plain(" ".join(scenario.description.split())))
    _rivals(here)
    if now.play is None:
        with st.spinner("opening the shop (the first time, the market is compiled)"):
            now.play = HandPlay(here, now.agent, now.rivals, now.seed)
    play = now.play
    _moves(play)
    _buttons(play)
    if play.moves:
        _results(play)
    else:
        st.info(f"Set your prices and play the first {scenario.period}. Every {scenario.period} can be undone.")
    _export(play)


def _rivals(here: World) -> None:
    now = session()
    others = [agent for agent in here.agents if agent != now.agent]
    with st.expander("Rivals and chance"):
        if not others:
            st.caption("Nobody else sells in this market.")
        for agent in others:
            usual = RIVALS.index(now.rivals.get(agent, "cost-plus"))
            now.rivals[agent] = st.selectbox(
                here.seller_title(agent), RIVALS, usual, key=f"rival {here.scenario.name} {agent}"
            )
        now.seed = int(
            st.number_input("Seed of demand", 0, 10**6, now.seed, help="The same seed and moves give the same episode.")
        )
    wanted = ({agent: now.rivals.get(agent, "cost-plus") for agent in others}, now.seed)
    if now.play is not None and (now.play.rivals, now.play.seed) != wanted:
        now.play = None


def _moves(play: HandPlay) -> None:
    """Draw the form of one move, and make it."""
    here, last = play.world, play.moves[-1] if play.moves else usual_move(play.world, play.agent)
    period = here.scenario.period
    with st.form("move"):
        move = _asked(play, last)
        left, right = st.columns(2)
        one = left.form_submit_button(f"Play a {period}", type="primary", width="stretch", disabled=not play.left)
        rest = right.form_submit_button("Play to the end", width="stretch", disabled=not play.left)
    if one or rest:
        with readable():
            play.play(move, play.left if rest else 1)
            st.rerun()


def _asked(play: HandPlay, last: Move) -> Move:
    here = play.world
    catalog, own, titles = here.catalog, here.products(play.agent), here.product_titles()
    shelf = int(catalog.shelf[here.slot_layout.index(play.agent)])
    money = here.scenario.currency
    if shelf < len(own):
        st.caption(f"Your shelf holds {shelf} of your {len(own)} products.")
    given: dict[str, list[Any]] = {"prices": [], "listed": [], "display": [], "feature": [], "order": []}
    for i, j in enumerate(own):
        low, high = float(catalog.price_low[j]), float(catalog.price_high[j])
        cost = f"costs {catalog.unit_cost[j]:.4g}, regular price {catalog.regular_price[j]:.4g}"
        key = f"{here.scenario.name} {j}"
        step, form = price_steps(low, high)
        price = st.slider(
            f"{plain(titles[j])} ({money}; {cost})", low, high, float(np.clip(last.prices[i], low, high)), step=step,
            format=form, key=f"price {key}",
        )  # fmt: skip
        given["prices"].append(price)
        boxes = st.columns(4)
        given["listed"].append(boxes[0].checkbox("On the shelf", last.listed[i], key=f"listed {key}"))
        if last.display:
            given["display"].append(boxes[1].checkbox("On display", last.display[i], key=f"display {key}"))
            given["feature"].append(boxes[2].checkbox("Advertised", last.feature[i], key=f"feature {key}"))
        if last.order and catalog.replenishment is not None:
            most = float(catalog.replenishment.supplies[j].largest)
            given["order"].append(boxes[3].number_input("Order", 0.0, most, last.order[i], key=f"order {key}"))
    return Move(**{name: tuple(values) for name, values in given.items()})


def _buttons(play: HandPlay) -> None:
    left, right = st.columns(2)
    if left.button("Undo", width="stretch", disabled=not play.moves, icon=":material/undo:"):
        play.undo()
        st.rerun()
    if right.button("Begin anew", width="stretch", disabled=not play.moves, icon=":material/restart_alt:"):
        session().play = None
        st.rerun()


def _results(play: HandPlay) -> None:
    here = play.world
    money, period = here.scenario.currency, here.scenario.period
    with readable():
        best = best_known(play.agent, play.rivals)
        known = constant_profits(here, play.agent, play.rivals, play.seed, best)
        own, upto = play.profits(), len(play.moves)
        reached, possible = sum(own), sum(known[:upto])
        ledger = play.ledgers[-1]
        cells = st.columns(4)
        so_far = f"Profit in {upto} {period}{'s' if upto > 1 else ''}"
        cells[0].metric(so_far, f"{reached:,.0f} {money}", f"{reached - possible:+,.0f} against the best")
        behind = own[-1] - known[upto - 1]
        cells[1].metric(f"Profit, last {period}", f"{own[-1]:,.0f} {money}", f"{behind:+,.0f} against the best")
        cells[2].metric("Share of purchases", f"{ledger['share']:.1%}")
        cells[3].metric("Surplus per consumer", f"{play.surplus()[-1]:.2f} {money}", help="In money, up to a constant.")
        _profit_chart(own, known, money, period)
        _price_chart(play)
        asked = ", ".join(
            f"{plain(name)} {price:.2f}"
            for name, price, listed in zip(_own_titles(play), best.prices, best.listed, strict=True)
            if listed
        )
        st.caption(
            "Best known: the best constant prices and shelf against these rivals, found by a search that knows demand: "
            f"{asked} {money}."
        )


def _own_titles(play: HandPlay) -> list[str]:
    titles = play.world.product_titles()
    return [titles[j] for j in play.world.products(play.agent)]


def _profit_chart(own: list[float], known: list[float], money: str, period: str) -> None:
    rows = [
        {period: t + 1, "profit": float(total), "who": who}
        for who, values in (("you", own), ("best known", known[: len(own)]))
        for t, total in enumerate(np.cumsum(values))
    ]
    st.subheader("Profit so far")
    chart = charts.lines(rows, period, "profit", "who", titles=(period, f"profit since the start ({money})"), zero=True)
    st.altair_chart(chart, width="stretch")


def _price_chart(play: HandPlay) -> None:
    here, kept = play.world, play.recording.arrays()
    titles, own, period = here.product_titles(), set(here.products(play.agent).tolist()), here.scenario.period
    order = sorted(range(len(titles)), key=lambda j: j not in own)

    def rows(what: str, factor: float = 1.0) -> list[dict[str, Any]]:
        return [
            {period: t + 1, what: factor * float(kept[what][t, j]), "product": titles[j], "rival": j not in own}
            for j in order
            for t in range(len(play.moves))
            if kept["listed"][t, j]
        ]

    left, right = st.columns(2)
    for column, what, factor, unit in (
        (left, "prices", 1.0, f"price ({here.scenario.currency})"),
        (right, "share", 100.0, "share of purchases (%)"),
    ):
        column.subheader({"prices": "Prices", "share": "Shares"}[what])
        found = rows(what, factor)
        if found:
            chart = charts.lines(found, period, what, "product", titles=(period, unit), dashed="rival")
            column.altair_chart(chart, width="stretch")
    st.caption("Dashed: rivals.")


def _export(play: HandPlay) -> None:
    name = slug(f"{play.world.scenario.name} {play.agent} {play.seed}")
    left, right = st.columns(2)
    left.download_button(
        "Export the weeks (CSV)",
        as_csv(play.rows()),
        f"{name}.csv",
        "text/csv",
        width="stretch",
        disabled=not play.moves,
    )
    right.download_button(
        "Export the moves (JSON)", json.dumps(play.record(), indent=2), f"{name}.json", "application/json",
        width="stretch", disabled=not play.moves,
    )  # fmt: skip
