"""A small wholesaler's log with invented names, in the columns of the published one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from malles_env.data.sources.gifts.catalogue import Catalogue, GiftSettings, catalogue
from malles_env.data.sources.gifts.categories import Categories
from malles_env.data.sources.gifts.cleaning import clean
from malles_env.data.splits import Splits

THEMES = ("ZEBRA", "LEMON", "PIRATE", "CACTUS", "ROBOT", "TULIP", "OTTER", "COMET")
KINDS = ("MUG", "BAG", "SIGN", "CLOCK")
CATEGORIES = Categories(format=1, categories={kind.lower(): [kind.lower()] for kind in KINDS})
WEEKS, CUSTOMERS, START = 56, 40, dt.datetime(2021, 1, 4, 10)
LAUNCHED = {"MUG": 42, "SIGN": 43}
"""Week in which the COMET and the OTTER of a kind are first sold: after validation."""


def gift_lines(seed: int = 0) -> pl.DataFrame:
    """Return a clean log: each customer likes two themes and buys some of two kinds; fifty pieces cost a fifth less.

    Args:
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for week in range(1, WEEKS + 1):
        for customer in range(CUSTOMERS):
            if rng.random() < 0.4:
                continue
            liked = (customer % len(THEMES), (customer + 1) % len(THEMES))
            when = START + dt.timedelta(days=7 * (week - 1) + int(rng.integers(5)))
            for kind in rng.permutation(len(KINDS))[:2]:
                for theme in {int(rng.choice(liked)), int(rng.integers(len(THEMES)))}:
                    if THEMES[theme] in ("COMET", "OTTER") and week < LAUNCHED.get(KINDS[kind], 0):
                        continue
                    quantity = 50 if rng.random() < 0.2 else 6 * int(rng.integers(1, 3))
                    price = 2.0 + kind + 0.05 * theme
                    rows.append(line(when, customer, kind, theme, quantity, price if quantity < 50 else price * 0.8))
    return pl.DataFrame(rows)


def line(when: dt.datetime, customer: int, kind: int, theme: int, quantity: int, price: float) -> dict[str, object]:
    """Return one invoice line."""
    return {
        "InvoiceNo": f"5{customer:05d}",
        "StockCode": f"{10000 + 100 * kind + theme}",
        "Description": f"{THEMES[theme]} DESIGN {KINDS[kind]}",
        "Quantity": quantity,
        "InvoiceDate": when,
        "UnitPrice": round(price, 2),
        "CustomerID": 20000 + customer,
    }


def write_log(folder: Path, suffix: str = ".parquet") -> Path:
    """Write the log as a user may have it; return the file."""
    path = folder / f"log{suffix}"
    frame = gift_lines()
    if suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path


def small_catalogue() -> Catalogue:
    """Return the log with its own categories."""
    return catalogue(clean(gift_lines()), CATEGORIES)


def small_settings(**changed: int) -> GiftSettings:
    """Return settings that fit the small log; SIGN is held out."""
    given = {"fewest_options": 3, "fewest_earlier": 2} | changed
    return GiftSettings(Splits(4, 34, 38, frozenset({"sign"})), **given)
