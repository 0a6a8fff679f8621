"""HTML of scenarios and envs for notebooks; every word is escaped, as titles are free text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malles_env.market import Catalog

MOST_ROWS = 50


def scenario_html(scenario: Any) -> str:
    """Return a scenario's title, sizes and products."""
    facts = {
        "consumers": f"{scenario.consumers.kind}, {len(scenario.segments)} segments",
        f"visitors per {scenario.period}": f"{scenario.population_size:,.0f}",
        "episode": f"{scenario.max_cycles} {scenario.period}s",
        "money": scenario.currency,
    }
    return market_html(scenario.title or scenario.name, scenario.catalog(), facts)


def market_html(title: str, catalog: Catalog, facts: Mapping[str, Any]) -> str:
    """Return a title, facts by name, and a table of the products of a catalog (the first 50)."""
    said = "; ".join(f"{escape(name)}: {escape(str(value))}" for name, value in facts.items())
    rows = [
        (
            f"seller_{catalog.seller_of[j]}", catalog.product_ids[j], product.title, f"{catalog.unit_cost[j]:g}",
            f"{product.regular_price:g}", f"{catalog.price_low[j]:g} to {catalog.price_high[j]:g}",
        )
        for j, product in enumerate(catalog.products[:MOST_ROWS])
    ]  # fmt: skip
    left = len(catalog.products) - len(rows)
    more = f"<p>and {left} more products</p>" if left > 0 else ""
    head = ("agent", "product", "title", "unit cost", "regular price", "price bounds")
    return f"<div><b>{escape(title)}</b><br>{said}{_table(head, rows)}{more}</div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
