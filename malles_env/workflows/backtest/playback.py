"""Plays a market's real weeks with consumers: level fitted to the past, then real prices and shelves, week by week."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from malles_env.consumers.logit import LogitConsumers
from malles_env.errors import invalid
from malles_env.market import Catalog, Market, MeanField, Offer, Population, Tastes
from malles_env.market.demand.choice import discount_depth, purchases
from malles_env.market.seller_rules.promotion import Promotions
from malles_env.scenarios.from_log.panel import Panel
from malles_env.type_aliases import BoolArray, FloatArray

WINDOW = 8
"""Weeks of the mean field, as in the data the models were trained on."""
SHELVES = 8
"""Shelves of a week among which its displays and advertisements are spread."""


@dataclass(frozen=True)
class Forecast:
    """What consumers are expected to do in T weeks; as many shop as did in truth.

    Attributes:
        name: Who they are.
        purchases: Expected buyers of each product [T, J].
        units: Expected packages [T, J].
    """

    name: str
    purchases: FloatArray
    units: FloatArray


def play(
    name: str, catalog: Catalog, tastes: Tastes, population: Population, weeks: Panel, start: FloatArray
) -> Forecast:
    """Return what a market of these consumers is expected to do at real prices, shelves and promotions of some weeks.

    Stores promote different products in a week: `SHELVES` markets share its displays and advertisements in proportion
    (`promoted`), and the forecast is their mean. Loyalty and the mean field move with what the simulated consumers buy;
    real purchases of these weeks are not used.

    Args:
        name: Name of the forecast.
        catalog: J products.
        tastes: Of S segments.
        population: Their weights and initial loyalty.
        weeks: Prices, shelves, promotions and number of shoppers.
        start: Purchase shares of the weeks before, oldest first [WINDOW, J].
    """
    slots = {seller: (len(catalog.seller_of), len(catalog.seller_of)) for seller in catalog.sellers}
    market = Market(
        # real shelves were not the simulated sellers' to fill, nor were promotions theirs to pay for
        replace(catalog, replenishment=None, promotions=Promotions(slots=slots)),
        replace(population, size=1.0),
        LogitConsumers(tastes),
        num_markets=SHELVES,
        demand="expected",
        mean_field=MeanField(window=len(start), centre="long_run"),
        initial_mean_field=start.mean(axis=0),
    )
    market.state.window[:] = start
    shelves = zip(weeks.prices, weeks.listed, *promoted(weeks), strict=True)
    outcomes = [market.step(price, listed, display, ad) for price, listed, display, ad in shelves]
    buyers = np.array([(outcome.share * (1.0 - outcome.outside[:, None])).mean(axis=0) for outcome in outcomes])
    units = np.array([outcome.units.mean(axis=0) for outcome in outcomes])
    shoppers = weeks.shoppers[:, None]
    return Forecast(name, shoppers * buyers, shoppers * units)


def promoted(weeks: Panel) -> tuple[BoolArray, BoolArray]:
    """Return which products are displayed and which advertised on each of `SHELVES` shelves of a week [T, SHELVES, J].

    A product is promoted on the share of shelves on which it was in truth, to the nearest one. Its displays and its
    advertisements fall on the same shelves as far as they go, those of different products on different ones.
    """
    products = np.arange(weeks.display.shape[1])
    place = (np.arange(SHELVES)[:, None] + products) % SHELVES
    shares = (np.round(SHELVES * share) for share in (weeks.display, weeks.feature_ad))
    display, feature_ad = (weeks.listed[:, None, :] & (place < share[:, None, :]) for share in shares)
    return display, feature_ad


def level_to(
    tastes: Tastes, population: Population, regular_price: FloatArray, past: Panel,
    *, tolerance: float = 1e-6, max_iterations: int = 1000,
) -> Tastes:  # fmt: skip
    """Return tastes whose expected purchases and units over past weeks are the real ones, product by product.

    Two numbers per product move, the utility of buying it (the contraction of Berry, Levinsohn and Pakes 1995, here on
    the sum over weeks at each week's own prices) and the mean of the units beyond the first. Loyalty and the mean field
    stand still meanwhile.

    Args:
        tastes: Coefficients.
        population: Weights and loyalty.
        regular_price: Money [J].
        past: The weeks.
        tolerance: Largest difference of log purchases at the end.
        max_iterations: Iterations after which it gives up.

    Raises:
        InvalidInput: A product was never bought in these weeks, or the purchases cannot be reached.
    """
    bought = past.purchases.sum(axis=0)
    if not bought.all():
        none = past.product_ids[int(np.argmin(bought))]
        raise invalid("past", f"no purchase of {none}", "weeks in which every product was bought")
    offer, shoppers = _offer(past, regular_price, population), _on_shelves(past.shoppers) / SHELVES
    shift = np.zeros(len(bought))
    for _ in range(max_iterations):
        answer = purchases(tastes.shifted(shift), offer)[0][:, :, 1:]
        buyers = shoppers @ np.einsum("s,tsj->tj", population.weights, answer)
        step = np.log(bought) - np.log(np.maximum(buyers, 1e-300))
        shift += step
        if np.abs(step).max() < tolerance:
            return _units_to(tastes.shifted(shift), population, regular_price, past, answer)
    raise invalid("past", bought.tolist(), f"purchases these tastes can reach (still {np.abs(step).max():.1e} off)")


def _on_shelves(values: FloatArray) -> FloatArray:
    """Return the same values on every shelf of their week [T * SHELVES, ...]."""
    return np.repeat(values, SHELVES, axis=0)


def _offer(past: Panel, regular_price: FloatArray, population: Population) -> Offer:
    shares = past.purchases.sum(axis=0) / past.purchases.sum()
    prices, listed = _on_shelves(past.prices), np.repeat(past.listed, SHELVES, axis=0)
    loyalty = np.broadcast_to(population.initial_loyalty, (len(prices), *population.initial_loyalty.shape))
    perceived = np.tile(shares, (len(prices), 1))
    display, feature_ad = (flags.reshape(prices.shape) for flags in promoted(past))
    return Offer(
        prices, listed, regular_price, perceived, loyalty, display=display, feature_ad=feature_ad, centre=perceived
    )


def _units_to(
    tastes: Tastes, population: Population, regular_price: FloatArray, past: Panel, answer: FloatArray
) -> Tastes:
    """Return tastes with kappa moved so that units over the past weeks are the real ones."""
    depth = discount_depth(_on_shelves(past.prices), regular_price)[:, None, :]
    extra = np.exp(tastes.kappa + tastes.delta[:, None] * depth)
    expected = _on_shelves(past.shoppers) / SHELVES @ np.einsum("s,tsj->tj", population.weights, answer * extra)
    real = past.units.sum(axis=0) - past.purchases.sum(axis=0)
    with np.errstate(divide="ignore"):
        move = np.log(np.maximum(real, 0.0)) - np.log(np.maximum(expected, 1e-300))
    return replace(tastes, kappa=np.minimum(tastes.kappa + move, 10.0))


def naive(past: Panel, weeks: Panel) -> Forecast:
    """Return the forecast that every shopper goes on as the average one did in some past weeks."""
    shoppers = past.shoppers.sum()
    rates = (values.sum(axis=0) / shoppers for values in (past.purchases, past.units))
    buyers, units = (weeks.shoppers[:, None] * rate for rate in rates)
    return Forecast("naive", buyers, units)


def sampled(truth: Forecast, weeks: Panel, draws: int, seed: int) -> list[Forecast]:
    """Return what panels of this size would show if a forecast were the truth.

    Args:
        truth: The forecast.
        weeks: The number of shoppers.
        draws: Panels wanted.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    shoppers = np.round(weeks.shoppers).astype(np.int64)
    inside = truth.purchases / weeks.shoppers[:, None]
    chances = np.hstack([np.maximum(1.0 - inside.sum(axis=1, keepdims=True), 0.0), inside])
    chances /= chances.sum(axis=1, keepdims=True)
    extra = np.maximum(truth.units / np.maximum(truth.purchases, 1e-300) - 1.0, 0.0)
    panels = []
    for _ in range(draws):
        bought = rng.multinomial(shoppers, chances)[:, 1:].astype(np.float64)
        panels.append(Forecast("panel", bought, bought + rng.poisson(bought * extra)))
    return panels
