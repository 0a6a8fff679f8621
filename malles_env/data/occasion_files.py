"""The folder in which choice occasions are kept: columns, atomic writing, checked reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from malles_env.data.table_files import read_parquet, writing
from malles_env.errors import CorruptFile, MissingResource, brief
from malles_env.files import new_directory

FORMAT = 2
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
    "history_end": pl.Int64(),
    "elsewhere": pl.Int32(),
    "elsewhere_private": pl.Int32(),
    "elsewhere_deal": pl.Int32(),
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
    "display": pl.Boolean(),
    "feature_ad": pl.Boolean(),
    "bought": pl.Int32(),
    "last": pl.Boolean(),
    "share": pl.Float64(),
    "reference_share": pl.Float64(),
    "long_share": pl.Float64(),
    "store_sales": pl.Int32(),
    "mean_quantity": pl.Float32(),
    "brand_elsewhere": pl.Int32(),
    "brand_share": pl.Float32(),
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
    "variants": pl.Int32(),
}
PURCHASE_COLUMNS: dict[str, pl.DataType] = {
    "product_id": pl.String(),
    "period": pl.Int32(),
    "quantity": pl.Int32(),
    "unit_price": pl.Float64(),
    "regular_price": pl.Float64(),
}
ELSEWHERE_COLUMNS: dict[str, pl.DataType] = {
    "occasion_id": pl.Int64(),
    "rows": pl.List(pl.UInt32()),
}
"""An optional table: what a household bought in other categories, as rows of `purchases`."""
OPTIONAL = {"elsewhere": ELSEWHERE_COLUMNS}
_TABLES = {
    "occasions": OCCASION_COLUMNS,
    "alternatives": ALTERNATIVE_COLUMNS,
    "products": PRODUCT_COLUMNS,
    "purchases": PURCHASE_COLUMNS,
}


def write_folder(folder: Path, frames: dict[str, pl.DataFrame], meta: dict[str, Any]) -> Path:
    """Write the folder; a reader sees the old one or the new one, never a half.

    Args:
        folder: Target; replaced when it exists.
        frames: Name -> table.
        meta: JSON values.

    Returns:
        The folder.

    Raises:
        OSError: It cannot be written.
    """
    with new_directory(folder, "meta.json") as fresh:
        with writing(folder):
            for name, frame in frames.items():
                frame.write_parquet(fresh / f"{name}.parquet", compression="zstd")
        rows = {name: len(frame) for name, frame in frames.items()}
        text = json.dumps({"format": FORMAT, "rows": rows, "meta": meta}, indent=2)
        (fresh / "meta.json").write_text(text, encoding="utf-8")
    return folder


def read_folder(folder: Path) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Read a folder written by `write_folder`.

    Args:
        folder: The folder.

    Returns:
        Name -> table (those of `OPTIONAL` where they are there), and the meta data.

    Raises:
        MissingResource: No such folder.
        CorruptFile: The folder is half-written, damaged or of another format.
    """
    if not folder.is_dir():
        raise MissingResource(f"{folder}: no such folder of choice occasions")
    try:
        head = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        known = [*_TABLES, *(name for name in OPTIONAL if (folder / f"{name}.parquet").is_file())]
        frames = {name: read_parquet(folder / f"{name}.parquet") for name in known}
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{folder}: cannot be read as choice occasions ({brief(error)})") from error
    _check(folder, head, frames)
    return frames, head.get("meta", {})


def _check(folder: Path, head: Any, frames: dict[str, pl.DataFrame]) -> None:
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CorruptFile(f"{folder / 'meta.json'}: got another format than {FORMAT}; build the occasions again")
    promised = [name for name in OPTIONAL if name in head.get("rows", {}) and name not in frames]
    if promised:
        raise CorruptFile(f"{folder / promised[0]}.parquet: is missing, meta.json promises it")
    for name, frame in frames.items():
        columns = (_TABLES | OPTIONAL)[name]
        if dict(frame.schema) != columns:
            raise CorruptFile(f"{folder / name}.parquet: columns are not those of format {FORMAT}")
        rows = head.get("rows", {}).get(name)
        if rows != len(frame):
            raise CorruptFile(f"{folder / name}.parquet: got {len(frame)} rows, meta.json promises {rows}")
