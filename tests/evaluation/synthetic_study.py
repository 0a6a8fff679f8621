"""Occasions of a small synthetic log, made once for the tests of the evaluation."""

from __future__ import annotations

from functools import cache

from malles_env.data.building.build import build_occasions
from malles_env.data.occasions import Occasions
from malles_env.data.settings import BuildSettings
from malles_env.data.sources.synthetic import synthetic_transactions
from malles_env.data.splits import Splits
from malles_env.preference.data.dataset import TasteData, from_occasions

SETTINGS = BuildSettings(
    splits=Splits(held_out_categories=frozenset({"SNACKS"})),
    min_market_purchases=100,
    min_line_purchases=5,
    min_line_households=2,
)


@cache
def occasions() -> Occasions:
    return build_occasions(synthetic_transactions(seed=3, num_households=120)[0], SETTINGS)


@cache
def taste_data() -> TasteData:
    return from_occasions(occasions())
