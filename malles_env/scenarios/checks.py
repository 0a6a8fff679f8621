"""Checks of a scenario across its parts: names that must exist, shares that must add up, prices in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from malles_env.consumers.discussion.cast import is_yaml, list_casts
from malles_env.errors import InvalidInput, invalid
from malles_env.scenarios.blocks.entries import AlignedEntry, LogitEntry, SegmentEntry
from malles_env.scenarios.blocks.forces import InertiaEntry
from malles_env.scenarios.blocks.live_model_config import (
    LIVE,
    AlignedPromptedEntry,
    DiscussionEntry,
    LiveModelEntry,
    PromptedEntry,
)
from malles_env.scenarios.fields import ScenarioFields


def problems(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    """Yield one error per thing in `scenario` that does not fit the rest of it."""
    yield from _unique("sellers", "name", [seller.name for seller in scenario.sellers])
    yield from _unique("products", "product_id", [product.product_id for product in scenario.products])
    yield from _unique("segments", "name", [segment.name for segment in scenario.segments])
    yield from _sellers(scenario)
    yield from _prices(scenario)
    yield from _product_keys(scenario)
    yield from _policy(scenario)
    yield from _promotions(scenario)
    yield from _price_rules(scenario)
    yield from _replenishment(scenario)
    yield from _tiers(scenario)
    yield from _forces(scenario)
    if isinstance(scenario.consumers, AlignedEntry):
        yield from _personas(scenario)
        yield from _calibration(scenario, scenario.consumers)
    if isinstance(scenario.consumers, (PromptedEntry, AlignedPromptedEntry)):
        yield from _prompted(scenario, scenario.consumers)
        if scenario.consumers.calibrate == "shares":
            yield from _calibration(scenario, scenario.consumers)
    if isinstance(scenario.consumers, LIVE):
        yield from _asked(scenario, scenario.consumers)


def _unique(list_name: str, field: str, names: Sequence[str]) -> Iterator[InvalidInput]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield invalid(f"{list_name}[{i}].{field}", name, "a name used once")


def _sellers(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    names = [seller.name for seller in scenario.sellers]
    owners = [product.seller for product in scenario.products]
    for j, owner in enumerate(owners):
        if owner not in names:
            yield invalid(f"products[{j}].seller", owner, f"one of the sellers {', '.join(names)}")
    for n, name in enumerate(names):
        if name not in owners:
            yield invalid(f"sellers[{n}].name", name, "the seller of at least one product")
    order = list(dict.fromkeys(owners))
    if sorted(order) == sorted(names) and order != names:
        yield invalid("sellers", names, f"the order in which their products come: {', '.join(order)}")


def _forces(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    forces = scenario.forces
    if forces is None:
        return
    if forces.reference_price is not None and scenario.reference_price is not None:
        yield invalid("reference_price", "a strength", "nothing beside forces.reference_price, which says the same")
    consumers = scenario.consumers
    if isinstance(consumers, LIVE):
        for name in ("promotion", "reference_price", "pantry"):
            if getattr(forces, name) is not None:
                yield invalid(f"forces.{name}", "set", f"nothing with kind: {consumers.kind}, whose answers hold it")
    elif isinstance(consumers, LogitEntry) and forces.inertia is not None and not _loyal(consumers, forces.inertia):
        yield invalid("forces.inertia", "set", "nothing where nobody is loyal (consumers.tastes.lambda_ is 0)")
    if isinstance(consumers, LogitEntry) and forces.promotion is not None:
        for name in ("display", "feature"):
            if getattr(forces.promotion, name) is None:
                yield invalid(f"forces.promotion.{name}", None, "a number, as no model reads these tastes")


def _loyal(consumers: LogitEntry, inertia: InertiaEntry) -> bool:
    worth = consumers.tastes.lambda_ if inertia.loyalty is None else inertia.loyalty
    return bool(np.any(np.asarray(worth)))


def _policy(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    policy, names = scenario.policy, [seller.name for seller in scenario.sellers]
    known = f"the sellers {', '.join(names)}"
    for name in policy.entry:
        if name not in names:
            yield invalid("policy.entry", name, f"one of {known}")
    merged = [name for group in policy.mergers for name in group]
    for g, group in enumerate(policy.mergers):
        if len(group) < 2:
            yield invalid(f"policy.mergers[{g}]", list(group), "at least two sellers")
        for name in group:
            if name not in names or merged.count(name) > 1:
                yield invalid(f"policy.mergers[{g}]", name, f"each once, of {known}")
    if policy.price_cap is not None:
        for j, product in enumerate(scenario.products):
            if policy.price_cap <= product.price_low:
                allowed = f"more than products[{j}].price_low = {product.price_low:g}"
                yield invalid("policy.price_cap", policy.price_cap, allowed)


def _promotions(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    names = [seller.name for seller in scenario.sellers]
    for name in () if scenario.promotions is None else scenario.promotions.slots:
        if name not in names:
            yield invalid("promotions.slots", name, f"one of the sellers {', '.join(names)}")


def _price_rules(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    entry, policy = scenario.price_rules, scenario.policy
    if entry is None:
        return
    if entry.change is not None and (entry.change.share is None) == (entry.change.money is None):
        found = "nothing" if entry.change.share is None else "share and money"
        yield invalid("price_rules.change", found, "share or money, one of them")
        return
    try:
        rules = entry.settings()
    except InvalidInput as error:
        yield error
        return
    for j, product in enumerate(scenario.products):
        high = product.price_high if policy.price_cap is None else min(product.price_high, policy.price_cap)
        if rules is not None and high > product.price_low:
            cost, kept = scenario.unit_cost(product) + policy.unit_tax, 1.0 / (1.0 + policy.sales_tax)
            yield from rules.problems(j, product.price_low, high, cost, kept)


def _replenishment(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    if scenario.replenishment is None:
        return
    yield from scenario.replenishment.problems(scenario.product_ids)
    for j, product in enumerate(scenario.products):
        if product.stock is not None:
            yield invalid(f"products[{j}].stock", product.stock, "nothing beside replenishment, whose initial says it")


def _tiers(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    consumers = scenario.consumers
    if scenario.tiers is None:
        return
    yield from scenario.tiers.problems(scenario.product_ids)
    if isinstance(consumers, LIVE):
        yield invalid("tiers", "set", f"nothing with kind: {consumers.kind}, which is not asked about sizes of orders")
    elif isinstance(consumers, LogitEntry) and consumers.tastes.kappa is None:
        yield invalid("tiers", "set", "nothing where every buyer takes one unit (consumers.tastes.kappa is not given)")


def _prices(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    for j, product in enumerate(scenario.products):
        if product.price_high <= product.price_low:
            allowed = f"more than price_low = {product.price_low:g}"
            yield invalid(f"products[{j}].price_high", product.price_high, allowed)


def _product_keys(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    tables: dict[str, Mapping[str, float]] = {"initial_mean_field": scenario.initial_mean_field or {}}
    for s, segment in enumerate(scenario.segments):
        tables[f"segments[{s}].loyalty"] = segment.loyalty
        tables[f"segments[{s}].bought"] = segment.bought
    ids = [product.product_id for product in scenario.products]
    for place, table in tables.items():
        for key in table:
            if key not in ids:
                yield invalid(place, key, f"one of the products {', '.join(ids)}")
        total = sum(table.values())
        if not place.endswith("bought") and total > 1.001:  # shares in files are rounded
            yield invalid(place, round(total, 6), "shares that add up to at most 1")


def _personas(scenario: ScenarioFields) -> Iterator[InvalidInput]:
    for s, segment in enumerate(scenario.segments):
        for field in ("history_total", "weeks_seen"):
            if getattr(segment, field) is None:
                yield invalid(f"segments[{s}].{field}", None, "a whole number, as consumers.kind is aligned")
        yield from _purchases(s, segment)


def _purchases(s: int, segment: SegmentEntry) -> Iterator[InvalidInput]:
    bought = sum(segment.bought.values())
    if segment.history_total is not None and bought > segment.history_total:
        yield invalid(f"segments[{s}].bought", bought, f"at most history_total = {segment.history_total}")


def _prompted(scenario: ScenarioFields, consumers: PromptedEntry | AlignedPromptedEntry) -> Iterator[InvalidInput]:
    """Yield what does not fit when a language model is asked live; the mean field has one channel at a time."""
    numbers = isinstance(consumers, PromptedEntry) and np.any(np.asarray(consumers.rho) != 0.0)
    if isinstance(consumers, PromptedEntry) and numbers and consumers.mean_field != "numbers":
        allowed = f"0, as consumers.mean_field is {consumers.mean_field}: one channel at a time, or it counts twice"
        yield invalid("consumers.rho", consumers.rho, allowed)
    ids = [product.product_id for product in scenario.products]
    for key in consumers.shift:
        if key not in ids:
            yield invalid("consumers.shift", key, f"one of the products {', '.join(ids)}")
    for s, segment in enumerate(scenario.segments):
        yield from _purchases(s, segment)


def _asked(scenario: ScenarioFields, consumers: LiveModelEntry | AlignedPromptedEntry) -> Iterator[InvalidInput]:
    """Yield what does not fit when the mean field is stated in the prompt, or when roles talk."""
    in_words = isinstance(consumers, PromptedEntry) and consumers.mean_field == "words"
    always = not isinstance(consumers, PromptedEntry)
    if (in_words or always) and scenario.mean_field.coupling == "equilibrium":
        why = f"kind is {consumers.kind}" if always else "mean_field is words"
        allowed = f"lagged, as consumers.{why}: whole percents in words have no fixed point to find"
        yield invalid("mean_field.coupling", "equilibrium", allowed)
    if not isinstance(consumers, DiscussionEntry):
        return
    if consumers.orders > len(scenario.products):
        yield invalid("consumers.orders", consumers.orders, f"1 to {len(scenario.products)}, the number of products")
    if consumers.cast and not is_yaml(consumers.cast) and consumers.cast not in list_casts():
        allowed = f"{', '.join(list_casts())}, or the path of a .yaml file"
        yield invalid("consumers.cast", consumers.cast, allowed)
    if consumers.sheets and not is_yaml(consumers.sheets):
        yield invalid("consumers.sheets", consumers.sheets, "the path of a .yaml file")


def _calibration(
    scenario: ScenarioFields, consumers: AlignedEntry | PromptedEntry | AlignedPromptedEntry
) -> Iterator[InvalidInput]:
    shares = [product.reference_share for product in scenario.products]
    for j, share in enumerate(shares):
        if share is None:
            why = "kind is aligned" if consumers.kind == "aligned" else "calibrate is shares"
            yield invalid(f"products[{j}].reference_share", None, f"a number, as consumers.{why}")
    if consumers.calibrate == "none":
        return
    if consumers.purchase_rate is None:
        yield invalid("consumers.purchase_rate", None, "a number, as consumers.calibrate is shares")
    for j, share in enumerate(shares):
        if share == 0.0:
            yield invalid(f"products[{j}].reference_share", share, "more than 0, as calibrate is shares")
