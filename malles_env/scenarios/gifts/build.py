"""Builds `gifts` and `gifts-houses`: markets of real names from the gift wholesaler's log."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import logsumexp

from malles_env.data.sources.gifts.houses import shipped_houses
from malles_env.data.sources.gifts.market import GiftMarket, appeals
from malles_env.evaluation.protocol import protocol
from malles_env.evaluation.transfer.level import Level
from malles_env.evaluation.transfer.names import centred
from malles_env.scenarios.gifts import words
from malles_env.scenarios.gifts.choices import Fitted, GiftChoices
from malles_env.scenarios.gifts.fits import (
    Words,
    check_launches,
    choices,
    fit_words,
    order_sizes,
    price_response,
    words_gain,
)
from malles_env.scenarios.gifts.personas import MIN_CELL, NameEmbeddings, Personas
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray, IntArray

FIRST_WEEK = 2
"""Week of the log that is period 0: the first is short."""
EARLY_WEEKS = 12
"""Weeks whose purchases make up what was bought before an episode."""


def build_gifts(market: GiftMarket, chosen: GiftChoices, *, made_by: str = "") -> Scenario:
    """Return a scenario of some categories of the wholesaler's log.

    Args:
        market: The categories.
        chosen: What the log leaves open.
        made_by: The command that asked for it.

    Raises:
        MissingResource: The encoder is not installed.
        InvalidInput: The log is too small.
    """
    return scenario_of(fit(market, chosen), chosen, made_by=made_by)


def fit(market: GiftMarket, chosen: GiftChoices) -> Fitted:
    """Estimate everything; arguments and errors as in `build_gifts`."""
    reading, weeks = NameEmbeddings.of(market, chosen.model), market.log.weeks
    appeal, sd = appeals(market.counts, market.available)
    learned = protocol("online-retail").periods.refit[1]
    earlier = Personas.of(market, reading, chosen.segments, until=learned, seed=chosen.seed)
    tried = _words(market, earlier, reading, appeal, FIRST_WEEK, learned)
    later = choices(market, _segment_of(market, earlier), learned + 1, weeks)
    gain = words_gain(market, appeal, earlier.features(reading, market.product), later, tried.weights)
    personas = Personas.of(market, reading, chosen.segments, until=weeks, seed=chosen.seed)
    found = _words(market, personas, reading, appeal, FIRST_WEEK, weeks)
    found = replace(found, gain=gain[0], gain_se=gain[1])
    segment_of = _segment_of(market, personas)
    weight, slots, rate, rates = _visits(market, personas)
    liking = personas.features(reading, market.product) @ found.weights
    alpha = _calibrated(market, appeal, liking, weight * rates)
    alpha = alpha + _intercepts(market, alpha, rates)[:, None]
    own = centred(reading.raw[market.product], reading.raw[market.product].mean(axis=0))
    log_price = np.log(market.prices)
    return Fitted(
        market, appeal, sd, personas, found, alpha, order_sizes(market, segment_of, len(personas)), weight, slots, rate,
        price_response(market, chosen.draws), Level.fit(own, log_price - log_price.mean(), appeal, sd),
        check_launches(market, own, appeal, first=FIRST_WEEK, last=weeks),
    )  # fmt: skip


def _words(
    market: GiftMarket, personas: Personas, reading: NameEmbeddings, appeal: FloatArray, first: int, last: int
) -> Words:  # fmt: skip
    bought = choices(market, _segment_of(market, personas), first, last)
    return fit_words(market, appeal, personas.features(reading, market.product), bought)


def _segment_of(market: GiftMarket, personas: Personas) -> IntArray:
    return personas.of_customers(market.lines["household"].to_numpy())


def _visits(market: GiftMarket, personas: Personas) -> tuple[FloatArray, float, float, FloatArray]:
    """Return weights of the segments [S], consumers per week, share who buy, and that of each segment [S].

    An order is as many consumers as products that orders with any of them take of these: each of them buys one product
    or nothing.
    """
    orders = market.orders.with_columns(segment=pl.Series(personas.of_customers(market.orders["household"].to_numpy())))
    grouped = orders.filter(pl.col("segment") >= 0).group_by("segment").agg(
        orders=pl.len(), buying=(pl.col("bought") > 0).sum(), lines=pl.col("bought").sum()
    ).sort("segment")  # fmt: skip
    number, buying, lines = (grouped[name].to_numpy().astype(np.float64) for name in ("orders", "buying", "lines"))
    slots = number * lines / buying
    every = market.orders["bought"].to_numpy()
    rate = float((every > 0).mean())
    weeks = market.log.weeks - 1.5  # the first and the last are short
    return slots / slots.sum(), float(every.sum() / rate / weeks), rate, buying / number


def _calibrated(market: GiftMarket, appeal: FloatArray, liking: FloatArray, buyers: FloatArray) -> FloatArray:
    """Return tastes that sell of every product what the log sold of it, while it was on sale [S, J].

    Args:
        market: Purchases and what was on sale.
        appeal: To everybody [J].
        liking: What words add [S, J].
        buyers: Shares of the segments among those who buy [S].
    """
    buyers = buyers / buyers.sum()
    sold, total = market.counts.sum(axis=1), market.counts.sum(axis=0)
    alpha = appeal + liking
    for _ in range(200):
        expected = np.zeros(len(market))
        for share, row in zip(buyers, np.exp(alpha), strict=True):
            on_sale = row[:, None] * market.available
            expected += share * (on_sale / np.maximum(on_sale.sum(axis=0), 1e-300)) @ total
        step = np.log(sold / expected)
        alpha = alpha + step
        if np.abs(step).max() < 1e-9:
            break
    return alpha


def _intercepts(market: GiftMarket, alpha: FloatArray, rates: FloatArray) -> FloatArray:
    """Return what makes segments buy as often as in the log, on average over its weeks' shelves [S]."""
    weeks = market.counts.sum(axis=0) > 0
    shelf = logsumexp(np.where(market.available[None, :, weeks], alpha[:, :, None], -np.inf), axis=1)

    def excess(level: float, row: FloatArray, rate: float) -> float:
        return float((1.0 / (1.0 + np.exp(-(row + level)))).mean()) - rate

    return np.array([brentq(excess, -30.0, 30.0, args=pair) for pair in zip(shelf, rates, strict=True)])


def scenario_of(fitted: Fitted, chosen: GiftChoices, *, made_by: str = "") -> Scenario:
    """Return the scenario of estimates and choices."""
    market, houses = fitted.market, shipped_houses()
    owner = houses.of(market.titles) if chosen.sellers == "houses" else ["wholesaler"] * len(market)
    order = _order(owner, market.counts.sum(axis=1))
    ids = _identifiers([market.titles[j] for j in order])
    owners = [owner[j] for j in order]
    sold = market.counts.sum(axis=1)[order]
    mean_size = (fitted.size[:, order] * np.exp(fitted.alpha[:, order]) * fitted.weight[:, None]).sum(axis=0)
    mean_size /= (np.exp(fitted.alpha[:, order]) * fitted.weight[:, None]).sum(axis=0)
    revenue = sold * market.prices[order] * mean_size
    lowest = min(3, len(str(int(revenue.sum()))))
    fee = float(f"{chosen.fee_share * revenue.sum() / market.log.weeks / len(order):.{lowest}g}")
    products = [
        _product(fitted, chosen, j, name, who, float(sold[at] / sold.sum()), float(mean_size[at]), fee)
        for at, (j, name, who) in enumerate(zip(order, ids, owners, strict=True))
    ]
    schedule = market.tiers()
    tiers = {
        name: {"threshold": tier[0], "most": float(f"{min(tier[1], 1 - 1 / tier[0]):.3f}")}
        for j, name in zip(order, ids, strict=True)
        if (tier := schedule[j]) is not None
    }
    profit = float((sold * (1 - chosen.cost_share) * market.prices[order] * mean_size).sum()) / market.log.weeks
    sellers = _sellers(owners, chosen, houses.titles)
    fields: dict[str, Any] = {
        "format": 2,
        "name": chosen.name,
        "title": chosen.title or words.title(market.categories, chosen.sellers),
        "description": words.description(fitted, chosen, len(sellers)),
        "sources": words.sources(fitted),
        "licence": words.LICENCE,
        "made_by": made_by,
        "currency": "GBP",
        "period": "week",
        "sellers": sellers,
        "products": products,
        "segments": _segments(fitted, order, ids, houses),
        "population_size": float(round(fitted.slots)),
        "consumers": {"kind": "logit", "tastes": _tastes(fitted, order), "draws": _draws(fitted, order, chosen)},
        "tiers": {"products": tiers} if tiers else None,
        "max_cycles": min(52, market.log.weeks - FIRST_WEEK + 1),
        "reward_scale": float(f"{profit / len(sellers):.3g}"),
        "words": _words_block(fitted, order, ids, chosen.model),
        "notes": words.notes(fitted, chosen),
    }
    return Scenario.model_validate(fields)


def _order(owner: list[str], sold: FloatArray) -> IntArray:
    """Return products by seller: sellers by their sales, products within one likewise."""
    total = Counter[str]()
    for who, lines in zip(owner, sold.tolist(), strict=True):
        total[who] += lines
    return np.array(sorted(range(len(owner)), key=lambda j: (-total[owner[j]], owner[j], -sold[j], j)))


def _identifiers(names: list[str]) -> list[str]:
    """Return a plain and unique word for each name, e.g. ``jumbo_bag_red_retrospot``."""
    plain = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names]
    return [f"{name}_{plain[:at].count(name) + 1}" if plain[:at].count(name) else name for at, name in enumerate(plain)]


def _product(
    fitted: Fitted, chosen: GiftChoices, j: int, name: str, seller: str, share: float, size: float, fee: float
) -> dict[str, Any]:  # fmt: skip
    market = fitted.market
    price, row = float(market.prices[j]), market.log.products.row(int(market.product[j]), named=True)
    low, high = chosen.box
    return {
        "product_id": name,
        "seller": seller,
        "title": market.titles[j],
        "unit_cost": float(f"{chosen.cost_share * price:.4g}"),
        "regular_price": price,
        "price_low": float(f"{low * price:.4g}"),
        "price_high": float(f"{high * price:.4g}"),
        "listing_fee": fee,
        "reference_share": float(f"{share:.4g}"),
        "mean_quantity": round(max(size, 1.0), 2),
        "product_type": row["category"],
        "source_id": row["product_id"],
        "enters": int(market.first[j]) - FIRST_WEEK if market.launched[j] else 0,
    }


def _sellers(owners: list[str], chosen: GiftChoices, titles: dict[str, str]) -> list[dict[str, Any]]:
    if chosen.sellers == "one":
        return [{"name": "wholesaler", "title": "The wholesaler", "capacity": min(chosen.capacity, len(owners))}]
    return [
        {"name": name, "title": titles[name], "capacity": (owners.count(name) + 1) // 2}
        for name in dict.fromkeys(owners)
    ]


def _segments(fitted: Fitted, order: IntArray, ids: list[str], houses: Any) -> list[dict[str, Any]]:
    market, personas = fitted.market, fitted.personas
    titles = market.log.products["title"].to_list()
    lines = market.lines.with_columns(segment=pl.Series(_segment_of(market, personas)))
    early = lines.filter(pl.col("period") < FIRST_WEEK + EARLY_WEEKS).sort("household", "day", "pieces")
    last = early.group_by("household", maintain_order=True).last().group_by("place").agg(count=pl.len())
    counts = np.zeros(len(market))
    counts[last["place"].to_numpy()] = last["count"].to_numpy()
    whole = max(float(counts.sum()), 1.0)
    counts = np.where(counts >= MIN_CELL, counts, 0.0)
    loyalty = {name: float(f"{counts[j] / whole:.3f}") for j, name in zip(order, ids, strict=True) if counts[j]}
    liking = fitted.alpha - fitted.alpha.mean(axis=0)
    liking = liking - liking.mean(axis=1, keepdims=True)
    named: list[str] = []
    found = []
    for s in range(len(personas)):
        best = np.argsort(-liking[s], kind="stable")[:3]
        stem = f"{houses.of([market.titles[best[0]]])[0]}_{'large' if personas.large[s] else 'small'}"
        named.append(stem)
        history = [" ".join(titles[at].split()) for at in personas.history[s]]
        found.append(
            {
                "name": stem if named.count(stem) == 1 else f"{stem}_{named.count(stem)}",
                "description": words.persona(
                    history, [market.titles[j] for j in best], float(fitted.size[s] @ np.exp(fitted.appeal))
                ),
                "weight": float(f"{fitted.weight[s]:.4f}"),
                "loyalty": loyalty,
                "households": int((personas.segment == s).sum()),
                "history": history,
            }
        )
    return found


def _tastes(fitted: Fitted, order: IntArray) -> dict[str, Any]:
    extra = np.log(np.maximum(fitted.size[:, order] - 1.0, 1e-3))
    return {
        "alpha": np.round(fitted.alpha[:, order], 3).tolist(),
        "beta": round(fitted.price.mean, 3),
        "kappa": np.round(extra, 2).tolist(),
        "price_transform": "log",
    }


def _draws(fitted: Fitted, order: IntArray, chosen: GiftChoices) -> list[dict[str, Any]]:
    """Return draws of the tastes: price response, appeals within their errors, and how far the words go."""
    rng = np.random.default_rng(chosen.seed)
    found = []
    for beta in rng.permutation(fitted.price.draws):
        shift = rng.normal(0.0, fitted.appeal_sd[order])
        spread = max(0.0, 1.0 + fitted.words.scale_se * rng.normal())
        found.append({"beta": round(float(beta), 3), "shift": np.round(shift, 3).tolist(), "spread": round(spread, 3)})
    return found


def _words_block(fitted: Fitted, order: IntArray, ids: list[str], model: str) -> dict[str, Any]:
    level, launches = fitted.level, fitted.launches
    return {
        "model": model,
        "weights": np.round(fitted.words.weights, 4).tolist(),
        "level": {
            **{name: float(f"{getattr(level, name):.4g}") for name in ("variance", "length", "price", "noise")},
            "known": {name: round(float(fitted.appeal[j]), 3) for j, name in zip(order, ids, strict=True)},
            "known_sd": {name: round(float(fitted.appeal_sd[j]), 3) for j, name in zip(order, ids, strict=True)},
            "launch_bias": round(launches.bias, 3),
            "launch_sd": round(launches.sd, 3),
            "launches": len(launches.place),
            "launch_rank": round(launches.rank, 3),
        },
    }
