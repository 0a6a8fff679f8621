"""Real purchases on shelves of a wanted size, with product sheets of a wanted length, for the discussion study."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from malles_env.consumers.discussion.prompts import Table
from malles_env.consumers.discussion.sheets import ProductSheet
from malles_env.consumers.discussion.shelf import Shelf
from malles_env.data.occasions import Occasions
from malles_env.preference.data.text import ProductText, product_text
from malles_env.preference.prompted.words import habit_words, known_words
from malles_env.type_aliases import FloatArray, IntArray

SMALLEST = 8
"""Products that the own market of a drawn purchase has at least."""
DETAILS = "details"
_PADDING = (
    "Keep in a cool and dry place and close after use.",
    "The package may be put into the recycling bin.",
    "See the side of the package for the full label.",
    "Questions are answered by the maker's telephone service.",
    "Made under an inspected quality system.",
    "The picture shows a serving suggestion.",
    "Contents may settle during transport.",
    "Best before the date printed on the package.",
)


@dataclass(frozen=True)
class Purchase:
    """One test purchase and what else stood on shelves that week.

    Attributes:
        occasion: Its identifier in the data.
        household: Who bought.
        visit: Its row of `Occasions.occasions`.
        lines: Products, the own market's first, by product_id once each, with their shelf columns and words.
    """

    occasion: int
    household: str
    visit: dict[str, Any]
    lines: list[dict[str, Any]]


def draw_purchases(occasions: Occasions, count: int, most: int, seed: int) -> list[Purchase]:
    """Draw purchases of known buyers in test weeks from markets with at least 8 products, one per household.

    Args:
        occasions: All occasions.
        count: Purchases wanted.
        most: Products wanted on the largest shelf.
        seed: Of the draw.
    """
    table = occasions.occasions
    sizes = occasions.alternatives.group_by("occasion_id").len()
    wide = table.join(sizes, on="occasion_id", how="left", maintain_order="left")
    test = wide.filter((pl.col("split") == "test") & pl.col("buyer"))
    rng = np.random.default_rng([seed, 1])
    rows = test.filter((pl.col("chosen") > 0) & (pl.col("len") >= SMALLEST))
    rows = rows[rng.permutation(len(rows))].unique("household_id", keep="first", maintain_order=True)[:count]
    return [_purchase(occasions, test, visit, most, seed) for visit in rows.iter_rows(named=True)]


def _purchase(occasions: Occasions, test: pl.DataFrame, visit: dict[str, Any], most: int, seed: int) -> Purchase:
    """Return a purchase with its own market's lines, then those of other markets that week, the own category first."""
    rng = np.random.default_rng([seed, visit["occasion_id"]])
    near = test.filter((pl.col("period") == visit["period"]) & (pl.col("market") != visit["market"]))
    near = near[rng.permutation(len(near))].unique("market", keep="first", maintain_order=True)
    near = near.with_columns(far=pl.col("category") != visit["category"]).sort("far", maintain_order=True)
    ids = [visit["occasion_id"], *near["occasion_id"][:most].to_list()]
    words = occasions.products.rename({"market": "home"})
    shelf = occasions.alternatives.filter(pl.col("occasion_id").is_in(ids)).join(words, on="product_id")
    lines: list[dict[str, Any]] = []
    for number, name in enumerate(ids):
        own = shelf.filter(pl.col("occasion_id") == name).sort("position").to_dicts()
        order = rng.permutation(len(own))
        chosen = [line for line in own if number == 0 and line["position"] == visit["chosen"]]
        lines += chosen + [own[at] for at in order if own[at] not in chosen]
        if len(lines) >= most:
            break
    return Purchase(int(visit["occasion_id"]), str(visit["household_id"]), visit, lines[:most])


def shelf_order(purchase: Purchase, size: int, turn: int) -> IntArray:
    """Return the lines of a purchase in the order of its shelf; line 0 was bought."""
    return np.random.default_rng([purchase.occasion, size, turn]).permutation(min(size, len(purchase.lines)))


def habit(purchase: Purchase, size: int) -> FloatArray:
    """Return the probability of each product on a shelf, in its order, from what the household took before.

    Past purchases of a market's products are counted, and the products' shares of all purchases in it, together as
    much as one purchase, are added: the posterior mean under a Dirichlet prior. Products of other markets have none.
    """
    lines = [purchase.lines[at] for at in shelf_order(purchase, size, 0)]
    own = np.array([float(line["home"] == purchase.visit["market"]) for line in lines])
    shares = own * [float(line["share"]) for line in lines]
    shares = shares if shares.any() else own
    found = own * [float(line["bought"]) for line in lines] + shares / shares.sum()
    return np.asarray(found / found.sum(), dtype=np.float64)


def table_of(purchase: Purchase, size: int, length: int, turn: int = 0) -> tuple[Table, int]:
    """Return a purchase as a table to talk at, and the line that was bought.

    Args:
        purchase: The purchase.
        size: Products on the shelf.
        length: Characters of padding on each product sheet.
        turn: Shelf orders differ by turn.
    """
    order = shelf_order(purchase, size, turn)
    lines = [purchase.lines[at] for at in order]
    bought = int(np.flatnonzero(order == 0)[0])
    past = [(at, line) for at, line in enumerate(lines) if line["bought"] and line["home"] == purchase.visit["market"]]
    past.sort(key=lambda pair: -pair[1]["bought"])
    total = int(purchase.visit["history_total"])
    last = [at for at, line in past if line["last"]]
    buyer = f"{habit_words(total, int(purchase.visit['weeks_seen']))} Today it came for {_market(purchase.visit)}."
    earlier = tuple((at, known_words(int(line["bought"]), total)) for at, line in past[:6])
    return Table(_shelf(lines, length), buyer, earlier, last[0] if last else None, may_leave=False), bought


def _shelf(lines: list[dict[str, Any]], length: int) -> Shelf:
    sheets = tuple(_sheet(line, length).cleaned_sheet() for line in lines)
    price, regular, share = (
        np.array([float(line[name]) for line in lines]) for name in ("price", "regular_price", "share")
    )
    return Shelf(sheets, price, regular, share, np.array([bool(line["promotion"]) for line in lines]))


def _sheet(line: dict[str, Any], length: int) -> ProductSheet:
    text = ProductText(
        brand=str(line["brand"]),
        private_label=bool(line["private_label"]),
        size_value=float(line["size_value"] or 0.0),
        size_unit=str(line["size_unit"] or ""),
    )
    title = f"{_market({'market': line['home']})}, {product_text(text)}"
    return ProductSheet(str(line["product_id"]), title, sections={DETAILS: _details(str(line["product_id"]), length)})


def _details(name: str, length: int) -> str:
    """Return sentences that say nothing about the choice, in an order of the product's own."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    words = " ".join(_PADDING[at] for at in np.random.default_rng(seed).permutation(len(_PADDING)))
    return (words * (length // len(words) + 1))[:length]


def _market(visit: dict[str, Any]) -> str:
    return str(visit["market"]).split("|")[-1].strip().lower()
