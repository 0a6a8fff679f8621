"""Smaller or differently coded taste data: fewer visits, fewer occasions, few markets, another list of products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from malles_env.errors import invalid
from malles_env.preference.data.dataset import TasteData


def thinned(data: TasteData, share: float, seed: int) -> TasteData:
    """Return the data with a share of the no-purchase visits; the outside option's offset undoes it."""
    if share >= 1:
        return data
    kept = (data.chosen > 0) | (np.random.default_rng([seed, 1]).random(len(data)) < share)
    fewer = data.take(kept)
    return replace(fewer, log_sampling=fewer.log_sampling + np.float32(np.log(share)))


def sampled(data: TasteData, limit: int | None, seed: int) -> TasteData:
    """Return a plain random draw of at most `limit` occasions, in their order."""
    if limit is None or limit >= len(data):
        return data
    return data.take(np.sort(np.random.default_rng([seed, 2]).permutation(len(data))[:limit]))


def on_products(data: TasteData, other: TasteData) -> TasteData:
    """Return `data` with its products replaced by those of `other`, which must hold them all.

    Raises:
        InvalidInput: A product that `other` does not have.
    """
    ours, theirs = data.products, other.products
    place = {name: at for at, name in enumerate(theirs.names)}
    row = np.array([place.get(name, -1) for name in ours.names])
    lost = np.unique(data.product[data.mask & (row[data.product] < 0)])
    if len(lost):
        raise invalid("validation", ours.names[lost[0]], "a product of the training occasions")
    product = np.where(data.mask, row[data.product], 0)
    return replace(
        data,
        products=theirs,
        product=product,
        past=np.where(data.past >= 0, row[data.past], -1),
        other=None if data.other is None else np.where(data.other >= 0, row[data.other], -1),
        prefix=theirs.prefix[product[:, 0]],
    )


def few_markets(data: TasteData, markets: int, limit: int, seed: int) -> TasteData:
    """Return at most `limit` occasions of a few markets, so that a live backbone has few texts to read."""
    rng = np.random.default_rng([seed, 4])
    kept = rng.permutation(np.unique(data.prefix))[:markets]
    return sampled(data.take(np.isin(data.prefix, kept)), limit, seed)
