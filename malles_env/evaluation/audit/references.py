"""Own-price elasticities of 24 real markets, and how far a model's agree with them in rank and level."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from malles_env.errors import invalid
from malles_env.files import json_plain
from malles_env.type_aliases import FloatArray

CHOICE_BAND = (-2.0, -0.3)
"""Choice elasticities given a purchase that count as sane for a grocery market."""
UNITS_BAND = (-4.5, -1.0)
"""Likewise elasticities of units, buying nothing and quantities included."""


@dataclass(frozen=True)
class Reference:
    """Elasticities estimated for one market of the Complete Journey.

    Attributes:
        market: Product category and product type as the data name them.
        title: The market in plain words.
        choice: Of the choice probability given a purchase, share-weighted.
        choice_given_habits: The same with households' histories held fixed.
        units, units_se: Of weekly units, and the standard error.
        occasions, lines: Purchases and products behind `choice`.
    """

    market: str
    title: str
    choice: float
    choice_given_habits: float
    units: float
    units_se: float
    occasions: int
    lines: int


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation of a model's elasticities with the reference.

    Attributes:
        rank: The correlation; nan below three markets or without variation.
        low, high: 95% percentile interval of a bootstrap over markets.
        p_value: Share of random orders of the markets that correlate at least as much (permutation test, one-sided).
        mean_difference: Mean of model minus reference.
        in_band: Markets whose elasticity lies in the band.
        outside: The others.
    """

    rank: float
    low: float
    high: float
    p_value: float
    mean_difference: float
    in_band: int
    outside: tuple[str, ...]


@dataclass(frozen=True)
class ElasticityComparison:
    """How a model's elasticities agree with the reference.

    Attributes:
        markets: Markets compared: those both have.
        missing: Reference markets that the model has none for.
        choice, units: Agreement of the two elasticities.
    """

    markets: tuple[str, ...]
    missing: tuple[str, ...]
    choice: RankAgreement
    units: RankAgreement

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        fields: dict[str, Any] = json_plain(asdict(self))
        return fields


@cache
def references() -> dict[str, Reference]:
    """Return the reference elasticities by market, from ``elasticities.json`` beside this file."""
    content = json.loads(Path(__file__).with_name("elasticities.json").read_text(encoding="utf-8"))
    return {name: Reference(market=name, **fields) for name, fields in content["markets"].items()}


def compare_elasticities(
    model: Mapping[str, tuple[float, float]], *, resamples: int = 2000, seed: int = 0
) -> ElasticityComparison:
    """Compare a model's elasticities with the reference markets.

    Ranks are compared because levels depend on how they are measured: the reference's unit elasticities are
    promotional and short-run.

    Args:
        model: Market -> (choice elasticity given a purchase, elasticity of units). Markets without reference are
            left out.
        resamples: Bootstrap samples, and random orders of the permutation test.
        seed: Of both.

    Raises:
        InvalidInput: An elasticity is not finite.
    """
    table = references()
    shared = tuple(name for name in table if name in model)
    for name in shared:
        if not np.isfinite(model[name]).all():
            raise invalid(f"model[{name!r}]", model[name], "two finite elasticities")
    found = np.array([model[name] for name in shared], dtype=np.float64).reshape(len(shared), 2)
    known = np.array([(table[name].choice, table[name].units) for name in shared]).reshape(len(shared), 2)
    choice, units = (
        _agreement(found[:, k], known[:, k], band, shared, resamples, np.random.default_rng([seed, k]))
        for k, band in enumerate((CHOICE_BAND, UNITS_BAND))
    )
    return ElasticityComparison(shared, tuple(name for name in table if name not in model), choice, units)


def _agreement(
    found: FloatArray,
    known: FloatArray,
    band: tuple[float, float],
    names: tuple[str, ...],
    resamples: int,
    rng: np.random.Generator,
) -> RankAgreement:
    inside = (found >= band[0]) & (found <= band[1])
    size = len(found)
    rank = low = high = p_value = float("nan")
    if size >= 3:
        rank = float(_spearman(found[None], known[None])[0])
        drawn = rng.integers(0, size, (resamples, size))
        spread = _spearman(found[drawn], known[drawn])
        spread = spread[np.isfinite(spread)]  # a sample of one market only has no correlation
        if np.isfinite(rank) and len(spread):
            low, high = (float(x) for x in np.quantile(spread, (0.025, 0.975)))
            order = rng.permuted(np.tile(np.arange(size), (resamples, 1)), axis=1)
            at_random = _spearman(found[order], np.broadcast_to(known, order.shape))
            p_value = float((1 + (at_random >= rank - 1e-12).sum()) / (1 + resamples))
    return RankAgreement(
        rank=rank,
        low=low,
        high=high,
        p_value=p_value,
        mean_difference=float((found - known).mean()) if size else float("nan"),
        in_band=int(inside.sum()),
        outside=tuple(name for name, fits in zip(names, inside, strict=True) if not fits),
    )


def _spearman(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the rank correlation of each row; nan where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    product = (a * b).sum(axis=1)
    return np.where(scale > 1e-9, product / np.where(scale > 1e-9, scale, 1.0), np.nan)
