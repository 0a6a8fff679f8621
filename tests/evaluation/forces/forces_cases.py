"""Logs of purchases drawn from known forces, as choice occasions and as a market's visits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import polars as pl

from malles_env.data.building.build import build_occasions
from malles_env.data.log.tables import Tables
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.splits import Splits
from malles_env.evaluation.forces.log import MarketLog, read_market
from malles_env.type_aliases import BoolArray, FloatArray, IntArray

STORES = 4
USUAL = 0.3
"""Purchases per household and week that a pantry counts as its use."""
MARKET = "PANTRY | SNACKS"
SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset()),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)
_START = datetime(2024, 1, 1)


@dataclass(frozen=True)
class Truth:
    """Forces a log is drawn from; the defaults are a market without any.

    `spread` is the standard deviation of tastes over households. With `leak` loyalty is lost whole at random, as in the
    market's flow of shares, instead of shrinking bit by bit.
    """

    display: float = 0.0
    feature: float = 0.0
    gain: float = 0.0
    loss: float = 0.0
    memory: float = 0.8
    loyalty: float = 1.0
    fade: float = 0.0
    leak: bool = False
    season: float = 0.0
    persistence: float = 0.0
    theta: float = 0.0
    keep: float = 0.8
    beta: float = 2.0
    spread: float = 0.7
    deals: bool = True
    promoted: bool = True


def draw_log(truth: Truth, seed: int = 0, *, households: int = 500, weeks: int = 40, products: int = 6) -> Tables:
    """Draw a log in the canonical schema; prices, displays and ads change by store and week."""
    rng = np.random.default_rng(seed)
    regular = np.round(rng.uniform(2.0, 6.0, products), 2)
    on_deal = rng.random((weeks, STORES, products)) < 0.3 * truth.deals
    price = np.round(regular * np.where(on_deal, 1.0 - rng.uniform(0.1, 0.4, on_deal.shape), 1.0), 2)
    log_price = np.log(price / regular)
    shown, advertised = (rng.random((2, *price.shape)) < np.where(on_deal, 0.5, 0.1)) & truth.promoted
    xi, home = season(rng, truth, weeks), np.arange(households) % STORES
    level = rng.normal(0.0, 0.7, products) - np.log(products) - 1.2
    taste = level + rng.normal(0.0, 1.0, (households, products)) * truth.spread
    reference, last, stock = log_price[0].copy(), np.full(households, -1), np.zeros(households)
    ago, rows = np.zeros(households), []
    for week in range(weeks):
        if truth.leak:  # the household stands as if it had never bought
            last = np.where(rng.random(households) < truth.fade, -1, last)
        below = reference - log_price[week]
        offer = truth.display * shown[week] + truth.feature * advertised[week] - truth.beta * log_price[week]
        offer = offer + truth.gain * np.maximum(below, 0.0) - truth.loss * np.maximum(-below, 0.0) + xi[week]
        left = 1.0 if truth.leak else (1.0 - truth.fade) ** ago[:, None]
        utility = taste + offer[home] - truth.theta * stock[:, None]
        utility = utility + truth.loyalty * left * (np.arange(products) == last[:, None])
        whole = np.concatenate([np.zeros((households, 1)), utility], axis=1)
        chosen = (whole + rng.gumbel(size=whole.shape)).argmax(1) - 1
        visits = rng.random(households) < 0.9
        buys = visits & (chosen >= 0)
        last, ago = np.where(buys, chosen, last), np.where(buys, 1, ago + 1)
        stock = truth.keep * stock + buys / USUAL - 1.0
        reference = truth.memory * reference + (1.0 - truth.memory) * log_price[week]
        rows.append((week, visits, buys, chosen))
    return _tables(rng, rows, home, regular, price, shown, advertised)


def season(rng: np.random.Generator, truth: Truth, weeks: int) -> FloatArray:
    """Return weekly effects on the log odds of buying, a stationary AR(1) [weeks]."""
    shocks, xi = rng.normal(size=weeks), np.zeros(weeks)
    for week in range(weeks):
        before = xi[week - 1] if week else shocks[0]
        xi[week] = truth.persistence * before + np.sqrt(1.0 - truth.persistence**2) * shocks[week]
    return truth.season * xi


def _tables(
    rng: np.random.Generator,
    rows: list[tuple[int, BoolArray, BoolArray, IntArray]],
    home: IntArray,
    regular: FloatArray,
    price: FloatArray,
    shown: BoolArray,
    advertised: BoolArray,
) -> Tables:
    _, stores, products = price.shape
    names = np.array([*(f"p{j}" for j in range(products)), "other"])
    usual = np.append(regular, 1.0)
    parts = []
    for week, visits, buys, chosen in rows:
        who = np.concatenate([np.flatnonzero(visits), np.flatnonzero(buys)])
        # A visit leaves a trace outside the market, so that weeks without a purchase are seen.
        what = np.concatenate([np.full(visits.sum(), products), chosen[buys]])
        money = np.append(price[week], np.ones((stores, 1)), axis=1)
        parts.append(
            pl.DataFrame(
                {
                    "household_id": [f"h{h:04d}" for h in who],
                    "basket_id": [f"b{week:02d}-{h:04d}" for h in who],
                    "timestamp": [_START + timedelta(weeks=week, minutes=int(h)) for h in who],
                    "store_id": [f"s{s}" for s in home[who]],
                    "product_id": names[what].tolist(),
                    "quantity": np.where(what < products, 1 + rng.poisson(0.3, len(who)), 1),
                    "unit_price": money[home[who], what],
                    "regular_price": usual[what],
                    "period": week + 1,
                }
            )
        )
    goods = pl.DataFrame(
        {
            "product_id": names,
            "category": [*["PANTRY"] * products, "OTHER"],
            "market": [*[MARKET] * products, "OTHER | OTHER"],
            "title": names,
            "brand": [*(f"maker {j}" for j in range(products)), "maker"],
            "private_label": False,
            "size_value": 12.0,
            "size_unit": "oz",
        }
    )
    week, store, product = (axis.ravel() for axis in np.indices(price.shape))
    offers = pl.DataFrame(
        {
            "store_id": [f"s{at}" for at in store],
            "product_id": names[product],
            "period_start": week + 1,
            "period_end": week + 1,
            "unit_price": price.ravel(),
            "regular_price": regular[product],
            "display": shown.ravel(),
            "feature_ad": advertised.ravel(),
        }
    )
    houses = pl.DataFrame({"household_id": sorted({h for part in parts for h in part["household_id"]})})
    kinds = ("transactions", "products", "offers", "promotions", "households")
    return Tables(
        _cast(pl.concat(parts)), goods, _cast(offers), None, houses, {kind: f"drawn {kind}" for kind in kinds}
    )


def _cast(frame: pl.DataFrame) -> pl.DataFrame:
    whole = [name for name in ("quantity", "period", "period_start", "period_end") if name in frame.columns]
    return frame.with_columns(pl.col(whole).cast(pl.Int32))


@cache
def drawn(truth: Truth, seed: int = 0, households: int = 500) -> Occasions:
    """Return the choice occasions of a log drawn from known forces."""
    return build_occasions(draw_log(truth, seed, households=households), SETTINGS, [MARKET])


@cache
def drawn_market(truth: Truth, seed: int = 0, households: int = 500) -> MarketLog:
    """Return the same as a market's visits."""
    return read_market(drawn(truth, seed, households), MARKET, seed)
