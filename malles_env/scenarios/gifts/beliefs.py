"""What a category manager could know at every launch: by sales so far, by names, by names that went to others."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from malles_env.data.sources.gifts.market import GiftMarket, appeals
from malles_env.errors import CorruptFile, InvalidInput, MissingResource, invalid
from malles_env.evaluation.transfer.level import Level
from malles_env.evaluation.transfer.names import centred, read_names
from malles_env.files import read_json, write_text
from malles_env.scenarios.gifts.build import FIRST_WEEK
from malles_env.scenarios.schema import Scenario
from malles_env.type_aliases import FloatArray, IntArray

HOME = Path(__file__).parent.parent / "beliefs"
KINDS = ("history", "words", "shuffled", "names_only")
"""``history``: own sales so far, launches like the average launch so far (like the average product before the first);
``words``: own sales so far, launches by their names and prices; ``shuffled``: the same with names that went to
others; ``names_only``: every product by its name and price alone, its own sales unknown."""
_PRIOR = 20.0


@dataclass(frozen=True)
class Beliefs:
    """D decisions about J products; in each a product is sold by its attraction, and a purchase is of so many pieces.

    Attributes:
        scenario: Name of the scenario.
        product_ids: The products [J].
        period: Of each decision [D].
        attraction: Kind -> relative to buying nothing [D, J]; 0 before the product is launched.
        size: Kind -> pieces per purchase [D, J].
        new: Whether nothing of the product was sold before the decision [D, J].
        source, made_by: Where it comes from, and the command that wrote it.
    """

    scenario: str
    product_ids: tuple[str, ...]
    period: IntArray
    attraction: dict[str, FloatArray]
    size: dict[str, FloatArray]
    new: np.ndarray
    source: str = ""
    made_by: str = ""

    def check_fits(self, scenario: Scenario) -> None:
        """Check that these are about the scenario's products.

        Raises:
            InvalidInput: They are about others.
        """
        if self.product_ids != scenario.product_ids:
            raise invalid(
                f"beliefs of {self.scenario}", ", ".join(self.product_ids),
                f"those of {scenario.name}'s own products; make them with `malles scenario beliefs`",
            )  # fmt: skip


def list_beliefs() -> list[str]:
    """Return the names of the scenarios that have bundled beliefs, sorted."""
    return sorted(path.stem for path in HOME.glob("*.json"))


def find_beliefs(scenario: Scenario, path: str | os.PathLike[str] | None = None) -> Beliefs:
    """Return the beliefs about a scenario.

    Args:
        scenario: Whose; the bundled ones go by its name.
        path: A file to read instead.

    Raises:
        MissingResource: There are none, or no such file.
        InvalidInput: They are about other products.
        CorruptFile: The file holds no beliefs.
    """
    file = HOME / f"{scenario.name}.json" if path is None else Path(path)
    if not file.is_file():
        there = ", ".join(list_beliefs())
        raise MissingResource(
            f"beliefs: {file.name} is not there; bundled: {there}; or a file of `malles scenario beliefs`"
        )
    found = _parsed(file)
    found.check_fits(scenario)
    return found


def _parsed(file: Path) -> Beliefs:
    try:
        fields: dict[str, Any] = dict(read_json(file))
        kinds = {
            part: {k: np.array(fields[part][k], dtype=np.float64) for k in KINDS} for part in ("attraction", "size")
        }
        found = Beliefs(
            str(fields["scenario"]), tuple(map(str, fields["product_ids"])), np.array(fields["period"], dtype=np.int64),
            kinds["attraction"], kinds["size"], np.array(fields["new"], dtype=bool), str(fields["source"]),
            str(fields["made_by"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{file}: holds no beliefs ({type(error).__name__}: {error})") from None
    shape = (len(found.period), len(found.product_ids))
    tables = [*found.attraction.values(), *found.size.values(), found.new]
    if 0 in shape or any(table.shape != shape for table in tables):
        raise CorruptFile(f"{file}: holds no beliefs (tables that are not of shape {shape})")
    return found


def save_beliefs(beliefs: Beliefs, path: str | os.PathLike[str]) -> Path:
    """Write beliefs as JSON, whole or not at all, and return the path."""
    tables = {
        part: {
            kind: [[float(f"{x:.4g}") for x in row] for row in getattr(beliefs, part)[kind].tolist()] for kind in KINDS
        }
        for part in ("attraction", "size")
    }
    words = {name: getattr(beliefs, name) for name in ("scenario", "source", "made_by")}
    plain = {"product_ids": beliefs.product_ids, "period": beliefs.period.tolist()}
    content = words | plain | tables | {"new": beliefs.new.astype(int).tolist()}
    text = json.dumps(content).replace("], [", "],\n[").replace('], "', '],\n"')
    return write_text(Path(path), text + "\n")


def make_beliefs(scenario: Scenario, market: GiftMarket, *, made_by: str = "", seed: int = 0) -> Beliefs:
    """Return what was known in the week of every launch, from the sales of the weeks before.

    Args:
        scenario: Built from the log.
        market: Its categories in the log.
        made_by: The command that asked for it.
        seed: Of the names' shuffle.

    Raises:
        MissingResource: The encoder is not installed.
        InvalidInput: Other products, or no launch.
    """
    codes = market.log.products["product_id"].gather(market.product).to_list()
    place = {code: at for at, code in enumerate(codes)}
    wanted = [product.source_id for product in scenario.products]
    if sorted(wanted) != sorted(codes):
        raise InvalidInput(
            f"beliefs: {scenario.name} has other products than these categories; allowed: those it was made of"
        )
    order = np.array([place[code] for code in wanted])
    weeks = np.unique(market.first[market.launched])
    if not len(weeks):
        raise InvalidInput("beliefs: nothing was launched in these categories; allowed: categories with launches")
    raw = read_names(market.titles)
    readings = centred(raw, raw.mean(axis=0))
    rng = np.random.default_rng(seed)
    views = [_decision(market, readings, readings[rng.permutation(len(market))], int(week)) for week in weeks]
    tables = {
        part: {kind: np.stack([view[part][kind] for view in views])[:, order] for kind in KINDS}
        for part in ("attraction", "size")
    }
    new = np.stack([market.first >= week for week in weeks])[:, order]
    return Beliefs(
        scenario.name, scenario.product_ids, weeks - FIRST_WEEK, tables["attraction"], tables["size"], new,
        scenario.sources[0], made_by,
    )  # fmt: skip


def _decision(
    market: GiftMarket, readings: FloatArray, others: FloatArray, week: int
) -> dict[str, dict[str, FloatArray]]:
    """Return attractions and sizes of all products by kind, from sales before a week."""
    known, new = np.flatnonzero(market.first < week), np.flatnonzero(market.first == week)
    before = market.known(known, week - 1)
    appeal, sd = appeals(before.counts, before.available)
    lines, places = before.counts.sum(axis=1), before.lines["place"].to_numpy()
    pieces = np.bincount(places, weights=before.lines["pieces"].to_numpy(), minlength=len(known))
    mean = pieces.sum() / lines.sum()
    log_size = np.log((pieces + _PRIOR * mean) / (lines + _PRIOR))
    before_orders = before.orders["bought"].to_numpy()
    level = _level(before, appeal, float((before_orders > 0).mean()))
    launched = market.launched[known]
    usual = launched if launched.any() else np.ones(len(known), bool)
    both = {"appeal": (appeal, sd), "size": (log_size, 1.0 / np.sqrt(lines))}
    said = {
        kind: {part: _said(names, market, known, new, *value) for part, value in both.items()}
        for kind, names in (("words", readings), ("shuffled", others))
    }
    said["history"] = {part: np.full(len(new), value[usual].mean()) for part, (value, _) in both.items()}
    found: dict[str, dict[str, FloatArray]] = {"attraction": {}, "size": {}}
    for kind in KINDS:
        source = "words" if kind == "names_only" else kind
        alone = kind == "names_only"
        values = {}
        for part, (value, error) in both.items():
            own = _left_out(readings, market, known, value, error) if alone else value
            values[part] = np.zeros(len(market))
            values[part][known], values[part][new] = own, said[source][part]
        there = market.first <= week
        found["attraction"][kind] = np.where(there, np.exp(values["appeal"] + level), 0.0)
        found["size"][kind] = np.where(there, np.maximum(np.exp(values["size"]), 1.0), 1.0)
    return found


def _level(before: GiftMarket, appeal: FloatArray, rate: float) -> float:
    """Return what makes the share of orders with any of the products that of the weeks so far."""
    weeks = before.counts.sum(axis=0) > 0
    shelf = np.log((np.exp(appeal)[:, None] * before.available).sum(axis=0)[weeks])
    return float(brentq(lambda level: (1.0 / (1.0 + np.exp(-(shelf + level)))).mean() - rate, -30.0, 30.0))


def _said(
    readings: FloatArray, market: GiftMarket, known: IntArray, new: IntArray, value: FloatArray, sd: FloatArray
) -> FloatArray:  # fmt: skip
    price = np.log(market.prices)
    price = price - price[known].mean()
    level = Level.fit(readings[known], price[known], value, sd)
    return level.predict(readings[known], price[known], value, sd, readings[new], price[new])[0]


def _left_out(
    readings: FloatArray, market: GiftMarket, known: IntArray, value: FloatArray, sd: FloatArray
) -> FloatArray:  # fmt: skip
    """Return what the others say of each known product [K]."""
    price = np.log(market.prices[known])
    price = price - price.mean()
    level = Level.fit(readings[known], price, value, sd)
    found = np.zeros(len(known))
    for j in range(len(known)):
        rest = np.delete(np.arange(len(known)), j)
        own = np.array([j])
        found[j] = level.predict(
            readings[known[rest]], price[rest], value[rest], sd[rest], readings[known[own]], price[own]
        )[0][0]
    return found
