"""From occasions and readings to the tensors the heads take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from malles_env.preference.data.dataset import TasteData
from malles_env.preference.data.features import LIVE_FEATURES, Features, features
from malles_env.preference.data.shelves import ProductTable
from malles_env.preference.heads.coefficients import Live
from malles_env.preference.heads.history import Past
from malles_env.preference.heads.taste_heads import SEEN_LIVE, TREND_LIVE, Inputs
from malles_env.type_aliases import Float32Array, IntArray

_SEEN = [LIVE_FEATURES.index(name) for name in (*SEEN_LIVE, *TREND_LIVE)]


@dataclass(frozen=True)
class Readings:
    """What a backbone made of the products' texts.

    Attributes:
        market: Hidden states at the ends of the prefixes [M, width].
        product: At the ends of the products [P, width].
    """

    market: torch.Tensor
    product: torch.Tensor

    def of(self, table: ProductTable, products: IntArray) -> Readings:
        """Return the readings of the products; they are all here already."""
        return self


class Reader(Protocol):
    """Gives readings: a live backbone, or readings made before."""

    def of(self, table: ProductTable, products: IntArray) -> Readings:
        """Return readings whose rows are those of `table`; only the rows of `products` need be right."""
        ...


@dataclass(frozen=True)
class HeadInputs:
    """A batch in tensors.

    Attributes:
        inputs: What the heads read.
        live: What the market changes.
        features: The same in NumPy.
    """

    inputs: Inputs
    live: Live
    features: Features


@dataclass(frozen=True)
class Codes:
    """What heads know of products and households.

    Attributes:
        line: Code of each product's line, 0 where it is not known [P].
        trained: 1 for a prefix whose market was trained on, else 0 [M].
        household: Code of each household, 0 where it is not known [number of households].
        market: Code of each prefix's market, 0 where it was not trained on [M].
    """

    line: IntArray
    trained: Float32Array
    household: IntArray
    market: IntArray


def batch(data: TasteData, reader: Reader, codes: Codes | None = None) -> HeadInputs:
    """Return the tensors of a few occasions, on the device of the readings.

    Args:
        data: The occasions.
        reader: Gives the readings.
        codes: What the heads know of products and households; None knows all markets, no line and no household.
    """
    codes = codes or _no_codes(data)
    known = features(data)
    seen = data.past[data.past >= 0]
    wanted = np.concatenate([data.product[data.mask], seen])
    readings = reader.of(data.products, wanted)
    device = readings.product.device

    def tensor(values: NDArray[np.generic]) -> torch.Tensor:
        return torch.as_tensor(values, device=device)

    inputs = Inputs(
        market=readings.market,
        product=readings.product,
        prefix_at=tensor(data.prefix),
        product_at=tensor(data.product),
        line_at=tensor(codes.line[data.product]),
        household_at=tensor(codes.household[data.household] if len(codes.household) else np.zeros(len(data), np.int64)),
        option=tensor(known.option),
        live=tensor(known.live[..., _SEEN]),
        shelf=tensor(known.shelf),
        quantity=tensor(known.quantity),
        past=Past(
            product=tensor(np.maximum(data.past, 0)),
            listed=tensor(data.past >= 0),
            known=tensor(data.past_known),
            ago=tensor(data.past_ago),
            quantity=tensor(data.past_quantity),
            depth=tensor(data.past_depth),
            match=tensor(known.match),
            popularity=tensor(data.long_share),
        ),
        mask=tensor(data.mask),
        known=tensor(data.known),
        trained=tensor(codes.trained[data.prefix]),
        market_at=tensor(codes.market[data.prefix]),
    )
    return HeadInputs(inputs, _live(tensor(known.live), tensor(data.log_sampling)), known)


def _no_codes(data: TasteData) -> Codes:
    """Return codes that know all markets, no line and no household."""
    every = np.ones(len(data.products.prefixes), dtype=np.float32)
    none = np.zeros(len(data.products.prefixes), dtype=np.int64)
    return Codes(np.zeros(len(data.products), dtype=np.int64), every, np.zeros(0, dtype=np.int64), none)


def _live(live: torch.Tensor, outside: torch.Tensor) -> Live:
    """Return the features that move within an episode [B, J, `LIVE_FEATURES`] by name."""
    columns = dict(zip(LIVE_FEATURES, live.unbind(-1), strict=True))
    return Live(
        log_price=columns["log price"],
        discount=columns["discount"],
        display=columns["display"],
        feature=columns["feature ad"],
        deviation=columns["share deviation"],
        last=columns["last"],
        outside=outside,
    )
