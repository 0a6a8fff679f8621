"""Copies of a scenario with another product, another seller or other consumers, checked like a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from malles_env.errors import InvalidInput, invalid
from malles_env.market import Tastes
from malles_env.market.tastes import tastes_of
from malles_env.scenarios.blocks.entries import AlignedEntry, LogitEntry, ProductEntry, TastesEntry

BY_PRODUCT = ("alpha", "beta", "gain", "loss", "kappa")
"""Coefficients that may differ between products."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Draft:
    """Products, sellers and tastes of a scenario while they are changed.

    Args:
        scenario: Stays as it is.
    """

    def __init__(self, scenario: Any) -> None:
        self.scenario = scenario
        self.products: list[ProductEntry | dict[str, Any]] = list(scenario.products)
        self.sellers: list[Any] = list(scenario.sellers)
        self.ids = list(scenario.product_ids)
        entry = scenario.consumers
        self.tastes = _columns(scenario, entry) if isinstance(entry, LogitEntry) else None

    def add(
        self, product_id: str, seller: str | None, like: str | None, tastes: Mapping[str, Any] | None,
        fields: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Add a product behind those of its seller."""
        values: dict[str, Any] = {}
        if like is not None:
            values = dict(self.scenario.products[_place("like", like, self.scenario.product_ids)])
            values |= {"title": "", "source_id": "", "source_title": ""}
        values |= fields
        values |= {"product_id": product_id} | ({} if seller is None else {"seller": seller})
        owned = [j for j, product in enumerate(self.products) if _seller(product) == values.get("seller")]
        place = owned[-1] + 1 if owned else len(self.products)
        self._add_tastes(product_id, place, like, dict(tastes or {}))
        self.products.insert(place, values)
        self.ids.insert(place, product_id)

    def _add_tastes(self, product_id: str, place: int, like: str | None, given: dict[str, Any]) -> None:
        if self.tastes is None:
            if given:
                kind = self.scenario.consumers.kind
                raise invalid("tastes", given, f"nothing with kind: {kind}, whose model says what products are worth")
            return
        source = None if like is None else self.ids.index(like)
        for name in given:
            if name not in self.tastes:
                allowed = f"{', '.join(self.tastes)}: those that differ between this scenario's products"
                raise invalid(f"product {product_id}: tastes", name, allowed)
        for name, table in self.tastes.items():
            if name not in given and source is None:
                raise InvalidInput(
                    f"product {product_id}: tastes[{name!r}]: is missing; allowed: a number or one per segment, or "
                    f"like=, the product it is like (one of {', '.join(self.scenario.product_ids)})"
                )
            column = given[name] if name in given else table[:, source]
            try:
                column = np.broadcast_to(np.asarray(column, dtype=np.float64), len(table))
            except (TypeError, ValueError):
                allowed = f"a number or {len(table)}, one per segment"
                raise invalid(f"product {product_id}: tastes[{name!r}]", column, allowed) from None
            self.tastes[name] = np.insert(table, place, column, axis=1)

    def finish(self, what: str) -> Any:
        """Return the changed scenario, checked.

        Raises:
            InvalidInput: One line per problem, each beginning with `what`.
        """
        changes: dict[str, Any] = {"products": tuple(self.products), "sellers": tuple(self.sellers)}
        if self.tastes is not None and isinstance(self.scenario.consumers, LogitEntry):
            tastes = self.scenario.consumers.tastes.model_dump() | {k: v.tolist() for k, v in self.tastes.items()}
            changes["consumers"] = {"kind": "logit", "tastes": tastes}
        return self.scenario.changed(what, **changes)


def with_product(
    scenario: Any, product_id: str, *, seller: str | None = None, like: str | None = None,
    tastes: Mapping[str, Any] | None = None, **fields: Any,
) -> Any:  # fmt: skip
    """Return a copy with one more product, see `Scenario.with_product`."""
    draft = Draft(scenario)
    draft.add(product_id, seller, like, tastes, fields)
    return draft.finish(f"{scenario.name} with {product_id}")


def with_seller(
    scenario: Any, name: str, products: Sequence[Mapping[str, Any]], *, like: str | None, title: str,
    capacity: int | None,
) -> Any:  # fmt: skip
    """Return a copy with one more seller, see `Scenario.with_seller`."""
    draft, rows = Draft(scenario), [dict(product) for product in products]
    if like is not None:
        names = [seller.name for seller in scenario.sellers]
        capacity = scenario.sellers[_place("like", like, names)].capacity if capacity is None else capacity
        copied = [product.product_id for product in scenario.products if product.seller == like]
        ids = [f"{name}_{letter}" for letter in LETTERS] + [f"{name}_{number}" for number in range(27, len(copied) + 1)]
        rows = [{"product_id": new, "like": old} for new, old in zip(ids, copied, strict=False)] + rows
    draft.sellers.append({"name": name, "title": title, "capacity": capacity})
    for row in rows:
        row.setdefault("product_id", None)
        draft.add(row.pop("product_id"), name, row.pop("like", None), row.pop("tastes", None), row)
    return draft.finish(f"{scenario.name} with {name}")


def with_consumers(scenario: Any, consumers: Any) -> Any:
    """Return a copy with other consumers, see `Scenario.with_consumers`."""
    what = f"{scenario.name} with other consumers"
    if isinstance(consumers, str):
        return scenario.with_model(consumers)
    if isinstance(consumers, (Mapping, BaseModel)):
        return scenario.changed(what, consumers=consumers)
    tastes = consumers if isinstance(consumers, Tastes) else tastes_of(consumers)
    if tastes is None:
        allowed = (
            "tastes, consumers that have them, a block of a scenario file or a model's name; any others are given "
        )
        raise invalid("consumers", type(consumers).__name__, allowed + "to an env: parallel_env(..., consumers=...)")
    read = isinstance(scenario.consumers, AlignedEntry) or hasattr(consumers, "weights_hash")
    centre = "long_run" if read else scenario.mean_field_settings().centre
    mean_field = scenario.mean_field.model_copy(update={"centre": centre})
    return scenario.changed(what, consumers={"kind": "logit", "tastes": _entry(tastes)}, mean_field=mean_field)


def _entry(tastes: Tastes) -> dict[str, Any]:
    """Return tastes as the fields of a `TastesEntry`, those at their defaults left out."""
    content: dict[str, Any] = {"price_transform": tastes.price_transform}
    for name in TastesEntry.model_fields:
        value = getattr(tastes, name)
        if isinstance(value, np.ndarray) and (name in ("alpha", "beta") or np.any(value)):
            content[name] = value.tolist()
    if not np.isfinite(tastes.kappa).any():
        del content["kappa"]
    return content


def _columns(scenario: Any, entry: LogitEntry) -> dict[str, Any]:
    """Return the coefficients that have one number per product, shape ``(S, J)`` each."""
    found, tastes = {}, scenario.tastes_of(entry.tastes)
    for name in BY_PRODUCT:
        value, segments = getattr(entry.tastes, name), len(scenario.segments)
        # one number per segment says all of a new product too
        shared = value is None or np.ndim(value) == 0 or (np.ndim(value) == 1 and len(value) == segments)
        if name == "alpha" or not shared:
            found[name] = np.array(getattr(tastes, name))
    return found


def _place(field: str, name: Any, names: Sequence[str]) -> int:
    if name not in names:
        raise invalid(field, name, f"one of {', '.join(names)}")
    return list(names).index(name)


def _seller(product: Any) -> Any:
    return product.get("seller") if isinstance(product, dict) else product.seller
