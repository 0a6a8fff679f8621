"""Builds a scenario from transactions: lines become products, makers sellers, households segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from malles_env.errors import invalid
from malles_env.scenarios.from_log import provenance
from malles_env.scenarios.from_log.choices import LETTERS, BuildChoices
from malles_env.scenarios.from_log.makers import Sellers, pool_brands, shown_words, typed_words, with_sellers
from malles_env.scenarios.from_log.provenance import COMPLETE_JOURNEY, Origin
from malles_env.scenarios.from_log.segments import Buyers, find_segments
from malles_env.scenarios.messages import explain
from malles_env.scenarios.schema import Scenario

if TYPE_CHECKING:
    from malles_env.data.log.tables import Tables
    from malles_env.data.settings import BuildSettings
    from malles_env.data.statistics import MarketStatistics


def build_scenario(
    market: str,
    choices: BuildChoices,
    *,
    made_by: str = "",
    forces: Mapping[str, Any] | None = None,
    tables: Tables | None = None,
    settings: BuildSettings | None = None,
    origin: Origin = COMPLETE_JOURNEY,
) -> Scenario:
    """Return a scenario of one market of a log.

    Args:
        market: Name of the market, e.g. ``ICE CREAM/MILK/SHERBTS | PREMIUM``.
        choices: What the data leave open.
        made_by: The command that asked for it.
        forces: Its block of forces, see `malles_env.evaluation.forces`; None: none.
        tables: The log; default the Complete Journey.
        settings: Splits and thresholds of the log.
        origin: What the log is; default the Complete Journey.

    Raises:
        MissingResource: The data package is not installed; the message says how to get it.
        InvalidInput: No such market, or a coefficient of its tastes that ended at its bound.
    """
    from malles_env.data.sources.complete_journey import load_complete_journey
    from malles_env.data.statistics import market_statistics

    statistics = market_statistics(
        load_complete_journey([market]) if tables is None else tables,
        market,
        settings=settings,
        min_share=choices.min_share,
        max_lines=choices.max_lines,
    )
    scenario = scenario_from(statistics, choices, made_by=made_by, origin=origin, forces=forces)
    refuse_bounds(scenario)
    return scenario


def refuse_bounds(scenario: Scenario) -> None:
    """Refuse a scenario whose tastes hold a coefficient that ended at its bound.

    Raises:
        InvalidInput: Names market, coefficient, value and how many segments have it.
    """
    from malles_env.market.tastes import tastes_of
    from malles_env.preference.heads.bounds import at_bounds

    tastes = tastes_of(scenario.build_consumers())
    if tastes is None:
        return
    found = at_bounds({"rho": tastes.rho}, [segment.name for segment in scenario.segments])
    if found:
        market = getattr(scenario.consumers, "market", scenario.name)
        first = found[0]
        raise invalid(
            f"{market}: {first.coefficient} in {len(found)} of {len(scenario.segments)} segments", first.value,
            "an estimate inside its bound; train the model anew without what the log records wrongly",
        )  # fmt: skip


def scenario_from(
    statistics: MarketStatistics,
    choices: BuildChoices,
    *,
    made_by: str = "",
    origin: Origin = COMPLETE_JOURNEY,
    forces: Mapping[str, Any] | None = None,
) -> Scenario:
    """Return the scenario that a market's statistics and the choices make.

    Args:
        statistics: Of the market; brands become sellers.
        choices: What the data leave open.
        made_by: The command that asked for it.
        origin: What the log is, for the scenario's sources, licence, currency and notes.
        forces: Its block of forces; None: none, and display and advertising are worth nothing in it.

    Raises:
        InvalidInput: A line without a brand where brands sell, fewer buyers than a segment needs, a log in which
            every visit buys, which shows no purchase rate, or a value that no scenario can have.
    """
    # The Complete Journey names a maker for every line; one that is missing is a fault there.
    usual: Sellers | None = None if origin.names_products else "brands"
    statistics, made_up = with_sellers(statistics, choices.sellers or usual)
    lines = _lines(statistics)
    rate = _purchase_rate(statistics, choices)
    _check_buyers(statistics, choices)
    money = choices.population_size * rate
    revenue = sum(line["share"] * line["mean_price"] * line["mean_quantity"] for line in lines) * money
    fee = float(_round(choices.fee_share * revenue / len(lines), 2))
    products = [_product(line, choices, fee, origin, made_up) for line in lines]
    _distinguish_titles(products)
    sellers = _sellers(products)
    fields = _descriptive_fields(statistics, choices, origin, len(sellers), len(products)) | {
        "made_by": made_by,
        "sellers": sellers,
        "products": products,
        "segments": _segments(statistics, choices, lines, products),
        "consumers": {
            "kind": "aligned", "model": choices.model, "market": statistics.market,
            "category": statistics.category, "purchase_rate": _fine(rate, 4, 0.01),
        },
        "forces": dict(forces or {}),
        "reward_scale": float(_round(_profit(lines, products) * money / len(sellers), 2)),
    }  # fmt: skip
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise explain(error, f"market {statistics.market!r}", Scenario) from None


def _descriptive_fields(
    statistics: MarketStatistics, choices: BuildChoices, origin: Origin, sellers: int, products: int
) -> dict[str, Any]:
    """Return the fields of a scenario that choices and origin alone decide, but for counts in the description."""
    return {
        "format": 2,
        "name": choices.name,
        "title": choices.title,
        "description": provenance.description(sellers, products, origin),
        "sources": provenance.sources(statistics, origin),
        "licence": origin.licence,
        "currency": origin.currency,
        "period": "week",
        "population_size": choices.population_size,
        "notes": [*provenance.notes(choices, origin), *choices.notes],
    }


def _profit(lines: list[dict[str, Any]], products: list[dict[str, Any]]) -> float:
    """Return the profit of all sellers per purchase, at average prices."""
    return sum(
        line["share"] * line["mean_quantity"] * (line["mean_price"] - product["unit_cost"])
        for line, product in zip(lines, products, strict=True)
    )


def _check_buyers(statistics: MarketStatistics, choices: BuildChoices) -> None:
    if statistics.num_buyers < choices.min_households:
        raise invalid(
            f"market {statistics.market!r}: min_households", choices.min_households,
            f"at most the {statistics.num_buyers} households who bought in it",
        )  # fmt: skip


def _segments(
    statistics: MarketStatistics, choices: BuildChoices, lines: list[dict[str, Any]], products: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the segments of the market's buyers, their products in the scenario's order."""
    order = [line["row"] for line in lines]
    place = np.full(len(order) + 1, -1)
    place[order] = np.arange(len(order))
    buyers = Buyers(
        statistics.counts[:, order].astype(np.int64),
        statistics.other_counts.astype(np.int64),
        statistics.weeks.astype(np.int64),
        statistics.buying_weeks.astype(np.int64),
        place[statistics.last],
    )
    return find_segments(
        buyers,
        [product["product_id"] for product in products],
        [line["brand"] for line in lines],
        [product["title"] for product in products],
        groups=choices.segments,
        min_size=choices.min_households,
        seed=choices.seed,
    )


def _purchase_rate(statistics: MarketStatistics, choices: BuildChoices) -> float:
    """Return the share of consumers who buy in a week, given or from the log."""
    if choices.purchase_rate is not None:
        return choices.purchase_rate
    rate = _fine(statistics.incidence * statistics.share_covered, 4, 0.01)
    if not rate < 1.0:
        raise invalid(
            f"market {statistics.market!r}: purchase_rate", rate,
            "a number below 1, to be given (--purchase-rate of `malles scenario build`): every visit of this log buys, "
            "so it shows none",
        )  # fmt: skip
    return rate


def _lines(statistics: MarketStatistics) -> list[dict[str, Any]]:
    """Return the market's lines grouped by brand: brands by their purchases, lines within one likewise."""
    rows = [{**line, "row": row} for row, line in enumerate(statistics.lines.to_dicts())]
    for line in rows:
        if not line.get("brand"):
            raise invalid(
                f"product {line['product_id']}: brand", line.get("brand"), "a brand or maker: sellers need one"
            )
        for name in ("private_label", "size_value", "size_unit"):
            line.setdefault(name, None)
    pool_brands(rows)
    total: dict[str, float] = {}
    for line in rows:
        total[line["brand"]] = total.get(line["brand"], 0.0) + line["share_of_lines"]
    rows.sort(key=lambda line: (-total[line["brand"]], line["brand"], line["row"]))
    seen: dict[str, int] = {}
    for line in rows:
        line["share"] = line["share_of_lines"]
        line["letter"] = LETTERS[seen.get(line["brand"], 0)]
        seen[line["brand"]] = seen.get(line["brand"], 0) + 1
    return rows


def _product(line: dict[str, Any], choices: BuildChoices, fee: float, origin: Origin, made_up: bool) -> dict[str, Any]:
    brand, seller = str(line["brand"]), line["seller"]
    size = f"{line['size_value']:g} {line['size_unit']}" if line["size_value"] else ""
    words = " ".join(part for part in (_title(brand), choices.unit_words or size) if part)
    low, high = choices.box
    product = {
        "product_id": f"{seller}_{line['letter'].lower()}",
        "seller": seller,
        "title": words,
        "unit_cost": _fine(choices.cost_share * line["mean_price"]),
        "regular_price": _fine(line["regular_price"]),
        "price_low": _fine(low * line["mean_price"]),
        "price_high": _fine(high * line["mean_price"]),
        "listing_fee": fee,
        "reference_share": _fine(line["share"], 4, 0.01),
        "average_price": _fine(line["mean_price"]),
        "mean_quantity": round(line["mean_quantity"], 2),
        "brand": brand,
        "private_label": bool(line["private_label"]),
        "size_value": float(line["size_value"] or 0.0),
        "size_unit": typed_words(line["size_unit"] or ""),
    }
    if origin.names_products:
        product |= {"source_id": str(line["product_id"]), "source_title": shown_words(line.get("title"))}
    if made_up and product.get("source_title"):
        # A made-up brand means nothing to people.
        product["title"] = product["source_title"]
    return product


def _fine(value: float, digits: int = 2, from_: float = 0.5) -> float:
    """Return `value` with so many decimals, or, where it is smaller than `from_`, with four leading digits.

    Prices of 0.02 would move by a quarter at two decimals.
    """
    return round(value, digits) if abs(value) >= from_ or value == 0.0 else _round(value, 4)


def _title(brand: str) -> str:
    """Return the brand with a capital in front; real names keep their own."""
    return brand[:1].upper() + brand[1:]


def _distinguish_titles(products: list[dict[str, Any]]) -> None:
    """Add the line's letter to titles that stand there twice."""
    titles = [product["title"] for product in products]
    for product, title in zip(products, titles, strict=True):
        if titles.count(title) > 1:
            product["title"] = f"{title}, line {product['product_id'][-1].upper()}"


def _sellers(products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the owners of the products; whoever owns several can list about half of them at once."""
    names = [product["seller"] for product in products]
    titles = {product["seller"]: _title(product["brand"]) for product in products}
    return [
        {
            "name": name,
            "title": titles[name],
            "capacity": (names.count(name) + 1) // 2 if names.count(name) > 1 else None,
        }
        for name in dict.fromkeys(names)
    ]


def _round(value: float, digits: int) -> float:
    """Return `value` rounded to so many leading digits."""
    return float(f"{value:.{digits}g}")
