"""`Scenario`: everything a market needs, read from a file and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError, model_validator

from malles_env.errors import InvalidInput, invalid
from malles_env.files import json_hash
from malles_env.market import (
    Catalog,
    Consumers,
    Demand,
    Dynamics,
    Market,
    MeanField,
    Population,
    Product,
    Tastes,
    TastesMode,
)
from malles_env.scenarios.blocks.entries import (
    AlignedEntry,
    LogitEntry,
    PolicyEntry,
    ProductEntry,
    TastesEntry,
)
from malles_env.scenarios.blocks.forces import ForcesEntry
from malles_env.scenarios.checks import problems
from malles_env.scenarios.fields import ScenarioFields
from malles_env.scenarios.kinds import consumers_of
from malles_env.scenarios.messages import explain
from malles_env.type_aliases import FloatArray

if TYPE_CHECKING:
    from typing_extensions import Self


class Scenario(ScenarioFields):
    """A market to play in: sellers, products, population, consumers and settings. Frozen.

    Its attributes are those of `malles_env.scenarios.fields.ScenarioFields`.
    """

    def __init__(self, /, **fields: Any) -> None:
        """Check the fields as those of a file are checked; parts may be mappings.

        Raises:
            InvalidInput: A field that is not allowed; one line per problem.
        """
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise explain(error, str(fields.get("name", "scenario")), Scenario) from None

    # validation of files goes past this constructor, as past pydantic's own, so that errors there name the file
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        """Return one line: name, sizes and who buys."""
        sizes = f"{len(self.sellers)} sellers, {len(self.products)} products, {len(self.segments)} segments"
        return f"<Scenario {self.name}: {sizes}, {self.consumers.kind} consumers, {self.max_cycles} {self.period}s>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return a table of the products for notebooks."""
        from malles_env.scenarios.notebook import scenario_html

        return scenario_html(self)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = list(problems(self))
        if found:
            raise InvalidInput("\n".join(str(problem) for problem in found))
        if isinstance(self.consumers, LogitEntry):
            tastes = self.with_forces(self.tastes_of(self.consumers.tastes))
            for d in range(len(self.consumers.draws)):
                self.draw_of(tastes, d)
        return self

    @property
    def seller_names(self) -> tuple[str, ...]:
        """The N seller names, in the order of the catalog."""
        return self.catalog().sellers

    @property
    def merged_into(self) -> dict[str, str]:
        """Who prices each seller's products: itself, or after a merger the first of its group."""
        owner = {seller.name: seller.name for seller in self.sellers}
        return owner | {name: group[0] for group in self.policy.mergers for name in group}

    def catalog(self) -> Catalog:
        """Return products and sellers as arrays."""
        owner = self.merged_into
        products = tuple(
            _product(entry, self.policy, owner[entry.seller], self.unit_cost(entry)) for entry in self.products
        )
        owned = Counter(entry.seller for entry in self.products)
        shelf: Counter[str] = Counter()
        for seller in self.sellers:
            shelf[owner[seller.name]] += owned[seller.name] if seller.capacity is None else seller.capacity
        promotions = None if self.promotions is None else self.promotions.settings(owner)
        rules = None if self.price_rules is None else self.price_rules.settings()
        supply = None if self.replenishment is None else self.replenishment.settings(self.product_ids)
        tiers = None if self.tiers is None else self.tiers.settings(self.product_ids)
        policy = self.policy
        return Catalog(products, dict(shelf), policy.sales_tax, policy.unit_tax, promotions, rules, supply, tiers)

    def without_replenishment(self) -> Scenario:
        """Return a copy whose products never run out and are paid for, at the same cost, when they are sold."""
        if self.replenishment is None:
            return self
        products = tuple(entry.model_copy(update={"unit_cost": self.unit_cost(entry)}) for entry in self.products)
        return self.model_copy(update={"products": products, "replenishment": None})

    def population(self) -> Population:
        """Return the segments as arrays; personas are the segments' descriptions."""
        bought_last = np.array([self._by_product(segment.loyalty) for segment in self.segments])
        nothing = np.maximum(1.0 - bought_last.sum(axis=1, keepdims=True), 0.0)
        loyalty = np.hstack([nothing, bought_last])
        return Population(
            size=self.population_size,
            weights=np.array([segment.weight for segment in self.segments]),
            initial_loyalty=loyalty / loyalty.sum(axis=1, keepdims=True),
            names=tuple(segment.name for segment in self.segments),
            personas=tuple(segment.description for segment in self.segments),
        )

    def first_mean_field(self) -> FloatArray:
        """Return the purchase shares consumers see in the first period, shape ``(J,)``, sum 1."""
        start = np.array([product.reference_share or 0.0 for product in self.products])
        if self.initial_mean_field is not None:
            start = self._by_product(self.initial_mean_field)
        total = start.sum()
        return start / total if total > 0 else np.full(len(start), 1.0 / len(start))

    def average_price(self) -> FloatArray:
        """Return the prices at which the reference shares were bought, shape ``(J,)``."""
        return np.array([product.average_price or product.regular_price for product in self.products])

    def bought(self) -> FloatArray:
        """Return how often each segment's typical household bought each product, shape ``(S, J)``."""
        return np.array([self._by_product(segment.bought) for segment in self.segments])

    def build_consumers(self, model: str | None = None, *, draws: bool = False) -> Consumers:
        """Return who buys.

        Args:
            model: Language model to read tastes with, or to ask, instead of the scenario's own.
            draws: Whether the tastes also carry draws of them: those of the file, or where a model reads them see
                `malles_env.consumers.aligned`.

        Raises:
            InvalidInput: A model was named, but the tastes of this scenario stand in its file.
            MissingResource, LanguageModelError: The model is not there, or failed.
        """
        chosen = self if model is None else self.with_model(model)
        return consumers_of(chosen, draws=draws)

    def with_forces(self, tastes: Tastes) -> Tastes:
        """Return `tastes` with the forces of this scenario and no others; without the block they stay.

        Raises:
            InvalidInput: A force that these tastes cannot have.
        """
        if self.forces is None:
            return tastes
        try:
            return self.forces.on(tastes)
        except InvalidInput as error:
            raise InvalidInput(f"forces.reference_price: {error}") from None

    def mean_field_settings(self) -> MeanField:
        """Return the mean field's settings; tastes that a model reads are centred at long-run shares."""
        return self.mean_field.settings("long_run" if isinstance(self.consumers, AlignedEntry) else "uniform")

    def dynamics(self) -> Dynamics:
        """Return how memories fade and traffic varies."""
        memory = 0.8 if self.reference_price is None else self.reference_price.memory
        return (self.forces or ForcesEntry()).dynamics(memory)

    def market(
        self,
        num_markets: int = 1,
        demand: Demand = "multinomial",
        consumers: Consumers | None = None,
        tastes: TastesMode = "mean",
    ) -> Market:
        """Return `num_markets` independent markets of this scenario, reset.

        Args:
            num_markets: B.
            demand: ``"multinomial"``, ``"gaussian"``, ``"expected"`` or ``"exact"``, see `Market`.
            consumers: Who buys instead of `build_consumers()`.
            tastes: ``"mean"``, or ``"draws"``: each market gets one of the consumers' draws per episode.
        """
        return Market(
            self.catalog(),
            self.population(),
            self.build_consumers(draws=tastes == "draws") if consumers is None else consumers,
            num_markets=num_markets,
            demand=demand,
            mean_field=self.mean_field_settings(),
            reference_price=None if self.reference_price is None else self.reference_price.settings(),
            dynamics=self.dynamics(),
            tastes=tastes,
            initial_mean_field=self.first_mean_field(),
            usual_prices=self.average_price(),
        )

    def with_model(self, model: str) -> Scenario:
        """Return a copy whose tastes `model` reads, or whose consumers it answers for.

        Raises:
            InvalidInput: The tastes of this scenario stand in its file.
        """
        if isinstance(self.consumers, LogitEntry):
            raise invalid("model", model, "nothing, as the tastes stand in the scenario (kind: logit)")
        return self.model_copy(update={"consumers": self.consumers.model_copy(update={"model": model})})

    def with_cost_share(self, share: float) -> Scenario:
        """Return a copy whose unit costs are `share` of the average prices: where costs are assumed, vary them.

        Raises:
            InvalidInput: A share outside [0, 1).
        """
        if not 0.0 <= share < 1.0:
            raise invalid("cost_share", share, "at least 0 and less than 1")
        costs = (share * self.average_price()).tolist()
        products = [
            entry.model_copy(update={"unit_cost": cost}) for entry, cost in zip(self.products, costs, strict=True)
        ]
        given = None if self.replenishment is None else self.replenishment.without_unit_costs()
        return self.model_copy(update={"products": tuple(products), "replenishment": given})

    def digest(self) -> str:
        """Return a hash of all that play depends on: everything but words about the scenario."""
        words = {"title", "description", "sources", "licence", "made_by", "notes", "words"}
        # blocks that came later are left out where there are none, so that older scenarios keep their hash
        later = ("promotions", "price_rules", "replenishment", "tiers")
        absent = {name for name in later if getattr(self, name) is None}
        without: dict[str, Any] = dict.fromkeys(words | absent, True)
        if self.forces is not None and self.forces.pantry is None:
            without["forces"] = {"pantry"}
        if not any(product.enters for product in self.products):
            without["products"] = {"__all__": {"enters"}}
        without["segments"] = {"__all__": {"history"}}
        if isinstance(self.consumers, LogitEntry):
            without["consumers"] = {} if self.consumers.draws else {"draws": True}
            if not np.any(np.asarray(self.consumers.tastes.pantry)):
                without["consumers"]["tastes"] = {"pantry"}
        return json_hash(self.model_dump(mode="json", exclude=without), sort_keys=True)[:16]

    def without_tastes(self) -> dict[str, Any]:
        """Return the fields of a copy whose consumers are asked, without forces that are coefficients of tastes."""
        content = self.model_dump()
        if self.forces is not None:
            content["forces"] |= {"promotion": None, "reference_price": None, "pantry": None}
        return content

    def with_product(
        self, product_id: str, *, seller: str | None = None, like: str | None = None,
        tastes: Mapping[str, Any] | None = None, **fields: Any,
    ) -> Scenario:  # fmt: skip
        """Return a copy with one more product, behind the others of its seller.

        >>> from malles_env import load_scenario
        >>> more = load_scenario("bertrand-duopoly").with_product("product_c", like="product_a", unit_cost=0.8)
        >>> more.product_ids
        ('product_a', 'product_c', 'product_b')

        Args:
            product_id: A name used once.
            seller: Its seller; default that of `like`.
            like: A product whose fields, and tastes for it, it has where nothing else is said; not its title.
            tastes: Where the tastes stand in the scenario, its coefficients (``alpha``, and what else differs between
                products): a number, or one per segment.
            fields: Of `ProductEntry`.

        Raises:
            InvalidInput: One line per problem.
        """
        from malles_env.scenarios.variants import with_product

        return with_product(self, product_id, seller=seller, like=like, tastes=tastes, **fields)

    def with_seller(
        self, name: str, products: Sequence[Mapping[str, Any]] = (), *, like: str | None = None, title: str = "",
        capacity: int | None = None,
    ) -> Scenario:  # fmt: skip
        """Return a copy with one more seller, the last.

        >>> from malles_env import load_scenario
        >>> load_scenario("bertrand-duopoly").with_seller("entrant", like="seller_b").seller_names
        ('seller_a', 'seller_b', 'entrant')

        Args:
            name: A name used once.
            products: What it sells: the arguments of `with_product` as mappings.
            like: A seller of whose products it has copies, called ``<name>_a``, ``<name>_b``, ..., before `products`.
            title: The words a person reads.
            capacity: Most products it may list; default that of `like`, else all.

        Raises:
            InvalidInput: One line per problem.
        """
        from malles_env.scenarios.variants import with_seller

        return with_seller(self, name, products, like=like, title=title, capacity=capacity)

    def with_consumers(self, consumers: Any) -> Scenario:
        """Return a copy with other consumers.

        Args:
            consumers: `Tastes` or consumers that have them (their tastes then stand in the scenario), a mapping as in
                a scenario file (``{"kind": "aligned", ...}``), or the name of a model, see `with_model`.

        Raises:
            InvalidInput: One line per problem; or consumers without tastes, which an env takes as `consumers`.
        """
        from malles_env.scenarios.variants import with_consumers

        return with_consumers(self, consumers)

    @classmethod
    def from_log(
        cls, folder: str | PathLike[str], market: str, *, name: str = "market",
        settings: str | PathLike[str] | None = None, forces: Mapping[str, Any] | None = None, **choices: Any,
    ) -> Scenario:  # fmt: skip
        """Return a scenario of one market of a log of transactions, as `malles scenario build` makes it.

        Args:
            folder: The log, in the tables of docs/guide/own-data.md.
            market: Name of the market in its products table.
            name: Name of the scenario.
            settings: Build settings; default ``settings.yaml`` in the folder where it is there.
            forces: Its block of forces; None: none are estimated here.
            choices: Fields of `BuildChoices`: ``purchase_rate``, ``sellers``, ``segments``, ``model``, ...

        Raises:
            InvalidInput: No such market, a choice that there is not or out of range, or too small a log.
            MissingResource, CorruptFile: No such log, or one that cannot be read.
        """
        # by name, since what builds scenarios from logs is made of scenarios
        make = import_module("malles_env.scenarios.from_log.folder").scenario_of_folder
        built: Scenario = make(folder, market, name=name, settings=settings, forces=forces, **choices)
        return built

    def changed(self, what: str, **changes: Any) -> Scenario:
        """Return a copy with other fields, checked.

        Args:
            what: Begins each line of an error.
            changes: New values of fields.

        Raises:
            InvalidInput: One line per problem.
        """
        # parts themselves, not their dumps: they remember what the user named
        fields = {**{name: getattr(self, name) for name in type(self).model_fields}, **changes}
        try:
            return Scenario.model_validate(fields)
        except ValidationError as error:
            raise explain(error, what, Scenario) from None

    def with_policy(self, **changes: Any) -> Scenario:
        """Return a copy under other rules; fields of `PolicyEntry` not named stay.

        Args:
            changes: ``sales_tax``, ``unit_tax``, ``price_cap``, ``entry``, ``mergers``.

        Raises:
            InvalidInput: A field that does not exist, or a value that is not allowed.
        """
        return self.changed(f"{self.name} with another policy", policy={**self.policy.model_dump(), **changes})

    def _by_product(self, table: dict[str, float] | dict[str, int]) -> FloatArray:
        return np.array([float(table.get(name, 0.0)) for name in self.product_ids])

    def tastes_of(self, entry: TastesEntry) -> Tastes:
        """Return tastes that stand in a file as arrays, without the forces of this scenario.

        Raises:
            InvalidInput: Numbers that do not fit the segments and products, or are not allowed.
        """
        values = entry.model_dump()
        shape = (len(self.segments), len(self.products))
        try:
            values["alpha"] = np.broadcast_to(np.asarray(entry.alpha, dtype=np.float64), shape)
        except ValueError:
            allowed = f"numbers that broadcast to shape {shape}"
            raise invalid("consumers.tastes.alpha", entry.alpha, allowed) from None
        values["kappa"] = np.full(shape, -np.inf) if entry.kappa is None else entry.kappa
        try:
            return Tastes(**values)
        except InvalidInput as error:
            raise InvalidInput(f"consumers.{error}") from None

    def draw_of(self, tastes: Tastes, d: int) -> Tastes:
        """Return draw number `d` of tastes that stand in the file."""
        assert isinstance(self.consumers, LogitEntry)
        entry, place = self.consumers.draws[d], f"consumers.draws[{d}]"
        try:
            shift = np.broadcast_to(np.asarray(entry.shift, dtype=np.float64), (len(self.products),))
        except ValueError:
            raise invalid(f"{place}.shift", entry.shift, f"a number, or {len(self.products)} numbers") from None
        middle = tastes.alpha.mean(axis=0)
        alpha = middle + entry.spread * (tastes.alpha - middle) + shift
        try:
            return replace(tastes, alpha=alpha, beta=entry.beta)
        except InvalidInput as error:
            raise InvalidInput(f"{place}: {error}") from None


def _product(entry: ProductEntry, policy: PolicyEntry, seller: str, unit_cost: float) -> Product:
    cap = entry.price_high if policy.price_cap is None else policy.price_cap
    return Product(
        product_id=entry.product_id,
        seller=seller,
        unit_cost=unit_cost + policy.unit_tax,
        regular_price=entry.regular_price,
        price_low=entry.price_low,
        price_high=min(entry.price_high, cap),
        enters=max(entry.enters, policy.entry.get(entry.seller, 0)),
        stock=np.inf if entry.stock is None else entry.stock,
        listing_fee=entry.listing_fee,
        title=entry.title or entry.product_id,
    )
