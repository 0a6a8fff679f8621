"""Consumers whose tastes a post-trained language model read from personas and products.

The model runs once per persona and product, not once per period: its readings are kept on disk under the hash of
weights and texts, and from then on these consumers are as fast as any `LogitConsumers`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from malles_env.alignment.locate import recorded_hash
from malles_env.alignment.reading import TasteReading
from malles_env.alignment.text import Persona, ProductText
from malles_env.consumers.calibration import shift_to_shares
from malles_env.consumers.logit import LogitConsumers
from malles_env.files import cache_dir, replacing
from malles_env.market import Catalog, Population, Tastes
from malles_env.market.arrays import FloatArray

logger = logging.getLogger(__name__)
COEFFICIENTS = tuple(part.name for part in fields(TasteReading))


@dataclass(frozen=True)
class AlignedConsumers(LogitConsumers):
    """Logit consumers that know which language model they come from.

    Attributes:
        tastes: Coefficients as read, with the calibration's shift added to alpha.
        model: Name or directory of the taste model.
        weights_hash: Identifies its weights and wording.
        shift: Utils added to each product so that demand has the market's observed level, shape ``(J,)``; zero when
            the tastes were left as read.
    """

    model: str
    weights_hash: str
    shift: FloatArray


def aligned_consumers(
    *,
    personas: Sequence[Persona],
    products: Sequence[ProductText],
    bought: NDArray[np.int64],
    reference_share: FloatArray,
    catalog: Catalog,
    population: Population,
    model: str,
    calibrate_to: FloatArray | None,
    prices: FloatArray,
    mean_field: FloatArray,
    mean_quantity: FloatArray | None = None,
) -> AlignedConsumers:
    """Read tastes (or take them from the cache) and fit their level to observed market shares.

    Args:
        personas: S segments in the model's terms.
        products: J products in the model's terms.
        bought: Past purchases of each product by each persona, shape ``(S, J)``.
        reference_share: Long-run shares among buyers, shape ``(J,)``.
        catalog: Gives the regular prices.
        population: Gives segment weights and initial loyalty.
        model: Shipped name or directory of a taste model.
        calibrate_to: Observed shares of consumers, shape ``(J + 1,)``, index 0 buying nothing; None leaves the
            tastes as read.
        prices: Prices at which these shares were observed, shape ``(J,)``.
        mean_field: Shares that consumers felt then, shape ``(J,)``.
        mean_quantity: Units per purchase in the market's past, shape ``(J,)``; None where not known.

    Raises:
        MissingResource: The model or its backbone is not there; the message says how to get it.
        CorruptFile: The model's files are damaged.
        InvalidInput: A shape does not fit, or the shares cannot be reached.
    """
    weights_hash = recorded_hash(model)
    asked = Asked(personas, products, bought, reference_share, catalog.regular_price, mean_quantity)
    reading = _cached_reading(model, weights_hash, asked)
    tastes = Tastes(**{name: getattr(reading, name) for name in COEFFICIENTS})
    shift = np.zeros(tastes.num_products)
    if calibrate_to is not None:
        shift = shift_to_shares(tastes, population, catalog.regular_price, calibrate_to, prices, mean_field)
    return AlignedConsumers(tastes.shifted(shift), model, weights_hash, shift)


@dataclass(frozen=True)
class Asked:
    """All that a reading depends on besides the weights; see `TasteModel.read`."""

    personas: Sequence[Persona]
    products: Sequence[ProductText]
    bought: NDArray[np.int64]
    reference_share: FloatArray
    regular_price: FloatArray
    mean_quantity: FloatArray | None

    def key(self, weights_hash: str) -> str:
        """Return a hash of everything."""
        told = [*map(asdict, self.personas), *map(asdict, self.products)]
        arrays = (self.bought, self.reference_share, self.regular_price, self.mean_quantity)
        numbers = [None if array is None else np.asarray(array).tolist() for array in arrays]
        return hashlib.sha256(json.dumps([weights_hash, told, numbers]).encode()).hexdigest()


def _cached_reading(model: str, weights_hash: str, asked: Asked) -> TasteReading:
    path = cache_dir() / "readings" / f"{asked.key(weights_hash)}.safetensors"
    shape = (len(asked.personas), len(asked.products))
    found = _load(path, shape)
    if found is None:
        from malles_env.alignment.model import TasteModel

        logger.info("%s reads %d personas and %d products", model, *shape)
        found = TasteModel.load(model).read(
            asked.personas,
            asked.products,
            asked.bought,
            asked.reference_share,
            regular_price=asked.regular_price,
            mean_quantity=asked.mean_quantity,
        )
        _store(path, found, json.dumps({"model": str(model), "weights_hash": weights_hash}))
    return found


def _load(path: Path, shape: tuple[int, int]) -> TasteReading | None:
    """Return the cached reading; a damaged file is reported and treated as absent, so that it is read anew."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return None
    try:
        arrays = load_file(path)
        reading = TasteReading(**{name: arrays[name] for name in COEFFICIENTS})
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        logger.warning("%s is damaged (%s); reading the tastes again", path, error)
        return None
    if reading.alpha.shape != shape or any(not np.isfinite(arrays[name]).all() for name in COEFFICIENTS):
        logger.warning("%s holds other tastes than its name says; reading them again", path)
        return None
    return reading


def _store(path: Path, reading: TasteReading, source: str) -> None:
    """Write the reading so that no reader ever sees half of it."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(getattr(reading, name)) for name in COEFFICIENTS}
    with replacing(path) as temporary:
        save_file(arrays, temporary, {"source": source})
