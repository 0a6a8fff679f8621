"""Says what consumers make of a product that was added: who buys it, how sure that is, and what it takes from whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from malles_env.scenarios.adding.add import Added
from malles_env.type_aliases import FloatArray

SHOWN, DESCRIBED = 8, 3
"""Products named as those it takes buyers from, the rest being summed up, and segments described in words."""


def tables(added: Added) -> Iterator[Table | Text]:
    """Yield the summary, the segments by how many of their consumers buy it, and where its buyers come from."""
    scenario, product = added.scenario, added.scenario.products[-1]
    low, high = added.share[1:]
    yield Text(
        f"{product.title} ({added.product_id}) at {product.regular_price:g} {scenario.currency}, cost "
        f"{product.unit_cost:g}, sold by {product.seller}"
    )
    yield Text(
        f"Beside all {len(scenario.products) - 1} others at regular prices {added.share[0]:.2%} of the consumers buy "
        f"it in a {scenario.period} (90% interval {low:.2%} to {high:.2%}): {added.units[0]:,.0f} units "
        f"({added.units[1]:,.0f} to {added.units[2]:,.0f}). "
        f"{added.reading.because[:1].upper()}{added.reading.because[1:]}."
    )
    yield _segments(added)
    for s in np.argsort(-added.buys, kind="stable")[:DESCRIBED]:
        yield Text(f"{scenario.segments[s].name}: {scenario.segments[s].description}")
    yield Text("")
    yield _taken(added)


def _segments(added: Added) -> Table:
    table = Table(title="Who buys it", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("Segment", "Taste, utils", "Consumers who buy it", "Of its buyers"):
        table.add_column(column, justify="left" if column == "Segment" else "right", no_wrap=column == "Segment")
    part = _parts(added)
    for s in np.argsort(-added.buys, kind="stable"):
        cells = (f"{added.reading.taste[s]:.2f}", f"{added.buys[s]:.2%}", f"{part[s]:.1%}")
        table.add_row(added.scenario.segments[s].name, *cells)
    return table


def _parts(added: Added) -> FloatArray:
    """Return the segments' shares of its buyers [S]."""
    weights = added.scenario.population().weights
    return np.asarray(weights * added.buys / max(float(weights @ added.buys), 1e-300))


def _taken(added: Added) -> Table:
    scenario = added.scenario
    table = Table(title="What they would do without it", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "Seller", "Of its buyers"):
        table.add_column(column, justify="right" if column == "Of its buyers" else "left")
    table.add_row("buy nothing", "", f"{added.taken[0]:.1%}")
    order = np.argsort(-added.taken[1:], kind="stable")
    for j in order[:SHOWN]:
        product = scenario.products[j]
        table.add_row(Text(product.title or product.product_id), product.seller, f"{added.taken[j + 1]:.1%}")
    rest = added.taken[1:][order[SHOWN:]]
    if len(rest):
        table.add_row(f"one of {len(rest)} others", "", f"{rest.sum():.1%}")
    return table


def as_json(added: Added) -> dict[str, Any]:
    """Return everything as plain values."""
    scenario, product = added.scenario, added.scenario.products[-1]
    names = [segment.name for segment in scenario.segments]
    others = [entry.product_id for entry in scenario.products[:-1]]
    return {
        "scenario": scenario.name,
        "product_id": added.product_id,
        "name": product.title,
        "seller": product.seller,
        "price": product.regular_price,
        "unit_cost": product.unit_cost,
        "share": dict(zip(("said", "low", "high"), added.share, strict=True)),
        "units": dict(zip(("said", "low", "high"), added.units, strict=True)),
        "interval": added.reading.because,
        "taste": dict(zip(names, added.reading.taste.tolist(), strict=True)),
        "buys": dict(zip(names, added.buys.tolist(), strict=True)),
        "takes_from": dict(zip(["nothing", *others], added.taken.tolist(), strict=True)),
    }
