"""Transactions to choice occasions: schema, readers, the Complete Journey, shelves, prices, histories.

A log of purchases in the canonical schema (`malles_env.data.log.schema`) is read (`readers`, `complete_journey`,
`synthetic`) and turned into choice occasions (`build`); `prepare` keeps those of the Complete Journey in a
cache. The names below load on first use, since polars is heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from malles_env.data.building.build import build_occasions
    from malles_env.data.log.readers import read_tables, write_tables
    from malles_env.data.log.tables import Tables
    from malles_env.data.occasions import Occasions
    from malles_env.data.settings import BuildSettings
    from malles_env.data.sources.complete_journey import load_complete_journey
    from malles_env.data.sources.prepare import prepare_complete_journey
    from malles_env.data.sources.synthetic import synthetic_transactions
    from malles_env.data.splits import HELD_OUT_CATEGORIES, Splits
    from malles_env.data.statistics import MarketStatistics, market_statistics

__all__ = [
    "HELD_OUT_CATEGORIES",
    "BuildSettings",
    "MarketStatistics",
    "Occasions",
    "Splits",
    "Tables",
    "build_occasions",
    "load_complete_journey",
    "market_statistics",
    "prepare_complete_journey",
    "read_tables",
    "synthetic_transactions",
    "write_tables",
]

_HOMES = {
    "HELD_OUT_CATEGORIES": "splits",
    "BuildSettings": "settings",
    "MarketStatistics": "statistics",
    "Occasions": "occasions",
    "Splits": "splits",
    "Tables": "log.tables",
    "build_occasions": "building.build",
    "load_complete_journey": "sources.complete_journey",
    "market_statistics": "statistics",
    "prepare_complete_journey": "sources.prepare",
    "read_tables": "log.readers",
    "synthetic_transactions": "sources.synthetic",
    "write_tables": "log.readers",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
