"""Each market's own terms: a last, small phase that leaves the heads as they are.

Heads share what they learn of prices over all markets, and price and promotion are a tenth of what choices say, so
sensitivities come out too alike; and what others buy is a market's matter, not a household's. With the heads frozen,
one penalised likelihood per market (a hierarchical logit with a plug-in prior) finds its multiplier of beta, its level,
its rho, and what display and advertising are worth there beyond what the heads say. Earlier prices of the same line are
controlled for, so that sales borrowed from the weeks after a deal do not count as an answer to its price; these
controls are centred and not kept.

What the households leave open is drawn by randomize-then-optimize (Bardsley et al. 2014): each draw resamples
households with replacement, moves the prior's centre by a draw from the prior, and fits again. In a linear model with
normal noise that draws from the posterior exactly; a bootstrap alone would shrink every draw to the same centre.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from malles_env.errors import InvalidInput
from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.price_lags import WINDOWS, lagged_log_prices
from malles_env.preference.heads.bounds import LOG_BETA_BOUND, RHO_BOUND, AtBound, at_bounds
from malles_env.preference.heads.coefficients import MARKET_TERMS
from malles_env.preference.heads.ensemble import HeadSet
from malles_env.preference.heads.inputs import Reader
from malles_env.preference.model import TasteModel
from malles_env.preference.prediction import predict
from malles_env.preference.training.market_likelihood import MarketLog, Prior, fit_terms
from malles_env.type_aliases import Float32Array, FloatArray, IntArray

SPREADS = {"log beta multiplier": 0.5, "level": 1.0, "rho": 0.5, "display": 0.5, "feature": 0.5}
"""Standard deviations of the terms over markets, before seeing a market's occasions; all have mean 0."""
LAG_SPREAD = 1.0
"""The same of the coefficients of earlier log prices, in utils."""
STEADY = 0.03
"""Markets whose log(p/r) varies less than this (standard deviation) show no sensitivity to prices: the few prices off
the regular one are known only because somebody paid them. Their multiplier is the prior's."""
DRAWS = 16
_KEPT = len(MARKET_TERMS)


def fit_market_prices(
    model: TasteModel,
    train: TasteData,
    reader: Reader | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    refuse: bool = True,
) -> None:
    """Fit `HeadSet.market_terms` and draw `HeadSet.market_draws`, in place.

    Args:
        model: The model, its heads trained; they stay as they are.
        train: Training occasions, histories shown.
        reader: Readings made before; by default the model's backbone reads.
        draws: D, 0 or more.
        seed: Of the draws.
        refuse: Whether a coefficient at its bound is an error; a study of bounds may want to see it.

    Raises:
        InvalidInput: A coefficient ended at its bound; the message names market, coefficient and value.
    """
    heads = model.heads
    heads.market_terms.zero_()
    rng = np.random.default_rng([seed, 5])
    people = int(train.household.max()) + 1
    counts = rng.multinomial(people, np.full(people, 1.0 / people), size=draws)
    found = np.zeros((1 + draws, *heads.market_terms.shape))
    for market, rows, log in _markets(model, train, reader) if heads.markets else ():
        prior = _prior()
        best = fit_terms(log, prior, prior.centre)
        found[0, market] = best[:_KEPT]
        for draw, of_household in enumerate(counts, start=1):
            moved = Prior(rng.normal(prior.centre, prior.spread), prior.spread, prior.bound)
            weight = of_household[train.household[rows]].astype(np.float64)
            found[draw, market] = fit_terms(log.weighed(weight), moved, best)[:_KEPT]
    whole = torch.as_tensor(found, dtype=heads.market_terms.dtype, device=heads.market_terms.device)
    heads.market_terms.copy_(whole[0])
    heads.market_draws = whole[1:].clone()
    if refuse:
        _refuse_bounds(terms_at_bounds(heads))


def terms_at_bounds(heads: HeadSet) -> list[AtBound]:
    """Return the terms of markets that ended at their bound."""
    terms = heads.market_terms[1:].double().cpu().numpy()
    return at_bounds(dict(zip(MARKET_TERMS, terms.T, strict=True)), heads.markets or ())


def _refuse_bounds(found: list[AtBound]) -> None:
    if found:
        bounded = "; ".join(map(str, found))
        raise InvalidInput(
            f"market terms: {bounded}: ended at a bound, which is then the number's only source; allowed: estimates "
            "inside it (look for what the market's log records wrongly, or leave the market out of training)"
        )


def _prior() -> Prior:
    spread = np.array([*(SPREADS[name] for name in MARKET_TERMS), *(LAG_SPREAD for _ in WINDOWS)])
    bounds = {"log beta multiplier": LOG_BETA_BOUND, "rho": RHO_BOUND}
    bound = np.array([bounds.get(name, np.inf) for name in MARKET_TERMS] + [np.inf] * len(WINDOWS))
    return Prior(np.zeros(len(spread)), spread, bound)


def _markets(model: TasteModel, train: TasteData, reader: Reader | None) -> Iterator[tuple[int, IntArray, MarketLog]]:
    """Yield the code, the rows and the log of each market trained on."""
    place = model.heads.codes(train.products).market[train.prefix]
    lags = lagged_log_prices(train)
    for market in np.unique(place[place > 0]):
        rows = np.flatnonzero(place == market)
        yield int(market), rows, _log(model, train.take(rows), lags[rows], reader)


def _log(model: TasteModel, data: TasteData, lags: Float32Array, reader: Reader | None) -> MarketLog:
    said = predict(model, data, reader=reader)
    assert said.beta is not None
    earlier = lags - lags[data.mask].mean(0)
    columns = (np.ones(data.mask.shape), data.share - data.long_share, data.display, data.feature_ad)
    design = np.concatenate([np.stack(columns, axis=-1), earlier], axis=-1).astype(np.float64)
    design *= data.mask[..., None]
    moves = data.log_price[data.mask].std() >= STEADY
    slope: FloatArray = np.where(data.mask & moves, said.beta * data.log_price, 0.0)
    return MarketLog(said.utilities, slope, design, data.chosen, np.ones(len(data)))
