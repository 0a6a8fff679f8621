"""*What if*: other prices, both taste models, and other rules."""

from __future__ import annotations

import numpy as np
import streamlit as st

from malles_env.studio import charts
from malles_env.studio.logic.market import World, price_steps
from malles_env.studio.logic.tables import as_csv
from malles_env.studio.logic.what_if import (
    Curve,
    Outcome,
    Rules,
    competition,
    curve,
    has_draws,
    price_rows,
)
from malles_env.studio.state import drawn, plain, world
from malles_env.studio.views.parts import show_parts
from malles_env.type_aliases import FloatArray
from malles_env.workflows.elasticities import price_response


def show() -> None:
    """Draw the page."""
    here = world()
    st.header("What if")
    show_parts("what-if", here, {"One price": _one_price, "All prices": _all_prices, "Taxes, caps, mergers": _rules})


def _one_price(here: World) -> None:
    titles = here.product_titles()
    name = st.selectbox("Product whose price moves", titles)
    product = titles.index(name)
    wanted = has_draws(here) and st.checkbox("Show what the data leave open (draws of the tastes)", True)
    with st.spinner("reading the tastes (the first time, a language model reads them)"):
        found = curve(here, product, here.scenario.average_price(), drawn() if wanted else ())
    money, period = here.scenario.currency, here.scenario.period
    left, right = st.columns(2)
    seller = int(here.catalog.seller_of[product])
    left.subheader(f"Profit of {plain(here.seller_title(here.agents[seller]))}")
    left.altair_chart(_profit_chart(found, money, period), width="stretch")
    right.subheader("Units sold")
    rows = _rows(found, found.units, "units")
    chart = charts.lines(
        rows, "price", "units", "tastes", titles=(f"price ({money})", f"units per {period}"), zero=True
    )
    right.altair_chart(chart, width="stretch")
    peaks = ", ".join(
        f"{plain(who)} {found.prices[int(np.argmax(line))]:.2f} {money}" for who, line in found.profit.items()
    )
    st.caption(
        f"First {period}, everything on the shelf, all other prices at their averages. "
        f"Price of the highest profit: {peaks}."
    )
    st.download_button(
        "Export (CSV)", as_csv([*_rows(found, found.profit, "profit")]), "profit-by-price.csv", "text/csv"
    )


def _rows(found: Curve, lines: dict[str, FloatArray], what: str) -> list[dict[str, float | str]]:
    return [
        {"price": round(float(price), 4), what: float(value), "tastes": who}
        for who, line in lines.items()
        for price, value in zip(found.prices, line, strict=True)
    ]


def _profit_chart(found: Curve, money: str, period: str) -> object:
    titles = (f"price ({money})", f"profit per {period} ({money})")
    line = charts.lines(_rows(found, found.profit, "profit"), "price", "profit", "tastes", titles=titles)
    if found.band is None:
        return line
    words = f"eight of ten of the {found.draws} draws"
    return charts.band(found.prices, found.band[0], found.band[1], line, money, words)


def _all_prices(here: World) -> None:
    catalog, titles, average = here.catalog, here.product_titles(), here.scenario.average_price()
    with st.expander("Prices (averages to begin with)"):
        columns = st.columns(2)
        asked = []
        for j, title in enumerate(titles):
            low, high = float(catalog.price_low[j]), float(catalog.price_high[j])
            step, form = price_steps(low, high)
            asked.append(columns[j % 2].slider(
                plain(title), low, high, float(np.clip(average[j], low, high)), step=step, format=form,
                key=f"what-if {here.scenario.name} {j}",
            ))  # fmt: skip
    lasting = st.toggle("The answer to a lasting change, once loyalty and habits have settled")
    with st.spinner("working out the response"):
        found = price_response(here.scenario, "steady" if lasting else "state", model=here.model, prices=asked)
    st.subheader("Elasticities")
    st.caption("Percent by which the row's units change when the column's price rises by 1%. Red: fewer, blue: more.")
    chart = charts.heat_map(found.matrix, titles, titles, ("product whose units change", "price that rises"))
    st.altair_chart(chart, width="stretch")
    st.subheader("Diversion")
    st.caption("Of the buyers that the row loses when its price rises, the percentage who go to the column.")
    to = ["nothing", *titles]
    chart = charts.heat_map(
        100.0 * found.diversion, titles, to, ("product that loses buyers", "where they go"), digits=0, signed=False
    )
    st.altair_chart(chart, width="stretch")
    rows = [
        {"product": title, **dict(zip(titles, map(float, row), strict=True))}
        for title, row in zip(titles, found.matrix, strict=True)
    ]
    st.download_button("Export the elasticities (CSV)", as_csv(rows), "elasticities.csv", "text/csv")


def _rules(here: World) -> None:
    scenario = here.scenario
    money, period = scenario.currency, scenario.period
    st.write("Where competition ends under other rules: Bertrand-Nash prices, every seller with its usual shelf.")
    left, right = st.columns(2)
    sales = left.slider("Sales tax (% of the price before tax)", 0, 50, 0, key="sales tax")
    cost = float(here.catalog.unit_cost.mean())
    unit = right.slider(f"Unit tax ({money})", 0.0, round(cost, 2) or 1.0, 0.0, key=f"unit tax {scenario.name}")
    capped = left.checkbox("Price cap")
    low, high = float(here.catalog.price_low.max()), float(here.catalog.price_high.max())
    cap = (
        left.slider(f"No price above ({money})", low * 1.01, high, high, key=f"cap {scenario.name}") if capped else None
    )
    titles = {seller.name: seller.title or seller.name for seller in scenario.sellers}
    merged = right.multiselect(
        "Sellers that merge", list(titles), format_func=lambda name: titles[name], key=f"merge {scenario.name}"
    )
    rules = Rules(sales / 100.0, unit, cap, tuple(merged))
    if rules == Rules():
        st.info("Move a slider, cap the price, or let two sellers merge.")
        return
    with st.spinner("finding where competition ends"):
        before, after = competition(here, Rules()), competition(here, rules)
    _effects(here, before, after, money, period)


def _effects(here: World, before: Outcome, after: Outcome, money: str, period: str) -> None:
    was, now = sum(before.profit.values()), sum(after.profit.values())
    cells = st.columns(4)
    cells[0].metric("Profits", f"{now:,.0f} {money}", f"{now - was:+,.0f}")
    cells[1].metric(
        "Consumer surplus", f"{after.surplus - before.surplus:+,.0f} {money}", help="The change; its level has no zero."
    )
    cells[2].metric("Tax paid", f"{after.tax:,.0f} {money}")
    welfare = now - was + after.surplus - before.surplus + after.tax - before.tax
    cells[3].metric("Welfare", f"{welfare:+,.0f} {money}", help="Change of profits, surplus and tax together.")
    rows = price_rows(here, before, after)
    st.dataframe(rows, hide_index=True, width="stretch")
    titles = {seller.name: seller.title or seller.name for seller in here.scenario.sellers}
    sold = [
        {
            "seller": titles[name],
            f"profit now ({money})": round(profit),
            f"profit then ({money})": round(after.profit[name]),
        }
        for name, profit in before.profit.items()
    ]
    st.dataframe(sold, hide_index=True, width="stretch")
    st.caption(f"Money per {period}. Prices stay within each product's bounds.")
    st.download_button("Export (CSV)", as_csv(rows), "policy.csv", "text/csv")
