"""PromptData: choice occasions with what a prompt states of them, from occasions or from a taste model's data."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from malles_env.errors import InvalidInput, invalid
from malles_env.preference.data.shelves import listed_words
from malles_env.preference.data.text import product_text
from malles_env.preference.prompted.prompt import ELSEWHERE
from malles_env.type_aliases import BoolArray, Float32Array, IntArray

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions
    from malles_env.preference.data.dataset import TasteData

_SHARED = ("products", "markets")
_BY_OPTION = ("product", "price", "regular_price", "promotion", "bought", "last", "share", "mask")
_COLUMNS = {
    np.float32: ("price", "regular_price", "share", "log_sampling"),
    np.int64: ("bought", "chosen", "quantity", "history_total", "weeks_seen"),
    np.bool_: ("promotion", "last", "mask"),
}


@dataclass(frozen=True)
class PromptData:
    """B choice occasions, shelves padded to J options.

    Attributes:
        products: The distinct product texts.
        markets: The market names.
        product: Index into `products`, 0 in the padding [B, J].
        market: Index into `markets` [B].
        household: Integer code of the household, for clustering [B].
        price: Shelf prices in money [B, J].
        regular_price: Regular prices in money [B, J].
        promotion: Displayed or advertised [B, J].
        bought: Own earlier purchases of the line [B, J].
        last: Own last purchase [B, J].
        share: Trailing share of the market's purchases, 0 to 1 [B, J].
        mask: True where an option exists [B, J].
        chosen: 0 for nothing, else the 1-based place on the shelf [B].
        quantity: Units bought, 0 with `chosen` 0 [B].
        log_sampling: Utility of the outside option in the sample [B].
        history_total: Own earlier purchases in the market [B].
        weeks_seen: Own earlier shopping weeks [B].
        elsewhere: Own last products of other categories, index into `products`, -1 in the padding, newest first [B, E];
            None where the log does not keep them.
    """

    products: tuple[str, ...]
    markets: tuple[str, ...]
    product: IntArray
    market: IntArray
    household: IntArray
    price: Float32Array
    regular_price: Float32Array
    promotion: BoolArray
    bought: IntArray
    last: BoolArray
    share: Float32Array
    mask: BoolArray
    chosen: IntArray
    quantity: IntArray
    log_sampling: Float32Array
    history_total: IntArray
    weeks_seen: IntArray
    elsewhere: IntArray | None = None

    def __len__(self) -> int:
        """Number of occasions."""
        return len(self.chosen)

    def take(self, index: NDArray[Any]) -> PromptData:
        """Return the occasions at `index` (integers or a boolean mask), texts shared."""
        whole = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SHARED}
        return replace(self, **{name: values[index] for name, values in whole.items() if values is not None})

    @property
    def most_elsewhere(self) -> int:
        """Names of other categories that a prompt states, at most."""
        return 0 if self.elsewhere is None else min(self.elsewhere.shape[1], ELSEWHERE)

    def names_elsewhere(self, row: int) -> tuple[str, ...]:
        """Return the names of what a household bought in other categories, newest first."""
        if self.elsewhere is None:
            return ()
        return tuple(self.products[at] for at in self.elsewhere[row, : self.most_elsewhere] if at >= 0)


def fewer_options(data: PromptData, most: int, seed: int = 0) -> PromptData:
    """Return the occasions before shorter shelves: what was bought and others drawn at random.

    Under a logit such draws estimate the same preferences (McFadden 1978), and a prompt costs as much as its shelf.

    Args:
        data: The occasions.
        most: Options to keep, 2 or more.
        seed: Seed of the draw.

    Raises:
        InvalidInput: Fewer than 2 options.
    """
    if most < 2:
        raise invalid("shelf", most, "2 or more options")
    key = np.random.default_rng(seed).random(data.mask.shape)
    key[~data.mask] = 2.0
    bought = np.flatnonzero(data.chosen > 0)
    key[bought, data.chosen[bought] - 1] = -1.0
    kept = np.sort(np.argsort(key, axis=1)[:, :most], axis=1)
    columns: dict[str, Any] = {name: np.take_along_axis(getattr(data, name), kept, axis=1) for name in _BY_OPTION}
    place = (kept == (data.chosen - 1)[:, None]).argmax(axis=1) + 1
    return replace(data, **columns, chosen=np.where(data.chosen > 0, place, 0))


def prompt_data(data: PromptData | TasteData | Occasions) -> PromptData:
    """Return what a prompt states of these occasions, in their order.

    Raises:
        InvalidInput: There are none.
    """
    if isinstance(data, PromptData):
        return data
    if not len(data):
        raise InvalidInput("occasions: got none; allowed: at least one (loosen the selection)")
    from malles_env.data.occasions import Occasions

    return _from_occasions(data) if isinstance(data, Occasions) else _from_taste(data)


def _from_occasions(occasions: Occasions) -> PromptData:
    table, arrays = occasions.occasions, occasions.arrays()
    texts = [product_text(product) for product in listed_words(occasions.products)]
    markets, market = np.unique(table["market"].to_numpy(), return_inverse=True)
    _, household = np.unique(table["household_id"].to_numpy(), return_inverse=True)
    other = (occasions.bought_elsewhere() or (None,))[0]
    return _whole(arrays, texts, arrays["product"], tuple(str(name) for name in markets), market, household, other)


def _from_taste(data: TasteData) -> PromptData:
    arrays = {name: np.asarray(getattr(data, name)) for names in _COLUMNS.values() for name in names}
    return _whole(
        arrays, list(data.products.texts), data.product, data.markets, data.market, data.household, data.other
    )


def _whole(
    arrays: dict[str, NDArray[Any]],
    texts: list[str],
    product: NDArray[Any],
    markets: tuple[str, ...],
    market: NDArray[Any],
    household: NDArray[Any],
    other: IntArray | None,
) -> PromptData:
    products = tuple(dict.fromkeys(texts))
    place = {text: at for at, text in enumerate(products)}
    code = np.array([place[text] for text in texts], dtype=np.int64)
    columns: dict[str, NDArray[Any]] = {
        name: arrays[name].astype(kind) for kind, names in _COLUMNS.items() for name in names
    }
    mask = columns["mask"].astype(bool)
    for name in ("price", "regular_price"):
        columns[name] = np.where(mask, columns[name], 1.0)
    return PromptData(
        products=products,
        markets=markets,
        product=np.where(mask, code[np.where(mask, product, 0)], 0),
        market=market.astype(np.int64),
        household=household.astype(np.int64),
        elsewhere=None if other is None else np.where(other >= 0, code[other], -1),
        **columns,
    )
