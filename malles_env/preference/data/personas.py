"""Personas given by counts, made into occasions a taste model can read: who bought what, spread over the weeks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malles_env.preference.data.dataset import HISTORY_LENGTH, TasteData
from malles_env.preference.data.shelves import ProductTable, product_table
from malles_env.preference.data.text import Persona, ProductText, persona_text
from malles_env.type_aliases import Float32Array, FloatArray, IntArray

USUAL_DEAL = 0.1
"""Discount depth assumed of purchases of which only the number is known."""


def as_occasions(
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: IntArray,
    reference_share: FloatArray,
    regular_price: FloatArray,
    mean_quantity: FloatArray,
) -> TasteData:
    """Return one occasion per persona, all before the same shelf at regular prices.

    Purchases are spread evenly over the weeks seen and mixed as evenly as their shares allow. What is not given (store,
    other categories) is NaN, which the heads read as the usual.

    Args:
        personas: S households or segments.
        products: J products.
        bought: Own earlier purchases [S, J].
        reference_share: Long-run shares [J].
        regular_price: Money [J].
        mean_quantity: Units per purchase [J], NaN where not known.
    """
    shape = bought.shape
    table, prefix, product = _product_table(personas, products, regular_price)
    total = np.maximum([persona.history_total for persona in personas], bought.sum(1))
    weeks = np.array([persona.weeks_seen for persona in personas])
    past = np.stack([mixed(row, int(n), HISTORY_LENGTH) for row, n in zip(bought, total, strict=True)])
    known = np.arange(HISTORY_LENGTH) < total[:, None]
    gap = np.maximum(weeks, 1) / np.maximum(total, 1)
    unknown = np.full(shape, np.nan, dtype=np.float32)
    none = np.full(len(personas), np.nan, dtype=np.float32)
    units = np.where(past >= 0, np.nan_to_num(mean_quantity, nan=1.0)[past], 1.0)

    def spread(row: FloatArray) -> Float32Array:
        return np.broadcast_to(row.astype(np.float32), shape).copy()

    share = spread(reference_share)
    blank = np.zeros(shape, dtype=bool)
    return TasteData(
        products=table,
        markets=tuple(dict.fromkeys(persona.market for persona in personas)),
        prefix=prefix,
        market=np.zeros(len(personas), dtype=np.int64),
        household=np.arange(len(personas)),
        period=np.zeros(len(personas), dtype=np.int64),
        product=product,
        price=spread(regular_price),
        regular_price=spread(regular_price),
        display=blank,
        feature_ad=blank,
        bought=bought,
        last=blank,
        share=share,
        reference_share=share,
        long_share=share,
        store_sales=unknown,
        mean_quantity=spread(mean_quantity),
        brand_elsewhere=unknown,
        brand_share=unknown,
        mask=np.ones(shape, dtype=bool),
        chosen=np.zeros(len(personas), dtype=np.int64),
        quantity=np.zeros(len(personas), dtype=np.int64),
        log_sampling=np.zeros(len(personas), dtype=np.float32),
        history_total=total,
        weeks_seen=weeks,
        elsewhere=none,
        elsewhere_private=none,
        elsewhere_deal=none,
        known=np.ones(len(personas), dtype=bool),
        past=np.where(past >= 0, np.take_along_axis(product, np.maximum(past, 0), 1), -1),
        past_known=known,
        past_ago=np.where(known, gap[:, None] * (np.arange(HISTORY_LENGTH) + 0.5), 0).astype(np.float32),
        past_quantity=np.where(known, units, 0).astype(np.float32),
        past_depth=np.where(known, USUAL_DEAL, 0).astype(np.float32),
    )


def mixed(counts: IntArray, total: int, length: int) -> IntArray:
    """Return the last `length` of `total` purchases in an even mixture, newest first; -1 for other products.

    Args:
        counts: Purchases of each product [J].
        total: All purchases, at least their sum.
        length: Entries returned; -1 also where there are fewer purchases.
    """
    order = np.full(length, -1, dtype=np.int64)
    if total == 0:
        return order
    share = np.append(counts, total - counts.sum()) / total
    taken = np.zeros(len(share))
    for at in range(min(total, length)):
        # Whoever is furthest behind its share comes next; the largest share first.
        behind = int(np.argmax(share * (at + 1) - taken + 1e-6 * share))
        taken[behind] += 1
        order[at] = behind if behind < len(counts) else -1
    return order


def _product_table(
    personas: Sequence[Persona], products: Sequence[ProductText], regular_price: FloatArray
) -> tuple[ProductTable, IntArray, IntArray]:
    """Return the products, each persona's prefix [S] and its products [S, J]; notes make prefixes of their own."""
    texts = [persona_text(persona) for persona in personas]
    prefixes = tuple(dict.fromkeys(texts))
    prefix = np.array([prefixes.index(text) for text in texts])
    count = len(products)
    owner = np.repeat(np.arange(len(prefixes)), count)
    table = product_table(prefixes, owner, list(products) * len(prefixes), np.tile(regular_price, len(prefixes)))
    return table, prefix, prefix[:, None] * count + np.arange(count)
