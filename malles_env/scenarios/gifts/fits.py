"""What sales say, and how well: weights of the words, price response, sizes of orders, appeals of names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import spearmanr

from malles_env.data.sources.gifts.market import GiftMarket, appeals
from malles_env.evaluation.transfer.level import Level
from malles_env.type_aliases import FloatArray, IntArray

PRIOR_MEDIAN, PRIOR_SD = 2.0, 0.35
"""Prior of the price sensitivity: log-normal, median in utils per unit of log price, standard deviation of its log."""
_SAMPLE = 12_000
_GRID = np.linspace(0.1, 8.0, 1581)


@dataclass(frozen=True)
class Words:
    """How far likeness to a segment's history goes in choices.

    Attributes:
        weights: Utils per unit of each feature [F].
        gain: Nats per purchase that it predicts better, in weeks after those it was fitted on.
        gain_se: Standard error, clustered by customer.
        scale_se: Relative standard error of the weights taken together.
    """

    weights: FloatArray
    gain: float = float("nan")
    gain_se: float = float("nan")
    scale_se: float = float("nan")


def choices(market: GiftMarket, segment_of: IntArray, first: int, last: int, seed: int = 0) -> pl.DataFrame:
    """Return purchases by grouped customers in some weeks, at most `_SAMPLE`: household, period, place, segment."""
    lines = market.lines.with_columns(segment=pl.Series(segment_of))
    lines = lines.filter((pl.col("segment") >= 0) & pl.col("period").is_between(first, last))
    if len(lines) > _SAMPLE:
        lines = lines[np.sort(np.random.default_rng(seed).permutation(len(lines))[:_SAMPLE])]
    return lines


def fit_words(market: GiftMarket, appeal: FloatArray, features: FloatArray, bought: pl.DataFrame) -> Words:
    """Return the most likely weights, given what each product's appeal to everybody is.

    Args:
        market: What was on sale.
        appeal: Of the products [J].
        features: Of segments and products [S, J, F].
        bought: See `choices`.
    """

    def cost(weights: FloatArray) -> tuple[float, FloatArray]:
        value, slope = _likelihood(market, appeal, features, bought, weights)
        return -float(value.mean()), -slope.mean(axis=0)

    found = minimize(cost, np.zeros(features.shape[2]), jac=True, method="L-BFGS-B")
    _, slope = _likelihood(market, appeal, features, bought, found.x)
    along = slope @ found.x
    owner = np.unique(bought["household"].to_numpy(), return_inverse=True)[1]
    spread = float((np.bincount(owner, along) ** 2).sum())
    step = 1e-3
    ahead = _likelihood(market, appeal, features, bought, found.x * (1 + step))[1] @ found.x
    curvature = -float((ahead - along).sum()) / step
    return Words(found.x, scale_se=np.sqrt(spread) / max(curvature, 1e-9))


def words_gain(
    market: GiftMarket, appeal: FloatArray, features: FloatArray, bought: pl.DataFrame, weights: FloatArray
) -> tuple[float, float]:
    """Return by how many nats per purchase the words predict better than appeals alone, and its standard error."""
    owner = np.unique(bought["household"].to_numpy(), return_inverse=True)[1]
    gain = words_gains(market, appeal, features, bought, weights)
    rest = np.bincount(owner, gain - gain.mean())
    return float(gain.mean()), float(np.sqrt((rest**2).sum()) / len(gain))


def words_gains(
    market: GiftMarket, appeal: FloatArray, features: FloatArray, bought: pl.DataFrame, weights: FloatArray
) -> FloatArray:
    """Return by how many nats the words predict each purchase better than appeals alone [n]."""
    ahead, _ = _likelihood(market, appeal, features, bought, weights)
    plain, _ = _likelihood(market, appeal, features, bought, 0.0 * weights)
    return ahead - plain


def _likelihood(
    market: GiftMarket, appeal: FloatArray, features: FloatArray, bought: pl.DataFrame, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return log-likelihoods of purchases [n] and their slopes [n, F]; rows of one week and segment share a shelf."""
    period, segment, place = (bought[name].to_numpy() for name in ("period", "segment", "place"))
    cell, row = np.unique(period * len(features) + segment, return_inverse=True)
    week, who = cell // len(features), cell % len(features)
    utility = appeal + features[who] @ weights
    utility = np.where(market.available[:, week].T, utility, -np.inf)
    total = logsumexp(utility, axis=1)
    share = np.exp(utility - total[:, None])
    mean = np.einsum("nj,njf->nf", share, features[who])
    return utility[row, place] - total[row], features[segment, place] - mean[row]


@dataclass(frozen=True)
class PriceResponse:
    """The price sensitivity beta, utils per unit of log price.

    Attributes:
        estimate, estimate_se: From the log's few changes of list prices alone, and its standard error.
        mean, sd: After the prior.
        draws: Equally likely values [D].
    """

    estimate: float
    estimate_se: float
    mean: float
    sd: float
    draws: FloatArray


def price_response(market: GiftMarket, draws: int) -> PriceResponse:
    """Return what prior and log say of beta; products have effects of their own, so that only changes over time count.

    The standard error is clustered by product: what moves a product's sales lasts for weeks.

    Args:
        market: Weekly purchases and list prices.
        draws: D.
    """
    price = np.log(market.log.prices[market.product] / market.prices[:, None])
    price = np.where(np.isfinite(price), price, 0.0)
    weeks = market.counts.sum(axis=0) > 0
    counts, there, price = market.counts[:, weeks], market.available[:, weeks], price[:, weeks]

    def fitted(beta: float) -> tuple[float, FloatArray]:
        appeal, _ = appeals(counts, there, -beta * price)
        utility = np.where(there, appeal[:, None] - beta * price, -np.inf)
        share = np.exp(utility - logsumexp(utility, axis=0))
        return float((counts * np.log(np.maximum(share, 1e-300))).sum()), share * counts.sum(axis=0)

    points = np.array([-2.0, 0.0, 2.0, 4.0])
    value = np.array([fitted(beta)[0] for beta in points])
    bend, slope, _ = np.polyfit(points, value, 2)
    still = bool(np.abs(price).max() < 1e-9) or bend >= 0  # then the prior alone speaks
    estimate = PRIOR_MEDIAN if still else float(-slope / (2 * bend))
    score = ((counts - fitted(estimate)[1]) * price).sum(axis=1)
    se = np.inf if still else float(np.sqrt((score**2).sum()) / (-2 * bend))
    log_density = (
        -0.5 * ((_GRID - estimate) / se) ** 2 - 0.5 * (np.log(_GRID / PRIOR_MEDIAN) / PRIOR_SD) ** 2 - np.log(_GRID)
    )
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = float(density @ _GRID)
    sd = float(np.sqrt(density @ (_GRID - mean) ** 2))
    drawn = np.interp((np.arange(draws) + 0.5) / draws, density.cumsum(), _GRID)
    return PriceResponse(estimate, se, mean, sd, drawn)


def order_sizes(market: GiftMarket, segment_of: IntArray, segments: int, prior: float = 20.0) -> FloatArray:
    """Return pieces per purchase of segments and products, a product of one number of each [S, J].

    Both sets of totals are met by iterative scaling; every product's is drawn to the market's by `prior` purchases.

    Args:
        market: The purchases.
        segment_of: Segment of each of its lines, -1 where the customer has none.
        segments: S.
        prior: Weight of the market's mean.
    """
    pieces, counts = np.zeros((segments, len(market))), np.zeros((segments, len(market)))
    kept = segment_of >= 0
    at = (segment_of[kept], market.lines["place"].to_numpy()[kept])
    np.add.at(pieces, at, market.lines["pieces"].to_numpy()[kept])
    np.add.at(counts, at, 1.0)
    by_segment, by_product = np.ones(segments), np.ones(len(market))
    for _ in range(100):
        by_segment = pieces.sum(axis=1) / (counts @ by_product)
        by_product = (pieces.sum(axis=0) + prior) / (by_segment @ counts + prior)
    return np.asarray(by_segment[:, None] * by_product)


@dataclass(frozen=True)
class LaunchCheck:
    """Launches as predicted from their names, with what was sold before.

    Attributes:
        place: Products [L].
        said: What name and price said of the appeal, utils [L].
        shown: What sales showed [L].
    """

    place: IntArray
    said: FloatArray
    shown: FloatArray

    @property
    def bias(self) -> float:
        """Mean of shown less said, utils."""
        return float((self.shown - self.said).mean())

    @property
    def sd(self) -> float:
        """Standard deviation of shown less said, utils."""
        return float((self.shown - self.said).std(ddof=1))

    @property
    def rank(self) -> float:
        """Spearman's correlation."""
        return float(spearmanr(self.said, self.shown).statistic)


def check_launches(
    market: GiftMarket, readings: FloatArray, appeal: FloatArray, *, first: int, last: int
) -> LaunchCheck:
    """Return what names said of launches: of every week's, with the sales of the weeks before it and a fit on them.

    Args:
        market: The log.
        readings: Centred readings of its products [J, width].
        appeal: What sales showed of all [J].
        first: Earliest week of a first sale that is looked at.
        last: Latest such week.
    """
    log_price = np.log(market.prices)
    log_price = log_price - log_price.mean()
    place, said = [], []
    for week in np.unique(market.first[market.launched & (market.first >= first) & (market.first <= last)]):
        known, new = np.flatnonzero(market.first < week), np.flatnonzero(market.first == week)
        before = market.known(known, int(week) - 1)
        value, sd = appeals(before.counts, before.available)
        value = value + np.average(appeal[known] - value, weights=before.counts.sum(axis=1))
        level = Level.fit(readings[known], log_price[known], value, sd)
        predicted, _ = level.predict(readings[known], log_price[known], value, sd, readings[new], log_price[new])
        place.append(new)
        said.append(predicted)
    rows = np.concatenate(place) if place else np.zeros(0, dtype=np.int64)
    return LaunchCheck(rows, np.concatenate(said) if said else np.zeros(0), appeal[rows])
