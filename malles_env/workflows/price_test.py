"""Price tests in a scenario's market, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from malles_env.errors import invalid
from malles_env.evaluation.experiments.designs import DESIGNS, Design
from malles_env.evaluation.experiments.price_test import price_test
from malles_env.evaluation.experiments.runner import ExperimentSettings, Report, run
from malles_env.scenarios.loader import load_scenario
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import BoolArray, FloatArray, OnMessage

Level = Literal["average", "regular"]


def run_experiment(
    scenario: str | os.PathLike[str] | Scenario,
    designs: str | Design | Sequence[str | Design],
    *,
    change: float,
    seller: str | None = None,
    products: Sequence[str] = (),
    level: Level = "average",
    prices: Mapping[str, float] | None = None,
    settings: ExperimentSettings | None = None,
    model: str | None = None,
    notify: OnMessage = lambda words: None,
) -> Report:
    """Test a price change in a scenario's market, and judge the test against the true effect.

    Rivals keep their prices. Every seller lists its products of largest reference share up to its shelf's capacity, the
    tested ones first. Where products are ordered, stock never runs out and each unit is paid when it is sold.

    Args:
        scenario: Name of a bundled scenario, path of a ``.yaml`` file, or a scenario.
        designs: ``"switchback"``, ``"user-split"``, ``"store-split"`` with default settings, designs with their own,
            or several of them.
        change: Relative change of the tested prices, e.g. -0.1.
        seller: Whose profit is measured; default the owner of `products`, or the first seller.
        products: Its products whose prices change; default all it lists.
        level: Control prices: the products' average prices in the source data, or regular prices.
        prices: Other control prices, money by product.
        settings: Weeks, replications and seed.
        model: Language model to read tastes with instead of the scenario's own.
        notify: Called with what is being done, in words.

    Returns:
        The findings; `report` and `plots` in `malles_env.evaluation.experiments` make tables, JSON and a picture.

    Raises:
        InvalidInput: A design, seller, product, price or change that is not allowed.
        MissingResource: The taste model is not there.
    """
    found = load_scenario(scenario).without_replenishment()
    listed_designs = [designs] if isinstance(designs, str) or not isinstance(designs, Sequence) else list(designs)
    chosen = [named_design(design) if isinstance(design, str) else design for design in listed_designs]
    catalog = found.catalog()
    test = price_test(
        catalog, seller=seller, products=products, change=change, prices=control_prices(found, level, prices or {}),
        listed=usual_shelf(found, products),
    )  # fmt: skip
    market = found.market(demand="expected", consumers=found.build_consumers(model))
    return run(market, test, chosen, settings, notify)


def named_design(name: str) -> Design:
    """Return a design with its default settings.

    Raises:
        InvalidInput: There is no such design.
    """
    if name not in DESIGNS:
        raise invalid("design", name, ", ".join(DESIGNS))
    return DESIGNS[name]()


def control_prices(scenario: Scenario, level: Level, given: Mapping[str, float]) -> FloatArray:
    """Return the prices without the change, money, shape ``(J,)``.

    Args:
        scenario: Gives average and regular prices.
        level: Which of them.
        given: Others, by product.

    Raises:
        InvalidInput: Another level, or a product that is not there.
    """
    if level not in ("average", "regular"):
        raise invalid("prices", level, "average or regular")
    catalog = scenario.catalog()
    money = np.array(scenario.average_price() if level == "average" else catalog.regular_price)
    money = np.clip(money, catalog.price_low, catalog.price_high)
    for name, price in given.items():
        if name not in catalog.product_ids:
            raise invalid("price", name, "a price of one of " + ", ".join(catalog.product_ids))
        money[catalog.product_ids.index(name)] = price
    return money


def usual_shelf(scenario: Scenario, first: Sequence[str] = ()) -> BoolArray:
    """Return what every seller lists: the products named `first`, then those of largest reference share, ``(J,)``."""
    catalog = scenario.catalog()
    worth = [float(entry.product_id in first) + (entry.reference_share or 0.0) for entry in scenario.products]
    shelf = np.zeros(catalog.num_products, dtype=bool)
    for n, most in enumerate(catalog.shelf):
        products = catalog.products_of(n)
        shelf[products[np.argsort(-np.array(worth)[products], kind="stable")[:most]]] = True
    return shelf
