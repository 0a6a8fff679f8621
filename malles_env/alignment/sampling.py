"""Which choice occasions train and judge a taste model: markets balanced, held-out categories left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from malles_env.errors import InvalidInput

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

SCENARIO_MARKETS = (
    "BAKED BREAD/BUNS/ROLLS | MAINSTREAM WHITE BREAD",
    "COFFEE | GROUND COFFEE",
    "COLD CEREAL | KIDS CEREAL",
    "CONDIMENTS/SAUCES | CATSUP",
    "ICE CREAM/MILK/SHERBTS | PREMIUM",
    "LAUNDRY DETERGENTS | LIQUID LAUNDRY DETERGENTS",
    "PAPER TOWELS | PAPER TOWELS & HOLDERS",
    "PASTA SAUCE | MAINSTREAM",
    "PNT BTR/JELLY/JAMS | PEANUT BUTTER",
    "REFRGRATD JUICES/DRNKS | DAIRY CASE 100% PURE JUICE - O",
    "SOFT DRINKS | SOFT DRINKS 12/18&15PK CAN CAR",
    "YOGURT | YOGURT NOT MULTI-PACKS",
)
"""Markets that scenarios are made of; they get more of the training sample."""


@dataclass(frozen=True)
class Sample:
    """How many occasions to draw of each market.

    Attributes:
        focus: Markets that get `per_focus` occasions; drawn even when their category is held out.
        per_focus: Occasions per focus market, at most.
        per_other: Occasions per other market, at most; 0 leaves other markets out.
        seed: Seed of the draw.
    """

    focus: tuple[str, ...] = SCENARIO_MARKETS
    per_focus: int = 2500
    per_other: int = 150
    seed: int = 0


def draw(occasions: Occasions, split: str, sample: Sample) -> Occasions:
    """Return a sample of one split, balanced over markets; test occasions cannot be drawn.

    Args:
        occasions: All occasions.
        split: ``"train"`` or ``"validation"``.
        sample: How many of which market.

    Raises:
        InvalidInput: Another split, or nothing left.
    """
    if split not in ("train", "validation"):
        raise InvalidInput(f"split: got {split!r}; allowed: 'train' or 'validation' (test data judge, never train)")
    table = occasions.occasions
    focus = table["market"].is_in(list(sample.focus)).to_numpy()
    allowed = (table["split"] == split).to_numpy() & (focus | ~table["held_out"].to_numpy())
    limits = np.where(focus, sample.per_focus, sample.per_other)
    return _rows(occasions, _first_of_each(table["market"].to_numpy(), allowed, limits, sample.seed))


def draw_test(
    occasions: Occasions,
    *,
    limit: int,
    seed: int = 0,
    held_out: bool = False,
    focus: tuple[str, ...] = (),
    focus_only: bool = False,
) -> Occasions:
    """Return test occasions for judging: a plain random draw over the split, known buyers of a market only.

    Args:
        occasions: All occasions.
        limit: Most occasions.
        seed: Seed of the draw.
        held_out: True for categories never trained on, False for the others.
        focus: Markets trained on although their category is held out: they count as trained on.
        focus_only: True draws from `focus` alone.
    """
    table = occasions.occasions
    seen = table["market"].is_in(list(focus)).to_numpy()
    held = table["held_out"].to_numpy()
    wanted = held & ~seen & ~_categories_of(occasions, focus) if held_out else ~held | seen
    wanted = wanted & seen if focus_only else wanted
    # Who never bought before the test has no no-purchase visits: incidence would be biased.
    wanted = wanted & table["buyer"].to_numpy() & (table["split"] == "test").to_numpy()
    rows = np.flatnonzero(wanted)
    return _rows(occasions, np.sort(np.random.default_rng(seed).permutation(rows)[:limit]))


def _categories_of(occasions: Occasions, markets: tuple[str, ...]) -> np.ndarray:
    table = occasions.occasions
    named = occasions.products.filter(occasions.products["market"].is_in(list(markets)))
    return table["category"].is_in(named["category"].unique().to_list()).to_numpy()


def _first_of_each(market: np.ndarray, allowed: np.ndarray, limits: np.ndarray, seed: int) -> np.ndarray:
    """Return sorted rows: of each market a random `limits` of the allowed ones."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(allowed))
    if not len(rows):
        return rows
    _, code = np.unique(market[rows], return_inverse=True)
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], code[order])
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - starts
    return np.sort(rows[place < limits[rows]])


def _rows(occasions: Occasions, rows: np.ndarray) -> Occasions:
    if not len(rows):
        raise InvalidInput("occasions: the selection is empty; allowed: a split and markets that occur in the data")
    kept = occasions.occasions[rows]
    ids = kept["occasion_id"].implode()
    alternatives = occasions.alternatives
    products = occasions.products.filter(occasions.products["market"].is_in(kept["market"].unique().implode()))
    return replace(
        occasions,
        occasions=kept,
        alternatives=alternatives.filter(alternatives["occasion_id"].is_in(ids)),
        products=products,
    )
