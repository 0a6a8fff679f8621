"""Prints scenarios for people: tables of sellers, products, segments, and the settings beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from malles_env.market import Supply
from malles_env.scenarios.blocks.entries import LogitEntry, ProductEntry, SegmentEntry
from malles_env.scenarios.blocks.forces import ForcesEntry
from malles_env.scenarios.blocks.live_model_config import (
    AlignedPromptedEntry,
    DiscussionEntry,
    LiveModelEntry,
    PromptedEntry,
)
from malles_env.scenarios.blocks.seller_rules import ReplenishmentEntry
from malles_env.scenarios.schema import Scenario


def overview(scenarios: Iterable[Scenario]) -> Table:
    """Return one row per scenario."""
    table = _table("Scenario", "What it is", "Sellers", "Products", "Consumers", right=(2, 3))
    for scenario in scenarios:
        counts = (len(scenario.sellers), len(scenario.products))
        table.add_row(scenario.name, scenario.title, *map(str, counts), _kind(scenario))
    return table


def outline(scenario: Scenario) -> dict[str, Any]:
    """Return the same row for JSON."""
    return {
        "name": scenario.name,
        "title": scenario.title,
        "sellers": len(scenario.sellers),
        "products": len(scenario.products),
        "consumers": _kind(scenario),
    }


def full_view(scenario: Scenario) -> RenderableType:
    """Return everything a person may want to know of a scenario."""
    return Group(*_blocks(scenario))


def _blocks(scenario: Scenario) -> Iterator[RenderableType]:
    yield Text(f"{scenario.title or scenario.name} ({scenario.name})", style="bold")
    if scenario.description:
        yield Text(scenario.description.strip())
    yield Text("")
    yield _sellers(scenario)
    yield _products(scenario)
    yield _segments(scenario)
    yield _settings(scenario)
    yield from _list("Notes", scenario.notes)
    yield from _list("Sources", scenario.sources)
    yield from _list("Licence", (scenario.licence,) if scenario.licence else ())
    yield from _list("Made by", (scenario.made_by,) if scenario.made_by else ())


def _sellers(scenario: Scenario) -> Table:
    table = _table("Agent", "Seller", "Name", "Products", "May list", right=(3, 4), title="Sellers")
    titles = {seller.name: seller.title or seller.name for seller in scenario.sellers}
    catalog, owner = scenario.catalog(), scenario.merged_into
    for n, name in enumerate(catalog.sellers):
        owned = len(catalog.products_of(n))
        title = " + ".join(titles[part] for part, whole in owner.items() if whole == name)
        table.add_row(f"seller_{n}", name, title, str(owned), str(min(int(catalog.shelf[n]), owned)))
    return table


def _products(scenario: Scenario) -> Table:
    limited = any(product.stock is not None for product in scenario.products)
    named = any(product.source_id for product in scenario.products)
    table = _table(
        "Product", "Title, and in the log" if named else "Title", "Unit cost", "Regular", "Bounds", "Fee", "Share",
        *(["Stock"] if limited else []), right=(2, 3, 4, 5, 6, 7),
        title=f"Products by seller (prices in {scenario.currency}; listing fee per {scenario.period})",
    )  # fmt: skip
    for before, product in zip((None, *scenario.products), scenario.products, strict=False):
        if before is not None and before.seller != product.seller:
            table.add_section()
        share, stock = product.reference_share, product.stock
        table.add_row(
            product.product_id,
            _titles(product),
            _money(scenario.unit_cost(product)),
            _money(product.regular_price),
            f"{_money(product.price_low)}-{_money(product.price_high)}",
            f"{product.listing_fee:g}",
            "" if share is None else f"{share:.1%}",
            *(["unlimited" if stock is None else f"{stock:g}"] if limited else []),
        )
    return table


def _titles(product: ProductEntry) -> Text:
    """Return the product's title and, below it, its id and title in the log; as text without markup."""
    title = product.title or product.product_id
    words = [product.source_id, *([product.source_title] if product.source_title not in ("", title) else [])]
    return Text(f"{title}\n{': '.join(words)}" if product.source_id else title)


def _money(value: float) -> str:
    """Return two decimals, or four leading digits of what is smaller than half a unit of money."""
    return f"{value:.2f}" if value >= 0.5 or value == 0 else f"{value:.4g}"


def _segments(scenario: Scenario) -> Table:
    table = _table("Segment", "Weight", "Last bought", "Persona", right=(1,), title="Segments")
    total = sum(segment.weight for segment in scenario.segments)
    for segment in scenario.segments:
        weight = f"{segment.weight / total:.1%}"
        table.add_row(segment.name, weight, _loyalty(segment), segment.description)
    return table


def _loyalty(segment: SegmentEntry) -> str:
    ranked = sorted(segment.loyalty.items(), key=lambda pair: -pair[1])[:2]
    return ", ".join(f"{name} {share:.0%}" for name, share in ranked) or "nothing yet"


def _settings(scenario: Scenario) -> Table:
    table = Table(title="Market", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    field = scenario.mean_field
    perceived = f"{field.shares} shares of the last {field.window} periods"
    perceived = f"{field.shares} shares of the same period" if field.coupling == "equilibrium" else perceived
    centre = scenario.mean_field_settings().centre.replace("_", "-")
    rows = {
        "Consumers": f"{scenario.population_size:,.0f} per {scenario.period}, {_kind(scenario)}",
        "Tastes": _tastes(scenario),
        "Mean field": f"{field.coupling}: {perceived}, centred at {centre} shares",
        "Episode": f"{scenario.max_cycles} periods of one {scenario.period}"
        if scenario.period != "period"
        else f"{scenario.max_cycles} periods",
        **_rules(scenario),
        "Reward": f"profit / {scenario.reward_scale:g} {scenario.currency}",
    }
    for name, words in rows.items():
        table.add_row(name, words)
    return table


def _rules(scenario: Scenario) -> dict[str, str]:
    """Return taxes, cap, entry, mergers and reference prices in words, where there are any."""
    policy, money = scenario.policy, scenario.currency
    words = [
        f"sales tax {policy.sales_tax:.1%}" if policy.sales_tax else "",
        f"unit tax {policy.unit_tax:g} {money}" if policy.unit_tax else "",
        f"price cap {policy.price_cap:g} {money}" if policy.price_cap is not None else "",
        *(f"{name} enters in period {period}" for name, period in policy.entry.items()),
        *(f"{' and '.join(group)} merged" for group in policy.mergers),
    ]
    said = {"Policy": "; ".join(word for word in words if word)} if any(words) else {}
    reference = scenario.reference_price
    if reference is not None:
        said["Reference price"] = f"strength {reference.strength:g}, memory {reference.memory:g}"
    if scenario.replenishment is not None:
        said["Orders"] = _orders(scenario, scenario.replenishment)
    if scenario.tiers is not None:
        said["Tiers"] = _tiers(scenario)
    return said | ({} if scenario.forces is None else {"Forces": _forces(scenario.forces)})


def _tiers(scenario: Scenario) -> str:
    """Return the quantity discounts in words: products with the same one on one line."""
    tiers, alike = scenario.catalog().tiers, dict[str, list[str]]()
    for name, tier in () if tiers is None else tiers.by_product.items():
        words = f"up to {tier.most:.0%} off for every unit of an order of {tier.threshold} or more"
        alike.setdefault(words, []).append(name)
    every = len(alike) == 1 and len(*alike.values()) == len(scenario.products)
    return "\n".join(words + ("" if every else f" ({', '.join(names)})") for words, names in alike.items())


def _orders(scenario: Scenario, given: ReplenishmentEntry) -> str:
    """Return how products are ordered in words: products that are ordered alike on one line."""
    alike: dict[str, list[str]] = {}
    for name in scenario.product_ids:
        alike.setdefault(_supply(given.supply(name), scenario.currency, scenario.period), []).append(name)
    kind = "whole units" if given.whole_units else "any quantity"
    return "\n".join(
        f"{words}, {kind}" + ("" if len(alike) == 1 else f" ({', '.join(names)})") for words, names in alike.items()
    )


def _supply(supply: Supply, money: str, period: str) -> str:
    parts = [
        f"up to {supply.largest:g} at a time",
        f"storage {supply.storage:g}",
        f"lead time {supply.lead_time}",
        f"{supply.fixed_cost:g} {money} per order" if supply.fixed_cost else "",
        f"{supply.holding_cost:g} {money} per unit on hand and {period}" if supply.holding_cost else "",
        f"{supply.initial:g} on hand at first" if supply.initial else "",
        f"{supply.salvage:g} {money} for a unit left at the end" if supply.salvage else "",
    ]
    return ", ".join(part for part in parts if part)


def _forces(forces: ForcesEntry) -> str:
    """Return the forces of a scenario in words; "none" where its log showed none."""
    promotion, price, inertia, seasons = forces.promotion, forces.reference_price, forces.inertia, forces.seasons
    words = []
    if promotion is not None:
        worth = ("as read" if value is None else f"{value:g}" for value in (promotion.display, promotion.feature))
        words.append("display {}, feature ad {} utils".format(*worth))
    if price is not None:
        words.append(f"reference price: gain {price.gain:g}, loss {price.loss:g}, memory {price.memory:g}")
    if inertia is not None:
        loyalty = "" if inertia.loyalty is None else f"last purchase {inertia.loyalty:g} utils, "
        words.append(f"{loyalty}{inertia.fade:.0%} forget it each period")
    if seasons is not None:
        words.append(f"random traffic: sd {seasons.sd:g}, persistence {seasons.persistence:g}")
    if forces.pantry is not None:
        words.append(f"pantry: theta {forces.pantry.theta:g}, keep {forces.pantry.keep:g}")
    return "; ".join(words) or "none"


def _kind(scenario: Scenario) -> str:
    consumers = scenario.consumers
    return "logit" if isinstance(consumers, LogitEntry) else f"{consumers.kind} ({consumers.model})"


def _tastes(scenario: Scenario) -> str:
    consumers = scenario.consumers
    if isinstance(consumers, LogitEntry):
        return f"given in the file, {consumers.tastes.price_transform} price"
    if isinstance(consumers, LiveModelEntry):
        who = f"{consumers.model} at {', '.join(consumers.servers)}" if consumers.servers else consumers.model
        if isinstance(consumers, DiscussionEntry):
            return f"{who} is asked in every period, for roles that talk for {consumers.rounds} rounds and a moderator"
        if isinstance(consumers, PromptedEntry):
            return f"{who} is asked in every period, in {consumers.orders} orders of the shelf"
    if isinstance(consumers, AlignedPromptedEntry):
        return f"{consumers.model} is asked in every period in the words of its training, in {consumers.orders} orders"
    words = f"read by {consumers.model} from purchase histories in {consumers.market}"
    if consumers.calibrate == "none" or consumers.purchase_rate is None:
        return words
    return f"{words}; level fitted to the shares above and a purchase rate of {consumers.purchase_rate:.1%}"


def _list(title: str, lines: Iterable[str]) -> Iterator[RenderableType]:
    lines = list(lines)
    if lines:
        yield Text(f"\n{title}", style="italic")
    for line in lines:
        table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
        table.add_row("-", line.strip())
        yield table


def _table(*columns: str, right: tuple[int, ...] = (), title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        # the first column names the row and numbers must stay whole; words may wrap
        whole = i == 0 or i in right
        table.add_column(column, justify="right" if i in right else "left", overflow="fold", no_wrap=whole)
    return table
