"""TasteData: choice occasions as the words and numbers a taste model is trained and judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from malles_env.errors import InvalidInput
from malles_env.preference.data.shelves import ProductTable, listed_words, product_table
from malles_env.preference.data.text import market_text
from malles_env.type_aliases import BoolArray, Float32Array, IntArray

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

SHARED_FIELDS = ("products", "markets", "households")
HISTORY_LENGTH = 20
"""Own purchases of a market that are shown one by one; older ones count in the totals."""

_COLD: dict[str, int | None] = {
    **dict.fromkeys(("share", "long_share", "reference_share")),
    **dict.fromkeys(("bought", "last", "store_sales", "mean_quantity", "history_total", "known"), 0),
    **dict.fromkeys(("past_known", "past_ago", "past_quantity", "past_depth"), 0),
    "past": -1,
}
"""What a cold start withholds, and what stands there instead; None stands for even shares."""


@dataclass(frozen=True)
class TasteData:
    """B choice occasions, shelves padded to J options, histories to H purchases (newest first).

    Attributes:
        products: The distinct products.
        markets: The market names.
        prefix: Index into `products.prefixes` [B].
        market: Index into `markets` [B].
        household: Integer code of the household [B].
        period: Period of the visit [B].
        product: Index into `products`, 0 in the padding [B, J].
        price: Shelf prices in money [B, J].
        regular_price: Regular prices in money [B, J].
        display: Shown on a display [B, J].
        feature_ad: In the leaflet [B, J].
        bought: Own earlier purchases of the line [B, J].
        last: Own last purchase [B, J].
        share: Windowed mean field [B, J].
        reference_share: Share over the reference periods, for baselines only [B, J].
        long_share: Share over all earlier periods [B, J].
        store_sales: Recent purchases in the visit's store [B, J].
        mean_quantity: Packages per earlier purchase of anybody, 0 where there was none [B, J].
        brand_elsewhere: Own earlier purchases of the brand in other categories [B, J].
        brand_share: The brand's share of everybody's earlier purchases there [B, J].
        mask: True where an option exists [B, J].
        chosen: 0 for nothing, else the 1-based place on the shelf [B].
        quantity: Units bought, 0 with `chosen` 0 [B].
        log_sampling: Utility of the outside option in the sample [B].
        history_total: Own earlier purchases in the market [B].
        weeks_seen: Own earlier shopping weeks [B].
        elsewhere: Own earlier purchases in other categories [B].
        elsewhere_private: Those of store brands [B].
        elsewhere_deal: Those below the regular price [B].
        known: False where sales and histories of the category are withheld (a cold start) [B].
        past: Own last purchases, index into `products`, -1 where padded or not listed [B, H].
        past_known: True where there was a purchase [B, H].
        past_ago: Periods since [B, H].
        past_quantity: Packages [B, H].
        past_depth: Discount depth paid [B, H].
        households: The household names by code; empty where they are not known.
        other: Own last products of other categories, index into `products`, -1 in the padding, newest first [B, E];
            None where the log does not keep them.
        other_ago: Periods since [B, E].
    """

    products: ProductTable
    markets: tuple[str, ...]
    prefix: IntArray
    market: IntArray
    household: IntArray
    period: IntArray
    product: IntArray
    price: Float32Array
    regular_price: Float32Array
    display: BoolArray
    feature_ad: BoolArray
    bought: IntArray
    last: BoolArray
    share: Float32Array
    reference_share: Float32Array
    long_share: Float32Array
    store_sales: Float32Array
    mean_quantity: Float32Array
    brand_elsewhere: Float32Array
    brand_share: Float32Array
    mask: BoolArray
    chosen: IntArray
    quantity: IntArray
    log_sampling: Float32Array
    history_total: IntArray
    weeks_seen: IntArray
    elsewhere: Float32Array
    elsewhere_private: Float32Array
    elsewhere_deal: Float32Array
    known: BoolArray
    past: IntArray
    past_known: BoolArray
    past_ago: Float32Array
    past_quantity: Float32Array
    past_depth: Float32Array
    households: tuple[str, ...] = ()
    other: IntArray | None = None
    other_ago: IntArray | None = None

    def __len__(self) -> int:
        """Number of occasions."""
        return len(self.chosen)

    def take(self, index: NDArray[Any]) -> TasteData:
        """Return the occasions at `index` (integers or a boolean mask), products shared."""
        whole = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SHARED_FIELDS}
        return replace(self, **{name: values[index] for name, values in whole.items() if values is not None})

    def cold(self, index: NDArray[Any] | None = None) -> TasteData:
        """Return the same occasions without sales and own history of the category: a category never seen before.

        Prices, promotions, products and what the household bought in other categories stay.

        Args:
            index: Occasions to be made cold (integers or a boolean mask); None means all.
        """
        rows: Any = slice(None) if index is None else index
        even = self.mask / self.mask.sum(1, keepdims=True)
        changed = {}
        for name, value in _COLD.items():
            whole = getattr(self, name).copy()
            whole[rows] = even[rows] if value is None else value
            changed[name] = whole
        return replace(self, **changed)

    @property
    def promotion(self) -> BoolArray:
        """Displayed or advertised [B, J]."""
        return self.display | self.feature_ad

    @property
    def log_price(self) -> Float32Array:
        """log(p / r) [B, J], 0 in the padding."""
        return np.log(self._ratio())

    @property
    def discount(self) -> Float32Array:
        """Discount depth max(0, 1 - p/r) [B, J], 0 in the padding."""
        return np.maximum(0.0, 1.0 - self._ratio())

    def _ratio(self) -> Float32Array:
        return np.divide(self.price, self.regular_price, out=np.ones_like(self.price), where=self.mask)


def batches(data: TasteData, *, size: int, chunk: int, seed: int, epoch: int) -> Iterator[IntArray]:
    """Yield the row indices of an epoch's batches; the order is a function of seed and epoch alone.

    With `chunk` above 1 occasions of one market travel in chunks, so that a live backbone reads few texts per batch;
    chunks are shuffled over all markets.

    Args:
        data: The occasions.
        size: Occasions per batch.
        chunk: Most occasions of one market kept together.
        seed: Seed of the shuffle.
        epoch: Number of the epoch, from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(data))
    if chunk > 1:
        grouped = order[np.argsort(data.prefix[order], kind="stable")]
        starts = np.flatnonzero(np.diff(data.prefix[grouped], prepend=-1))
        parts = [p for group in np.split(grouped, starts[1:]) for p in np.split(group, range(chunk, len(group), chunk))]
        order = np.concatenate([parts[at] for at in rng.permutation(len(parts))])
    yield from np.split(order, range(size, len(order), size))


def from_occasions(occasions: Occasions, *, history: int = HISTORY_LENGTH) -> TasteData:
    """Turn choice occasions into texts and padded arrays.

    Args:
        occasions: The occasions.
        history: Own purchases shown one by one.
    """
    table = occasions.occasions
    if table.height == 0:
        raise InvalidInput("occasions: got none; allowed: at least one (loosen the selection)")
    arrays, past = occasions.arrays(), occasions.sequences(history)
    other, other_ago = occasions.bought_elsewhere() or (None, None)
    markets, market = np.unique(table["market"].to_numpy(), return_inverse=True)
    names, household = np.unique(table["household_id"].to_numpy(), return_inverse=True)
    products, prefix_of_market = _product_table(occasions, markets, arrays)
    mask = arrays["mask"]

    def number(name: str) -> Float32Array:
        return arrays[name].astype(np.float32)

    def count(name: str) -> IntArray:
        return arrays[name].astype(np.int64)

    def flag(name: str) -> BoolArray:
        return arrays[name].astype(bool)

    return TasteData(
        products=products,
        markets=tuple(str(name) for name in markets),
        prefix=prefix_of_market[market],
        market=market.astype(np.int64),
        household=household.astype(np.int64),
        period=table["period"].to_numpy().astype(np.int64),
        product=np.where(mask, arrays["product"], 0),
        price=np.where(mask, arrays["price"], 1.0).astype(np.float32),
        regular_price=np.where(mask, arrays["regular_price"], 1.0).astype(np.float32),
        display=flag("display"),
        feature_ad=flag("feature_ad"),
        bought=count("bought"),
        last=flag("last"),
        share=number("share"),
        reference_share=number("reference_share"),
        long_share=number("long_share"),
        store_sales=number("store_sales"),
        mean_quantity=number("mean_quantity"),
        brand_elsewhere=number("brand_elsewhere"),
        brand_share=number("brand_share"),
        mask=flag("mask"),
        chosen=count("chosen"),
        quantity=count("quantity"),
        log_sampling=number("log_sampling"),
        history_total=count("history_total"),
        weeks_seen=count("weeks_seen"),
        elsewhere=number("elsewhere"),
        elsewhere_private=number("elsewhere_private"),
        elsewhere_deal=number("elsewhere_deal"),
        known=np.ones(len(table), dtype=bool),
        past=past["product"].astype(np.int64),
        past_known=past["known"],
        past_ago=past["ago"].astype(np.float32),
        past_quantity=past["quantity"].astype(np.float32),
        past_depth=past["depth"].astype(np.float32),
        households=tuple(str(name) for name in names),
        other=other,
        other_ago=other_ago,
    )


def _product_table(
    occasions: Occasions, markets: NDArray[Any], arrays: dict[str, NDArray[Any]]
) -> tuple[ProductTable, IntArray]:
    """Return the products in the order of `Occasions.products`, and each market's prefix."""
    products = occasions.products
    # All markets of the product list, so that every part of a data set has the same products.
    listed = products.select("market", "category").unique(maintain_order=True)
    text_of = {str(name): market_text(str(name), str(wider)) for name, wider in listed.iter_rows()}
    prefixes = tuple(dict.fromkeys(text_of.values()))
    place = {text: at for at, text in enumerate(prefixes)}
    prefix = np.array([place[text_of[name]] for name in products["market"]])
    of_market = np.array([place[text_of[str(name)]] for name in markets])
    regular = np.ones(len(products))
    mask = arrays["mask"]
    regular[arrays["product"][mask]] = arrays["regular_price"][mask]
    names = products["product_id"].to_list()
    return product_table(prefixes, prefix, listed_words(products), regular, names), of_market
