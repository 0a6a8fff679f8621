"""Choice occasions: visits to a market with the whole shelf, what was chosen, and the past; saved as a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from malles_env.data.splits import SPLIT_NAMES
from malles_env.errors import CorruptFile, MissingResource, invalid

FORMAT = 1
"""Number of the folder format; folders of another number are refused."""

OCCASION_COLUMNS: dict[str, pl.DataType] = {
    "occasion_id": pl.Int64(),
    "household_id": pl.String(),
    "store_id": pl.String(),
    "period": pl.Int32(),
    "market": pl.String(),
    "category": pl.String(),
    "chosen": pl.Int16(),
    "quantity": pl.Int32(),
    "log_sampling": pl.Float64(),
    "split": pl.String(),
    "held_out": pl.Boolean(),
    "history_total": pl.Int32(),
    "weeks_seen": pl.Int32(),
    "buyer": pl.Boolean(),
}
ALTERNATIVE_COLUMNS: dict[str, pl.DataType] = {
    "occasion_id": pl.Int64(),
    "position": pl.Int16(),
    "product_id": pl.String(),
    "price": pl.Float64(),
    "regular_price": pl.Float64(),
    "promotion": pl.Boolean(),
    "bought": pl.Int32(),
    "last": pl.Boolean(),
    "share": pl.Float64(),
    "reference_share": pl.Float64(),
}
PRODUCT_COLUMNS: dict[str, pl.DataType] = {
    "product_id": pl.String(),
    "market": pl.String(),
    "category": pl.String(),
    "title": pl.String(),
    "brand": pl.String(),
    "private_label": pl.Boolean(),
    "size_value": pl.Float64(),
    "size_unit": pl.String(),
}
_TABLES = {"occasions": OCCASION_COLUMNS, "alternatives": ALTERNATIVE_COLUMNS, "products": PRODUCT_COLUMNS}
_PADDED = {
    "price": (np.float64, np.nan),
    "regular_price": (np.float64, np.nan),
    "promotion": (np.bool_, False),
    "bought": (np.int32, 0),
    "last": (np.bool_, False),
    "share": (np.float64, 0.0),
    "reference_share": (np.float64, 0.0),
}


@dataclass(frozen=True)
class Occasions:
    """Choice occasions with their shelves.

    Attributes:
        occasions: One row per visit, by occasion_id. `chosen` is the position bought, 0 for no purchase;
            `quantity` is in packages; `log_sampling` is the offset of the outside option's utility that undoes the
            sampling of no-purchase visits (the same for a whole market); `history_total` counts own earlier
            purchases in the market and `weeks_seen` own earlier shopping weeks; `buyer` tells whether the household
            bought in this market up to the reference period (only buyers have no-purchase visits).
        alternatives: One row per occasion and line, by occasion_id and position (1..J, shuffled). `price` and
            `regular_price` are money per package; `bought` counts own purchases strictly before; `last` marks the
            own last purchase; `share` is the line's share of the market's purchases over the trailing window.
        products: One row per line; `size_value` in `size_unit`.
        meta: How the data was made; JSON values only.
    """

    occasions: pl.DataFrame
    alternatives: pl.DataFrame
    products: pl.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)

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
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name in _TABLES:
                getattr(self, name).write_parquet(fresh / f"{name}.parquet", compression="zstd")
            rows = {name: len(getattr(self, name)) for name in _TABLES}
            text = json.dumps({"format": FORMAT, "rows": rows, "meta": self.meta}, indent=2)
            (fresh / "meta.json").write_text(text, encoding="utf-8")
            fresh.chmod(0o755)
            _swap(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return folder

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
        folder = Path(folder)
        if not (folder / "meta.json").is_file():
            raise MissingResource(f"{folder}: no choice occasions here (meta.json is missing)")
        try:
            head = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _TABLES}
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise CorruptFile(f"{folder}: cannot be read as choice occasions ({error})") from error
        _check(folder, head, frames)
        loaded = cls(**frames, meta=head.get("meta", {}))
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
        shelf = self.alternatives.filter(pl.col("occasion_id").is_in(kept["occasion_id"].implode()))
        names = kept["market"].unique().implode()
        return Occasions(kept, shelf, self.products.filter(pl.col("market").is_in(names)), self.meta)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return dense arrays for models, padded to the largest shelf J.

        Returns:
            price, regular_price (NaN where padded), promotion, bought, last, share, reference_share, mask and
            product (row of `products`, -1 where padded), all [n, J]; chosen (0 = none), quantity, log_sampling,
            market (row of `self.markets`), history_total and weeks_seen, all [n].
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
        for name in ("chosen", "quantity", "log_sampling", "history_total", "weeks_seen"):
            dense[name] = self.occasions[name].to_numpy()
        dense["market"] = _positions(self.occasions["market"], pl.Series(self.markets, dtype=pl.String))
        return dense


def _positions(values: pl.Series, ids: pl.Series) -> npt.NDArray[np.int64]:
    table = pl.DataFrame({"id": ids}).with_row_index("place")
    found = pl.DataFrame({"id": values}).join(table, on="id", how="left", maintain_order="left")
    return found["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _swap(fresh: Path, folder: Path) -> None:
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.replace(folder, old / "was")
        os.replace(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(fresh, folder)


def _check_names(field_name: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            shown = sorted(allowed)
            words = ", ".join(shown[:8]) + (f", ... ({len(shown)} in all)" if len(shown) > 8 else "")
            raise invalid(field_name, name, words)


def _check(folder: Path, head: Any, frames: dict[str, pl.DataFrame]) -> None:
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CorruptFile(f"{folder / 'meta.json'}: got another format than {FORMAT}; build the occasions again")
    for name, columns in _TABLES.items():
        frame = frames[name]
        if dict(frame.schema) != columns:
            raise CorruptFile(f"{folder / name}.parquet: columns are not those of format {FORMAT}")
        rows = head.get("rows", {}).get(name)
        if rows != len(frame):
            raise CorruptFile(f"{folder / name}.parquet: got {len(frame)} rows, meta.json promises {rows}")
