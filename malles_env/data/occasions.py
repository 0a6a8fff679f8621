"""Choice occasions: visits to a market with the whole shelf, what was chosen, and the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.occasion_files import PURCHASE_COLUMNS, read_folder, write_folder
from malles_env.data.splits import SPLIT_NAMES
from malles_env.errors import invalid
from malles_env.type_aliases import IntArray

_PADDED = {
    "price": (np.float64, np.nan),
    "regular_price": (np.float64, np.nan),
    "promotion": (np.bool_, False),
    "display": (np.bool_, False),
    "feature_ad": (np.bool_, False),
    "bought": (np.int32, 0),
    "last": (np.bool_, False),
    "share": (np.float64, 0.0),
    "reference_share": (np.float64, 0.0),
    "long_share": (np.float64, 0.0),
    "store_sales": (np.int32, 0),
    "mean_quantity": (np.float32, 0.0),
    "brand_elsewhere": (np.int32, 0),
    "brand_share": (np.float32, 0.0),
}
_PLAIN = (
    "chosen",
    "quantity",
    "log_sampling",
    "history_total",
    "weeks_seen",
    "elsewhere",
    "elsewhere_private",
    "elsewhere_deal",
)


@dataclass(frozen=True)
class Occasions:
    """Choice occasions with their shelves.

    Attributes:
        occasions: One row per visit, by occasion_id. `chosen` is the position bought, 0 for no purchase;
            `quantity` is in packages; `log_sampling` is the offset of the outside option's utility that
            undoes the sampling of no-purchase visits (the same for a whole market); `history_total` counts
            own earlier purchases in the market and `weeks_seen` own earlier shopping weeks; the
            `history_total` rows of `purchases` before row `history_end` are these purchases, oldest first;
            `elsewhere`, `elsewhere_private` and `elsewhere_deal` count own earlier purchases in other categories,
            those of store brands and those below the regular price; `buyer` says whether the household bought in
            this market up to the reference period (only buyers have no-purchase visits).
        alternatives: One row per occasion and line, by occasion_id and position (1..J, shuffled). `price` and
            `regular_price` are money per package; `bought` counts own purchases strictly before; `last` marks
            the own last purchase; `share` is the line's share of the market's purchases over the trailing
            window, `long_share` over all earlier periods; `store_sales` counts purchases in the visit's store
            over the trailing `store_periods`; `mean_quantity` is in packages per earlier purchase (0: none);
            `brand_elsewhere` counts own earlier purchases of the brand in other categories, and `brand_share`
            is the brand's share of all households' earlier purchases there.
        products: One row per line; `size_value` in `size_unit`; `variants` counts the products pooled in it.
        purchases: One row per basket and line by market, household and time: what histories point into; prices
            in money per package.
        meta: How the data was made; JSON values only.
        elsewhere: One row per visit, where the log's names are worth reading: `rows` lists the last own purchases of
            other categories before it as rows of `purchases`, newest first, each product once. None where not kept.
    """

    occasions: pl.DataFrame
    alternatives: pl.DataFrame
    products: pl.DataFrame
    purchases: pl.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)
    elsewhere: pl.DataFrame | None = None

    def __len__(self) -> int:
        """Return the number of occasions."""
        return len(self.occasions)

    @property
    def markets(self) -> list[str]:
        """Return the sorted names of the markets that occur."""
        return self.occasions["market"].unique().sort().to_list()

    def save(self, folder: str | Path) -> Path:
        """Write the folder; a reader sees the old one or the new one, never a half.

        Args:
            folder: Target; replaced when it exists.

        Returns:
            The folder.
        """
        names = ("occasions", "alternatives", "products", "purchases", "elsewhere")
        frames = {name: frame for name in names if (frame := getattr(self, name)) is not None}
        return write_folder(Path(folder), frames, self.meta)

    @classmethod
    def load(cls, folder: str | Path, *, markets: Sequence[str] | None = None) -> Occasions:
        """Read a folder written by `save`.

        Args:
            folder: The folder.
            markets: Markets to read; None reads all.

        Returns:
            The occasions.

        Raises:
            MissingResource: No such folder.
            CorruptFile: The folder is half-written, damaged or of another format.
        """
        frames, meta = read_folder(Path(folder))
        loaded = cls(**frames, meta=meta)
        return loaded if markets is None else loaded.select(markets=markets)

    def select(
        self,
        *,
        split: str | Sequence[str] | None = None,
        held_out: bool | None = None,
        markets: Sequence[str] | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> Occasions:
        """Return the occasions that meet all conditions, with their alternatives and products.

        Args:
            split: "train", "validation" or "test", or several.
            held_out: True keeps held-out categories only, False the others only.
            markets: Market names.
            limit: Largest number of occasions; drawn at random without replacement.
            seed: Seed of that draw.

        Returns:
            A smaller `Occasions` in the same order.

        Raises:
            InvalidInput: An unknown split or market, or a negative limit.
        """
        wanted = pl.lit(True)
        if split is not None:
            splits = [split] if isinstance(split, str) else list(split)
            _check_names("split", splits, SPLIT_NAMES)
            wanted &= pl.col("split").is_in(splits)
        if held_out is not None:
            wanted &= pl.col("held_out") == held_out
        if markets is not None:
            _check_names("markets", markets, self.products["market"].unique().to_list())
            wanted &= pl.col("market").is_in(list(markets))
        kept = self.occasions.filter(wanted)
        if limit is not None and limit < 0:
            raise invalid("limit", limit, "None or a whole number, at least 0")
        if limit is not None and limit < len(kept):
            rows = np.random.default_rng(seed).choice(len(kept), limit, replace=False)
            kept = kept[np.sort(rows)]
        names = kept["market"].unique().implode()
        products = self.products.filter(pl.col("market").is_in(names))
        return replace(self._of(kept), products=products)

    def rows(self, rows: IntArray) -> Occasions:
        """Return the occasions of some rows, in their order, with their alternatives; products and purchases stay.

        Args:
            rows: Sorted positions in `occasions`.
        """
        return self._of(self.occasions[rows])

    def _of(self, kept: pl.DataFrame) -> Occasions:
        ours = pl.col("occasion_id").is_in(kept["occasion_id"].implode())
        past = None if self.elsewhere is None else self.elsewhere.filter(ours)
        return replace(self, occasions=kept, alternatives=self.alternatives.filter(ours), elsewhere=past)

    def sequences(self, length: int) -> dict[str, npt.NDArray[Any]]:
        """Return each visit's last own purchases in its market, newest first, padded to `length` H.

        Args:
            length: Most purchases per visit, at least 1.

        Returns:
            product (row of `products`; -1 where padded or not listed), ago (periods, at least 0), quantity (packages)
            and depth (discount depth paid, 0..1), all [n, H]; known (bool) [n, H] marks purchases.
        """
        if length < 1:
            raise invalid("length", length, "a whole number, at least 1")
        visits, bought = self.occasions, self.purchases
        end, total = (visits[name].to_numpy().astype(np.int64) for name in ("history_end", "history_total"))
        back = np.arange(length)
        known = back < total[:, None]
        row = np.where(known, end[:, None] - 1 - back, 0)
        if not len(bought):
            row, known = np.zeros_like(row), np.zeros_like(known)
            bought = pl.DataFrame(schema=PURCHASE_COLUMNS).clear(1)
        product = _positions(bought["product_id"], self.products["product_id"])
        depth = 1.0 - bought["unit_price"].to_numpy() / bought["regular_price"].to_numpy()
        period = visits["period"].to_numpy().astype(np.int64)[:, None]
        return {
            "known": known,
            "product": np.where(known, product[row], -1),
            "ago": np.where(known, period - bought["period"].to_numpy()[row], 0),
            "quantity": np.where(known, bought["quantity"].to_numpy()[row], 0),
            "depth": np.where(known, np.clip(depth[row], 0.0, 1.0), 0.0).astype(np.float32),
        }

    def bought_elsewhere(self) -> tuple[IntArray, IntArray] | None:
        """Return the last own products of other categories, newest first; None where the log does not keep them.

        Returns:
            Row of `products` (-1 where padded or not listed) and periods since, both [n, E].
        """
        if self.elsewhere is None:
            return None
        table = self.occasions.select("occasion_id", "period")
        lists = table.join(self.elsewhere, on="occasion_id", how="left", maintain_order="left")["rows"]
        size = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        row = np.repeat(np.arange(len(size)), size)
        column = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        place = lists.drop_nulls().list.explode(empty_as_null=False).to_numpy().astype(np.int64)
        product = np.full((len(size), int(size.max(initial=0))), -1, dtype=np.int64)
        ago = np.zeros_like(product)
        product[row, column] = _positions(self.purchases["product_id"], self.products["product_id"])[place]
        when = self.purchases["period"].to_numpy()[place]
        ago[row, column] = table["period"].to_numpy()[row] - when
        return product, ago

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return dense arrays for models, padded to the largest shelf J.

        Returns:
            price, regular_price (NaN where padded), the other columns of `alternatives`, mask and product (row of
            `products`, -1 where padded), all [n, J]; chosen (0 = none), quantity, log_sampling, market (row of
            `self.markets`), history_total, weeks_seen, elsewhere, elsewhere_private and elsewhere_deal, all [n].
        """
        shelf = self.alternatives
        ids = self.occasions["occasion_id"].to_numpy()
        row = np.searchsorted(ids, shelf["occasion_id"].to_numpy())
        column = shelf["position"].to_numpy().astype(np.int64) - 1
        shape = (len(ids), int(column.max(initial=-1)) + 1)
        dense: dict[str, npt.NDArray[Any]] = {}
        for name, (dtype, empty) in _PADDED.items():
            dense[name] = np.full(shape, empty, dtype=dtype)
            dense[name][row, column] = shelf[name].to_numpy()
        dense["mask"] = np.zeros(shape, dtype=bool)
        dense["mask"][row, column] = True
        dense["product"] = np.full(shape, -1, dtype=np.int64)
        dense["product"][row, column] = _positions(shelf["product_id"], self.products["product_id"])
        for name in _PLAIN:
            dense[name] = self.occasions[name].to_numpy()
        dense["market"] = _positions(self.occasions["market"], pl.Series(self.markets, dtype=pl.String))
        return dense


def _positions(values: pl.Series, ids: pl.Series) -> IntArray:
    table = pl.DataFrame({"id": ids}).with_row_index("place")
    found = pl.DataFrame({"id": values}).join(table, on="id", how="left", maintain_order="left")
    return found["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _check_names(field_name: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            shown = sorted(allowed)
            words = ", ".join(shown[:8]) + (f", ... ({len(shown)} in all)" if len(shown) > 8 else "")
            raise invalid(field_name, name, words)
