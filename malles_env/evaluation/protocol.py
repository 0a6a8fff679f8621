"""The evaluation protocol: periods, held-out categories and households, and what trains and judges in each split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from malles_env.errors import CorruptFile, InvalidInput, brief, invalid
from malles_env.type_aliases import BoolArray, IntArray
from malles_env.yaml_files import parse_yaml

if TYPE_CHECKING:
    from malles_env.data.occasions import Occasions

SPLITS = ("time", "unseen_warm", "unseen_cold", "households")
"""Of the Complete Journey; a protocol's own splits are `Protocol.splits`."""
PROTOCOLS = {"complete-journey": "protocol.yaml", "online-retail": "protocol_online_retail.yaml"}
"""The protocols that ship, by name."""
Span = tuple[int, int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Periods(_Strict):
    """First and last period of each part, both included."""

    burn_in: Span
    train: Span
    validation: Span
    test: Span
    refit: Span

    @model_validator(mode="after")
    def _in_order(self) -> Periods:
        parts = (self.burn_in, self.train, self.validation, self.test)
        if any(first > last for first, last in (*parts, self.refit)):
            raise ValueError("a part ends before it begins")
        if any(before[1] + 1 != after[0] for before, after in pairwise(parts)):
            raise ValueError("burn_in, train, validation and test must follow one another without a gap")
        if not (self.train[0] <= self.refit[0] and self.refit[1] < self.test[0]):
            raise ValueError("refit must stay clear of burn_in and test")
        return self


class HeldOutHouseholds(_Strict):
    """Households whose hashed id, uniform in [0, 1), is below `share`."""

    share: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0)


class SplitRule(_Strict):
    """What trains and what judges.

    Attributes:
        trained_on: ``all``, or ``seen``: neither held-out categories nor held-out households.
        categories: Categories that judge.
        households: Households that judge.
        cold: True withholds sales and histories of the category.
        purchases: Test purchases drawn, at most.
    """

    trained_on: Literal["all", "seen"]
    categories: Literal["all", "held_out", "trained"]
    households: Literal["all", "held_out", "trained"]
    cold: bool
    purchases: int = Field(gt=0)


class Protocol(_Strict):
    """Everything that is fixed about the evaluation; see the files of `PROTOCOLS` for their values.

    `stopping_categories` are trained on by rows of numbers and by heads; an encoder that is trained never sees them,
    and their last weeks before the test decide when it stops.
    """

    format: Literal[1]
    periods: Periods
    held_out_categories: frozenset[str]
    stopping_categories: frozenset[str] = frozenset()
    held_out_households: HeldOutHouseholds
    train_visits: float = Field(gt=0, le=1)
    draw_seed: int = Field(ge=0)
    splits: dict[str, SplitRule]

    @model_validator(mode="after")
    def _names(self) -> Protocol:
        if not set(self.splits) >= set(SPLITS):
            raise ValueError(f"splits must be {', '.join(SPLITS)}, and may be more")
        if both := sorted(self.stopping_categories & self.held_out_categories):
            raise ValueError(f"{both[0]} is held out and cannot stop training")
        return self

    def rule(self, split: str) -> SplitRule:
        """Return the rule of a split.

        Raises:
            InvalidInput: No such split.
        """
        if split not in self.splits:
            raise invalid("split", split, ", ".join(self.splits))
        return self.splits[split]


@cache
def protocol(name: str = "complete-journey") -> Protocol:
    """Return a protocol that ships with the package.

    Args:
        name: One of `PROTOCOLS`.

    Raises:
        InvalidInput: No such protocol.
        CorruptFile: The file was changed to something that is no protocol.
    """
    if name not in PROTOCOLS:
        raise invalid("protocol", name, ", ".join(PROTOCOLS))
    text = files("malles_env.evaluation").joinpath(PROTOCOLS[name]).read_text(encoding="utf-8")
    try:
        return Protocol.model_validate(parse_yaml(text, PROTOCOLS[name]))
    except ValidationError as error:
        raise CorruptFile(f"{PROTOCOLS[name]}: {brief(error)}") from error


@dataclass(frozen=True)
class Rows:
    """Rows of `Occasions.occasions`, True where they belong, each [n]."""

    train: BoolArray
    validation: BoolArray
    test: BoolArray


def held_out_households(occasions: Occasions, rules: Protocol | None = None) -> BoolArray:
    """Return whether each occasion is of a held-out household [n]; the id alone decides."""
    import polars as pl

    from malles_env.data.hashing import mix, text_keys, uniform

    rule = (rules or protocol()).held_out_households
    names, code = np.unique(occasions.occasions["household_id"].cast(pl.String).to_numpy(), return_inverse=True)
    held = uniform(mix(rule.seed, text_keys(pl.Series(names.astype(str))))) < rule.share
    return np.asarray(held[code], dtype=bool)


def split_rows(occasions: Occasions, split: str, rules: Protocol | None = None) -> Rows:
    """Return which occasions may train, validate and judge in a split.

    Periods and held-out categories are those the occasions were built with; `disagreement` says whether they are the
    protocol's. Validation occasions follow the same rule as training ones: nothing held out chooses anything.

    Args:
        occasions: All occasions.
        split: One of the protocol's.
        rules: The protocol; by default that of the Complete Journey.

    Raises:
        InvalidInput: No such split.
    """
    rules = rules or protocol()
    rule = rules.rule(split)
    part = occasions.occasions["split"].to_numpy()
    category = occasions.occasions["held_out"].to_numpy().astype(bool)
    household = held_out_households(occasions, rules)
    everything = np.ones(len(part), dtype=bool)
    trained = everything if rule.trained_on == "all" else ~category & ~household
    judged = {"all": everything, "held_out": category, "trained": ~category}[rule.categories]
    shoppers = {"all": everything, "held_out": household, "trained": ~household}[rule.households]
    return Rows(trained & (part == "train"), trained & (part == "validation"), judged & shoppers & (part == "test"))


def draw_occasions(occasions: Occasions, allowed: BoolArray, limit: int | None, seed: int = 0) -> IntArray:
    """Return rows for judging, sorted: `limit` random purchases, and no-purchase visits at the same rate.

    Args:
        occasions: All occasions.
        allowed: Rows that may be drawn [n].
        limit: Purchases, at most; None takes all.
        seed: Seed of the draw.

    Raises:
        InvalidInput: Nothing to draw from, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise invalid("limit", limit, "a whole number, at least 1")
    chosen = occasions.occasions["chosen"].to_numpy() > 0
    bought, idle = np.flatnonzero(allowed & chosen), np.flatnonzero(allowed & ~chosen)
    if not len(bought):
        raise InvalidInput("occasions: no purchase to judge on; allowed: data whose test periods hold some")
    share = 1.0 if limit is None else min(1.0, limit / len(bought))
    rng = np.random.default_rng(seed)
    kept = rng.permutation(bought)[: round(share * len(bought))]
    return np.sort(np.concatenate([kept, rng.permutation(idle)[: round(share * len(idle))]]))


def disagreement(occasions: Occasions, rules: Protocol | None = None) -> str:
    """Return in words where the occasions' own splits differ from the protocol's; empty if nowhere."""
    rules = rules or protocol()
    table = occasions.occasions
    for name in ("train", "validation", "test"):
        first, last = getattr(rules.periods, name)
        found = table.filter(table["split"] == name)["period"].to_numpy()
        if len(found) and not (first <= found.min() and found.max() <= last):
            return f"{name}: periods {int(found.min())} to {int(found.max())}, the protocol has {first} to {last}"
    ids = table.filter(table["held_out"])["market"].unique()
    products = occasions.products
    held = set(products.filter(products["market"].is_in(ids.implode()))["category"].unique().to_list())
    other = held ^ (set(products["category"].unique().to_list()) & rules.held_out_categories)
    return f"held-out categories: {', '.join(sorted(other))} differ" if other else ""
