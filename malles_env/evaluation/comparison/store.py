"""Fitted rows on disk: made once per data set, protocol and settings; a damaged file is noticed and made anew."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.errors import CorruptFile, brief
from malles_env.evaluation.baselines.base import Row
from malles_env.evaluation.baselines.deep_sets import Network
from malles_env.files import cache_dir, json_hash, keeping, replacing

_LOG = logging.getLogger(__name__)
CODE = 2
"""Raised whenever a row's code gives other numbers from the same data, so that old files are not used."""
_MAGIC = b"malles row 2\n"
_FIELDS = "fields"


def row_path(name: str, key: dict[str, Any]) -> Path:
    """Return where a fitted row is kept.

    Args:
        name: The row's name.
        key: What its numbers depend on, JSON values only.
    """
    digest = json_hash([CODE, name, key], sort_keys=True, default=str)
    return cache_dir() / "rows" / f"{name}-{digest[:20]}.row"


def save_row(row: Row, path: Path) -> None:
    """Write a fitted row, whole or not at all; where the disk does not let us, say so and go on.

    Raises:
        TypeError: The row holds something else than numbers, texts, arrays, networks and tables of these.
    """
    arrays: dict[str, NDArray[Any]] = {}
    described = json.dumps(_plain(row, arrays))
    body = io.BytesIO()
    np.savez(body, allow_pickle=False, **arrays, **{_FIELDS: np.array(described)})
    with keeping(path), replacing(path) as temporary:
        temporary.write_bytes(_MAGIC + hashlib.sha256(body.getvalue()).digest() + body.getvalue())


def load_row(path: Path, kind: type[Row]) -> Row:
    """Read a fitted row that `save_row` wrote; no code that the file may hold is run.

    Args:
        path: The file.
        kind: The row's class.

    Raises:
        CorruptFile: The file is cut short, changed, of another version or another row.
    """
    content = path.read_bytes()
    digest, body = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise CorruptFile(f"{path}: not a whole fitted row; delete it and run again")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            row: Row = _made(kind, json.loads(arrays[_FIELDS].item()), arrays)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
        raise CorruptFile(f"{path}: holds something else than {kind.name} ({brief(error)}); delete it") from None
    return row


def _plain(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return a value as JSON values; its arrays go to `arrays`, and their names stand in their places."""
    if isinstance(value, np.ndarray):
        name = f"array {len(arrays)}"
        arrays[name] = value
        return name
    if isinstance(value, Network):
        weights = {name: _plain(weight.numpy(), arrays) for name, weight in value.state_dict().items()}
        return {"sizes": value.sizes, "weights": weights}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
    if isinstance(value, dict):
        return {str(name): _plain(part, arrays) for name, part in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__}: cannot be kept with a fitted row")


def _made(kind: Any, content: Any, arrays: Any) -> Any:
    """Return a value of a type out of what `_plain` returned."""
    if get_origin(kind) is np.ndarray:
        return arrays[content]
    if kind is Network:
        net = Network(*content["sizes"])
        net.load_state_dict({name: torch.from_numpy(arrays[at]) for name, at in content["weights"].items()})
        return net.eval()
    if is_dataclass(kind):
        types, make = get_type_hints(kind), cast(Any, kind)
        return make(**{field.name: _made(types[field.name], content[field.name], arrays) for field in fields(kind)})
    return content


def kept_row(path: Path, kind: type[Row]) -> Row | None:
    """Return a fitted row of a class, None where there is none or it is damaged (which is logged)."""
    if not path.is_file():
        return None
    try:
        return load_row(path, kind)
    except CorruptFile as error:
        _LOG.warning("fitting again: %s", error)
        return None
