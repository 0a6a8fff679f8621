"""The choices of the same 403 people before chocolate bars and before fast food, from the R package flipChoice."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malles_env.errors import CorruptFile, MissingResource, brief
from malles_env.type_aliases import FloatArray, IntArray

CATEGORIES = {"chocolate": 6, "fast.food": 12}
"""Category -> tasks of each person."""
_BEFORE = 4
"""Columns of a design before its attributes: version, task, question, alternative."""


@dataclass(frozen=True)
class Conjoint:
    """One category: T tasks of N people, four alternatives each.

    Attributes:
        category: Its name.
        levels: The levels in words, attribute by attribute, without the price.
        level: Level of each alternative [N, T, 4, A].
        price: Of each alternative, money [N, T, 4].
        chosen: The alternative chosen, from 0 [N, T].
        people: Age, income and gender as numbers, standardised [N, 3].
    """

    category: str
    levels: dict[str, tuple[str, ...]]
    level: IntArray
    price: FloatArray
    chosen: IntArray
    people: FloatArray

    def columns(self) -> FloatArray:
        """Return what a logit weighs: log price less the task's mean, then every level but each attribute's first.

        Shape [N, T, 4, 1 + K].
        """
        price = np.log(self.price)
        parts = [(price - price.mean(axis=2, keepdims=True))[..., None]]
        for at, names in enumerate(self.levels.values()):
            parts.append((self.level[..., at, None] == np.arange(1, len(names))).astype(np.float64))
        return np.concatenate(parts, axis=3)


def read_conjoint(folder: Path, category: str) -> Conjoint:
    """Read one category.

    Args:
        folder: Holds ``chocolate.rda``, ``chocolate.design.rda``, ``fast.food.rda`` and ``fast.food.design.rda``.
        category: One of `CATEGORIES`.

    Raises:
        MissingResource: A file, or the package rdata, is not there.
        CorruptFile: A file holds something else.
    """
    answers, design = (folder / f"{category}{end}.rda" for end in ("", ".design"))
    for path in (answers, design):
        if not path.is_file():
            raise MissingResource(
                f"{path}: no such file; get the folder data/ of github.com/pdwaggoner/flipChoice (GPL-3) and name it"
            )
    try:
        import rdata
    except ImportError:
        raise MissingResource("the conjoint data are R files; pip install 'malles-env[data]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes of the survey tool that rdata does not know
            table = next(iter(rdata.read_rda(answers).values()))
            names, matrix = _design(rdata.parser.parse_file(design))
        return _assembled(category, table, names, matrix)
    except Exception as error:  # rdata raises whatever a byte leads to
        raise CorruptFile(f"{folder}: does not hold flipChoice's {category} ({brief(error)})") from error


def _design(parsed: Any) -> tuple[dict[str, tuple[str, ...]], FloatArray]:
    """Return the attributes with their levels, and the design's rows, of which no R class is known to rdata."""
    top = parsed.object.value[0]
    parts = dict(zip(_strings(top.attributes.value[0]), top.value, strict=True))
    listed = parts["attribute.levels"]
    names = _strings(listed.attributes.value[0])
    levels = {name: tuple(_strings(values)) for name, values in zip(names, listed.value, strict=True)}
    rows, columns = parts["design"].attributes.value[0].value
    return levels, np.asarray(parts["design"].value).reshape(columns, rows).T


def _strings(vector: Any) -> list[str]:
    return [text.value.decode() for text in vector.value]


def _assembled(category: str, table: Any, names: dict[str, tuple[str, ...]], matrix: FloatArray) -> Conjoint:
    tasks = CATEGORIES[category]
    asked = np.stack([table[f"task{t}"].to_numpy() for t in range(1, tasks + 1)], axis=1).astype(np.int64)
    chosen = np.stack([table[f"choice{t}"].to_numpy() for t in range(1, tasks + 1)], axis=1).astype(np.int64) - 1
    by_task = matrix.reshape(-1, 4, matrix.shape[1])
    place = {int(task[0, 1]): at for at, task in enumerate(by_task)}
    shown = by_task[[[place[int(task)] for task in row] for row in asked]][..., _BEFORE:].astype(np.int64) - 1
    attributes = list(names)
    (money,) = (at for at, name in enumerate(attributes) if name.startswith("Price"))
    price = np.array([float(text.strip("$")) for text in names[attributes[money]]])[shown[..., money]]
    others = [at for at in range(len(attributes)) if at != money]
    levels = {attributes[at]: names[attributes[at]] for at in others}
    return Conjoint(category, levels, shown[..., others], price, chosen, _people(table))


def _people(table: Any) -> FloatArray:
    """Return age and income as the first number of their bracket, and gender, standardised [N, 3]."""

    def number(text: str) -> float:
        found = re.search(r"\d[\d,]*", text)
        return float(found[0].replace(",", "")) if found else 0.0

    age, income = (np.array([number(str(text)) for text in table[name]]) for name in ("age", "income"))
    columns = np.stack([age, np.log1p(income), (table["gender"].astype(str) == "Male").to_numpy(dtype=float)], axis=1)
    found: FloatArray = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return found
