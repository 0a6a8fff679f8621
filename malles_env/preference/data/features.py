"""Facts: what is known of an occasion, as numbers. Every model and baseline of numbers sees the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from malles_env._moved import old_names
from malles_env.preference.data.dataset import TasteData
from malles_env.type_aliases import BoolArray, Float32Array

FLOOR = 1e-3
"""Added to a share before its log: a line nobody bought yet is rare, not impossible."""
RANK_DECAY = 0.85
"""Weight of a purchase against the one after it, in the fixed decayed counts."""
OPTION_FEATURES = (
    "log popularity",
    "log store popularity",
    "log urn",
    "log decayed urn",
    "bought before",
    "log bought",
    "own share",
    "log weeks since bought",
    "own depth",
    "own brand share",
    "own size distance",
    "own price distance",
    "brand elsewhere",
    "brand share elsewhere",
    "log brand popularity",
    "store brand",
    "store brand x own share elsewhere",
    "size on shelf",
    "size unknown",
    "price level on shelf",
    "unit price on shelf",
    "variants on shelf",
)
"""Of each option; none of them moves with a price, a promotion or this period's purchases."""
LIVE_FEATURES = ("log price", "discount", "display", "feature ad", "last", "share deviation", "log trend")
"""Of each option; what a market changes from period to period. `log trend` is for models that need no structure."""
SHELF_FEATURES = (
    "known",
    "log purchases",
    "log weeks",
    "log rate",
    "log weeks since purchase",
    "repeat share",
    "own deal share",
    "own log quantity",
    "last log quantity",
    "log elsewhere",
    "store brands elsewhere",
    "deals elsewhere",
    "log options",
    "concentration",
)
"""Of the household before this shelf."""
QUANTITY_FEATURES = ("line log quantity", "own line log quantity", "own line purchases", "own one-unit share")
"""Of each option, for the number of units."""


@dataclass(frozen=True)
class Features:
    """Numbers of B occasions with J options.

    Attributes:
        option: [B, J, len(OPTION_FACTS)].
        live: [B, J, len(LIVE_FACTS)].
        shelf: [B, len(SHELF_FACTS)].
        quantity: [B, J, len(QUANTITY_FACTS)].
        match: True where a past purchase is of that option's line [B, J, H].
    """

    option: Float32Array
    live: Float32Array
    shelf: Float32Array
    quantity: Float32Array
    match: BoolArray


def features(data: TasteData) -> Features:
    """Return the numbers of all occasions; take a small part first."""
    match = (data.product[:, :, None] == data.past[:, None, :]) & data.mask[:, :, None]
    option = _option_facts(data, match)
    mask = data.mask[:, :, None]
    return Features(
        option=np.where(mask, option, 0.0).astype(np.float32),
        live=np.where(mask, _live_facts(data), 0.0).astype(np.float32),
        shelf=_shelf_facts(data).astype(np.float32),
        quantity=np.where(mask, _quantity_facts(data, match), 0.0).astype(np.float32),
        match=match,
    )


def _option_facts(data: TasteData, match: BoolArray) -> Float32Array:
    products, mask, product = data.products, data.mask, data.product
    popular = data.long_share + FLOOR
    store = (data.store_sales + 5 * data.long_share) / (data.store_sales.sum(1, keepdims=True) + 5.0) + FLOOR
    total = data.history_total[:, None].astype(np.float32)
    weight = RANK_DECAY ** np.arange(match.shape[2], dtype=np.float32)
    held = (weight * data.past_known).sum(1, keepdims=True)
    decayed = ((match * weight).sum(2) + 0.5 * popular) / (held + 0.5)
    matches = np.maximum(match.sum(2), 1)
    first = np.where(match.any(2), np.take_along_axis(data.past_ago, match.argmax(2), 1), 60.0)
    elsewhere = data.elsewhere[:, None]
    brand = products.brand[product]
    past_brand = np.where(data.past >= 0, products.brand[data.past], -1)
    same_brand = (brand[:, :, None] == past_brand[:, None, :]).sum(2) / np.maximum(data.past_known.sum(1), 1)[:, None]
    size, level = products.log_size[product], products.log_regular[product]
    private = products.private[product]
    private_elsewhere = ((data.elsewhere_private + 1.5) / (data.elsewhere + 5.0))[:, None]
    columns = [
        np.log(popular),
        np.log(store) - np.log(popular),
        np.log((data.bought + data.long_share + FLOOR) / (total + 1.0)),
        np.log(decayed),
        data.bought > 0,
        np.log1p(data.bought),
        data.bought / (total + 1.0),
        np.log1p(first),
        (match * data.past_depth[:, None, :]).sum(2) / matches,
        same_brand,
        _own_distance(data, products.log_size, size),
        _own_distance(data, products.log_regular, level),
        np.log1p(data.brand_elsewhere),
        data.brand_elsewhere / (elsewhere + 5.0),
        np.log(data.brand_share + 1e-5),
        private,
        private * (private_elsewhere - 0.3),
        _centred(size, mask),
        np.isnan(size),
        _centred(level, mask),
        _centred(level - size, mask),
        _centred(products.log_variants[product], mask),
    ]
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=-1)


def _live_facts(data: TasteData) -> Float32Array:
    trend = np.log((data.share + FLOOR) / (data.long_share + FLOOR))
    deviation = data.share - data.long_share
    columns = [data.log_price, data.discount, data.display, data.feature_ad, data.last, deviation, trend]
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=-1)


def _shelf_facts(data: TasteData) -> Float32Array:
    known, total = data.past_known, data.history_total.astype(np.float32)
    seen = np.maximum(known.sum(1), 1)
    pairs = known[:, 1:]
    same = np.equal(data.past[:, 1:], data.past[:, :-1])
    repeats = np.sum(same & pairs, axis=1) / np.maximum(pairs.sum(1), 1)
    quantity = np.log(np.maximum(data.past_quantity, 1))
    some = known[:, 0]
    columns = [
        data.known,
        np.log1p(total),
        np.log1p(data.weeks_seen),
        np.where(data.known, np.log((total + 0.5) / (data.weeks_seen + 5.0)), -2.5),
        np.log1p(np.where(some, data.past_ago[:, 0], 60.0)),
        repeats,
        ((data.past_depth > 0.05) & known).sum(1) / seen,
        (quantity * known).sum(1) / seen,
        np.where(some, quantity[:, 0], 0.0),
        np.log1p(data.elsewhere),
        (data.elsewhere_private + 1.5) / (data.elsewhere + 5.0),
        (data.elsewhere_deal + 2.0) / (data.elsewhere + 5.0),
        np.log(data.mask.sum(1)),
        data.bought.max(1) / (total + 1.0),
    ]
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=-1)


def _quantity_facts(data: TasteData, match: BoolArray) -> Float32Array:
    quantity = np.log(np.maximum(data.past_quantity, 1))[:, None, :]
    count = match.sum(2)
    single = ((data.past_quantity <= 1) & data.past_known).sum(1) / np.maximum(data.past_known.sum(1), 1)
    columns = [
        np.log(np.maximum(data.mean_quantity, 1)),
        (match * quantity).sum(2) / np.maximum(count, 1),
        np.log1p(count),
        np.broadcast_to(single[:, None], count.shape),
    ]
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=-1)


def _own_distance(data: TasteData, attribute: Float32Array, value: Float32Array) -> Float32Array:
    """Return the distance of each option's attribute from the mean over own past purchases, 0 where unknown."""
    past = np.where(data.past >= 0, attribute[data.past], np.nan)
    known = np.isfinite(past)
    mean = np.where(known, past, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    some = known.any(axis=1, keepdims=True)
    distance = np.abs(value - mean[:, None]) * some
    return np.nan_to_num(np.minimum(distance, 3.0))


def _centred(values: Float32Array, mask: BoolArray) -> Float32Array:
    """Return values less their mean over the shelf, 0 where unknown."""
    known = mask & np.isfinite(values)
    mean = np.where(known, values, 0.0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    return np.where(known, values - mean, 0.0)


__getattr__ = old_names(__name__)
